"""Which parts of the input a model depends on: hide one part at a time and compare [1]_.

The columns of a hidden part are set to their means. A part that another part repeats looks
unimportant, and no model was trained on spectra with a gap. Read the numbers as a ranking.

References
----------
.. [1] Zeiler and Fergus (2014), "Visualizing and understanding convolutional networks", ECCV.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from tqdm import tqdm

from msr_utils.constants import (
    FRAME_RATE_HZ,
    SCALE,
    SD_BANDS,
    TARGETS,
)
from msr_utils.dataset.sequences import Sequence2Hz, normalisation
from msr_utils.dataset.splits import Split
from msr_utils.evaluation.baselines import ridge_predictions
from msr_utils.features.config import FeatureConfig
from msr_utils.features.filterbanks import mel_band_hz
from msr_utils.inference.model import Model
from msr_utils.metrics.bootstrap import N_BOOT, SEED
from msr_utils.metrics.curves import Curve
from msr_utils.metrics.estimate import Estimate
from msr_utils.metrics.scores import evaluate, metric_title, score

BAND_GROUPS = 8
"""Parts of the mel spectrum that are hidden one at a time: 16 bands each."""

CONTEXT_S = (0.5, 1, 2, 4, 8, 15, 30, 60)
"""Seconds of the past that `context_changes` leaves."""

WARM_UP_FRAMES = 60
"""Frames of means that stand for the hidden past in `context_changes`."""

NO_PART = "nothing"
"""Name of the row in which nothing is hidden."""


@dataclass(frozen=True)
class CurveChange:
    """How two curves differ, pooled over frames.

    Parameters
    ----------
    change : float
        Mean absolute difference.
    shift : float
        Mean difference.
    r : float
        Pearson's r between the curves.
    """

    change: float
    shift: float
    r: float


@dataclass(frozen=True)
class PartChange:
    """How the curve changes when a part of the input is hidden.

    Parameters
    ----------
    part : str
        See `input_parts`.
    features : int
        Columns of the part.
    target : str
    change, shift, r : float
        See `CurveChange`.
    """

    part: str
    features: int
    target: str
    change: float
    shift: float
    r: float


@dataclass(frozen=True)
class PartLoss:
    """Scores of ridge regression on test tracks when a part of the input is hidden.

    Parameters
    ----------
    part : str
        See `input_parts`, or `NO_PART`.
    features : int
        Columns of the part.
    target : str
    rmse, r : Estimate
        Pooled over frames.
    """

    part: str
    features: int
    target: str
    rmse: Estimate
    r: Estimate


@dataclass(frozen=True)
class ContextChange:
    """How the curve changes when only the last seconds of the past are left.

    Parameters
    ----------
    seconds : float
    target : str
    points : int
        Frames that are compared.
    change, shift, r : float
        See `CurveChange`.
    """

    seconds: float
    target: str
    points: int
    change: float
    shift: float
    r: float


def input_parts(config: FeatureConfig) -> dict[str, np.ndarray]:
    """Columns of a feature frame that are hidden together.

    Returns
    -------
    dict of str to np.ndarray [dtype=int]
        Each block, and groups of neighbouring bands of the blocks logmel and logmel_sd together,
        named by their range in Hz.
    """
    parts = {f"{name} (whole block)": config.columns([name]) for name in config.blocks}
    sizes = {"logmel": config.n_mels, "logmel_sd": SD_BANDS}
    sizes = {name: n for name, n in sizes.items() if name in config.blocks}
    if not sizes:
        return parts
    hz = mel_band_hz(config)

    def nth_group(values: np.ndarray, group: int) -> np.ndarray:
        n = len(values)
        return values[n * group // BAND_GROUPS : n * (group + 1) // BAND_GROUPS]

    for group in range(BAND_GROUPS):
        columns = [nth_group(config.columns([name])[:n], group) for name, n in sizes.items()]
        band_hz = nth_group(hz, group)
        parts[f"{band_hz[0]:.0f} to {band_hz[-1]:.0f} Hz"] = np.concatenate(columns)
    return parts


def occluded(features: np.ndarray, columns: np.ndarray, fill: np.ndarray) -> np.ndarray:
    """A copy of features (T, D) in which some columns are those of `fill`, (D,)."""
    result = features.copy()
    result[:, columns] = fill[columns]
    return result


def predict_curve(model: Model, features: np.ndarray) -> np.ndarray:
    """Predict a whole track from its features.

    Parameters
    ----------
    model : Model
    features : np.ndarray [shape=(T, D), dtype=float32]

    Returns
    -------
    np.ndarray [shape=(T, 2), dtype=float32]
        (valence, arousal), clipped as in the service.
    """
    step = model.card.max_frames or len(features)
    windows = [features[None, i : i + step] for i in range(0, len(features), step)]
    return np.clip(np.concatenate([model.run(window)[0][0] for window in windows]), *SCALE)


def compare_curves(before: np.ndarray, after: np.ndarray) -> dict[str, CurveChange]:
    """How two curves (T, 2) differ, by target."""
    return {
        target: CurveChange(
            change=float(np.abs(after[:, k] - before[:, k]).mean()),
            shift=float((after[:, k] - before[:, k]).mean()),
            r=score(before[:, k], after[:, k])["r"],
        )
        for k, target in enumerate(TARGETS)
    }


def output_change(
    model: Model, sequences: Sequence[Sequence2Hz], fill: np.ndarray | None = None
) -> list[PartChange]:
    """How a bundle's curves change when a part of the input is hidden.

    It needs no labels, so it does not matter which tracks the bundle was trained on.

    Parameters
    ----------
    model : Model
    sequences : sequence of Sequence2Hz
    fill : np.ndarray [shape=(D,)], optional
        Values of hidden columns; by default the means over all frames of `sequences`.
    """
    fill = normalisation(sequences)[0] if fill is None else fill
    intact = np.concatenate([predict_curve(model, s.features) for s in sequences])
    rows = []
    parts = input_parts(model.features)
    for part, columns in tqdm(parts.items(), desc="hidden parts", unit="part"):
        curves = [predict_curve(model, occluded(s.features, columns, fill)) for s in sequences]
        rows += [
            PartChange(part, len(columns), target, **vars(change))
            for target, change in compare_curves(intact, np.concatenate(curves)).items()
        ]
    return rows


def ridge_loss(
    sequences: Sequence[Sequence2Hz],
    config: FeatureConfig,
    splits: Sequence[Split],
    target: str,
    inner_folds: int = 1,
    n_boot: int = N_BOOT,
    seed: int = SEED,
) -> list[PartLoss]:
    """Scores of ridge regression when a part of the input is hidden on the test tracks.

    It is trained on the whole input. Of the networks only the one trained on all tracks is kept,
    and that has no test tracks. So ridge regression shows the loss out of fold.

    Parameters
    ----------
    sequences : sequence of Sequence2Hz
    config : FeatureConfig
        Their features.
    splits : sequence of Split
    target : str
        "valence" or "arousal".
    inner_folds : int >= 1
        See `msr_utils.evaluation.baselines.ridge_predictions`.
    n_boot, seed : int
        Bootstrap samples of songs, for the 95 % intervals.

    Returns
    -------
    list of PartLoss
        The first is `NO_PART`.
    """
    parts = {NO_PART: np.zeros(0, int), **input_parts(config)}
    by_id = {s.id: s for s in sequences}
    predictions: dict[str, dict[str, Curve]] = {part: {} for part in parts}
    for split in tqdm(splits, desc=f"ridge on {target}", unit="fold"):
        known = [by_id[i] for i in split.train + split.validation]
        # Hidden columns get the means of the known tracks.
        copies = _occluded_copies([by_id[i] for i in split.test], parts, normalisation(known)[0])
        test = [copy for of_part in copies.values() for copy in of_part.values()]
        one = Split(split.train, split.validation, tuple(s.id for s in test))
        curves = ridge_predictions([*known, *test], [one], target, inner_folds)
        for part, of_part in copies.items():
            predictions[part] |= {i: curves[copy.id] for i, copy in of_part.items()}
    rows = []
    for part, columns in parts.items():
        pooled = evaluate(predictions[part], n_boot, seed).pooled
        rows.append(PartLoss(part, len(columns), target, pooled["rmse"], pooled["r"]))
    return rows


def _occluded_copies(
    tracks: Sequence[Sequence2Hz], parts: Mapping[str, np.ndarray], fill: np.ndarray
) -> dict[str, dict[str, Sequence2Hz]]:
    """Copies of each track with each part hidden, with ids of their own: part to track id."""
    return {
        part: {
            s.id: replace(s, id=f"{number} {s.id}", features=occluded(s.features, columns, fill))
            for s in tracks
        }
        for number, (part, columns) in enumerate(parts.items())
    }


def context_changes(
    model: Model,
    sequences: Sequence[Sequence2Hz],
    points: int = 4,
    seconds: Sequence[float] = CONTEXT_S,
    fill: np.ndarray | None = None,
    seed: int = SEED,
) -> list[ContextChange]:
    """How a recurrent bundle's curves change when only the last seconds of the past are left.

    The model runs on means and then on the last seconds before a frame. The result is compared
    with its run over the whole track. The features look back, too, up to 20 s for the tonal block.
    That is not hidden: this measures the state of the network.

    Parameters
    ----------
    model : Model
    sequences : sequence of Sequence2Hz
    points : int > 0
        Frames drawn from each track, late enough for the longest past.
    seconds : sequence of float
        A past that is not shorter than the longest track is left out.
    fill : np.ndarray [shape=(D,)], optional
        As in `output_change`.
    seed : int

    Raises
    ------
    ValueError
        If the bundle is not recurrent, or no track is longer than the shortest past.
    """
    if not model.is_recurrent:
        raise ValueError(f"model: {model.name} has no recurrent state; it reads windows")
    fill = normalisation(sequences)[0] if fill is None else fill
    longest = max((len(s.features) for s in sequences), default=0)
    frames_of = {s: max(1, round(s * FRAME_RATE_HZ)) for s in seconds}
    frames_of = {s: n for s, n in frames_of.items() if n < longest}
    if not frames_of:
        raise ValueError(f"seconds: no track is longer than {min(seconds):g} s")
    intact, pasts = _draw_points(model, sequences, points, max(frames_of.values()), seed)
    warm_up = np.broadcast_to(fill.astype(np.float32), (1, WARM_UP_FRAMES, len(fill)))
    _, state = model.run(warm_up)
    assert state is not None
    state = np.repeat(state, len(pasts), axis=0)
    rows = []
    for length, n in tqdm(frames_of.items(), desc="context", unit="length"):
        curves = np.clip(model.run(np.ascontiguousarray(pasts[:, -n:]), state)[0][:, -1], *SCALE)
        rows += [
            ContextChange(float(length), target, len(pasts), **vars(change))
            for target, change in compare_curves(intact, curves).items()
        ]
    return rows


def _draw_points(
    model: Model, sequences: Sequence[Sequence2Hz], points: int, frames: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Predictions at frames drawn from each track, and the features up to each frame.

    Returns
    -------
    predicted : np.ndarray [shape=(N, 2)]
        From the whole track.
    pasts : np.ndarray [shape=(N, frames, D)]
    """
    rng = np.random.default_rng(seed)
    predicted, pasts = [np.zeros((0, len(TARGETS)), np.float32)], []
    for s in sequences:
        late = np.arange(frames, len(s.features))
        if not len(late):
            continue
        drawn = rng.choice(late, min(points, len(late)), replace=False)
        predicted.append(predict_curve(model, s.features)[drawn])
        pasts += [s.features[t + 1 - frames : t + 1] for t in drawn]
    return np.concatenate(predicted), np.array(pasts)


def change_table(rows: Sequence[PartChange]) -> pd.DataFrame:
    """The rows of `output_change`, for display."""
    table = pd.DataFrame(rows).pivot(
        index=["part", "features"], columns="target", values=["change", "shift", "r"]
    )
    order = list(dict.fromkeys((row.part, row.features) for row in rows))
    columns = [(target, value) for target in TARGETS for value in ("change", "shift", "r")]
    return table.loc[order].swaplevel(axis=1)[columns].round(3)


def loss_table(rows: Sequence[PartLoss]) -> pd.DataFrame:
    """The rows of `ridge_loss` for one or both targets, for display."""
    cells = [
        {"part": row.part, "target": row.target, "rmse": f"{row.rmse}", "r": f"{row.r}"}
        for row in rows
    ]
    table = pd.DataFrame(cells).pivot(index="part", columns="target", values=["rmse", "r"])
    order = list(dict.fromkeys(row.part for row in rows))
    table = table.loc[order].rename(columns={"rmse": metric_title("rmse")})
    return table.swaplevel(axis=1).sort_index(axis=1)
