"""What the embeddings of pretrained networks add to features made by hand, on whole clips.

Each set of feature blocks gets the models of `msr_utils.experiments.clip_models`, with the same
splits. The plain mean of these models is compared between sets. Sets of several parts are joined in
two ways: all blocks are one input (early fusion), or the predictions from each part alone are
averaged (late fusion).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from msr_utils.audio.decode import load
from msr_utils.constants import SAMPLE_RATE
from msr_utils.corpora.base import Corpus
from msr_utils.experiments import clip_models
from msr_utils.experiments.clip_models import LOGMEL, MEAN, ClipPredictions
from msr_utils.experiments.clip_scores import (
    MetricEstimates,
    estimates,
    metric_samples,
    paired_difference,
)
from msr_utils.features.config import FeatureConfig
from msr_utils.features.extractor import FeatureExtractor
from msr_utils.metrics.bootstrap import N_BOOT, SEED, draw_counts
from msr_utils.paths import CACHE_DIR

HAND_MADE = "hand-made"
"""Name of the blocks that need no pretrained network."""

SEPARATOR = " + "


@dataclass(frozen=True)
class BlockComparison:
    """Scores of every set of blocks.

    Parameters
    ----------
    clips, groups : int
    scores : dict of set to metric to target to Estimate
        Of the mean of the models. Ridge on log-mel is a row too.
    above : dict of set to metric to target to Estimate
        Paired difference to the hand-made blocks, on the same resampled groups.
    early_above_late : dict of set to metric to target to Estimate
        Paired difference of one input with all parts to the mean of predictions from each part.
    """

    clips: int
    groups: int
    scores: dict[str, MetricEstimates]
    above: dict[str, MetricEstimates]
    early_above_late: dict[str, MetricEstimates]


def block_sets(hand_made: str, networks: Sequence[str]) -> dict[str, str]:
    """Names of the sets that are compared, and their blocks.

    Each network alone, each with the hand-made blocks, and all together.
    """
    sets = {HAND_MADE: hand_made}
    sets |= {network: network for network in networks}
    sets |= {HAND_MADE + SEPARATOR + network: f"{hand_made},{network}" for network in networks}
    if len(networks) > 1:
        sets[SEPARATOR.join([HAND_MADE, *networks])] = ",".join([hand_made, *networks])
    return sets


def late_fusion_name(joined: str) -> str:
    """Name of the mean of predictions from each part of a set, such as "mean of a, b"."""
    return f"mean of {', '.join(joined.split(SEPARATOR))}"


def compare(
    corpus: Corpus,
    hand_made: str,
    networks: Sequence[str],
    folds: int,
    n_boot: int = N_BOOT,
    seed: int = SEED,
    work_dir: Path | None = None,
    cache_dir: Path = CACHE_DIR,
    progress: bool = True,
) -> BlockComparison:
    """Cross-validate the clip models on each set of blocks.

    Parameters
    ----------
    corpus : Corpus
        With quadrants or emotions.
    hand_made : str
        Feature blocks that need no pretrained network, separated by commas.
    networks : sequence of str
        Blocks that run one.
    folds : int >= 1
        No group is in both training and test. Hyperparameters are chosen within training parts.
    n_boot : int >= 0
        Bootstrap samples of groups; 0: no intervals.
    seed : int
    work_dir : Path, optional
        Folder for finished folds, so that a killed run continues after them.
    cache_dir : Path
        Of the features.
    progress : bool

    Raises
    ------
    CorpusError
        If the corpus has no labels of clips, or audio cannot be decoded.
    PretrainedWeightsError
        If the weights of a network are missing.
    ValueError
        If a block is unknown, there are too few groups, or there is no network.
    """
    if not networks:
        raise ValueError("networks: name at least one block with a pretrained network")
    predicted: dict[str, ClipPredictions] = {
        name: clip_models.cross_validate(
            corpus, blocks, folds, seed, work_dir / name if work_dir else None, cache_dir, progress
        )
        for name, blocks in block_sets(hand_made, networks).items()
    }
    first = predicted[HAND_MADE]
    counts = draw_counts(first.groups, n_boot, seed)
    alone = {name: found.scores[MEAN] for name, found in predicted.items()}
    joined = [name for name in alone if SEPARATOR in name]
    late = {
        late_fusion_name(name): np.mean([alone[part] for part in name.split(SEPARATOR)], axis=0)
        for name in joined
    }
    rows = {LOGMEL: first.scores[LOGMEL], **alone, **late}
    samples = {
        name: metric_samples(first.labels, counts, first.true, scores)
        for name, scores in rows.items()
    }
    return BlockComparison(
        clips=len(first.groups),
        groups=len(set(first.groups)),
        scores={name: estimates(found) for name, found in samples.items()},
        above={
            name: estimates(paired_difference(found, samples[HAND_MADE]))
            for name, found in samples.items()
            if name != HAND_MADE
        },
        early_above_late={
            name: estimates(paired_difference(samples[name], samples[late_fusion_name(name)]))
            for name in joined
        },
    )


def costs(blocks: Sequence[str], audio_path: Path, repeats: int = 3) -> dict[str, float]:
    """Processor time of blocks in ms for a second of audio, on one thread.

    Parameters
    ----------
    blocks : sequence of str
        Each entry is one block or several, separated by commas.
    audio_path : Path
        A file of some seconds. It is decoded before the time counts.
    repeats : int > 0
        The best one counts.
    """
    samples = load(audio_path)
    seconds = len(samples) / SAMPLE_RATE
    found = {}
    with threadpool_limits(1):
        for entry in blocks:
            config = FeatureConfig(entry)
            FeatureExtractor(config).push(samples[: 2 * SAMPLE_RATE])  # filters are made once
            times = []
            for _ in range(repeats):
                began = time.process_time()
                FeatureExtractor(config).push(samples)
                times.append(time.process_time() - began)
            found[entry] = 1000 * min(times) / seconds
    return found


def cost_table(found: Mapping[str, float]) -> pd.DataFrame:
    """Readable table of `costs`."""
    rows = [
        {
            "blocks": entry.replace(",", ", "),
            "ms for a second of audio": f"{ms:.2f}",
            "times as fast as real time": f"{1000 / ms:.0f}",
        }
        for entry, ms in found.items()
    ]
    return pd.DataFrame(rows).set_index("blocks")
