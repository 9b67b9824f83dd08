"""`msr library` from the command line: what it prints, its JSON and its errors in one line."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from toy_library import write_music

from msr_utils.cli import main
from msr_utils.inference.model import load
from msr_utils.library import indexing
from msr_utils.library.library import Library
from msr_utils.library.shards import UsageError


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with music and its library."""
    folder = tmp_path_factory.mktemp("home")
    write_music(folder / "music")
    run("add", folder / "music", "--model", "light", home=folder, code=1)  # two files are broken
    return folder


def run(*arguments, home, code=0) -> str:
    words = ["library", *map(str, arguments), "--library", str(home / "library")]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == code, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.output


def lines(text: str) -> set[str]:
    return {" ".join(line.split()) for line in text.splitlines()}


def test_add_says_what_became_of_every_file(home):
    text = run("add", home / "music", home=home, code=1)
    assert {"unchanged 4", "added 0", "failed 2", "hidden 2", "not audio 1 1 .txt"} <= lines(text)
    assert "empty.wav: is empty (0 bytes)" in text
    report = json.loads(run("rescan", "--json", home=home, code=1))
    assert report["counts"]["unchanged"] == 4 and len(report["listed"]["failed"]) == 2


def test_status_says_what_has_no_curve(home):
    text = run("status", home=home)
    assert "made with light@" in text and "analysed 4" in lines(text)
    assert "bad.mp3" in text
    found = json.loads(run("status", "--json", home=home))
    assert found["counts"] == {"analysed": 4, "failed": 2} and found["unfinished"] == ""


def test_find_by_place_and_by_example(home):
    text = run("find", "--valence", 0, "--within", 2, "--genre", "noise", home=home)
    assert "filter genre noise: removed 2 tracks" in text
    assert "probability 100%" in text and "closest at 0:00-0:03" in text
    assert "2 results of 4 tracks" in text
    like = home / "music" / "a.flac"
    answer = json.loads(run("find", "--like", like, "--json", home=home))
    assert len(answer["results"]) == 3
    assert all(-1 <= found["similarity"] <= 1 for found in answer["results"])
    assert "no track is a confident match" in run("find", "--words", "excited,happy", home=home)


def test_path_from_a_word_a_point_and_a_file(home):
    file = home / "music" / "album" / "c.flac"
    text = run("path", "--from", "sad", "--to", "0.3,-0.1", "--minutes", 0.1, home=home)
    assert "wanted (-0.44, -0.23)" in text and "mean gap" in text
    playlist = json.loads(
        run("path", "--from", "sad", "--to", file, "--minutes", 0.1, "--json", home=home)
    )
    assert playlist["steps"][-1]["track"]["title"] == "Tone 2"


def test_path_along_a_drawn_arc(home):
    arc = "0:sad 1:0.2,0.3 2:sad"
    text = run("path", "--arc", arc, "--minutes", 0.1, home=home)
    assert "wanted (-0.44, -0.23)" in text


def test_preferences_are_kept_listed_and_deleted(home):
    a, b = home / "music" / "a.flac", home / "music" / "b.flac"
    assert "like of 1 file noted for me" in run("rate", a, "--like", home=home)
    run("rate", b, "--stars", 2, home=home)
    text = run("preferences", home=home)
    assert "like +1.00 Artist 0 - Tone 0" in lines(
        text
    ) and "rating -0.50 Artist 0 - Tone 1" in lines(text)
    assert "one unit of valence changes" in text
    assert "your like of Artist 0 - Tone 0" in run("find", "--for", "me", home=home)
    assert "1 preference of me forgotten" in run("preferences", "--forget", b, home=home)
    assert "1 preference of me forgotten" in run("preferences", "--forget-all", home=home)
    assert "nothing is known about me" in run("preferences", home=home)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["find"], 2, "give --words, --valence"),
        (["find", "--words", "purple"], 2, "the word 'purple' is unknown"),
        (["find", "--valence", "3"], 2, "valence must lie in [-1, 1], not 3"),
        (["find", "--words", "sad", "--year", "19x"], 2, "'19x' is no range"),
        (["find", "--words", "sad", "--year", "1999-1990"], 2, "ends before it begins"),
        (
            ["find", "--words", "sad", "--confidence", "2"],
            2,
            "--confidence must lie between 0 and 1",
        ),
        (["find", "--words", "sad", "--within", "0.1"], 2, "a word has a region of its own"),
        (["find", "--for", "me", "--confidence", "0.9"], 2, "--confidence is about a wanted place"),
        (["find", "--like", "no.mp3"], 1, "no.mp3 is not in it, and there is no such file; check"),
        (["find", "--like", "."], 1, "is a folder; name a file"),
        (["path", "--from", "sad", "--to", "no.mp3"], 1, "no.mp3 is not in it, and there is no"),
        (["rate", "no.mp3", "--like"], 1, "no.mp3 is not in it, and there is no such file"),
        (["path", "--from", "sad", "--to", "calm", "--kind", "x"], 2, "--kind 'x' is unknown"),
        (["path", "--from", "sad", "--to", "calm", "--save", "x.exe"], 2, "must end in .m3u8"),
        (["path", "--from", "sad", "--to", "0.5,7"], 2, "valence and arousal lie in [-1, 1]"),
        (["path", "--from", "sad"], 2, "give --from and --to, or --arc alone"),
        (["path", "--from", "sad", "--to", "calm", "--arc", "0:sad 1:calm"], 2, "or --arc alone"),
        (["path", "--arc", "0:sad"], 2, "an arc needs two points or more"),
        (["path", "--arc", "nowhere.csv"], 1, "cannot read an arc from nowhere.csv"),
        (["rate", "x.mp3", "--like", "--stars", "3"], 2, "give one of --like, --skip and --stars"),
        (["rate", "x.mp3", "--like", "--skip"], 2, "give one of --like, --skip and --stars"),
        (["rate", "x.mp3", "--stars", "nan"], 2, "'nan' is no number 1<=x<=5"),
        (["find", "--words", "sad", "--certainty", "nan"], 2, "'nan' is no number 0<=x<=1"),
        (["remove"], 2, "name files or folders"),
        (["remove", "--gone", "music"], 2, "name no files with it"),
        (["add", "nowhere"], 1, "cannot list"),
        (["add", "nowhere", "--scheduler", "foo"], 2, "must be local or tcp://host:port"),
        (["add", ""], 2, "the path is empty"),
        (["remove", ""], 2, "the path is empty"),
        (["tag", "--only", ""], 2, "the path is empty"),
        (["path", "--from", "sad", "--to", "calm", "--save", ""], 2, "the path is empty"),
    ],
)
def test_wrong_requests_are_one_line(home, arguments, code, words):
    text = run(*arguments, home=home, code=code)
    assert words in text and "Traceback" not in text


def test_files_without_a_curve_are_told_apart(home):
    broken, new = home / "music" / "bad.mp3", home / "new" / "new.flac"
    text = run("find", "--like", broken, home=home, code=1)
    assert f"{broken} could not be analysed (" in text and "repair or replace" in text
    new.parent.mkdir()
    new.touch()
    text = run("path", "--from", new, "--to", "calm", home=home, code=1)
    assert f"add its folder with 'msr library add {new.parent}'" in text


def test_a_wrong_scheduler_leaves_no_trace(home):
    lib = Library(home / "library")
    with pytest.raises(UsageError, match="tcp://host:port"):
        indexing.add(lib, load("light"), [home / "new"], scheduler="foo", progress=False)
    lib.close()
    found = json.loads(run("status", "--json", home=home))
    assert found["unfinished"] == "" and len(found["roots"]) == 1


def test_a_listener_without_ratings_is_said(home):
    text = run("find", "--words", "sad", "--confidence", 0.01, "--for", "nobody", home=home)
    assert "has a rating by 'nobody', so preferences did not count" in text


def test_the_help_tells_the_exit_codes():
    assert "Exit codes: 0, done." in CliRunner().invoke(main, ["library", "--help"]).output


def test_places_that_cannot_be_written_are_one_line(home, tmp_path):
    blocked = home / "music" / "notes.txt" / "mood.m3u8"  # a file, not a folder
    assert blocked.parent.is_file()
    course = ["path", "--from", "sad", "--to", "calm", "--minutes", 0.1]
    text = run(*course, "--save", blocked, home=home, code=1)
    assert "mood.m3u8: " in text and "choose another folder" in text and text.count("\n") == 1
    (tmp_path / "library").write_bytes(b"")
    text = run("add", home / "music", home=tmp_path, code=1)
    assert "is a file, not a folder; name another one with --library" in text
    text = run("add", home / "music", home=tmp_path / "library", code=1)
    assert "cannot write" in text and text.count("\n") == 1


def test_without_a_library_it_says_how_to_make_one(tmp_path):
    assert "make one with 'msr library add FOLDER'" in run(
        "find", "--words", "sad", home=tmp_path, code=1
    )
    assert "made with no model yet" not in run("status", home=tmp_path, code=1)


def test_tag_prints_what_it_would_write_writes_and_undoes(home):
    file = home / "music" / "a.flac"
    text = run("tag", "--dry-run", "--only", file, home=home)
    assert f"{file}: " in text and "MSR_MODEL light@" in text and "this was a dry run" in text
    assert "written 1" in lines(text)
    found = json.loads(run("tag", "--dry-run", "--json", home=home))
    assert len(found["changes"]) == found["counts"]["written"] == 4
    assert "written 1" in lines(run("tag", "--only", file, home=home))
    assert "unchanged 4" in lines(run("add", home / "music", home=home, code=1))
    file.chmod(0o444)
    assert "is read-only" in run("tag", "--undo", home=home, code=1)
    file.chmod(0o644)
    assert "undone 1 their fields are as before" in lines(run("tag", "--undo", home=home))
    assert "elsewhere is not in it" in run("tag", "--only", "elsewhere", home=home, code=1)


def test_remove_leaves_the_music(home):
    assert "1 track forgotten" in run("remove", home / "music" / "b.flac", home=home)
    assert (home / "music" / "b.flac").exists()


@pytest.mark.parametrize("package", ["sqlalchemy", "mutagen"])
def test_without_the_extra_it_is_named(tmp_path, package):
    code = (
        f"import sys; sys.modules[{package!r}] = None; from msr_utils.cli import main; "
        f"main(['library', 'status', '--library', {str(tmp_path)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"'msr library' needs the package '{package}'" in done.stderr
    assert "[library]" in done.stderr and len(done.stderr.splitlines()) == 1


def test_scenes_get_candidates(home):
    table = home / "scenes.csv"
    table.write_text("start,end,mood,label\n0,2,sad,Opening\n2,4,calm,Rest\n")
    text = run("scenes", table, "--count", 2, home=home)
    assert "0:00-0:02 Opening: (-0.44, -0.23) to (-0.44, -0.23)" in text
    assert text.count(" * ") == 2 and "gap" in text
    found = json.loads(run("scenes", table, "--json", home=home))
    assert [len(s["candidates"]) for s in found["scenes"]] == [3, 3]
    timeline = home / "out.otio"
    run("scenes", table, "--save", timeline, "--fps", 25, home=home)
    assert json.loads(timeline.read_text("utf-8"))["OTIO_SCHEMA"] == "Timeline.1"
    labels = home / "labels.txt"
    labels.write_text("0\t2\tA: 0:sad 1:calm\n")
    assert "0:00-0:02 A: (-0.44, -0.23) to (+0.36, -0.35)" in run("scenes", labels, home=home)
