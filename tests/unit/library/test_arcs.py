"""Arc search against a plain scan of every excerpt of every track."""

from __future__ import annotations

import numpy as np
import pytest

from msr_utils.library import arcs
from msr_utils.library.arcs import Arc, arc_through, find_excerpts
from msr_utils.library.shards import LibraryError

pytest_plugins = ["toy_library"]

TRACKS = 400
"""Tracks of the random library that a plain scan looks at."""


@pytest.fixture(scope="module")
def some(random_view):
    mask = np.zeros(len(random_view), bool)
    mask[:: len(random_view) // TRACKS] = True
    return mask


def plain_scan(view, mask, arc) -> list[tuple[float, int, int]]:
    """(distance, row, first frame) of the best excerpt of each track, the best first."""
    found = []
    used = arc.targets
    for row in np.flatnonzero(mask):
        curve = view.curve(int(row))[:, used].astype(np.float64)
        if len(curve) < len(arc):
            continue
        windows = np.lib.stride_tricks.sliding_window_view(curve, len(arc), axis=0)
        wanted = arc.values[:, used].T
        distances = np.sqrt(np.square(windows - wanted[None]).mean(axis=(1, 2)))
        found.append((float(distances.min()), int(row), int(distances.argmin())))
    return sorted(found)


def ramp(frames, valence=(-0.3, 0.4), arousal=(0.2, -0.2)):
    return Arc(np.stack([np.linspace(*valence, frames), np.linspace(*arousal, frames)], axis=1))


@pytest.mark.parametrize("frames", [1, 12, 38, 39, 40, 59, 60, 61, 119, 200, 260])
def test_the_search_is_exact(random_view, some, frames):
    arc = ramp(frames)
    wanted = plain_scan(random_view, some, arc)[:10]
    found = find_excerpts(random_view, arc, some, 10)
    assert [(e.row, e.start) for e in found] == [(row, start) for _, row, start in wanted]
    assert np.allclose([e.distance for e in found], [d for d, _, _ in wanted], atol=1e-4)


def test_an_excerpt_of_a_track_is_found_where_it_lies(random_view):
    rng = np.random.default_rng(1)
    for row in rng.integers(0, len(random_view), 5):
        curve = random_view.curve(int(row))
        start = int(rng.integers(0, len(curve) - 60))
        best = find_excerpts(random_view, Arc(curve[start : start + 60].astype(float)), count=1)[0]
        assert (best.row, best.start) == (row, start) and best.distance < 1e-3


def test_a_target_that_is_not_asked_for_does_not_count(random_view, some):
    arc = ramp(60)
    arc.values[:, 0] = np.nan
    wanted = plain_scan(random_view, some, arc)[:5]
    assert [e.row for e in find_excerpts(random_view, arc, some, 5)] == [
        row for _, row, _ in wanted
    ]


@pytest.mark.parametrize("frames", [20, 60])
def test_most_excerpts_are_never_compared(random_view, monkeypatch, frames):
    compared = []
    real = arcs._compare

    def counted(view, arc, rows, starts, bounds, best):
        compared.extend(bounds <= best.worst)
        real(view, arc, rows, starts, bounds, best)

    monkeypatch.setattr(arcs, "_compare", counted)
    find_excerpts(random_view, Arc(random_view.curve(7)[30 : 30 + frames].astype(float)), count=5)
    assert sum(compared) < len(random_view)


def test_tracks_that_are_too_short_have_no_excerpt(added):
    assert find_excerpts(added.view(), ramp(7)) == []
    assert len(find_excerpts(added.view(), ramp(6))) == 4


def test_pending_tracks_and_several_shards_count(random_view):
    half = len(random_view) // 2
    (shard,) = random_view.shards
    from msr_utils.library.library import View

    parts = (shard.take(np.arange(half)), shard.take(np.arange(half, len(shard))))
    split = View(random_view.catalogue, parts, random_view.left_out)
    arc = ramp(60)
    one, two = find_excerpts(random_view, arc, count=8), find_excerpts(split, arc, count=8)
    assert one == two


def test_an_arc_goes_through_its_points():
    arc = arc_through([(0, -0.5, None), (10, 0.5, None), (15, 0.5, None)])
    assert len(arc) == 30 and arc.targets == [0]
    assert arc.values[0, 0] == pytest.approx(-0.475) and arc.values[19, 0] == pytest.approx(0.475)
    assert (arc.values[20:, 0] == 0.5).all()


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([(0, 0.1, 0.1)], "two points or more"),
        ([(5, 0.1, 0.1), (5, 0.2, 0.1)], "at rising times"),
        ([(0, 0.1, 0.1), (float("inf"), 0.2, 0.1)], "must be finite"),
        ([(0, 0.1, 0.1), (3601, 0.2, 0.1)], "at most 3600 s"),
        ([(0, 0.1, 0.1), (0.2, 0.2, 0.1)], "at least half a second"),
        ([(0, 0.1, None), (9, None, None)], "valence must be given in all points"),
        ([(0, 2, None), (9, 0, None)], "valence of an arc must lie in"),
        ([(0, None, None), (9, None, None)], "must ask for valence or for arousal"),
    ],
)
def test_impossible_arcs_are_refused(points, words):
    with pytest.raises(LibraryError, match=words):
        arc_through(points)


def test_an_arc_longer_than_all_tracks_together_is_found_nowhere(added):
    assert find_excerpts(added.view(), ramp(2000)) == []
