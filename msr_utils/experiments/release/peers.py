"""Scores of other programs on the same clips."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence

import numpy as np

from msr_utils.corpora.base import Corpus
from msr_utils.experiments.release.scores import Results, clip_metric_title, score_clips
from msr_utils.experiments.release.training_data import clip_labels
from msr_utils.metrics.bootstrap import N_BOOT, SEED

VIBENET = """
import json, sys
from importlib.metadata import version
import vibenet
model = vibenet.load_model()
found = [model.predict(path)[0] for path in json.load(sys.stdin)]
scores = [[one.valence, one.energy] for one in found]
json.dump({"version": version("vibenet"), "scores": scores}, sys.stdout)
"""
"""Program that predicts clips with vibenet. An interpreter that has vibenet runs it."""


def peer_scores(
    corpora: Sequence[Corpus], python: str, n_boot: int = N_BOOT, seed: int = SEED
) -> dict[str, Results]:
    """Score another program on clips with a quadrant, as our models are scored.

    vibenet gives one valence and one energy for a whole clip, on its own scales. Both are split
    at their medians over the clips.

    Parameters
    ----------
    corpora : sequence of Corpus
        Corpora without quadrants are skipped.
    python : str
        Path of an interpreter that has vibenet. Empty: no peer is scored.
    n_boot, seed : int

    Returns
    -------
    dict of name and version to Results
        Peers predict no curves, so `Results.curves` is empty.

    Raises
    ------
    ValueError
        If the interpreter is missing or vibenet fails; its last line of output is quoted.
    """
    if not python:
        return {}
    peers: dict[str, Results] = {}
    for corpus in corpora:
        if corpus.labels != "quadrants":
            continue
        name, predicted = _run_vibenet(corpus, python)
        peer = peers.setdefault(name, Results(curves={}, quadrants={}))
        peer.quadrants[corpus.card.title] = score_clips(
            [track.group for track in corpus.tracks],
            clip_labels(corpus),
            predicted - np.median(predicted, axis=0),
            n_boot,
            seed,
        )
    return peers


def _run_vibenet(corpus: Corpus, python: str) -> tuple[str, np.ndarray]:
    """Name with version, and valence and energy of every clip, (N, 2)."""
    paths = json.dumps([str(track.audio_path.resolve()) for track in corpus.tracks])
    try:
        output = subprocess.run(
            [python, "-c", VIBENET], input=paths, capture_output=True, text=True, check=True
        ).stdout
    except OSError as error:
        raise ValueError(f"BENCH_PEERS_PYTHON={python}: {error.strerror}") from error
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or ["no output"])[-1]
        raise ValueError(f"BENCH_PEERS_PYTHON={python}: vibenet: {reason}") from error
    answer = json.loads(output)
    return f"vibenet {answer['version']}", np.array(answer["scores"])


def peer_limits(peers: Mapping[str, Results]) -> list[str]:
    """Scores of the peers as sentences for a model card."""
    return [
        f"For comparison, scores of {name} on the clips with a quadrant label ({title}): "
        + "; ".join(
            f"{clip_metric_title(metric)} {estimate}" for metric, estimate in estimates.items()
        )
        + ". Its energy stands for arousal. Both outputs are split at their medians."
        for name, peer in peers.items()
        for title, estimates in peer.quadrants.items()
    ]
