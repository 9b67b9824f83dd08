"""Scores of models of audio and lyrics, and their tables."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from msr_utils.constants import TARGETS
from msr_utils.experiments.clip_scores import MetricEstimates
from msr_utils.experiments.song_models import TITLES
from msr_utils.metrics.estimate import MISSING, Estimate

AUDIO, WORDS, SENTENCES, NORMS = "audio", "words", "MiniLM", "word norms"
"""Inputs: statistics of the audio; counts of words; embeddings of the lyrics by a BERT that was
pretrained on text; what a published list says about the valence of single words."""

COMBINATIONS = {
    "lyrics": (WORDS, SENTENCES, NORMS),
    "audio and lyrics": (AUDIO, WORDS, SENTENCES, NORMS),
}
"""Name in tables to its inputs."""

FUSED = "audio and lyrics"


@dataclass(frozen=True)
class Mended:
    """How audio and lyrics change the error of songs of one quadrant.

    Parameters
    ----------
    songs : int
    audio, fused : Estimate
        Mean absolute error of valence.
    change : Estimate
        Paired difference; below 0 the lyrics help.
    """

    songs: int
    audio: Estimate
    fused: Estimate
    change: Estimate


@dataclass(frozen=True)
class LyricsComparison:
    """Cross-validated scores of models of songs with lyrics.

    Parameters
    ----------
    songs, groups : int
        Songs that have lyrics, and their artists.
    without_lyrics : int
        Songs that were left out.
    scores : dict of input to metric to target to Estimate
    above_audio : dict of input to metric to target to Estimate
        Paired difference to audio alone, on the same resampled artists.
    weights : dict of input to target to float
        Weights of the inputs in "audio and lyrics", mean of the folds.
    mended : dict of quadrant to Mended
        By the quadrant of the rating.
    """

    songs: int
    groups: int
    without_lyrics: int
    scores: dict[str, MetricEstimates]
    above_audio: dict[str, MetricEstimates]
    weights: dict[str, dict[str, float]]
    mended: dict[str, Mended]


def score_table(comparison: LyricsComparison) -> pd.DataFrame:
    """Readable table: inputs as rows, metrics of each target as columns."""
    rows = {
        name: {
            (target, TITLES[metric]): f"{estimate}"
            for metric, targets in metrics.items()
            for target, estimate in targets.items()
        }
        for name, metrics in comparison.scores.items()
    }
    table = pd.DataFrame.from_dict(rows, orient="index").fillna(MISSING)
    return table[[(target, TITLES[m]) for target in TARGETS for m in ("r", "rmse")]]


def difference_table(comparison: LyricsComparison) -> pd.DataFrame:
    """Readable table: r and R2 of each row minus those of audio alone."""
    return pd.DataFrame(
        {
            (target, TITLES[metric]): {
                name: f"{rows[metric][target]:+.3f}"
                for name, rows in comparison.above_audio.items()
            }
            for target in TARGETS
            for metric in ("r", "r2")
        }
    )


def mended_table(comparison: LyricsComparison) -> pd.DataFrame:
    """Readable table: the error of valence by quadrant, with audio alone and with lyrics."""
    return pd.DataFrame.from_dict(
        {
            name: {
                "songs": row.songs,
                "audio": f"{row.audio}",
                "audio and lyrics": f"{row.fused}",
                "difference": f"{row.change:+.3f}",
            }
            for name, row in comparison.mended.items()
        },
        orient="index",
    )
