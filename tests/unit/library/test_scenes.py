"""Scenes from a table, their candidates, and one choice for all of them."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile as sf

from msr_utils.library import indexing
from msr_utils.library.drawn import DrawnArc, read_arc
from msr_utils.library.filters import Filters
from msr_utils.library.scenes import (
    Scene,
    excerpt_from,
    find_music,
    mood_place,
    read_scenes,
)
from msr_utils.library.shards import LibraryError
from msr_utils.library.words import place

pytest_plugins = ["toy_library"]

TABLE = """start, end, mood, to, label
0:00, 0:25, sad, calm, Opening
25, 1:10.5, -0.3 0.4, , Chase
1:01:00, 1:01:30, "0.2, 0.1", happy,
"""


@pytest.fixture
def table(tmp_path):
    file = tmp_path / "scenes.csv"
    file.write_text(TABLE, encoding="utf-8-sig")
    return file


def test_scenes_are_read(table):
    opening, chase, last = read_scenes(table)
    assert (opening.start_s, opening.end_s, opening.label) == (0, 25, "Opening")
    assert opening.start_mood == place("sad") and opening.end_mood == place("calm")
    assert (chase.start_s, chase.end_s) == (25, 70.5)
    assert chase.start_mood == chase.end_mood == (-0.3, 0.4)
    assert (last.start_s, last.end_s, last.label) == (3660, 3690, "scene 3")
    assert last.start_mood == (0.2, 0.1) and len(last.arc) == 60


def test_excerpts_follow_the_scene(random_view, table):
    soundtrack = find_music(random_view, read_scenes(table), Filters(genre=("Genre 3", "Genre 4")))
    for music in soundtrack.scenes:
        frames = len(music.scene.arc)
        distances = [one.distance for one in music.candidates]
        assert len(distances) == 5 and distances == sorted(distances)
        for one in music.candidates:
            assert one.track.genre in ("Genre 3", "Genre 4")
            assert one.out_s - one.in_s == frames / 2 and one.out_s <= one.track.seconds
            first = int(one.in_s * 2)
            curve = random_view.curve(random_view.row_of(one.track.id))[first : first + frames]
            wanted = music.scene.arc.values
            assert one.distance == pytest.approx(
                np.sqrt(np.square(curve - wanted).mean()), abs=1e-3
            )
            assert np.allclose(one.predicted_start, curve[:10].mean(axis=0), atol=1e-5)
    assert sum(r.tracks for r in soundtrack.removed) > 2000


def test_one_choice_for_all_scenes(random_view, table):
    scenes = read_scenes(table)
    soundtrack = find_music(random_view, [scenes[0], scenes[0], scenes[1]])
    songs = [m.candidates[m.chosen].track.song_keys for m in soundtrack.scenes]
    assert len(set(songs)) == 3
    first, second, third = soundtrack.scenes
    assert first.gap is None and first.chosen == 0
    for before, music in ((first, second), (second, third)):
        end = before.candidates[before.chosen].predicted_end
        start = music.candidates[music.chosen].predicted_start
        assert music.gap == pytest.approx(np.hypot(*np.subtract(end, start)))


def test_a_scene_longer_than_all_tracks_has_no_music(added, table):
    soundtrack = find_music(added.view(), read_scenes(table))
    assert all(music.candidates == () and music.chosen is None for music in soundtrack.scenes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("start,end\n0,1\n", "has no column mood"),
        ("start,end,mood\n", "has no scene"),
        ("start,end,mood\n0,10,sad\n10,x,sad\n", "line 3: end is 'x'; write seconds, m:ss"),
        ("start,end,mood\n0,10,purple\n", "line 2: the word 'purple' is unknown"),
        ("start,end,mood\n0,10,0.3 4\n", "line 2: '0.3 4': valence and arousal lie in"),
        ("start,end,mood\n10,5,sad\n", "line 2: the scene must end at least 0.5 s after"),
        ("start,end,mood\n5\n", "line 2: end is None"),
        ("start,end,mood\n0,1e9,sad\n", "line 2: the scene is 1e.09 s long; at most 3600 s"),
        ("start,end,mood\n0,1e308,sad\n", "line 2: the scene is 1e.308 s long"),
        ("start,end,mood\n0,1e309,sad\n", "line 2: end is '1e309'"),
        ("start,end,mood\nnan,5,sad\n", "line 2: start is 'nan'"),
        ("start,end,mood\n100000,100005,sad\n", "line 2: the scene ends at 100005 s"),
    ],
)
def test_wrong_tables_name_the_line(tmp_path, text, words):
    file = tmp_path / "scenes.csv"
    file.write_text(text)
    with pytest.raises(LibraryError, match=words.replace("(", r"\(")):
        read_scenes(file)


def test_a_table_that_is_not_there_is_named(tmp_path):
    with pytest.raises(LibraryError, match="cannot read scenes from .*nothing.csv"):
        read_scenes(tmp_path / "nothing.csv")
    assert mood_place("-.5 0.25") == (-0.5, 0.25)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("film.mp4", "a CSV file"),
        ("x.txt", "a text file with labels of Audacity"),
        ("x.edl", "an EDL"),
    ],
)
def test_scenes_that_are_no_text_are_named_with_what_they_should_be(tmp_path, name, expected):
    (tmp_path / name).write_bytes(b"scene\xff\xfe")
    words = rf"from .*{name}: it is not text in UTF-8 \(byte 6\); it must be {expected}"
    with pytest.raises(LibraryError, match=words):
        read_scenes(tmp_path / name)
    with pytest.raises(LibraryError, match=r"read an arc from .* a CSV file with the columns time"):
        read_arc(tmp_path / name)


def test_a_drawn_curve_is_followed(random_view):
    points = ((0.0, -0.2, 0.0), (10.0, 0.3, 0.2), (25.0, 0.0, 0.1))
    drawn = Scene(100, 125, points[0][1:], points[-1][1:], "drawn", DrawnArc(points))
    assert len(drawn.arc) == 50
    assert drawn.arc.values[20] == pytest.approx([0.295, 0.1983], abs=1e-3)
    (music,) = find_music(random_view, [drawn], count=3).scenes
    straight = Scene(100, 125, drawn.start_mood, drawn.end_mood, "straight")
    assert music.candidates != find_music(random_view, [straight], count=3).scenes[0].candidates

    # Named again, an excerpt is the same candidate.
    for one in music.candidates:
        row = random_view.row_of(one.track.id)
        again = excerpt_from(random_view, drawn, row, one.in_s)
        assert again.distance == pytest.approx(one.distance, abs=1e-4)
        assert (again.in_s, again.out_s) == (one.in_s, one.out_s)
        assert again.predicted_end == one.predicted_end
    with pytest.raises(LibraryError, match="shorter than drawn"):
        excerpt_from(random_view, drawn, row, one.track.seconds - 20)


def test_one_audio_under_two_names_is_one_candidate(added, songs, light):
    samples, rate = sf.read(songs / "a.flac")
    sf.write(songs / "other name.wav", samples, rate, "PCM_16")
    indexing.add(added, light, [songs], progress=False)
    view = added.view()
    (music,) = find_music(view, [Scene(0, 2, (0.3, -0.3), (0.3, -0.3), "calm")], count=9).scenes
    assert len(view) == 5 and len(music.candidates) == 4
    assert len({one.track.audio for one in music.candidates}) == 4
