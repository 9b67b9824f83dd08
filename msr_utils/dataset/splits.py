"""Splits by group into training, validation and test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold, GroupShuffleSplit

from msr_utils.corpora.base import Corpus, Track
from msr_utils.dataset.sequences import Sequence2Hz


@dataclass(frozen=True)
class Split:
    """Track ids of the three parts; no group lies in two of them."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


InnerParts = list[tuple[tuple[str, ...], tuple[str, ...]]]
"""Ids of training and held-out tracks, a pair for each inner fold."""


def make_splits(
    tracks: Sequence[Track] | Sequence[Sequence2Hz],
    folds: int,
    validation_fraction: float = 0.2,
    test_fraction: float = 0.2,
    seed: int = 7,
) -> list[Split]:
    """Split by group into train, validation and test.

    Parameters
    ----------
    tracks : sequence with ``id``, ``group`` and ``split``
    folds : int >= 1
        1: one split, the official one where there is one. More: cross-validation, in which every
        track is tested once, by a model that was trained on no track of its group. The test part
        of an official split is then left out, so that it stays unseen when settings are chosen.
    validation_fraction, test_fraction : float in (0, 1)
        Share of the groups; `test_fraction` counts only with one unofficial split.
    seed : int

    Raises
    ------
    ValueError
        If there are too few groups, a track is in neither part of an official split, or one
        split is asked for and the official test part is not here.
    """
    has_official = {"train", "test"} <= {t.split for t in tracks}
    used = [t for t in tracks if not (has_official and folds > 1 and t.split == "test")]
    ids, groups, official = (
        np.array([getattr(t, name) for t in used]) for name in ("id", "group", "split")
    )
    _check_splits(folds, ids, groups, official, has_official)
    if folds > 1:
        outer = list(GroupKFold(folds).split(ids, groups=groups))
    elif has_official:
        # An official split may have an artist in both parts: those songs leave training.
        train, test = np.flatnonzero(official != "test"), np.flatnonzero(official == "test")
        outer = [(train[~np.isin(groups[train], groups[test])], test)]
    else:
        shuffle = GroupShuffleSplit(1, test_size=test_fraction, random_state=seed)
        outer = list(shuffle.split(ids, None, groups))
    splits = []
    for rest, test in outer:
        # Groups differ much in size: of balanced parts, one drawn by the seed is validation.
        parts = min(max(2, round(1 / validation_fraction)), len(set(groups[rest])))
        inner = list(GroupKFold(parts).split(rest, groups=groups[rest]))
        train, validation = inner[seed % parts]
        splits.append(
            Split(tuple(ids[rest[train]]), tuple(ids[rest[validation]]), tuple(ids[test]))
        )
    return splits


def _check_splits(
    folds: int, ids: np.ndarray, groups: np.ndarray, official: np.ndarray, has_official: bool
) -> None:
    if folds < 1:
        raise ValueError(f"folds: must be at least 1, not {folds}")
    needed, n_groups = max(folds + 1, 3), len(set(groups))
    if n_groups < needed:
        raise ValueError(
            f"folds: {folds} folds with a validation part need at least {needed} groups, the "
            f"corpus has {n_groups}"
        )
    if folds == 1 and set(official) == {"train"}:
        raise ValueError(
            "folds: 1 means the official split, but no track of its test part is here; get their "
            "audio, or cross-validate the others with more folds"
        )
    if has_official and "" in official:
        raise ValueError(
            f"split: track '{ids[official == ''][0]}' is in neither part of the official split; "
            "give every track train or test"
        )


def inner_parts(split: Split, group: Mapping[str, str], folds: int) -> InnerParts:
    """Training and validation parts on which a model's settings are chosen, test left aside.

    Parameters
    ----------
    split : Split
    group : mapping of str to str
        Track id to group.
    folds : int >= 1
        1: the validation part of the split. More: cross-validation by group over training and
        validation tracks together. It is for corpora with few groups, where a single part says
        little.

    Returns
    -------
    list of (train, validation)
        Track ids.

    Raises
    ------
    ValueError
        If there are fewer groups than folds.
    """
    if folds == 1:
        return [(split.train, split.validation)]
    known = np.array(split.train + split.validation)
    groups = np.array([group[i] for i in known])
    if not 2 <= folds <= len(set(groups)):
        raise ValueError(
            f"inner_folds: must lie between 1 and {len(set(groups))}, the groups that are not "
            f"tested, not {folds}"
        )
    return [
        (tuple(known[train]), tuple(known[held]))
        for train, held in GroupKFold(folds).split(known, groups=groups)
    ]


def splits_of(corpus: Corpus, folds: int, seed: int) -> list[Split]:
    """Splits as every notebook of the study makes them.

    They depend on the corpus, `folds` and `seed` alone. So models that are trained in different
    notebooks are tested on the same tracks.

    For DEAM, one fold is the protocol of MediaEval 2015 (train on songs up to 2000, test on the
    58 whole songs 2001..2058), ten are cross-validation on the songs up to 2000 with each
    artist in one fold. Training songs by an artist of the 58 would be left out; the release has
    none.
    """
    return make_splits(corpus.tracks, folds, seed=seed)


def folds_that_fit(corpus: Corpus, folds: int, inner_folds: int, seed: int) -> tuple[int, int]:
    """The wanted numbers of folds, or the largest ones below them that the groups allow.

    Parameters
    ----------
    corpus : Corpus
    folds, inner_folds : int >= 1
        As of `splits_of` and `inner_parts`.
    seed : int

    Returns
    -------
    (folds, inner_folds) : int

    Raises
    ------
    ValueError
        If there are too few groups for a training, a validation and a test part.
    """
    group = {t.id: t.group for t in corpus.tracks}
    for fewer in range(folds, 0, -1):
        try:
            splits = splits_of(corpus, fewer, seed)
        except ValueError:
            if fewer == 1:
                raise
            continue
        known = min(len({group[i] for i in s.train + s.validation}) for s in splits)
        return fewer, min(inner_folds, known)
    raise ValueError(f"folds: must be at least 1, not {folds}")


def split_table(splits: Sequence[Split], corpus: Corpus) -> pd.DataFrame:
    """Tracks and groups in each part of each split, and tracks in none, for display."""
    group = {t.id: t.group for t in corpus.tracks}
    rows = []
    for fold, split in enumerate(splits, 1):
        row = {"fold": fold}
        for part in ("train", "validation", "test"):
            ids = getattr(split, part)
            row[f"{part} tracks"] = len(ids)
            row[f"{part} groups"] = len({group[i] for i in ids})
        # Set aside for the official test, or by an artist who is tested.
        row["unused tracks"] = len(group) - sum(v for k, v in row.items() if k.endswith("tracks"))
        rows.append(row)
    return pd.DataFrame(rows).set_index("fold")
