"""What `add`, `rescan` and `remove` do with files that are new, changed, moved, lost or broken."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time

import mutagen
import numpy as np
import pytest
import soundfile as sf
from conftest import tone
from needs import needs_posix

from msr_utils.audio.decode import load as decode
from msr_utils.audio.folder_scan import FolderError
from msr_utils.inference.model import load
from msr_utils.library import indexing
from msr_utils.library.library import SHARDS, Library
from msr_utils.library.numbers import to_bytes
from msr_utils.library.places import FILE, LOCK
from msr_utils.library.shards import LibraryError

pytest_plugins = ["toy_library"]


def add(library, light, *folders, jobs=1):
    return indexing.add(library, light, folders, jobs=jobs, progress=False)


def tracks(library) -> dict[str, object]:
    """Tracks that searches see, by title."""
    view = library.view()
    return {info.title: info for info in view.infos(np.flatnonzero(view.visible))}


def kinds(report) -> dict[str, int]:
    return {kind: n for kind, n in report.counts.items() if n and kind != "with warnings"}


REST = {"failed": 2, "not audio": 1, "hidden": 2}
"""What the music folder has besides tracks; failed files are tried again."""


def test_every_file_is_counted_with_its_reason(library, songs, light):
    report = add(library, light, songs)
    assert kinds(report) == {"added": 4, **REST}
    reasons = {os.path.basename(one.file): one.reason for one in report.listed["failed"]}
    assert "cannot be decoded" in reasons["bad.mp3"] or "not audio" in reasons["bad.mp3"]
    assert reasons["empty.wav"] == "is empty (0 bytes)"
    hidden = [one.reason for one in report.listed["hidden"]]
    assert any("AppleDouble" in reason for reason in hidden)
    assert report.not_audio == {".txt": 1}
    again = add(library, light, songs)
    assert kinds(again) == {"unchanged": 4, **REST}


def test_a_track_is_what_the_model_predicts(added, songs, light):
    view = added.view()
    rows = np.flatnonzero(view.visible)
    assert len(rows) == 4
    for row, info in zip(rows, view.infos(rows), strict=True):
        curve = light.predict(info.path)
        wanted = np.stack([curve.valence, curve.arousal], axis=1)
        assert np.abs(view.curve(row) - wanted).max() <= 1 / 255 + 1e-5
        assert info.seconds == curve.duration_s
        assert view.numbers("mean_valence")[row] == pytest.approx(
            view.curve(row)[:, 0].mean(), abs=1e-6
        )
        assert np.isfinite(view.embeddings(np.array([row]))).all()
    tone_0 = tracks(added)["Tone 0"]
    assert (tone_0.artist, tone_0.genre, tone_0.year) == ("Artist 0", "Drone; Test", 1990)


def test_identity_is_the_decoded_audio(library, songs, light):
    samples = decode(songs / "a.flac")
    sf.write(songs / "copy.wav", samples, 22050, "PCM_16")  # other container, no tags
    add(library, light, songs)
    audio = {
        os.path.basename(k.path): k.audio for k in library.catalogue.known(str(songs)).values()
    }
    assert audio["copy.wav"] == audio["a.flac"] != audio["b.flac"]
    ((why, files),) = indexing.status(library).duplicates
    assert why == "same audio" and len(files) == 2
    assert len(library.view()) == 5  # suggested, never merged


def forbid_decoding(monkeypatch):
    """From now on, a file that is decoded fails."""

    def refuse(*args, **kwargs):
        raise AssertionError("was decoded")

    monkeypatch.setattr("msr_utils.library.analysis.AudioFile", refuse)
    monkeypatch.setattr("msr_utils.library.analysis.FilePrediction", refuse)


def test_a_moved_file_is_found_again_without_decoding(added, songs, light, monkeypatch):
    before = tracks(added)["Tone 0"]
    forbid_decoding(monkeypatch)
    (songs / "a.flac").rename(songs / "album" / "new name.flac")
    report = add(added, light, songs)
    assert report.counts["moved"] == 1 and not report.counts["gone"] and not report.counts["added"]
    after = tracks(added)["Tone 0"]
    assert after.id == before.id and after.path.endswith("new name.flac")
    assert len(tracks(added)) == 4


def test_a_touched_file_is_not_decoded(added, songs, light, monkeypatch):
    forbid_decoding(monkeypatch)
    os.utime(songs / "a.flac", (1, 1))
    assert add(added, light, songs).counts["retagged"] == 1
    assert add(added, light, songs).counts["unchanged"] == 4


def test_new_tags_are_read_and_the_curve_is_kept(added, songs, light, monkeypatch):
    before = tracks(added)["Tone 0"]
    monkeypatch.setattr("msr_utils.library.analysis.FilePrediction", None)  # never used
    tags = mutagen.File(songs / "a.flac")
    tags["title"], tags["date"], tags["artist"] = "Renamed", "1955", "Somebody"
    tags.save()
    assert add(added, light, songs).counts["retagged"] == 1
    after = tracks(added)["Renamed"]
    assert (after.id, after.audio, after.year) == (before.id, before.audio, 1955)
    view = added.view()
    years = view.numbers("year")[view.visible]
    assert sorted(years.tolist()) == [1955, 1991, 1992, 1993]
    code = added.catalogue.names("artist", "someB")["Somebody"]
    assert (view.codes("artist")[view.visible] == code).sum() == 1


def test_other_audio_under_the_same_name_replaces_the_curve(added, songs, light):
    before = tracks(added)["Tone 0"]
    shutil.copy(songs / "b.flac", songs / "a.flac")
    os.utime(songs / "a.flac", (5, 5))
    assert add(added, light, songs).counts["changed"] == 1
    infos = [i for i in tracks_list(added) if i.path.endswith("a.flac")]
    assert [i.title for i in infos] == ["Tone 1"] and infos[0].audio != before.audio
    assert len(tracks_list(added)) == 4


def tracks_list(library):
    view = library.view()
    return view.infos(np.flatnonzero(view.visible))


def test_a_file_that_breaks_loses_its_curve(added, songs, light):
    (songs / "a.flac").write_text("broken now")
    report = add(added, light, songs)
    assert report.counts["failed"] == 3
    assert "Tone 0" not in tracks(added) and len(tracks(added)) == 3


def test_a_lost_file_comes_back(added, songs, light, monkeypatch):
    away = songs.parent / "away.flac"
    (songs / "a.flac").rename(away)
    report = indexing.rescan(added, light, progress=False)
    assert report.counts["gone"] == 1 and len(tracks(added)) == 3
    assert indexing.status(added).counts["gone"] == 1
    added.pack()
    away.rename(songs / "a.flac")
    forbid_decoding(monkeypatch)
    report = indexing.rescan(added, light, progress=False)
    assert report.counts["back"] == 1 and len(tracks(added)) == 4


def test_two_copies_of_a_moved_file_are_two_tracks(added, songs, light):
    for name in ("one.flac", "two.flac"):
        shutil.copy2(songs / "a.flac", songs / name)
    (songs / "a.flac").unlink()
    report = add(added, light, songs)
    assert (report.counts["moved"], report.counts["added"]) == (1, 1)
    names = {os.path.basename(i.path) for i in tracks_list(added)}
    assert {"one.flac", "two.flac"} <= names and len(names) == 5


def test_remove_forgets_files_folders_and_what_is_gone(added, songs, light):
    assert indexing.remove(added, [songs / "album"]) == 2
    assert sorted(tracks(added)) == ["Tone 0", "Tone 1"]
    (songs / "a.flac").unlink()
    add(added, light, songs / "album")
    indexing.rescan(added, light, progress=False)
    assert indexing.remove(added, [], gone=True) == 1
    assert sorted(tracks(added)) == ["Tone 1", "Tone 2", "Tone 3"]
    with pytest.raises(LibraryError, match="elsewhere is not in it"):
        indexing.remove(added, [songs / "elsewhere"])
    with pytest.raises(LibraryError, match="a path is empty"):
        indexing.remove(added, [""])
    assert (songs / "b.flac").exists()


def test_shards_are_merged_and_the_left_over_removed(library, songs, light, tmp_path):
    for n in range(5):
        folder = tmp_path / f"part {n}"
        folder.mkdir()
        sf.write(folder / "x.wav", tone(1, 300 + 50 * n), 22050)
        add(library, light, folder)
    left_over = library.folder / SHARDS / "written by a process that died"
    left_over.mkdir()
    add(library, light, songs)
    assert len(tracks_list(library)) == 9
    assert len(list((library.folder / SHARDS).iterdir())) == 1
    assert len({i.id for i in tracks_list(library)}) == 9


def test_a_search_while_tracks_are_packed_sees_each_once(added, songs, light, monkeypatch):
    monkeypatch.setattr(added, "pack", lambda at_least=1: None)  # as if a run were going on
    sf.write(songs / "new.wav", tone(1), 22050)
    add(added, light, songs)
    monkeypatch.undo()
    assert len(tracks_list(added)) == 5
    stored = added._stored

    def pack_first():
        monkeypatch.undo()
        added.pack()
        return stored()

    monkeypatch.setattr(added, "_stored", pack_first)
    assert len(tracks_list(added)) == 5


@pytest.mark.slow
def test_results_do_not_depend_on_the_number_of_processes(added, songs, light, tmp_path):
    other = Library(tmp_path / "other", create=True)
    add(other, light, songs, jobs=2)
    for title, info in tracks(other).items():
        assert info.audio == tracks(added)[title].audio
    rows = [np.argsort([i.title for i in tracks_list(lib)]) for lib in (other, added)]
    curves = [
        [to_bytes(lib.view().curve(int(r))).tolist() for r in order]
        for lib, order in zip((other, added), rows, strict=True)
    ]
    assert curves[0] == curves[1]
    other.close()


# ------------------------------------------------------------------------------ refusals


def test_another_model_is_refused(added, songs):
    with pytest.raises(LibraryError, match="was made with light@.*--library"):
        indexing.add(added, load("lstm-tonal-vgmidi"), [songs], progress=False)


def test_what_is_not_there_is_named(library, light, tmp_path):
    with pytest.raises(FolderError, match="cannot list .*nowhere"):
        add(library, light, tmp_path / "nowhere")
    with pytest.raises(LibraryError, match="no folder was added"):
        indexing.rescan(library, light)
    with pytest.raises(LibraryError, match="msr library add FOLDER"):
        Library(tmp_path / "no library")


def test_a_disk_that_is_not_there_changes_nothing(added, songs, light):
    songs.rename(songs.parent / "unplugged")
    with pytest.raises(LibraryError, match="is the disk there"):
        indexing.rescan(added, light, progress=False)
    assert len(tracks(added)) == 4


def test_two_writers_do_not_meet(added, songs, light):
    other = sqlite3.connect(added.folder / LOCK, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(LibraryError, match="another 'msr library' command"):
        add(added, light, songs)
    other.close()
    assert add(added, light, songs).counts["unchanged"] == 4


def test_a_damaged_library_says_so(added):
    (shard,) = (added.folder / SHARDS).iterdir()
    for content in (b"nothing", b""):
        (shard / "curve.npy").write_bytes(content)
        with pytest.raises(LibraryError, match="curve.npy is missing or damaged"):
            added.view()
    added.close()
    (added.folder / FILE).write_bytes(b"no database" * 1000)
    with pytest.raises(LibraryError, match="cannot be used .*not a database"):
        Library(added.folder)


# ------------------------------------------------------------------------------ killed


@needs_posix
@pytest.mark.slow
def test_a_killed_run_loses_only_the_file_in_work(tmp_path, light):
    folder, home = tmp_path / "music", tmp_path / "library"
    folder.mkdir()
    for n in range(40):
        sf.write(folder / f"{n:02d}.wav", tone(4, 200 + 20 * n, rate=8000), 8000, "PCM_U8")
    command = [
        sys.executable, "-m", "msr_utils", "library", "add", str(folder), "--model", "light",
        "--library", str(home),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until and stored(home) < 3:
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    before = stored(home)
    assert 3 <= before < 40, "it was killed in the middle"
    library = Library(home)
    assert "has not ended" in indexing.status(library).unfinished
    assert int(library.view().visible.sum()) == before  # searchable without a rerun
    report = add(library, light, folder)
    assert (report.counts["unchanged"], report.counts["added"]) == (before, 40 - before)
    assert not indexing.status(library).unfinished
    assert len(tracks_list(library)) == 40
    library.close()


def stored(home) -> int:
    """Tracks that a library has now."""
    try:
        with sqlite3.connect(home / FILE) as connection:
            return connection.execute("select count(*) from tracks").fetchone()[0]
    except sqlite3.Error:
        return 0


def test_the_stamp_changes_when_searches_see_something_else(added, songs, light):
    seen, catalogue = {added.stamp()}, added.catalogue
    view = added.view()
    assert sorted(view.ids.tolist()) == [1, 2, 3, 4]
    catalogue.prefer("me", view.infos(np.array([0]))[0].audio, "like", 1.0)
    assert added.stamp() in seen
    for change in (
        lambda: catalogue.set_gone([2], gone=True),
        lambda: catalogue.set_gone([2], gone=False),
        lambda: catalogue.remove([3]),
        lambda: (
            (songs / "new.flac").write_bytes((songs / "a.flac").read_bytes())
            and indexing.add(added, light, [songs], progress=False)
        ),
    ):
        before = added.stamp()
        change()
        assert added.stamp() != before
