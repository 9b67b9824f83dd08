"""Timelines for editors, read back by OpenTimelineIO, and markers of editors as scenes."""

from __future__ import annotations

import json
import os
from urllib.parse import urljoin
from urllib.request import url2pathname

import numpy as np
import opentimelineio as otio
import pytest

from msr_utils.library.drawn import arc_of_text, read_arc
from msr_utils.library.exports import save_soundtrack
from msr_utils.library.filters import Filters
from msr_utils.library.playlists import End, make_playlist
from msr_utils.library.scenes import find_music, read_scenes
from msr_utils.library.shards import LibraryError
from msr_utils.library.timecode import frames, timecode, timecode_frames
from msr_utils.library.words import place

pytest_plugins = ["toy_library"]

SCENES = """start,end,mood,label
0,2,sad,"A | B: é"
2.5,4.5,calm,Rest
4,5.5,happy,Overlap
6,900,calm,too long
"""


@pytest.fixture
def soundtrack(added, tmp_path):
    table = tmp_path / "scenes.csv"
    table.write_text(SCENES, encoding="utf-8")
    return find_music(added.view(), read_scenes(table))


# ------------------------------------------------------------------------------ written


@pytest.mark.parametrize("fps", [24.0, 25.0, 30000 / 1001])
def test_a_timeline_is_read_by_its_own_library(added, soundtrack, tmp_path, fps):
    file = tmp_path / "out.otio"
    save_soundtrack(added.catalogue, soundtrack, file, fps)
    timeline = otio.adapters.read_from_file(str(file))
    assert timeline.global_start_time.value == 3600 * round(fps)
    assert len(timeline.audio_tracks()) == 2 and not timeline.video_tracks()  # two overlap
    clips = {clip.metadata["msr"]["scene"]: clip for clip in timeline.find_clips()}
    chosen = [(m.scene, m.candidates[m.chosen]) for m in soundtrack.scenes if m.candidates]
    assert set(clips) == {scene.label for scene, _ in chosen} and len(chosen) == 3
    for scene, one in chosen:
        clip = clips[scene.label]
        place_in_film = clip.transformed_time_range(clip.trimmed_range(), timeline.tracks)
        assert place_in_film.start_time.to_seconds() == pytest.approx(scene.start_s, abs=0.6 / fps)
        # The scene's length, or what the track has after the excerpt's beginning.
        left = one.track.seconds - one.in_s
        wanted = min(scene.end_s - scene.start_s, left)
        assert clip.duration().to_seconds() == pytest.approx(wanted, abs=1.1 / fps)
        assert clip.source_range.start_time.to_seconds() == pytest.approx(one.in_s, abs=0.6 / fps)
        available = clip.available_range()
        assert available.start_time <= clip.source_range.start_time
        assert clip.source_range.end_time_exclusive() <= available.end_time_exclusive()
        target = urljoin(tmp_path.as_uri() + "/", clip.media_reference.target_url)
        assert os.path.samefile(url2pathname(target.removeprefix("file://")), one.track.path)
        assert clip.name == one.track.name
    markers = timeline.tracks.markers
    assert [marker.name for marker in markers] == [m.scene.label for m in soundtrack.scenes]
    assert markers[3].marked_range.duration.to_seconds() == pytest.approx(894, abs=1 / fps)
    assert otio.adapters.write_to_string(timeline)  # nothing in it is unknown


def test_markers_for_resolve_are_read_by_another_reader(added, soundtrack, tmp_path):
    file = tmp_path / "out.edl"
    save_soundtrack(added.catalogue, soundtrack, file, 25)
    text = file.read_text("utf-8")
    timeline = otio.adapters.read_from_string(text, "cmx_3600", rate=25)
    events = [clip for track in timeline.tracks for clip in track.find_clips()]
    assert [clip.source_range.start_time.value / 25 - 3600 for clip in events] == [
        pytest.approx(m.scene.start_s, abs=0.02) for m in soundtrack.scenes
    ]
    assert all(clip.duration().value == 1 for clip in events)
    comments = [clip.metadata["cmx_3600"]["comments"][0] for clip in events]
    assert comments[0].endswith("|C:ResolveColorBlue |M:A / B: é |D:50")
    assert comments[0].startswith("Artist ") and " - Tone " in comments[0]
    assert comments[3] == "no music |C:ResolveColorBlue |M:too long |D:22350"


def test_the_film_begins_where_it_is_told_to(added, soundtrack, tmp_path):
    first = soundtrack.scenes[0].scene.start_s
    for start, hours in (("", 1), ("10:00:00:00", 10)):
        save_soundtrack(added.catalogue, soundtrack, tmp_path / "x.edl", 25, start)
        at = timecode(frames(3600 * hours + first, 25), 25)
        assert f" {at} " in (tmp_path / "x.edl").read_text("utf-8").splitlines()[3]
        save_soundtrack(added.catalogue, soundtrack, tmp_path / "x.otio", 25, start)
        read = otio.adapters.read_from_file(str(tmp_path / "x.otio"))
        assert read.global_start_time.to_seconds() == 3600 * hours
    (tmp_path / "x.csv").write_text("start,end,mood\n0,5,sad\n")
    with pytest.raises(LibraryError, match="'ten' is no timecode"):
        read_scenes(tmp_path / "x.csv", 25, "ten")


def test_a_rate_that_no_film_has_is_refused(added, soundtrack, tmp_path):
    with pytest.raises(LibraryError, match="--fps must lie between 1 and 99, not 0"):
        save_soundtrack(added.catalogue, soundtrack, tmp_path / "x.edl", 0)
    assert not (tmp_path / "x.edl").exists()


@pytest.mark.parametrize("rate", [23.976, 24, 25, 29.97, 30, 59.94])
def test_timecode_agrees_with_opentimelineio(rate):
    """Its rates are the exact ones: 24000/1001 and so on."""
    exact = round(rate) * 1000 / 1001 if rate != round(rate) else float(rate)
    for frame in (0, 1, 1799, 1800, 17_982, 123_456, 2_000_000):
        time = otio.opentime.RationalTime(frame, exact)
        text = otio.opentime.to_timecode(time, exact, drop_frame=False)
        assert timecode(frame, rate) == text and timecode_frames(text, rate) == frame
        if rate in (29.97, 59.94):
            dropped = otio.opentime.to_timecode(time, exact, drop_frame=True)
            assert ";" in dropped and timecode_frames(dropped, rate) == frame


# ------------------------------------------------------------------------------ read


def test_labels_of_audacity_become_scenes(tmp_path):
    file = tmp_path / "labels.txt"
    file.write_text(
        "0.000000\t25.000000\tOpening: sad > calm\n\\\t100\t200\n"
        "25.0\t25.0\ttense\n40\t40\t-0.3 0.4 > happy > calm\n60\t60\tend\n",
        encoding="utf-8",
    )
    opening, tense, moving = read_scenes(file)
    assert (opening.start_s, opening.end_s, opening.label) == (0, 25, "Opening")
    assert (opening.start_mood, opening.end_mood) == (place("sad"), place("calm"))
    assert (tense.start_s, tense.end_s, tense.label) == (25, 40, "scene 2")
    assert (moving.end_s, moving.start_mood, moving.end_mood) == (60, (-0.3, 0.4), place("calm"))
    middle = moving.arc.values[len(moving.arc) // 2]
    assert np.hypot(*(middle - place("happy"))) < 0.05  # by way of happy


def test_markers_of_resolve_become_scenes(tmp_path):
    file = tmp_path / "markers.edl"
    event = "{n:03d}  001      V     C        {at} {at} {at} {at}  \n{note} |C:ResolveColorRed |M:{name} |D:{d}\n\n"
    file.write_text(
        "TITLE: Timeline 1\nFCM: NON-DROP FRAME\n\n"
        + event.format(n=1, at="01:00:02:12", note="sad", name="Opening", d=48)
        + event.format(n=2, at="01:00:10:00", note="", name="Chase: tense > angry", d=1)
        + event.format(n=3, at="01:00:20:00", note="", name="end", d=1),
        encoding="utf-8",
    )
    opening, chase = read_scenes(file)
    assert (opening.start_s, opening.end_s, opening.label) == (2.5, 4.5, "Opening")
    assert (chase.start_s, chase.end_s, chase.label) == (10, 20, "Chase")
    assert chase.end_mood == place("angry")
    assert read_scenes(file, 24, "01:00:02:00")[0].start_s == 0.5
    file.write_text(file.read_text().replace("01:00:02:12", "00:00:02:12"))
    assert read_scenes(file)[0].start_s == 2.5  # this film begins at 0


def test_markers_of_a_timeline_become_scenes(tmp_path):
    def span(start, length):
        times = [otio.opentime.RationalTime(t * 25, 25) for t in (start, length)]
        return otio.opentime.TimeRange(*times)

    timeline = otio.schema.Timeline("film")
    track = otio.schema.Track("V1", kind="Video")
    timeline.tracks.append(track)
    clip = otio.schema.Clip("shot", source_range=span(100, 30))
    track.extend([otio.schema.Gap(source_range=span(0, 10)), clip])
    timeline.tracks.markers.append(otio.schema.Marker("sad", span(0, 8)))
    noted = otio.schema.Marker("Chase", span(105, 6))
    noted.comment = "0:tense 2:0.5,0.5 3:calm"
    clip.markers.append(noted)
    file = tmp_path / "film.otio"
    otio.adapters.write_to_file(timeline, str(file))
    first, chase = read_scenes(file)
    assert (first.start_s, first.end_s, first.start_mood) == (0, 8, place("sad"))
    # 5 s into a clip that begins at 10 s of the film.
    assert (chase.start_s, chase.end_s, chase.label) == (15, 21, "Chase")
    assert (chase.start_mood, chase.end_mood) == (place("tense"), place("calm"))
    for length, words in ((1e9, "at most 3600 s"), (float("inf"), "must be finite")):
        timeline.tracks.markers[0].marked_range = span(0, length)
        otio.adapters.write_to_file(timeline, str(file))
        with pytest.raises(LibraryError, match=f"film.otio, marker 1 at 0 s: .*{words}"):
            read_scenes(file)


def test_what_we_write_can_be_marked_again(added, soundtrack, tmp_path):
    """The markers keep their places; the moods of an editor's markers are the user's to write."""
    save_soundtrack(added.catalogue, soundtrack, tmp_path / "out.otio", 24)
    document = json.loads((tmp_path / "out.otio").read_text("utf-8"))
    for marker in document["tracks"]["markers"]:
        marker["comment"] = "calm"
    (tmp_path / "out.otio").write_text(json.dumps(document))
    again = read_scenes(tmp_path / "out.otio")
    assert [(s.start_s, s.end_s) for s in again] == [
        (m.scene.start_s, m.scene.end_s) for m in soundtrack.scenes
    ]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("x.txt", "0 5 sad\n", "x.txt, line 1: no label of Audacity"),
        ("x.txt", "0\t5\tA: purple\n", "x.txt, marker 1 at 0 s: the word 'purple' is unknown"),
        ("x.txt", "0\t0\tsad\n", "the last marker has no length; add one called 'end'"),
        ("x.txt", "", "x.txt has no scene"),
        ("x.txt", "0\tnan\tsad\n", "x.txt, line 1: no label of Audacity"),
        ("x.txt", "0\t1e9\tsad\n", "x.txt, marker 1 at 0 s: the scene is 1e.09 s long"),
        (
            "x.edl",
            "001 001 V C 0 0 01:00:00:00 01:00:01:00\n |C:Blue |M:sad |D:" + "9" * 400,
            "x.edl, line 2: the marker is inf s long; at most 3600 s",
        ),
        (
            "x.edl",
            "001 001 V C 0 0 01:00:00:30 01:00:01:00\n",
            "x.edl, line 1: '01:00:00:30' is no",
        ),
        ("x.otio", "{}", "x.otio has no timeline"),
        ("x.otio", '{"OTIO_SCHEMA": "Clip.2"}', "cannot read scenes from .*media_references"),
        ("x.otio", "no JSON", "x.otio: .*it must be a timeline of OpenTimelineIO"),
    ],
)
def test_wrong_markers_name_the_place(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(LibraryError, match=words):
        read_scenes(tmp_path / name)


def test_without_the_package_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "opentimelineio", None)
    (tmp_path / "x.otio").write_text("{}")
    with pytest.raises(LibraryError, match=r"msr-utils\[timelines\]"):
        read_scenes(tmp_path / "x.otio")


# ------------------------------------------------------------------------------ drawn arcs


def test_a_drawn_arc_is_stretched():
    arc = arc_of_text("10:sad 20:0.1,0.3 40:happy")
    assert (arc.start, arc.end) == (place("sad"), place("happy"))
    assert arc.stretched(60) == [
        (0.0, *place("sad")), (20.0, 0.1, 0.3), (60.0, *place("happy"))
    ]  # fmt: skip
    assert np.allclose(
        arc.place_at(np.array([0, 1 / 3, 1])), [place("sad"), (0.1, 0.3), place("happy")]
    )
    middle = np.add((0.1, 0.3), place("happy")) / 2
    assert np.allclose(arc.place_at(np.array(2 / 3)), middle)


def test_an_arc_comes_from_a_table(tmp_path):
    file = tmp_path / "arc.csv"
    file.write_text("Time, Valence, Arousal\n0,-0.5,0\n1,0.5,0.25\n", encoding="utf-8-sig")
    assert read_arc(file) == arc_of_text("0:-0.5,0 1:0.5,0.25")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0:sad", "two points or more"),
        ("1:sad 0:calm", "at rising times"),
        ("0:sad x:calm", "'x:calm' is no point of an arc"),
        ("0:sad 1:0.2,3", "lie in"),
        ("0:sad 1:purple", "the word 'purple' is unknown"),
        ("0:sad 1e309:happy", "must be finite"),
        ("0:sad nan:happy", "must be finite"),
    ],
)
def test_wrong_arcs_say_what_is_wrong(text, words):
    with pytest.raises(LibraryError, match=words):
        arc_of_text(text)


def test_a_wrong_table_names_the_line(tmp_path):
    table = "time,valence,arousal\n0,0.1,0.1\n"
    for text, words in (
        ("time,valence\n0,1\n", "x.csv, line 2: arousal is None"),
        (table + "inf,0.1,0.1\n", "x.csv, line 3: time is 'inf'"),
        (table + "0,0.1,0.1\n", "x.csv: an arc needs two points or more, at rising times"),
    ):
        (tmp_path / "x.csv").write_text(text)
        with pytest.raises(LibraryError, match=words):
            read_arc(tmp_path / "x.csv")


def test_a_playlist_follows_a_drawn_arc(random_view):
    arc = arc_of_text("0:-0.4,-0.2 1:0.4,0.4 2:-0.4,-0.2")
    ends = End(arc.start, "arc"), End(arc.end, "arc")
    made = make_playlist(random_view, *ends, 60, filters=Filters(), drawn=arc)
    middle = made.steps[len(made.steps) // 2]
    assert np.hypot(*(np.array(middle.wanted_start) - (0.4, 0.4))) < 0.15
    assert np.hypot(*(np.array(middle.predicted_start) - middle.wanted_start)) < 0.3
    assert np.hypot(*(np.array(made.steps[-1].wanted_end) - arc.end)) < 0.15
    assert made.mean_distance < 0.3
