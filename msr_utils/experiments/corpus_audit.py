"""What the labels of a corpus are made of: size, spread, raters, ceilings, defects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from msr_utils.affect import QUADRANT_NAMES
from msr_utils.constants import FRAME_RATE_HZ, TARGETS
from msr_utils.corpora.base import Corpus, Track
from msr_utils.corpora.deam.static import StaticAudit
from msr_utils.corpora.emotify import EMOTIONS, reliability
from msr_utils.evaluation.ceiling import ceiling
from msr_utils.metrics.reliability import Reliability

NOT_PROFILE = ("track_id", "track id")
"""Columns of a table of raters that identify the track, not the rater."""


class Spread(NamedTuple):
    """Smallest, median and largest of several counts."""

    least: int
    median: int
    most: int


@dataclass(frozen=True)
class CorpusSummary:
    """Size of a corpus.

    Parameters
    ----------
    corpus : str
    labels_kind : str
        One of `msr_utils.corpora.base.LABELS`.
    tracks, groups : int
    without_audio : int
        Number of annotated tracks without audio.
    """

    corpus: str
    labels_kind: str
    tracks: int
    groups: int
    without_audio: int


@dataclass(frozen=True)
class RestingEnds:
    """Tracks that end with frames in which all raters gave 0, and the number of such frames."""

    tracks: int
    frames: int


@dataclass(frozen=True)
class CurveLabels:
    """Spread of one target over the frames of a corpus.

    Parameters
    ----------
    mean : float
    constant_rmse : float
        RMSE of the best constant, which is the standard deviation of the labels.
    oracle_rmse : float
        RMSE of each track's own mean, which is the standard deviation within tracks.
    between_share : float
        Share of the variance that lies between the means of tracks.
    ceiling : Reliability
        See `msr_utils.metrics.reliability.rater_ceiling`.
    """

    mean: float
    constant_rmse: float
    oracle_rmse: float
    between_share: float
    ceiling: Reliability


@dataclass(frozen=True)
class CurveSummary(CorpusSummary):
    """A corpus with valence and arousal over time.

    Parameters
    ----------
    hours : float
        Annotated.
    frames : int
        Annotated frames with both targets.
    missing : int
        Annotated frames without a value.
    resting : RestingEnds
        See `resting_end`.
    raters_per_track, ratings_per_frame : Spread, optional
        None where single ratings are not published.
    labels : dict of str to CurveLabels
        Target -> spread.
    """

    hours: float
    frames: int
    missing: int
    resting: RestingEnds
    raters_per_track: Spread | None
    ratings_per_frame: Spread | None
    labels: dict[str, CurveLabels]


@dataclass(frozen=True)
class QuadrantSummary(CorpusSummary):
    """A corpus with one quadrant per clip.

    Parameters
    ----------
    quadrants : dict of str to int
        Quadrant -> number of clips.
    largest_share : float
        Accuracy of a model that always answers the most frequent quadrant.
    """

    quadrants: dict[str, int]
    largest_share: float


@dataclass(frozen=True)
class EmotionLabels:
    """Share of listeners who felt one emotion, and their agreement.

    Parameters
    ----------
    mean, sd : float
        Over tracks.
    split_half, reliability, ceiling : float
        See `msr_utils.corpora.emotify.reliability`.
    """

    mean: float
    sd: float
    split_half: float
    reliability: float
    ceiling: float


@dataclass(frozen=True)
class GemsSummary(CorpusSummary):
    """A corpus with the emotions that listeners felt.

    Parameters
    ----------
    listeners_per_track : Spread, optional
    answers : int
        Number of answers of all listeners.
    emotions : dict of str to EmotionLabels
        Emotion, or ``mean``, -> shares and agreement.
    """

    listeners_per_track: Spread | None
    answers: int
    emotions: dict[str, EmotionLabels]


def describe(corpus: Corpus) -> CurveSummary | QuadrantSummary | GemsSummary:
    """Summarise size and labels of a corpus, by the kind of its labels."""
    if corpus.labels == "quadrants":
        return describe_quadrants(corpus)
    if corpus.labels == "gems":
        return describe_gems(corpus)
    return describe_curves(corpus)


def _size(corpus: Corpus) -> dict[str, Any]:
    """Fields of `CorpusSummary`."""
    return {
        "corpus": corpus.name,
        "labels_kind": corpus.labels,
        "tracks": len(corpus.tracks),
        "groups": len({t.group for t in corpus.tracks}),
        "without_audio": corpus.without_audio,
    }


def describe_curves(corpus: Corpus) -> CurveSummary:
    """Summarise a corpus with valence and arousal over time."""
    frames = sum(int(t.mask.sum()) for t in corpus.tracks)
    rated = [t.ratings for t in corpus.tracks if t.ratings is not None]
    resting = [resting_end(ratings) for ratings in rated]
    counts = [np.isfinite(r).all(axis=2).sum(axis=0) for r in rated]
    return CurveSummary(
        **_size(corpus),
        hours=frames / FRAME_RATE_HZ / 3600,
        frames=frames,
        missing=sum(len(t.mask) for t in corpus.tracks) - frames,
        resting=RestingEnds(tracks=sum(n > 0 for n in resting), frames=sum(resting)),
        raters_per_track=_spread([len(r) for r in rated]),
        ratings_per_frame=_spread(np.concatenate(counts)) if counts else None,
        labels={target: _curve_labels(corpus, target) for target in TARGETS},
    )


def _curve_labels(corpus: Corpus, target: str) -> CurveLabels:
    curves = [getattr(t, target)[t.mask] for t in corpus.tracks]
    pooled = np.concatenate(curves)
    within = np.concatenate([c - c.mean() for c in curves])
    variance = float(pooled.var())
    return CurveLabels(
        mean=float(pooled.mean()),
        constant_rmse=float(pooled.std()),
        oracle_rmse=float(within.std()),
        between_share=1 - float(within.var()) / variance if variance else float("nan"),
        ceiling=ceiling(corpus, target),
    )


def resting_end(ratings: np.ndarray) -> int:
    """Number of frames at the end of a track in which all raters gave exactly 0 for both targets.

    Sliders that were released look like this, and tables that were padded.

    Parameters
    ----------
    ratings : np.ndarray [shape=(raters, T, 2)]
    """
    known = np.isfinite(ratings)
    at_rest = (~known | (ratings == 0)).all(axis=(0, 2)) & known.any(axis=(0, 2))
    moved = np.flatnonzero(~at_rest)
    return ratings.shape[1] - (int(moved[-1]) + 1 if len(moved) else 0)


def describe_quadrants(corpus: Corpus) -> QuadrantSummary:
    """Summarise a corpus with one quadrant per clip."""
    counts = {q: sum(t.quadrant == q for t in corpus.tracks) for q in QUADRANT_NAMES}
    return QuadrantSummary(
        **_size(corpus),
        quadrants=counts,
        largest_share=max(counts.values()) / len(corpus.tracks),
    )


def describe_gems(corpus: Corpus) -> GemsSummary:
    """Summarise a corpus with the emotions that listeners felt."""
    shares = np.stack([t.gems for t in corpus.tracks if t.gems is not None])
    listeners = [len(t.gems_ratings) for t in corpus.tracks if t.gems_ratings is not None]
    agreement = reliability(corpus.tracks)
    columns = {name: shares[:, i] for i, name in enumerate(EMOTIONS)} | {"mean": shares}
    return GemsSummary(
        **_size(corpus),
        listeners_per_track=_spread(listeners),
        answers=sum(listeners),
        emotions={
            name: EmotionLabels(
                mean=float(values.mean()),
                sd=float(values.std(axis=0).mean()),
                split_half=float(agreement["split_half"][name]),
                reliability=float(agreement["reliability"][name]),
                ceiling=float(agreement["ceiling"][name]),
            )
            for name, values in columns.items()
        },
    )


def _spread(counts: Sequence[int] | np.ndarray) -> Spread | None:
    if not len(counts):
        return None
    return Spread(int(np.min(counts)), int(np.median(counts)), int(np.max(counts)))


def size_table(summary: CorpusSummary) -> pd.DataFrame:
    """Size of a corpus, for display."""
    rows: dict[str, int | str] = {
        "tracks": summary.tracks,
        "groups (artist, series)": summary.groups,
    }
    if summary.without_audio:
        rows["annotated tracks without audio here"] = summary.without_audio
    if isinstance(summary, CurveSummary):
        rows["annotated hours"] = f"{summary.hours:.2f}"
        rows["annotated frames of 500 ms"] = summary.frames
        rows["frames that lack a value"] = summary.missing
        if summary.resting.frames:
            rows["frames at ends of tracks where every rater gave 0, 0"] = (
                f"{summary.resting.frames}, in {summary.resting.tracks} tracks"
            )
        rows["raters per track"] = _range(summary.raters_per_track)
        rows["ratings per frame"] = _range(summary.ratings_per_frame)
    if isinstance(summary, GemsSummary):
        rows["listeners' answers"] = summary.answers
        rows["listeners per track"] = _range(summary.listeners_per_track)
    if isinstance(summary, QuadrantSummary):
        rows["accuracy of the largest quadrant"] = f"{summary.largest_share:.3f}"
    return pd.DataFrame({"value": rows})


def _range(spread: Spread | None) -> str:
    if spread is None:
        return "not published"
    return f"{spread.least} to {spread.most}, median {spread.median}"


def label_table(summary: CurveSummary) -> pd.DataFrame:
    """Spread of the curves and the raters' ceiling, for display."""
    rows = {
        target: {
            "mean": label.mean,
            "RMSE of a constant (sd)": label.constant_rmse,
            "RMSE of each track's own mean (sd within tracks)": label.oracle_rmse,
            "share of variance between tracks": label.between_share,
            "reliability of the mean rating": label.ceiling.reliability,
            "ceiling: highest r": label.ceiling.r,
            "ceiling: RMSE of noise alone": label.ceiling.rmse,
            "agreement within a track (split-half r)": label.ceiling.within_r,
        }
        for target, label in summary.labels.items()
    }
    return pd.DataFrame(rows).round(3)


def agreement_table(summary: CorpusSummary) -> pd.DataFrame:
    """Share of listeners and their agreement for each emotion, for display."""
    if not isinstance(summary, GemsSummary):
        return pd.DataFrame({"agreement": ["single answers are not published"]})
    rows = {name: asdict(emotion) for name, emotion in summary.emotions.items()}
    return pd.DataFrame.from_dict(rows, orient="index").round(3)


def rater_table(corpus: Corpus, most: int = 4) -> pd.DataFrame:
    """Profiles of the raters, for display: the most frequent values of each column.

    Parameters
    ----------
    corpus : Corpus
    most : int
        Number of values shown for each column.
    """
    if corpus.raters is None or corpus.raters.empty:
        return pd.DataFrame({"profiles": ["not published"]})
    rows = {}
    for column, values in corpus.raters.items():
        if column in NOT_PROFILE:
            continue
        known = values.replace("", np.nan).dropna()
        if pd.api.types.is_numeric_dtype(known) and known.nunique() > 2 * most:
            low, middle, high = known.quantile([0.25, 0.5, 0.75])
            words = f"median {middle:g}, middle half {low:g} to {high:g}"
        else:
            shares = known.astype(str).value_counts(normalize=True).head(most)
            words = ", ".join(f"{value} {share:.0%}" for value, share in shares.items())
        rows[column] = {"answers": len(known), "most frequent": words}
    return pd.DataFrame.from_dict(rows, orient="index")


def genre_table(corpus: Corpus, most: int = 8) -> pd.DataFrame:
    """Number of clips by genre, the most frequent first, for display."""
    genres = pd.Series([t.text.get("genre") or t.text.get("genres", "") for t in corpus.tracks])
    single = genres.str.split(";").explode().str.strip()
    counts = single[single != ""].value_counts()
    return counts.head(most).rename_axis("genre").rename("clips").to_frame()


def static_songs(corpus: Corpus) -> pd.DataFrame:
    """Song-level ratings beside the means of the same songs' curves.

    Returns
    -------
    pandas.DataFrame
        One row per song: ``part`` (the release), ``static_valence, static_arousal,
        dynamic_valence, dynamic_arousal``, in [-1, 1].
    """
    return pd.DataFrame(
        {
            "part": f"release {t.text['release']}",
            **{f"static_{name}": t.static[i] for i, name in enumerate(TARGETS)},
            **{f"dynamic_{name}": np.nanmean(getattr(t, name)) for name in TARGETS},
        }
        for t in corpus.tracks
        if t.static is not None
    )


def static_table(audits: Sequence[StaticAudit]) -> pd.DataFrame:
    """Results of `msr_utils.corpora.deam.static_audit`, for display."""
    rows = {}
    for audit in audits:
        rows[audit.release] = {
            "songs": audit.songs,
            **{
                f"column {static!r} with {dynamic} curve": round(
                    getattr(audit, f"r_static_{static}_dynamic_{dynamic}"), 3
                )
                for static in TARGETS
                for dynamic in TARGETS
            },
            "swapped": {True: "yes", False: "no", None: "cannot tell"}[audit.swapped],
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("release")


def release_table(corpus: Corpus) -> pd.DataFrame:
    """Spread of the labels by release, for display.

    Parts of a corpus may differ: labels of excerpts hardly move, those of whole songs do. Pooled
    figures hide this.
    """
    rows = {}
    for release in sorted({t.text.get("release", "all") for t in corpus.tracks}):
        tracks = [t for t in corpus.tracks if t.text.get("release", "all") == release]
        row: dict[str, float] = {
            "tracks": len(tracks),
            "frames": sum(int(t.mask.sum()) for t in tracks),
        }
        for target in TARGETS:
            curves = [getattr(t, target)[t.mask] for t in tracks]
            within = np.concatenate([c - c.mean() for c in curves])
            row[f"{target}: constant"] = round(float(np.concatenate(curves).std()), 3)
            row[f"{target}: own means"] = round(float(within.std()), 3)
        rows[release] = row
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("release")


def by_mean_arousal(corpus: Corpus) -> list[Track]:
    """The tracks with the lowest, the median and the highest mean arousal."""
    ranked = sorted(corpus.tracks, key=lambda t: (t.arousal[t.mask].mean(), t.id))
    return [ranked[0], ranked[len(ranked) // 2], ranked[-1]]
