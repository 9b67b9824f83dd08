"""Alignment and masks on hand-made cases, splits without leaks, windows, the cache."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from conftest import write_folder_corpus

from msr_utils.corpora import load_corpus
from msr_utils.corpora.base import Card, Corpus, CorpusError, Track
from msr_utils.dataset.sequences import (
    Sequence2Hz,
    align,
    build_sequences,
    normalisation,
)
from msr_utils.dataset.splits import folds_that_fit, inner_parts, make_splits
from msr_utils.dataset.windows import make_windows
from msr_utils.features.cache import cached_features
from msr_utils.features.config import FeatureConfig
from msr_utils.features.extractor import FeatureExtractor


def track(times_s, valence, arousal) -> Track:
    return Track(
        "x", Path("x.wav"), np.array(times_s), np.array(valence, np.float32),
        np.array(arousal, np.float32), "g",
    )  # fmt: skip


def test_labels_land_on_the_frame_that_ends_at_their_time():
    features = np.arange(8, dtype=np.float32)[:, None]
    # Like DEAM: labels start late; one value is missing; one lies past the end of the audio.
    got = align(
        track([1.5, 2.0, 2.5, 4.5], [0.1, np.nan, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]), features
    )
    np.testing.assert_array_equal(got.mask, [0, 0, 1, 0, 1, 0, 0, 0])
    np.testing.assert_allclose(got.target("valence")[got.mask], [0.1, 0.3])
    np.testing.assert_allclose(got.target("arousal")[got.mask], [0.5, 0.7])
    np.testing.assert_array_equal(got.features[got.mask, 0], [2, 4])
    assert len(got.features) == 8  # audio without labels stays as context


def test_a_track_without_any_usable_label_is_named():
    with pytest.raises(CorpusError, match="'x': none of its annotations"):
        align(track([9.0], [0.1], [0.1]), np.zeros((4, 1), np.float32))


def sequence(name, group="g", frames=10, split="", value=0.0, dim=3) -> Sequence2Hz:
    rng = np.random.default_rng(sum(map(ord, name)))
    return Sequence2Hz(
        name, group, split, rng.normal(value, 1, (frames, dim)).astype(np.float32),
        np.full((frames, 2), value, np.float32), np.ones(frames, bool),
    )  # fmt: skip


@dataclass(frozen=True)
class Item:
    id: str
    group: str
    split: str = ""


@pytest.mark.parametrize("folds", [1, 2, 5])
@pytest.mark.parametrize("seed", range(5))
def test_no_track_and_no_group_crosses_a_split(folds, seed):
    rng = np.random.default_rng(seed)
    items = [Item(f"t{i}", f"g{rng.integers(9)}") for i in range(60)]
    group = {i.id: i.group for i in items}
    splits = make_splits(items, folds, seed=seed)
    assert len(splits) == folds
    for split in splits:
        parts = [split.train, split.validation, split.test]
        assert all(parts)
        assert sorted(sum(parts, ())) == sorted(group)
        groups = [{group[i] for i in part} for part in parts]
        assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    if folds > 1:
        assert sorted(sum((s.test for s in splits), ())) == sorted(group)


@pytest.mark.parametrize("inner", [1, 2, 4])
def test_inner_parts_leave_the_test_aside_and_cross_no_group(inner):
    items = [Item(f"t{i}", f"g{i % 8}") for i in range(40)]
    group = {i.id: i.group for i in items}
    for split in make_splits(items, 3):
        parts = inner_parts(split, group, inner)
        assert len(parts) == inner
        for train, held in parts:
            assert not set(train + held) & set(split.test)
            assert sorted(train + held) == sorted(split.train + split.validation)
            assert not {group[i] for i in train} & {group[i] for i in held}
        if inner > 1:
            assert sorted(i for _, held in parts for i in held) == sorted(
                split.train + split.validation
            )
    with pytest.raises(ValueError, match="inner_folds: must lie between 1 and"):
        inner_parts(split, group, 9)


def test_an_official_split_needs_every_track():
    tracks = [
        Item(f"t{i}", f"g{i}", split) for i, split in enumerate(["train", "train", "test", ""])
    ]
    with pytest.raises(ValueError, match="track 't3' is in neither part"):
        make_splits(tracks, 1)


def test_official_split_loses_training_tracks_of_tested_artists():
    items = [Item(f"a{i}", f"artist{i}", "train") for i in range(8)]
    items += [Item("b0", "artist0", "test"), Item("b1", "new", "test")]
    (split,) = make_splits(items, 1)
    assert set(split.test) == {"b0", "b1"}
    assert set(split.train + split.validation) == {f"a{i}" for i in range(1, 8)}


def test_cross_validation_sets_the_official_test_part_aside():
    items = [Item(f"a{i}", f"artist{i % 6}", "train") for i in range(12)]
    items += [Item("b0", "artist0", "test"), Item("b1", "new", "test")]
    splits = make_splits(items, 3)
    for split in splits:
        assert not {"b0", "b1"} & set(split.train + split.validation + split.test)
    assert sorted(i for split in splits for i in split.test) == sorted(i.id for i in items[:12])


def test_an_official_split_without_its_test_part_says_so():
    items = [Item(f"a{i}", f"artist{i}", "train") for i in range(8)]
    with pytest.raises(ValueError, match="no track of its test part is here"):
        make_splits(items, 1)
    assert len(make_splits(items, 2)) == 2


@pytest.mark.parametrize("folds, groups", [(0, 5), (5, 5), (1, 2)])
def test_too_few_groups_say_so(folds, groups):
    with pytest.raises(ValueError, match="folds"):
        make_splits([Item(str(i), f"g{i % groups}") for i in range(20)], folds)


def test_splits_do_not_depend_on_what_else_ran():
    items = [Item(f"t{i}", f"g{i % 7}") for i in range(30)]
    np.random.default_rng(0).random(100)
    first = make_splits(items, 1, seed=3)
    np.random.seed(1)  # noqa: NPY002 - the global state must not matter
    assert make_splits(items, 1, seed=3) == first != make_splits(items, 1, seed=4)


def test_windows_cover_every_label_once_and_pad_with_weight_zero():
    long = sequence("long", frames=10, value=0.5)
    mask = long.mask.copy()
    mask[:4] = False
    got = make_windows([replace(long, mask=mask), sequence("short", frames=3)], "valence", 4)
    # The first window of the long track has no label and is left out.
    assert got.features.shape == (3, 4, 3)
    np.testing.assert_array_equal(got.weights, [[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]])
    np.testing.assert_array_equal(got.features[0], long.features[4:8])
    np.testing.assert_array_equal(got.features[1, 2:], 0)
    np.testing.assert_allclose(got.labels[0], 0.5)


def test_overlapping_windows_reach_the_end():
    got = make_windows([sequence("x", frames=10)], "valence", 4, hop=2)
    assert len(got) == 4
    assert got.weights.all()


def test_normalisation_is_of_the_training_tracks_alone():
    train, other = sequence("a", frames=500, value=1.0), sequence("b", frames=500, value=50.0)
    mean, sd = normalisation([train])
    np.testing.assert_allclose(mean, 1, atol=0.2)
    np.testing.assert_allclose(sd, 1, atol=0.2)
    assert normalisation([train, other])[0].mean() > 20
    constant = replace(train, features=np.ones((5, 3), np.float32))
    np.testing.assert_array_equal(normalisation([constant])[1], 1)


def test_features_are_computed_once_and_follow_audio_and_parameters(
    folder_corpus, tmp_path, monkeypatch
):
    path, cache = folder_corpus / "audio/t00.wav", tmp_path / "cache"
    first = cached_features(path, FeatureConfig(), cache)
    with monkeypatch.context() as patch:
        patch.setattr(FeatureExtractor, "push", lambda *a: pytest.fail("computed again"))
        np.testing.assert_array_equal(cached_features(path, FeatureConfig(), cache), first)
    path.write_bytes((folder_corpus / "audio/t01.wav").read_bytes())
    assert not np.array_equal(cached_features(path, FeatureConfig(), cache), first)
    assert cached_features(path, FeatureConfig(n_mels=32), cache).shape[1] == 32
    assert len(list(cache.rglob("*.npy"))) == 3


def test_a_bad_track_is_named(tmp_path):
    root = write_folder_corpus(tmp_path / "bad", tracks=3)
    (root / "audio/t01.wav").write_text("no music")
    with pytest.raises(CorpusError, match=r"track 't01': t01\.wav: not audio"):
        build_sequences(load_corpus("folder", root), FeatureConfig(), tmp_path / "cache")


@pytest.mark.parametrize(
    "groups, fits", [(3, (1, 2)), (4, (3, 2)), (6, (5, 4)), (7, (5, 5)), (20, (5, 5))]
)
def test_folds_fit_the_groups(groups, fits):
    corpus = Corpus(
        "x", [track_of(str(n), f"g{n}") for n in range(groups)], Card("", "", "", ""), []
    )
    assert folds_that_fit(corpus, 5, 5, seed=7) == fits
    for split in make_splits(corpus.tracks, fits[0]):
        assert inner_parts(split, {t.id: t.group for t in corpus.tracks}, fits[1])


def test_two_groups_are_too_few():
    corpus = Corpus(
        "x", [track_of(str(n), f"g{n % 2}") for n in range(8)], Card("", "", "", ""), []
    )
    with pytest.raises(ValueError, match="need at least 3 groups"):
        folds_that_fit(corpus, 5, 5, seed=7)


def track_of(name: str, group: str) -> Track:
    return replace(track([0.5], [0.1], [0.1]), id=name, group=group)
