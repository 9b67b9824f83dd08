"""What matters in the LSTM: one thing changed at a time, everything else as in the base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import (
    asdict,
    dataclass,
    field,
    replace,
)
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from msr_utils.corpora.base import Corpus
from msr_utils.dataset.augmentation import AugmentConfig
from msr_utils.dataset.augmented import copies_of
from msr_utils.dataset.sequences import build_sequences
from msr_utils.dataset.splits import Split
from msr_utils.evaluation.baselines import baseline_predictions
from msr_utils.features.config import FeatureConfig
from msr_utils.metrics.estimate import Estimate, Spread
from msr_utils.metrics.reliability import Reliability
from msr_utils.metrics.scores import evaluate, paired_difference
from msr_utils.models.lstm import LSTMConfig
from msr_utils.paths import CACHE_DIR, TRAININGS
from msr_utils.training.artifacts import single_scores
from msr_utils.training.cross_validation import cross_validate
from msr_utils.training.loop import FitConfig
from msr_utils.training.settings import CrossValidation

BASE = "base"

MAX_PLAUSIBLE = 10.0
"""No curve on a scale from -1 to 1 goes there: a state without bounds may hold for an excerpt and
run away on the whole track."""


@dataclass(frozen=True)
class Variant:
    """One way to build and train the LSTM.

    Parameters
    ----------
    group, name : str
        What is varied, and how.
    model : mapping
        Changes of the base's `LSTMConfig`.
    features : str
        Blocks; empty: the base's.
    window_frames : int
        Length of training excerpts; 0: the base's.
    augment : str
        Transforms of one altered copy of each training track; empty: none.
    """

    group: str
    name: str
    model: Mapping[str, Any] = field(default_factory=dict)
    features: str = ""
    window_frames: int = 0
    augment: str = ""


VARIANTS = (
    Variant(BASE, BASE),
    # The paper's word for its activation; Keras' default is tanh.
    Variant("activation", "linear", {"activation": "linear"}),
    Variant("activation", "relu", {"activation": "relu"}),
    # Neither bounds the state, so that it grows without limit at a rate that suits tanh.
    Variant("activation", "linear, slow", {"activation": "linear", "learning_rate": 2e-4}),
    Variant("activation", "relu, slow", {"activation": "relu", "learning_rate": 2e-4}),
    Variant("dropout", "0.3", {"dropout": 0.3}),
    Variant("normalisation", "batch", {"norm": "batch"}),
    Variant("normalisation", "layer", {"norm": "layer"}),
    Variant("size", "1 x 64", {"units": (64,)}),
    Variant("size", "3 x 64", {"units": (64, 64, 64)}),
    Variant("size", "2 x 128", {"units": (128, 128)}),
    Variant("targets", "both in one model", {"joint": True}),
    Variant("direction", "bidirectional", {"bidirectional": True}),
    Variant("excerpt", "15 s", window_frames=30),
    Variant("features", "log-mel", features="logmel,logmel_sd"),
    Variant("features", "MFCC", features="mfcc,mfcc_delta"),
    Variant("features", "chroma", features="chroma"),
    Variant("features", "tonal", features="tonal"),
    Variant(
        "features",
        "all",
        features="logmel,logmel_sd,mfcc,mfcc_delta,chroma,tonal,contrast,onset,tempogram,loudness",
    ),
    Variant("augmentation", "gain, eq, noise", augment="gain,eq,noise"),
)
"""The explorations that the paper names, and those that its choices call for."""


def select_variants(names: Sequence[str]) -> list[Variant]:
    """Variants by "group: name", or all of a group; the base is always among them.

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    known = {f"{v.group}: {v.name}": v for v in VARIANTS}
    groups = {v.group for v in VARIANTS}
    for name in names:
        if name not in known and name not in groups:
            raise ValueError(
                f"variants: unknown {name!r}; known: {', '.join([*sorted(groups), *known])}"
            )
    wanted = set(names) | {BASE}
    return [
        v for v in VARIANTS if not names or v.group in wanted or f"{v.group}: {v.name}" in wanted
    ]


def run(
    corpus: Corpus,
    variants: Sequence[Variant],
    config: LSTMConfig,
    fit_config: FitConfig,
    features: FeatureConfig,
    splits: Sequence[Split],
    target: str,
    window_frames: int,
    inner_folds: int = 1,
    seeds: int = 3,
    n_boot: int = 2000,
    cache_dir: Path = CACHE_DIR,
    trainings: Path = TRAININGS,
) -> dict:
    """Cross-validate every variant on the same splits, beside the baselines.

    Parameters
    ----------
    corpus : Corpus
    variants : sequence of Variant
        The base first.
    config, fit_config, features, window_frames
        The base.
    splits : sequence of Split
    target : str
        "valence" or "arousal".
    inner_folds, seeds : int
        As in `cross_validate`.
    n_boot : int
        Bootstrap samples of songs.

    Returns
    -------
    dict
        ``variants``: list of ``group, name, settings, test`` (as `evaluate` gives), ``singles``,
        ``cost`` and, but for the base, ``difference`` (as `paired_difference` gives); one that
        diverged, in training or on whole tracks, has ``diverged`` in place of results. ``baselines``: name to `evaluate`.
    """
    blocks = [b for v in variants for b in (v.features or ",".join(features.blocks)).split(",")]
    # Every file is heard once: the variants take their columns from all blocks.
    whole = replace(features, blocks=tuple(dict.fromkeys(blocks)))
    sequences = build_sequences(corpus, whole, cache_dir)
    rows: list[dict] = []
    base = None
    for variant in tqdm(variants, desc=f"variants, {target}", unit="variant"):
        own = replace(features, blocks=variant.features or features.blocks)
        columns = whole.columns(own.blocks)
        model = replace(config, **variant.model)
        length = variant.window_frames or window_frames
        row: dict[str, Any] = {
            "group": variant.group,
            "name": variant.name,
            "settings": {
                **asdict(model), "features": ",".join(own.blocks), "window_frames": length,
                "augment": variant.augment,
            },
        }  # fmt: skip
        altered = AugmentConfig(variant.augment, 1, fit_config.seed)
        try:
            trained = cross_validate(
                model, fit_config,
                [replace(s, features=s.features[:, columns]) for s in sequences],
                CrossValidation(splits, target, length, inner_folds, seeds, to_export=False),
                copies=copies_of(corpus, own, altered, cache_dir), trainings=trainings,
                label=f"{variant.group} {variant.name}",
            )  # fmt: skip
        except FloatingPointError as error:
            rows.append(row | {"diverged": str(error)})
            continue
        furthest = max(float(abs(c.predicted).max()) for c in trained.predictions.values())
        if furthest > MAX_PLAUSIBLE:
            rows.append(
                row | {"diverged": f"predicts {furthest:.1g} on tracks as long as they are"}
            )
            continue
        row["test"] = evaluate(trained.predictions, n_boot, fit_config.seed)
        row["singles"] = single_scores(trained.singles)
        row["cost"] = trained.cost
        if variant.group == BASE:
            base = trained.predictions
        elif base is not None:
            row["difference"] = paired_difference(
                trained.predictions, base, n_boot, fit_config.seed
            )
        rows.append(row)
    columns = whole.columns(features.blocks)
    plain = [replace(s, features=s.features[:, columns]) for s in sequences]
    baselines = baseline_predictions(plain, splits, target, inner_folds)
    return {
        "target": target,
        "base": {**asdict(config), **asdict(fit_config), "features": ",".join(features.blocks)},
        "variants": rows,
        "baselines": {n: evaluate(p, n_boot, fit_config.seed) for n, p in baselines.items()},
    }


def ablation_table(result: Mapping, ceiling: Reliability) -> pd.DataFrame:
    """What `run` gives, to display: scores, spread over seeds, differences from the base."""
    rows = []
    for row in result["variants"]:
        shown = {"varied": row["group"], "to": row["name"]}
        if "test" in row:
            pooled, song = row["test"].pooled, row["test"].per_song
            shown |= {
                "RMSE": f"{pooled['rmse'].value:.3f}",
                "r": f"{pooled['r'].value:.3f}",
                "r per song": f"{song['r']}",
                "r of single networks": f"{Spread.of(row['singles']['r']):.3f}",
                "parameters": f"{row['cost'].parameters:,}",
                "s per epoch": f"{row['cost'].seconds_per_epoch:.1f}",
            }
        else:
            shown["RMSE"] = "diverged"
        if "difference" in row:
            for metric, name in (("rmse", "RMSE"), ("r", "r")):
                shown[f"{name} - base"] = f"{row['difference'][metric]:+.3f}"
        rows.append(shown)
    for name, test in result["baselines"].items():
        rows.append(
            {
                "varied": "baseline",
                "to": name,
                "RMSE": f"{Estimate(test.pooled['rmse'].value)}",
                "r": f"{Estimate(test.pooled['r'].value)}",
                "r per song": f"{test.per_song['r']}",
            }
        )
    if np.isfinite(ceiling.r):
        rows.append(
            {"varied": "raters", "to": "ceiling", "RMSE": f"{ceiling.rmse:.3f}",
             "r": f"{ceiling.r:.3f}"}
        )  # fmt: skip
    return pd.DataFrame(rows).fillna("–").set_index(["varied", "to"])
