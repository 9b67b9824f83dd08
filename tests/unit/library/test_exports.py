"""Files for players and editors, each read back by another program's reader."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from urllib.parse import urljoin
from urllib.request import url2pathname
from xml.etree import ElementTree

import m3u8
import numpy as np
import pandas as pd
import pytest
from needs import needs_posix

from msr_utils.library import indexing
from msr_utils.library.exports import save_playlist, save_soundtrack
from msr_utils.library.playlists import End, make_playlist
from msr_utils.library.scenes import find_music, read_scenes
from msr_utils.library.shards import LibraryError

pytest_plugins = ["toy_library"]

NAMES = {
    "a.flac": "#1 100% é, 日本.flac",
    "b.flac": "50: <&> 'b'.flac",
    "album/c.flac": "album/c d.flac",
}
"""Names that some format could stumble on."""


@pytest.fixture
def playlist(library, songs, light):
    for old, new in NAMES.items():
        if os.name == "nt":
            new = new.replace(":", "").replace("<&>", "&")
        (songs / old).rename(songs / new)
    indexing.add(library, light, [songs], progress=False)
    made = make_playlist(library.view(), End((-0.4, -0.2), "sad"), End((0.4, 0.1), "happy"), 1)
    assert len(made.steps) == 4
    return made


def true_paths(library, playlist) -> list[str]:
    paths = library.catalogue.paths(step.track.id for step in playlist.steps)
    return [os.path.realpath(paths[step.track.id]) for step in playlist.steps]


def opened(folder: Path, relative: str) -> str:
    """What a player opens, seen from the playlist's folder."""
    path = os.path.realpath(folder / relative)
    assert os.path.isfile(path), path
    return path


def from_uri(folder: Path, reference: str) -> str:
    uri = urljoin(folder.absolute().as_uri() + "/", reference)
    assert uri.startswith("file://")
    path = os.path.realpath(url2pathname(uri.removeprefix("file://")))
    assert os.path.isfile(path), path
    return path


def test_m3u8_is_read_by_another_reader(library, playlist, tmp_path):
    file = tmp_path / "lists" / "mood.m3u8"
    save_playlist(library.catalogue, playlist, file)
    read = m3u8.loads(file.read_text("utf-8"))
    assert [opened(file.parent, s.uri) for s in read.segments] == true_paths(library, playlist)
    assert [s.title for s in read.segments] == [step.track.name for step in playlist.steps]
    assert [s.duration for s in read.segments] == [3] * 4


def test_a_folder_can_be_moved_with_its_playlist(library, playlist, songs):
    save_playlist(library.catalogue, playlist, songs / "mood.m3u8")
    moved = songs.rename(songs.parent / "elsewhere")
    for segment in m3u8.loads((moved / "mood.m3u8").read_text("utf-8")).segments:
        opened(moved, segment.uri)


def test_xspf_and_jspf_say_the_same(library, playlist, tmp_path):
    xspf, jspf = tmp_path / "mood.xspf", tmp_path / "mood.jspf"
    save_playlist(library.catalogue, playlist, xspf)
    save_playlist(library.catalogue, playlist, jspf)
    spaces = {"x": "http://xspf.org/ns/0/"}
    root = ElementTree.parse(xspf).getroot()
    assert root.get("version") == "1"
    found = root.findall("x:trackList/x:track", spaces)
    listed = json.loads(jspf.read_text("utf-8"))["playlist"]["track"]
    wanted = true_paths(library, playlist)
    assert [from_uri(tmp_path, t.findtext("x:location", None, spaces)) for t in found] == wanted
    assert [from_uri(tmp_path, t["location"][0]) for t in listed] == wanted
    for element, entry, step in zip(found, listed, playlist.steps, strict=True):
        assert element.findtext("x:title", None, spaces) == entry["title"] == step.track.title
        assert int(element.findtext("x:duration", None, spaces)) == entry["duration"] == 3000


def test_csv_is_a_table(library, playlist, tmp_path):
    save_playlist(library.catalogue, playlist, tmp_path / "mood.csv")
    table = pd.read_csv(tmp_path / "mood.csv")
    assert [opened(tmp_path, f) for f in table.file] == true_paths(library, playlist)
    assert table.seconds.tolist() == [3.0] * 4


@needs_posix
def test_a_name_that_is_not_text_is_kept(added, songs, light, tmp_path):
    name = songs / os.fsdecode(b"\xff bad.flac")
    shutil.copy(songs / "a.flac", name)
    (songs / "a.flac").unlink()
    indexing.add(added, light, [songs], progress=False)
    made = make_playlist(added.view(), End((-0.4, -0.2), ""), End((0.4, 0.1), ""), 1)
    for suffix in ("m3u8", "xspf", "jspf"):
        save_playlist(added.catalogue, made, tmp_path / f"x.{suffix}")
    lines = (tmp_path / "x.m3u8").read_bytes().split(b"\n")
    assert b"music/\xff bad.flac" in lines
    assert "music/%FF%20bad.flac" in (tmp_path / "x.xspf").read_text()


@needs_posix
def test_a_line_break_in_a_name_is_refused(added, songs, light, tmp_path):
    (songs / "a.flac").rename(songs / "a\nb.flac")
    indexing.add(added, light, [songs], progress=False)
    made = make_playlist(added.view(), End((-0.4, -0.2), ""), End((0.4, 0.1), ""), 1)
    with pytest.raises(LibraryError, match=r"a\\nb.flac has a line break .* save as .xspf"):
        save_playlist(added.catalogue, made, tmp_path / "x.m3u8")
    save_playlist(added.catalogue, made, tmp_path / "x.xspf")
    assert "a%0Ab.flac" in (tmp_path / "x.xspf").read_text()


def test_scenes_become_a_table_and_labels(added, tmp_path):
    table = tmp_path / "scenes.csv"
    table.write_text('start,end,mood,label\n0,2,sad,"A, B"\n2,4.5,calm,\n5,900,calm,too long\n')
    soundtrack = find_music(added.view(), read_scenes(table))
    save_soundtrack(added.catalogue, soundtrack, tmp_path / "out.csv")
    save_soundtrack(added.catalogue, soundtrack, tmp_path / "labels.txt")
    out = pd.read_csv(tmp_path / "out.csv")
    assert out.scene.tolist() == ["A, B", "scene 2", "too long"]
    assert np.allclose(out.out_s[:2] - out.in_s[:2], [2, 2.5]) and out.file.isna().tolist() == [
        False,
        False,
        True,
    ]
    opened(tmp_path, out.file[0])
    labels = pd.read_csv(tmp_path / "labels.txt", sep="\t", header=None)
    assert labels[0].tolist() == [0, 2, 5] and labels[1].tolist() == [2, 4.5, 900]
    assert labels[2][0].startswith("A, B: Artist") and labels[2][2] == "too long"


def test_an_unknown_suffix_is_refused(library, playlist, tmp_path):
    with pytest.raises(LibraryError, match="x.pls; the name must end in .m3u8, .xspf"):
        save_playlist(library.catalogue, playlist, tmp_path / "x.pls")
