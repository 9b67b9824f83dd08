"""Folders of music: every entry has a state, and any name works."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile as sf
from analysed_folder import done, light, rows, states, write
from click.testing import CliRunner
from conftest import tone
from needs import needs_posix

from msr_utils.audio.folder_scan import scan
from msr_utils.cli import main
from msr_utils.inference.folder import FolderError, State, predict_folder
from msr_utils.inference.folder_names import (
    FileSystem,
    output_names,
)
from msr_utils.inference.folder_summary import COLUMNS, JOURNAL, SUMMARY, FileResult
from msr_utils.io import printable, sha256_file, shown_name

__all__ = ["done", "light"]  # fixtures


def curves(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*.csv")
        if p.name != SUMMARY
    }


# ------------------------------------------------------------------------------ every entry


def test_every_entry_has_a_state(tmp_path, light):
    music, out = tmp_path / "music", tmp_path / "out"
    for name in ("sub", ".hidden", "__MACOSX"):
        (music / name).mkdir(parents=True)
        write(music / name / "a.wav")
    write(music / "a.WAV")
    write(music / "._a.WAV")
    write(music / ".b.wav")
    (music / "bad.mp3").write_text("no music")
    (music / "empty.ogg").touch()
    (music / "cover.jpg").touch()
    (music / "README").touch()
    result = predict_folder(light, music, out, progress=False)
    assert states(result) == {
        "._a.WAV": "hidden",
        ".b.wav": "hidden",
        ".hidden": "hidden",
        "README": "not audio",
        "__MACOSX": "hidden",
        "a.WAV": "analysed",
        "bad.mp3": "failed",
        "cover.jpg": "not audio",
        "empty.ogg": "failed",
        "sub/a.wav": "analysed",
    }
    reasons = {r.file: r.reason for r in result.files}
    assert "AppleDouble" in reasons["._a.WAV"]
    assert reasons["empty.ogg"] == "is empty (0 bytes)"
    assert result.not_audio == {"no suffix": 1, ".jpg": 1}
    assert [r.file for r in result.lost] == ["bad.mp3", "empty.ogg"]
    assert sum(result.counts.values()) == len(result.files) == 10
    assert {name: row["state"] for name, row in rows(out).items()} == states(result)
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*")) == [
        "a.WAV.csv",
        "sub",
        "sub/a.wav.csv",
        SUMMARY,
    ]


def test_attributes_from_macos_do_not_break_their_song(tmp_path, light):
    sf.write(tmp_path / "song.mp3", tone(2, rate=44_100), 44_100)
    alone = predict_folder(light, tmp_path, progress=False).files[0]
    # AppleDouble, RFC 1740: magic, version, filler, one entry: an empty resource fork.
    header = bytes.fromhex("0005160700020000") + bytes(16) + bytes.fromhex("0001")
    entry = bytes.fromhex("00000002 00000026 00000000")
    (tmp_path / "._song.mp3").write_bytes(header + entry)
    attributes, song = predict_folder(light, tmp_path, progress=False).files
    assert attributes.state == State.HIDDEN
    assert song == alone and song.state == State.ANALYSED


def test_the_table_says_what_the_curve_says(tmp_path, light):
    music, out = tmp_path / "music", tmp_path / "out"
    music.mkdir()
    write(music / "a.wav", seconds=3.2)
    (music / "cut.wav").write_bytes((music / "a.wav").read_bytes()[:100_000])
    result = predict_folder(light, music, out, progress=False)
    whole, cut = result.files
    prediction = light.predict(music / "a.wav")
    assert (out / "a.wav.csv").read_text() == prediction.to_csv()
    assert (whole.seconds, whole.quadrant) == (3.0, prediction.quadrant[0])
    assert whole.mean_valence == pytest.approx(prediction.mean["valence"], abs=1e-6)
    assert whole.mean_arousal == pytest.approx(prediction.mean["arousal"], abs=1e-6)
    assert whole.sha256 == sha256_file(music / "a.wav")
    assert whole.output_sha256 == sha256_file(out / whole.output)
    assert (whole.model, whole.version) == ("light", light.card.model_sha256[:12])
    assert not whole.warnings and len(cut.warnings) == 1
    assert "cut" in cut.warnings[0] and not cut.warnings[0].startswith("cut.wav")
    row = rows(out)["cut.wav"]
    assert tuple(row) == COLUMNS
    assert FileResult.from_row(row) == replace(cut, path=Path(), may_be_audio=False)
    document = result.to_json()
    assert document["counts"]["analysed"] == 2 and document["with_warnings"] == 1
    assert document["files"][1]["warnings"] == list(cut.warnings)


@needs_posix
def test_links_are_followed_once(tmp_path, light):
    music = tmp_path / "music"
    (music / "real").mkdir(parents=True)
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    write(music / "real" / "a.wav")
    write(tmp_path / "elsewhere" / "b.wav")
    write(tmp_path / "elsewhere" / "deep" / "c.wav")
    (music / "again").symlink_to("real")  # before "real" in the alphabet
    (music / "linked").symlink_to(tmp_path / "elsewhere")
    (music / "linked2").symlink_to(tmp_path / "elsewhere" / "deep")
    (music / "real" / "up").symlink_to("..")
    (tmp_path / "elsewhere" / "deep" / "circle").symlink_to(tmp_path / "elsewhere")
    (music / "song.wav").symlink_to(tmp_path / "elsewhere" / "b.wav")
    (music / "broken.mp3").symlink_to("nowhere.mp3")
    (music / "broken").symlink_to("nowhere")
    (music / "self.mp3").symlink_to("self.mp3")
    found = {e.file: (e.state, e.reason) for e in scan(music)}
    assert {file for file, (state, _) in found.items() if state is None} == {
        "linked/b.wav",
        "linked/deep/c.wav",
        "real/a.wav",
        "song.wav",
    }
    assert found["again"] == (State.REPEATED, "the same folder as real")
    assert found["linked2"] == (State.REPEATED, "the same folder as linked/deep")
    assert found["linked/deep/circle"] == (State.REPEATED, "the same folder as linked")
    assert found["real/up"] == (State.REPEATED, "the same folder as the folder itself")
    assert found["broken.mp3"] == found["broken"] == (State.UNREADABLE, "broken link")
    assert found["self.mp3"][0] == State.UNREADABLE
    result = predict_folder(light, music, progress=False)
    assert result.counts[State.ANALYSED] == 4
    # A broken link without the suffix of audio is no lost audio.
    assert [r.file for r in result.lost] == ["broken.mp3", "self.mp3"]


@needs_posix
def test_what_is_no_file_is_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp3")  # opening it would wait for ever
    with socket.socket(socket.AF_UNIX) as one:
        before = os.getcwd()
        os.chdir(tmp_path)  # names of sockets are short
        try:
            one.bind("s.wav")
        finally:
            os.chdir(before)
        found = {e.file: (e.state, e.reason, e.may_be_audio) for e in scan(tmp_path)}
    assert found == {
        "pipe.mp3": (State.UNREADABLE, "a named pipe, not a file", True),
        "s.wav": (State.UNREADABLE, "a socket, not a file", True),
    }


@pytest.fixture
def unprivileged():
    """A folder of a user without special rights. Root may read everything, so it steps back."""
    folder = Path(tempfile.mkdtemp(prefix="msr-test-"))
    folder.chmod(0o777)
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if was_root:
            os.seteuid(0)
        for path in folder.rglob("*"):
            path.chmod(0o755)
        shutil.rmtree(folder)


@needs_posix
def test_without_rights(unprivileged, light):
    music = unprivileged / "music"
    (music / "closed").mkdir(parents=True)
    write(music / "a.wav")
    write(music / "mine.wav")
    write(music / "closed" / "b.wav")
    (music / "mine.wav").chmod(0)
    (music / "closed").chmod(0)
    result = predict_folder(light, music, unprivileged / "out", progress=False)
    assert {r.file: (str(r.state), r.reason) for r in result.files} == {
        "a.wav": ("analysed", ""),
        "closed": ("unreadable", "the folder cannot be listed (Permission denied)"),
        "mine.wav": ("unreadable", "cannot be read (Permission denied)"),
    }
    assert [r.file for r in result.lost] == ["closed", "mine.wav"]
    with pytest.raises(FolderError, match=r"cannot list .*closed: Permission denied"):
        predict_folder(light, music / "closed", progress=False)
    with pytest.raises(FolderError, match=r"cannot write in .*closed.out: Permission denied"):
        predict_folder(light, music, music / "closed" / "out", progress=False)
    with pytest.raises(PermissionError, match="mine.wav"):
        light.predict(music / "mine.wav")
    for path, words in {
        music / "mine.wav": "mine.wav: Permission denied",
        music / "closed" / "b.wav": "b.wav: Permission denied",
        music / "closed": "closed: Permission denied",
    }.items():
        done = CliRunner().invoke(main, ["predict", str(path), "--json", "--model", "light"])
        assert (done.exit_code, words in done.stderr) == (1, True), done.output


@needs_posix
def test_a_folder_that_is_too_deep_is_a_failure(tmp_path, monkeypatch):
    root = tmp_path / "music"
    root.mkdir()
    monkeypatch.chdir(root)
    for _ in range(25):  # more than the 4096 bytes that a path may have
        os.mkdir("d" * 200)
        os.chdir("d" * 200)
    write("song.wav")
    (found,) = scan(root)
    assert found.state == State.UNREADABLE and found.may_be_audio
    assert "cannot be opened" in found.reason


def test_a_suffix_does_not_decide_what_a_file_is(tmp_path):
    write(tmp_path / "tone.mpc")
    (tmp_path / "old.mpc").write_bytes(b"MPCK" + bytes(100))
    (tmp_path / "video.flv").write_bytes(b"FLV\1\5" + bytes(100))
    sf.write(tmp_path / "amiga.8svx", tone(1.0), 22_050, format="SVX")
    found = {entry.file: (entry.state, entry.may_be_audio) for entry in scan(tmp_path)}
    assert found == {
        "amiga.8svx": (None, True),
        "old.mpc": (State.FAILED, True),
        "tone.mpc": (None, True),
        "video.flv": (State.FAILED, True),
    }


def test_an_output_folder_within_is_not_searched(tmp_path, light):
    write(tmp_path / "a.wav")
    for _ in range(2):
        result = predict_folder(light, tmp_path, tmp_path / "curves", progress=False)
    assert states(result) == {"a.wav": "unchanged", "curves": "not audio"}
    # The folder itself may be the output, too.
    for state in ("analysed", "unchanged"):
        beside = predict_folder(light, tmp_path, tmp_path, progress=False)
        assert states(beside)["a.wav"] == state
    assert (tmp_path / "a.wav.csv").is_file()


def test_a_folder_without_audio(tmp_path, light):
    (tmp_path / "notes.txt").touch()
    result = predict_folder(light, tmp_path, progress=False)
    assert (result.lost, result.with_curve) == ((), ())
    with pytest.raises(FolderError, match="cannot list .*nowhere: No such file"):
        predict_folder(light, tmp_path / "nowhere")
    with pytest.raises(ValueError, match="jobs: must be at least 1"):
        predict_folder(light, tmp_path, jobs=0)


# ------------------------------------------------------------------------------ names


NAMES = {
    "plain.wav": "plain.wav.csv",
    "Ärger – 音楽 🎵.wav": "Ärger – 音楽 🎵.wav.csv",
    'a,b "c".wav': 'a,b "c".wav.csv',
    "trailing dot..wav": "trailing dot..wav.csv",
    " .wav": " .wav.csv",
    "n" * 243 + ".wav": "n" * 243 + ".wav.csv",
    "n" * 251 + ".wav": None,  # with .csv it is longer than the file system allows
    "é" * 125 + ".wav": None,
}


def test_any_name_works(tmp_path, light):
    music, out = tmp_path / "music", tmp_path / "out"
    music.mkdir()
    names = dict(NAMES)
    if os.name == "posix":
        names |= {"new\nline.wav": "new\nline.wav.csv", "b\\s:*?.wav": "b\\s:*?.wav.csv"}
    for n, name in enumerate(names):
        write(music / name, 200 + 20 * n)
    try:
        write(os.fsencode(music) + b"/F\xfcr Elise.wav", 700)  # Latin-1
        names["F\udcfcr Elise.wav"] = "F\udcfcr Elise.wav.csv"
    except OSError:
        pass  # macOS and Windows have no such names
    result = predict_folder(light, music, out, progress=False)
    assert {r.state for r in result.files} == {State.ANALYSED}, result.files
    assert len(curves(out)) == len(names)
    for name, curve in names.items():
        if curve is not None:
            # The file that was analysed is the one with this name.
            (row,) = (r for r in result.files if r.path.name == name)
            assert sha256_file(out / curve) == row.output_sha256
    assert len({r.output_sha256 for r in result.files}) == len(names)
    # The table is UTF-8, and one line for each file.
    text = (out / SUMMARY).read_text(encoding="utf-8")
    assert len(text.splitlines()) == 1 + len(names)
    again = predict_folder(light, music, out, progress=False)
    assert {r.state for r in again.files} == {State.UNCHANGED}


def test_names_that_differ_in_case(tmp_path, light):
    music, out = tmp_path / "music", tmp_path / "out"
    music.mkdir()
    write(music / "a.wav", 300)
    write(music / "A.wav", 600)
    if len(os.listdir(music)) == 1:
        return  # this file system has one file of the two names
    result = predict_folder(light, music, out, progress=False)
    assert sorted(curves(out)) == ["A.wav.csv", "a.wav.csv"]
    assert len({r.output_sha256 for r in result.files}) == 2


def test_output_names_on_other_file_systems(tmp_path):
    files = ["a.wav", "A.wav", "Sub/x.wav", "sub/X.wav", "e\u0301.wav", "\u00e9.wav"]
    plain = output_names(files, tmp_path, FileSystem())
    assert plain == {file: f"{file}.csv" for file in files}
    folded = FileSystem(ignores_case=True)
    names = output_names(files, tmp_path, folded)
    assert len({folded.key(name) for name in names.values()}) == len(files)
    assert names["A.wav"] == "A.wav.csv" and names["a.wav"].startswith("a.wav~")
    assert output_names(reversed(files), tmp_path, folded) == names

    windows = FileSystem(max_path=260, ignores_case=True, windows=True)
    for file in ("CON.wav", "aux/x.wav", "com1.wav", "a:b?.wav", "dots./x.wav", "end /x.wav"):
        name = output_names([file], Path("C:/out"), windows)[file]
        for part in name.split("/"):
            assert windows.allows(part), (file, name)
        assert name.endswith(".csv") and "~" in name
    deep = "/".join(["folder with a long name"] * 20 + ["x.wav"])
    assert len(output_names([deep], Path("C:/out"), windows)[deep]) < 30
    emoji = "🎵" * 125 + ".wav"  # 2 units each, 4 bytes
    long = output_names([emoji], Path("C:/out"), FileSystem(windows=True, max_path=1000))[emoji]
    assert len(long.encode("utf-16-le")) / 2 in (254, 255) and long.startswith("🎵🎵")


def test_an_output_is_no_folder_and_no_table_of_another_file(tmp_path):
    files = ["a.wav", "a.wav.csv/b.wav", "summary.csv/c.wav", "summary.csv.partial/d.wav"]
    names = output_names(files, tmp_path, FileSystem())
    assert names["a.wav.csv/b.wav"] == "a.wav.csv/b.wav.csv"
    assert names["a.wav"].startswith("a.wav~")
    for file in files[2:]:
        assert names[file].split("/")[0] not in (SUMMARY, JOURNAL)


def test_a_reason_does_not_repeat_a_name_that_is_not_utf_8(light, tmp_path):
    name = os.fsencode(tmp_path) + b"/F\xfcr.mp3"
    with open(name, "wb") as file:
        file.write(bytes(100))
    (result,) = predict_folder(light, tmp_path, None, progress=False).files
    assert result.file == "F\\xfcr.mp3"
    assert result.reason.startswith("not audio that can be decoded")


def test_shown_names_can_be_printed_and_are_unique():
    given = ["a", "\udcfc", "\\xfc", "\x85", "\u2028", "\n", "\\n", "\x1b[31m", "ü", "\u3000", "\\"]
    shown = [shown_name(name) for name in given]
    assert len(set(shown)) == len(given)
    for text in shown:
        text.encode("utf-8")
        assert len(text.splitlines()) == 1 and "\x1b" not in text
    assert printable("F\udcfcr Elise, ü") == "F\\xfcr Elise, ü"
