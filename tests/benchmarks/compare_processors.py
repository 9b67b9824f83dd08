"""Where the last bits of results come from: the same work as other processors would do it.

``python tests/benchmarks/compare_processors.py --data FOLDER`` computes log-mel features of a
folder corpus and a ridge regression on them several times, each time in a process of its own that
is told which instructions to use. OpenBLAS can be told to take the kernels of another processor,
numpy and oneDNN (in TensorFlow) to leave newer instructions alone. ``--train N`` also trains one
network for N epochs in each way, ``--whole`` a whole cross-validation as the chapter LSTM does.

The result is written to ``reports/benchmarks/processors.json``.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

if __package__:
    from benchmarks.real_data import DATA
else:  # run as a script
    from real_data import DATA

from msr_utils.corpora import load_corpus
from msr_utils.dataset.sequences import Sequence2Hz, align
from msr_utils.dataset.splits import splits_of
from msr_utils.io import read_json, write_json
from msr_utils.paths import PROCESSORS
from msr_utils.provenance.environment import environment, processor
from msr_utils.provenance.measurements import record

FOLDS, INNER_FOLDS, SEEDS, SEED = 5, 3, 5, 7
"""As the published edition of a folder corpus."""

MEASURED_CODE = [
    ("msr_utils.features.extractor", "FeatureExtractor"),
    ("msr_utils.evaluation.baselines", "ridge_predictions"),
    ("msr_utils.training.cross_validation", "cross_validate"),
]
"""Where the code begins that is compared."""

BLOCK_TRACKS = 4
"""Tracks of which all blocks are compared."""

NO_AVX512 = "AVX512_SPR AVX512_ICL X86_V4"


@dataclass(frozen=True)
class Way:
    """One way to compute.

    Parameters
    ----------
    name : str
    settings : dict of str to str
        Environment variables that numerical libraries read when they are loaded.
    """

    name: str
    settings: dict[str, str] = field(default_factory=dict)


WAYS = (
    Way("as this processor does"),
    Way("the same again"),
    Way("linear algebra with AVX2 (Haswell, Zen)", {"OPENBLAS_CORETYPE": "Haswell"}),
    Way("linear algebra with SSE (Nehalem)", {"OPENBLAS_CORETYPE": "Nehalem"}),
    Way("numpy without AVX-512", {"NPY_DISABLE_CPU_FEATURES": NO_AVX512}),
    Way("resampling without SIMD", {"SOXR_USE_SIMD": "0"}),
    Way("TensorFlow with AVX2", {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    Way(
        "all with AVX2",
        {
            "OPENBLAS_CORETYPE": "Haswell",
            "NPY_DISABLE_CPU_FEATURES": NO_AVX512,
            "ONEDNN_MAX_CPU_ISA": "AVX2",
        },
    ),
)


def digest(*arrays: np.ndarray) -> str:
    """A short hash of bytes."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


# ------------------------------------------------------------------------- in a process of its own


def compute(data: Path, train: int, whole: bool, kept: Path, target: str = "valence") -> dict:
    """Decode, compute features, solve and train; the features go to `kept`."""
    from msr_utils.audio.decode import load
    from msr_utils.evaluation.baselines import ridge_predictions
    from msr_utils.features.blocks.registry import BLOCKS
    from msr_utils.features.config import FeatureConfig
    from msr_utils.features.extractor import FeatureExtractor
    from msr_utils.metrics.scores import evaluate

    corpus = load_corpus("folder", data)
    config, every = FeatureConfig("logmel,logmel_sd"), FeatureConfig(tuple(BLOCKS))
    sequences: list[Sequence2Hz] = []
    decoded, blocks = hashlib.sha256(), {}
    for number, track in enumerate(corpus.tracks):
        samples = load(track.audio_path)
        decoded.update(samples.tobytes())
        sequences.append(align(track, FeatureExtractor(config).push(samples)))
        if number < BLOCK_TRACKS:
            frames = FeatureExtractor(every).push(samples)
            for name in BLOCKS:
                blocks[f"{name} {number}"] = frames[:, every.columns([name])]
    splits = splits_of(corpus, FOLDS, SEED)
    ridge = evaluate(ridge_predictions(sequences, splits, target, INNER_FOLDS), 0).pooled
    np.savez(kept, **{s.id: s.features for s in sequences}, **blocks)
    found = {
        "decoded": decoded.hexdigest()[:16],
        "features": digest(*(s.features for s in sequences)),
        "ridge": {name: estimate.value for name, estimate in ridge.items()},
    }
    if train or whole:
        found |= _trained(sequences, splits, target, train, whole)
    return found | {"processor": processor()}


def _trained(
    sequences: list[Sequence2Hz], splits: Any, target: str, epochs: int, whole: bool
) -> dict[str, Any]:
    """Train the paper's LSTM: one split for some epochs, and as its chapter does."""
    from msr_utils.metrics.scores import evaluate
    from msr_utils.models.lstm import LSTMConfig
    from msr_utils.training.cross_validation import cross_validate
    from msr_utils.training.loop import FitConfig
    from msr_utils.training.settings import CrossValidation

    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        if epochs:
            one = cross_validate(
                LSTMConfig((64, 64), learning_rate=0.001),
                FitConfig(epochs=epochs, patience=epochs),
                sequences,
                CrossValidation(splits[:1], target, 90, to_export=False),
                trainings=Path(scratch) / "one",
            )
            found["losses"] = one.history.val_loss.tolist()
            found["weights"] = digest(*one.model.get_weights())
        if whole:
            # The published folder corpora: five networks a split, at most 25 epochs, patience 5.
            every = cross_validate(
                LSTMConfig((64, 64), learning_rate=0.001),
                FitConfig(epochs=25, patience=5, seed=SEED),
                sequences,
                CrossValidation(splits, target, 90, INNER_FOLDS, SEEDS, to_export=False),
                trainings=Path(scratch) / "whole",
            )
            epochs_of = every.history.groupby(["fold", "network"]).epoch.max()
            found["lstm"] = {n: e.value for n, e in evaluate(every.predictions, 0).pooled.items()}
            found["lstm_epochs"] = epochs_of.tolist()
    return found


# --------------------------------------------------------------------------------- all of the ways


def compared(way: dict, first: dict, kept: Path, kept_first: Path) -> dict:
    """What differs between one way and the first."""
    with np.load(kept) as own, np.load(kept_first) as other:
        tracks = [name for name in own.files if " " not in name]
        names = dict.fromkeys(name.split()[0] for name in own.files if " " in name)
        blocks = {
            name: _difference([(own[n], other[n]) for n in own.files if n.split()[0] == name])
            for name in names
        }
        logmel = _difference([(own[name], other[name]) for name in tracks])
    return {
        "decoded_alike": way["decoded"] == first["decoded"],
        "features_alike": way["features"] == first["features"],
        "features_difference": logmel,
        "blocks_difference": blocks,
        "ridge_r_difference": way["ridge"]["r"] - first["ridge"]["r"],
        **(
            {
                "weights_alike": way["weights"] == first["weights"],
                "loss_difference": max(
                    abs(a - b) for a, b in zip(way["losses"], first["losses"], strict=True)
                ),
            }
            if "weights" in way
            else {}
        ),
    }


def _difference(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Largest difference, in standard deviations of its feature."""
    own, other = (np.concatenate(arrays).astype(np.float64) for arrays in zip(*pairs, strict=True))
    sd = other.std(axis=0)
    return float((np.abs(own - other) / np.where(sd > 0, sd, 1)).max())


@click.command()
@click.option("--data", type=click.Path(path_type=Path), default=DATA / "vgmidi")
@click.option("--train", default=0, help="epochs of one network in each way")
@click.option("--whole", multiple=True, help="ways that also train all networks; repeat for more")
@click.option("--report", type=click.Path(path_type=Path), default=PROCESSORS)
@click.option("--only", default="", hidden=True, help="what a process of its own is told")
def main(data: Path, train: int, whole: tuple[str, ...], report: Path, only: str) -> None:
    """Compute in all ways, compare, and write the report."""
    if only:
        settings = json.loads(only)
        found = compute(data, train, settings["whole"], Path(settings["kept"]))
        write_json(Path(settings["result"]), found)
        return
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for number, way in enumerate(WAYS):
            files = {n: str(Path(scratch) / f"{number}.{n}") for n in ("kept", "result")}
            files["kept"] += ".npz"
            settings = json.dumps({**files, "whole": way.name in whole})
            print(way.name, flush=True)
            subprocess.run(
                [sys.executable, __file__, "--data", str(data), "--train", str(train)]
                + ["--only", settings],
                env={**os.environ, **way.settings},
                check=True,
            )
            found = read_json(Path(files["result"]))
            first = rows[0]["found"] if rows else found
            difference = compared(found, first, Path(files["kept"]), Path(scratch) / "0.kept.npz")
            rows.append({"way": way.name, "settings": way.settings, "found": found, **difference})
            write_json(report, {"corpus": data.name, **vars(environment()), "ways": rows})
    if report == PROCESSORS:
        record(report, MEASURED_CODE)


if __name__ == "__main__":
    main()
