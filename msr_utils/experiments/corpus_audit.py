"""What a corpus' labels are made of, before any model: size, spread, people, ceilings, defects."""

from __future__ import annotations

import numpy as np
import pandas as pd

from msr_utils.constants import FRAME_RATE_HZ, TARGETS
from msr_utils.corpora.base import Corpus, Track
from msr_utils.corpora.emotify import EMOTIONS, reliability
from msr_utils.evaluation.ceiling import ceiling

QUADRANTS = {
    "Q1": "+V +A: happy, excited",
    "Q2": "-V +A: angry, tense",
    "Q3": "-V -A: sad, tired",
    "Q4": "+V -A: calm, content",
}
"""Quadrants of the valence-arousal plane (Russell 1980), anticlockwise from the top right."""

NOT_PROFILE = ("track_id", "track id")
"""Columns of a table of raters that say what was rated, not by whom."""


def describe(corpus: Corpus) -> dict:
    """Size of a corpus and what its labels are made of.

    Returns
    -------
    dict
        ``corpus, labels_kind, tracks, groups, without_audio`` and, by the kind of labels, what
        `describe_curves`, `describe_quadrants` or `describe_gems` gives.
    """
    own = {
        "curves": describe_curves,
        "quadrants": describe_quadrants,
        "gems": describe_gems,
    }[corpus.labels]
    return {
        "corpus": corpus.name,
        "labels_kind": corpus.labels,
        "tracks": len(corpus.tracks),
        "groups": len({t.group for t in corpus.tracks}),
        "without_audio": corpus.without_audio,
        **own(corpus),
    }


def describe_curves(corpus: Corpus) -> dict:
    """Facts of a corpus with valence and arousal over time.

    Returns
    -------
    dict
        ``hours, frames, missing`` (annotated frames without a value), ``resting``
        (``tracks, frames``, see `resting_end`), ``raters_per_track,
        ratings_per_frame`` (least, median, most; None where single ratings are not
        published) and ``labels[target]``: ``mean, constant_rmse`` (the error of the best
        constant, their sd), ``oracle_rmse`` (of each track's own mean, the sd within tracks),
        ``between_share`` (share of the variance that lies between tracks' means) and
        ``ceiling`` (see `msr_utils.metrics.reliability.rater_ceiling`).
    """
    labels = {}
    for target in TARGETS:
        curves = [getattr(t, target)[t.mask] for t in corpus.tracks]
        pooled = np.concatenate(curves)
        within = np.concatenate([c - c.mean() for c in curves])
        variance = float(pooled.var())
        labels[target] = {
            "mean": float(pooled.mean()),
            "constant_rmse": float(pooled.std()),
            "oracle_rmse": float(within.std()),
            "between_share": 1 - float(within.var()) / variance if variance else float("nan"),
            "ceiling": ceiling(corpus, target),
        }
    frames = sum(int(t.mask.sum()) for t in corpus.tracks)
    rated = [t.ratings for t in corpus.tracks if t.ratings is not None]
    resting = [resting_end(ratings) for ratings in rated]
    counts = [np.isfinite(r).all(axis=2).sum(axis=0) for r in rated]
    return {
        "hours": frames / FRAME_RATE_HZ / 3600,
        "frames": frames,
        "missing": sum(len(t.mask) for t in corpus.tracks) - frames,
        "resting": {"tracks": sum(n > 0 for n in resting), "frames": sum(resting)},
        "raters_per_track": _spread([len(r) for r in rated]),
        "ratings_per_frame": _spread(np.concatenate(counts)) if counts else None,
        "labels": labels,
    }


def resting_end(ratings: np.ndarray) -> int:
    """Frames at the end of a track in which all raters say exactly 0 of both targets.

    So do sliders that were let go of, or a table that was filled up.

    Parameters
    ----------
    ratings : np.ndarray [shape=(raters, T, 2)]
    """
    known = np.isfinite(ratings)
    at_rest = (~known | (ratings == 0)).all(axis=(0, 2)) & known.any(axis=(0, 2))
    moved = np.flatnonzero(~at_rest)
    return ratings.shape[1] - (int(moved[-1]) + 1 if len(moved) else 0)


def describe_quadrants(corpus: Corpus) -> dict:
    """``quadrants``: clips in each; ``largest_share``: accuracy of always naming the largest."""
    counts = {q: sum(t.quadrant == q for t in corpus.tracks) for q in QUADRANTS}
    return {"quadrants": counts, "largest_share": max(counts.values()) / len(corpus.tracks)}


def describe_gems(corpus: Corpus) -> dict:
    """Facts of a corpus with the emotions that listeners felt.

    Returns
    -------
    dict
        ``listeners_per_track`` (least, median, most), ``answers`` (rows of listeners) and
        ``emotions[name]``: ``mean`` and ``sd`` over tracks of the share of listeners, and
        their agreement (see `msr_utils.corpora.emotify.reliability`).
    """
    shares = np.stack([t.gems for t in corpus.tracks])
    listeners = [len(t.gems_ratings) for t in corpus.tracks]
    agreement = reliability(corpus.tracks).to_dict("index")
    columns = {name: shares[:, i] for i, name in enumerate(EMOTIONS)} | {"mean": shares}
    return {
        "listeners_per_track": _spread(listeners),
        "answers": sum(listeners),
        "emotions": {
            name: {"mean": values.mean(), "sd": values.std(axis=0).mean(), **agreement[name]}
            for name, values in columns.items()
        },
    }


def _spread(counts: list[int] | np.ndarray) -> list[int] | None:
    """Least, median and most."""
    return [int(f(counts)) for f in (np.min, np.median, np.max)] if len(counts) else None


def size_table(facts: dict) -> pd.DataFrame:
    """Size of a corpus, from `describe`, for display."""
    rows = {"tracks": facts["tracks"], "groups (artist, series)": facts["groups"]}
    if facts["without_audio"]:
        rows["annotated tracks without audio here"] = facts["without_audio"]
    if facts["labels_kind"] == "curves":
        rows["annotated hours"] = f"{facts['hours']:.2f}"
        rows["annotated frames of 500 ms"] = facts["frames"]
        rows["frames that lack a value"] = facts["missing"]
        if facts["resting"]["frames"]:
            rows["frames at ends of tracks where every rater says 0, 0"] = (
                f"{facts['resting']['frames']}, in {facts['resting']['tracks']} tracks"
            )
        rows["raters per track"] = _range(facts["raters_per_track"])
        rows["ratings per frame"] = _range(facts["ratings_per_frame"])
    if facts["labels_kind"] == "gems":
        rows["listeners' answers"] = facts["answers"]
        rows["listeners per track"] = _range(facts["listeners_per_track"])
    if facts["labels_kind"] == "quadrants":
        rows["accuracy of the largest quadrant"] = f"{facts['largest_share']:.3f}"
    return pd.DataFrame({"value": rows})


def _range(spread: list[int] | None) -> str:
    if spread is None:
        return "not published"
    least, median, most = spread
    return f"{least} to {most}, median {median}"


def label_table(facts: dict) -> pd.DataFrame:
    """Spread of the curves and the raters' ceiling, from `describe`, for display."""
    rows = {}
    for target, label in facts["labels"].items():
        best = label["ceiling"]
        rows[target] = {
            "mean": label["mean"],
            "RMSE of a constant (sd)": label["constant_rmse"],
            "RMSE of each track's own mean (sd within tracks)": label["oracle_rmse"],
            "share of variance between tracks": label["between_share"],
            "reliability of the mean rating": best.reliability,
            "ceiling: highest r": best.r,
            "ceiling: RMSE of noise alone": best.rmse,
            "agreement on a track's course (split-half r)": best.within_r,
        }
    return pd.DataFrame(rows).round(3)


def agreement_table(facts: dict) -> pd.DataFrame:
    """Share of listeners and their agreement for each emotion, from `describe`, for display."""
    if facts["labels_kind"] != "gems":
        return pd.DataFrame({"agreement": ["single answers are not published"]})
    return pd.DataFrame.from_dict(facts["emotions"], orient="index").round(3)


def rater_table(corpus: Corpus, most: int = 4) -> pd.DataFrame:
    """Who rated: the most frequent values of each column of the profiles, for display."""
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
    """Clips by genre, the most frequent first, for display."""
    genres = pd.Series([t.text.get("genre") or t.text.get("genres", "") for t in corpus.tracks])
    single = genres.str.split(";").explode().str.strip()
    counts = single[single != ""].value_counts()
    return counts.head(most).rename_axis("genre").rename("clips").to_frame()


def static_songs(corpus: Corpus) -> pd.DataFrame:
    """Song-level ratings beside the means of the same songs' curves.

    Returns
    -------
    pandas.DataFrame
        One row a song: ``part`` (the release), ``static_valence, static_arousal,
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


def static_table(parts: list[dict]) -> pd.DataFrame:
    """What `msr_utils.corpora.deam.static_audit` found, for display."""
    rows = {}
    for part in parts:
        rows[part["release"]] = {
            "songs": part["songs"],
            **{
                f"column {static!r} with {dynamic} curve": round(
                    part[f"r_static_{static}_dynamic_{dynamic}"], 3
                )
                for static in TARGETS
                for dynamic in TARGETS
            },
            "swapped": {True: "yes", False: "no", None: "cannot tell"}[part["swapped"]],
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("release")


def release_table(corpus: Corpus) -> pd.DataFrame:
    """How far the labels move, release by release, for display.

    Parts of a corpus may differ: excerpts hardly move, whole songs do, and pooled figures hide it.
    """
    rows = {}
    for release in sorted({t.text.get("release", "all") for t in corpus.tracks}):
        tracks = [t for t in corpus.tracks if t.text.get("release", "all") == release]
        row = {"tracks": len(tracks), "frames": sum(int(t.mask.sum()) for t in tracks)}
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
