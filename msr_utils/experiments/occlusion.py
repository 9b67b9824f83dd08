"""What a model listens to: hide one part of its input and see what changes [1]_.

What is hidden takes its training mean. A part that another one repeats looks unimportant, and a
spectrum with a hole is music that no model has heard: read the numbers as a ranking.

References
----------
.. [1] Zeiler and Fergus (2014), "Visualizing and understanding convolutional networks", ECCV.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

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
from msr_utils.features.filterbanks import mel_filterbank
from msr_utils.inference.model import Model
from msr_utils.metrics.curves import Curve
from msr_utils.metrics.scores import evaluate, score

BAND_GROUPS = 8
"""Parts of the mel spectrum that are hidden one at a time: 16 bands each."""

MEMORY_S = (0.5, 1, 2, 4, 8, 15, 30, 60)
"""Seconds of the past that `memory` leaves."""

WARM_UP_FRAMES = 60
"""Frames of training means that stand for the past which `memory` hides."""


def parts(config: FeatureConfig) -> dict[str, np.ndarray]:
    """Columns of a feature frame that are hidden together.

    Returns
    -------
    dict of str to np.ndarray [dtype=int]
        Each block whole, and the blocks logmel and logmel_sd together in groups of neighbouring
        bands, named by their range in Hz.
    """
    found = {f"{name} (whole block)": config.columns([name]) for name in config.blocks}
    of_bands = {"logmel": config.n_mels, "logmel_sd": SD_BANDS}
    of_bands = {name: n for name, n in of_bands.items() if name in config.blocks}
    if not of_bands:
        return found
    hz = np.fft.rfftfreq(config.n_fft, 1 / config.sample_rate) @ (f := mel_filterbank(config))
    hz /= f.sum(axis=0)
    for group in range(BAND_GROUPS):
        columns = [
            config.columns([name])[n * group // BAND_GROUPS : n * (group + 1) // BAND_GROUPS]
            for name, n in of_bands.items()
        ]
        own = hz[config.n_mels * group // BAND_GROUPS : config.n_mels * (group + 1) // BAND_GROUPS]
        found[f"{own[0]:.0f} to {own[-1]:.0f} Hz"] = np.concatenate(columns)
    return found


def hidden(features: np.ndarray, columns: np.ndarray, fill: np.ndarray) -> np.ndarray:
    """A copy of features (T, D) in which some columns are those of `fill`, (D,)."""
    result = features.copy()
    result[:, columns] = fill[columns]
    return result


def curve(model: Model, features: np.ndarray) -> np.ndarray:
    """What a bundle says of the features of a whole track.

    Parameters
    ----------
    model : Model
    features : np.ndarray [shape=(T, D), dtype=float32]

    Returns
    -------
    np.ndarray [shape=(T, 2), dtype=float32]
        (valence, arousal), clipped as the service does.
    """
    step = len(features) if model.is_causal else model.card["max_frames"]
    found = [model.run(features[None, i : i + step])[0][0] for i in range(0, len(features), step)]
    return np.clip(np.concatenate(found), *SCALE)


def output_change(
    model: Model, sequences: Sequence[Sequence2Hz], fill: np.ndarray | None = None
) -> list[dict]:
    """How a bundle's curves change when one of `parts` is hidden.

    Needs no labels, so it does not matter which tracks the bundle was trained on.

    Parameters
    ----------
    model : Model
    sequences : sequence of Sequence2Hz
    fill : np.ndarray [shape=(D,)], optional
        What hides; the mean over all frames of `sequences` by default.

    Returns
    -------
    list of dict
        ``part, features`` (how many), ``target, change`` (mean absolute difference over all
        frames), ``shift`` (mean difference) and ``r`` (with the whole input's curves, pooled).
    """
    fill = normalisation(sequences)[0] if fill is None else fill
    intact = np.concatenate([curve(model, s.features) for s in sequences])
    rows = []
    for name, columns in tqdm(parts(model.features).items(), desc="hidden parts", unit="part"):
        found = [curve(model, hidden(s.features, columns, fill)) for s in sequences]
        rows += [
            {"part": name, "features": len(columns), "target": target, **own}
            for target, own in difference(intact, np.concatenate(found)).items()
        ]
    return rows


def difference(before: np.ndarray, after: np.ndarray) -> dict[str, dict[str, float]]:
    """How far two curves (T, 2) lie apart, by target: ``change, shift, r``."""
    return {
        target: {
            "change": float(np.abs(after[:, k] - before[:, k]).mean()),
            "shift": float((after[:, k] - before[:, k]).mean()),
            "r": score(before[:, k], after[:, k])["r"],
        }
        for k, target in enumerate(TARGETS)
    }


def ridge_loss(
    sequences: Sequence[Sequence2Hz],
    config: FeatureConfig,
    splits: Sequence[Split],
    target: str,
    inner_folds: int = 1,
    n_boot: int = 2000,
    seed: int = 7,
) -> list[dict]:
    """What ridge regression loses on test tracks when one of `parts` is hidden there.

    Trained on the whole input; hidden parts take the means of the tracks that it knows. Of
    networks only the one trained on all tracks is kept, which has no test tracks: ridge shows
    what is lost out of fold.

    Returns
    -------
    list of dict
        ``part`` (first "nothing"), ``features`` and ``rmse, r``: each an `Estimate`.
    """
    choices = {"nothing": np.zeros(0, int), **parts(config)}
    by_id = {s.id: s for s in sequences}
    found: dict[str, dict[str, Curve]] = {name: {} for name in choices}
    for split in tqdm(splits, desc=f"ridge on {target}", unit="fold"):
        known = [by_id[i] for i in split.train + split.validation]
        fill = normalisation(known)[0]
        names, altered = {}, []
        for number, (name, columns) in enumerate(choices.items()):
            for i in split.test:
                key = f"{number} {i}"
                names[key] = (name, i)
                features = hidden(by_id[i].features, columns, fill)
                altered.append(replace(by_id[i], id=key, features=features))
        one = Split(split.train, split.validation, tuple(s.id for s in altered))
        for key, own in ridge_predictions([*known, *altered], [one], target, inner_folds).items():
            name, i = names[key]
            found[name][i] = own
    rows = []
    for name, columns in choices.items():
        pooled = evaluate(found[name], n_boot, seed).pooled
        rows.append(
            {"part": name, "features": len(columns), "target": target}
            | {metric: pooled[metric] for metric in ("rmse", "r")}
        )
    return rows


def memory(
    model: Model,
    sequences: Sequence[Sequence2Hz],
    points: int = 4,
    seconds: Sequence[float] = MEMORY_S,
    fill: np.ndarray | None = None,
    seed: int = 7,
) -> list[dict]:
    """How far back a recurrent bundle remembers.

    At some frames of each track that lie late enough, the model is run anew on training means
    followed by the last seconds alone, and compared with its run over the whole track. Features
    themselves look back up to 20 s (the tonal ones), which stays: this is the memory of the
    network.

    Parameters
    ----------
    model : Model
    sequences : sequence of Sequence2Hz
    points : int > 0
        Frames drawn from each track.
    seconds : sequence of float
    fill : np.ndarray [shape=(D,)], optional
        As in `output_change`.
    seed : int

    Returns
    -------
    list of dict
        ``seconds, target, change`` (mean absolute difference), ``shift, r`` (see `difference`),
        ``points``.

    Raises
    ------
    ValueError
        If the bundle is not recurrent, or no track is longer than the longest past.
    """
    if not model.is_recurrent:
        raise ValueError(f"model: {model.name} sees windows and has no memory of its past")
    fill = normalisation(sequences)[0] if fill is None else fill
    frames = [max(1, round(s * FRAME_RATE_HZ)) for s in seconds]
    rng = np.random.default_rng(seed)
    whole, pasts = [], []
    for s in sequences:
        late = np.arange(max(frames), len(s.features))
        if not len(late):
            continue
        chosen = rng.choice(late, min(points, len(late)), replace=False)
        whole.append(curve(model, s.features)[chosen])
        pasts += [s.features[t + 1 - max(frames) : t + 1] for t in chosen]
    if not whole:
        raise ValueError(f"seconds: no track is longer than {max(seconds):g} s")
    intact, stacked = np.concatenate(whole), np.stack(pasts)
    warm_up = np.broadcast_to(fill.astype(np.float32), (1, WARM_UP_FRAMES, len(fill)))
    _, state = model.run(warm_up)
    state = np.repeat(state, len(stacked), axis=0)
    rows = []
    for length, n in zip(seconds, tqdm(frames, desc="memory", unit="length"), strict=True):
        found = model.run(np.ascontiguousarray(stacked[:, -n:]), state)[0][:, -1]
        rows += [
            {"seconds": float(length), "target": target, "points": len(stacked), **own}
            for target, own in difference(intact, np.clip(found, *SCALE)).items()
        ]
    return rows


def change_table(rows: Sequence[Mapping]) -> pd.DataFrame:
    """What `output_change` found, for display."""
    table = pd.DataFrame(rows).pivot(
        index=["part", "features"], columns="target", values=["change", "shift", "r"]
    )
    order = list(dict.fromkeys((row["part"], row["features"]) for row in rows))
    return table.loc[order].swaplevel(axis=1)[
        [(target, value) for target in TARGETS for value in ("change", "shift", "r")]
    ].round(3)  # fmt: skip


def loss_table(rows: Sequence[Mapping]) -> pd.DataFrame:
    """What `ridge_loss` found for one or both targets, for display."""
    cells = [
        {
            "part": row["part"],
            "target": row["target"],
            **{m: f"{row[m]}" for m in ("rmse", "r")},
        }
        for row in rows
    ]  # fmt: skip
    table = pd.DataFrame(cells).pivot(index="part", columns="target", values=["rmse", "r"])
    order = list(dict.fromkeys(row["part"] for row in rows))
    return table.loc[order].rename(columns={"rmse": "RMSE"}).swaplevel(axis=1).sort_index(axis=1)
