"""Playlists follow their path, do not repeat songs and space artists."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile as sf

from msr_utils.library import indexing
from msr_utils.library.filters import Filters
from msr_utils.library.playlists import (
    ARTIST_SPACING,
    End,
    make_playlist,
    wanted_path,
)
from msr_utils.library.shards import LibraryError

pytest_plugins = ["toy_library"]

SAD, HAPPY = End((-0.4, -0.2), "sad"), End((0.45, 0.1), "happy")


@pytest.fixture(scope="module")
def playlist(random_view):
    return make_playlist(random_view, SAD, HAPPY, 45)


def test_it_is_as_long_as_wanted(playlist):
    last = playlist.steps[-1].track.seconds
    assert abs(playlist.seconds - 45 * 60) <= last / 2 + 1
    starts = [step.start_s for step in playlist.steps]
    assert starts == sorted(starts) and starts[0] == 0


def test_no_song_comes_twice_and_artists_are_spaced(playlist):
    keys = [key for step in playlist.steps for key in step.track.song_keys]
    assert len(set(keys)) == len(keys)
    artists = [step.track.artist for step in playlist.steps]
    for n, artist in enumerate(artists):
        assert artist not in artists[max(n - ARTIST_SPACING, 0) : n]


def test_it_follows_its_path(playlist, random_view):
    assert playlist.mean_distance < 0.15 and playlist.mean_gap < 0.15
    assert np.hypot(*np.subtract(playlist.steps[0].predicted_start, SAD.place)) < 0.2
    assert np.hypot(*np.subtract(playlist.steps[-1].predicted_end, HAPPY.place)) < 0.2
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(random_view), 400)
    starts, ends = (
        np.stack([random_view.numbers(f"{end}_{t}")[rows] for t in ("valence", "arousal")], 1)
        for end in ("start", "end")
    )
    random_gap = np.linalg.norm(starts[1:] - ends[:-1], axis=1).mean()
    assert playlist.mean_gap < random_gap / 2


def test_what_is_said_is_what_the_curves_say(playlist, random_view):
    for before, step in zip(playlist.steps, playlist.steps[1:], strict=False):
        row = random_view.row_of(step.track.id)
        assert np.allclose(
            step.predicted_start, random_view.curve(row)[:40].mean(axis=0), atol=1e-5
        )
        gap = np.hypot(*np.subtract(step.predicted_start, before.predicted_end))
        assert step.gap == pytest.approx(gap, abs=1e-6)
        assert step.start_s == pytest.approx(before.start_s + before.track.seconds)


def test_an_iso_path_stays_first():
    share = np.array([0.0, 0.15, 0.3, 0.65, 1.0])
    direct, iso = wanted_path("direct", SAD, HAPPY)(share), wanted_path("iso", SAD, HAPPY)(share)
    assert np.allclose(direct[:, 0], -0.4 + share * 0.85)
    assert np.allclose(iso[:3], SAD.place) and np.allclose(iso[-1], HAPPY.place)
    assert iso[3, 0] == pytest.approx(0.025)
    with pytest.raises(LibraryError, match="'round' is unknown; known: direct, iso"):
        wanted_path("round", SAD, HAPPY)


def test_named_tracks_are_the_ends(random_view):
    rows = [11, 222]
    places = [
        tuple(float(random_view.numbers(f"mean_{t}")[r]) for t in ("valence", "arousal"))
        for r in rows
    ]
    ends = [End(place, "file", row) for place, row in zip(places, rows, strict=True)]
    playlist = make_playlist(random_view, *ends, 20)
    found = [random_view.row_of(step.track.id) for step in (playlist.steps[0], playlist.steps[-1])]
    assert found == rows
    assert len({step.track.id for step in playlist.steps}) == len(playlist.steps)


def test_too_few_tracks_are_said(added):
    playlist = make_playlist(added.view(), SAD, HAPPY, 5)
    assert len(playlist.steps) == 4
    assert any("too few" in note for note in playlist.notes)


def test_filters_hold(random_view):
    playlist = make_playlist(random_view, SAD, HAPPY, 15, filters=Filters(genre=("Genre 3",)))
    assert {step.track.genre for step in playlist.steps} == {"Genre 3"}
    assert playlist.removed[0].tracks > 2000


def test_impossible_requests_are_refused(random_view):
    for minutes in (0, np.inf, np.nan, 1e308):
        with pytest.raises(LibraryError, match="--minutes must be positive"):
            make_playlist(random_view, SAD, HAPPY, minutes)
    with pytest.raises(LibraryError, match="no track passes"):
        make_playlist(random_view, SAD, HAPPY, 45, filters=Filters(year=(2100, None)))


def test_both_ends_must_be_different_songs(added, songs, light):
    samples, rate = sf.read(songs / "a.flac")
    sf.write(songs / "other name.wav", samples, rate, "PCM_16")
    indexing.add(added, light, [songs], progress=False)
    view = added.view()
    one, other, third = (
        view.row_of(added.catalogue.known_file(str(songs / name)).id)
        for name in ("a.flac", "other name.wav", "b.flac")
    )
    place = (0.0, 0.0)
    with pytest.raises(LibraryError, match=r"a\.flac.*other name\.wav.* are the same song"):
        make_playlist(view, End(place, "a", one), End(place, "b", other), 1)
    keys = [
        step.track.audio
        for step in make_playlist(view, End(place, "a", one), End(place, "b", third), 1).steps
    ]
    assert len(set(keys)) == len(keys)
