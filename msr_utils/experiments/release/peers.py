"""Other programs, scored on the same clips."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence

import numpy as np

from msr_utils.corpora.base import Corpus
from msr_utils.experiments.release.scores import score_clips
from msr_utils.experiments.release.training_data import clip_labels

VIBENET = """
import json, sys
from importlib.metadata import version
import vibenet
model = vibenet.load_model()
heard = [model.predict(path)[0] for path in json.load(sys.stdin)]
said = [[one.valence, one.energy] for one in heard]
json.dump({"version": version("vibenet"), "said": said}, sys.stdout)
"""
"""The peer's own program, run by an interpreter that has it."""


def peer_scores(
    corpora: Sequence[Corpus], python: str, n_boot: int = 2000, seed: int = 7
) -> dict[str, dict]:
    """What another program makes of the clips of a known quadrant, scored as our models are.

    vibenet gives one valence and one energy of a whole clip, on scales of its own: they are
    split at their medians over the clips.

    Parameters
    ----------
    corpora : sequence of Corpus
        Those without quadrants are left out.
    python : str
        Interpreter that has vibenet; empty: no peer.
    n_boot, seed : int

    Returns
    -------
    dict
        Name and version to ``quadrants`` as in `report`, and ``curves``, of which it has none.

    Raises
    ------
    ValueError
        If the interpreter is not there or the peer fails; its last words are told.
    """
    if not python:
        return {}
    clips = {c.card.title: c for c in corpora if c.labels == "quadrants"}
    found: dict[str, dict] = {}
    for title, corpus in clips.items():
        paths = json.dumps([str(t.audio_path.resolve()) for t in corpus.tracks])
        try:
            told = subprocess.run(
                [python, "-c", VIBENET], input=paths, capture_output=True, text=True, check=True
            ).stdout
        except OSError as error:
            raise ValueError(f"BENCH_PEERS_PYTHON={python}: {error.strerror}") from error
        except subprocess.CalledProcessError as error:
            why = (error.stderr.strip().splitlines() or ["no output"])[-1]
            raise ValueError(f"BENCH_PEERS_PYTHON={python}: vibenet: {why}") from error
        answer = json.loads(told)
        said = np.array(answer["said"])
        groups = [t.group for t in corpus.tracks]
        own = found.setdefault(f"vibenet {answer['version']}", {"quadrants": {}, "curves": {}})
        own["quadrants"][title] = score_clips(
            groups, clip_labels(corpus), said - np.median(said, axis=0), n_boot, seed
        )
    return found


def peer_limits(peers: Mapping[str, dict]) -> list[str]:
    """How the peers of `peer_scores` score, for the card."""
    return [
        f"For comparison, on the clips of {title} {name} (its energy for arousal, split at the "
        "medians) scores "
        + "; ".join(
            f"{metric.replace('_', ' of ')} {v['value']:.3f} [{v['low']:.3f}, {v['high']:.3f}]"
            for metric, v in scored.items()
        )
        + "."
        for name, peer in peers.items()
        for title, scored in peer["quadrants"].items()
    ]
