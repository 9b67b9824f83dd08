"""`msr predict` on files, pipes and folders."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import threading

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner
from conftest import tone
from needs import needs_posix

from msr_utils.cli import main
from msr_utils.cli.predict import MAX_SHOWN
from msr_utils.inference.model import load, load_default


def run(*arguments):
    return CliRunner().invoke(main, ["predict", *map(str, arguments)])


def test_a_file_gives_a_curve_and_a_picture(tmp_path):
    sf.write(tmp_path / "song.mp3", tone(5.3, rate=44_100), 44_100)
    plain = run(tmp_path / "song.mp3")
    assert plain.exit_code == 0, plain.output
    # The model that answers when none is named gives intervals.
    header = "time_s,valence,arousal,valence_low,valence_high,arousal_low,arousal_high,model"
    assert plain.output.startswith(f"{header}\n0.5,")
    assert len(plain.output.splitlines()) == 11
    done = run(tmp_path / "song.mp3", "--csv", tmp_path / "c.csv", "--plot", tmp_path / "c.png")
    assert done.exit_code == 0, done.output
    assert "song.mp3: valence" in done.output
    assert (tmp_path / "c.csv").read_text() == plain.output
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    both = run(tmp_path / "song.mp3", "--plot", tmp_path / "c.png", "--csv")
    assert (both.exit_code, both.output) == (0, plain.output)
    wrong = run(tmp_path / "song.mp3", "--plot", tmp_path / "c.xyz")
    assert wrong.exit_code == 1 and "--plot: Format 'xyz' is not supported" in wrong.output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.csv", "c.png", "song.mp3"]


def test_the_curve_names_its_model_and_version(tmp_path):
    sf.write(tmp_path / "song.wav", tone(2), 22_050)
    for name in ("light", "lstm-tonal-vgmidi"):
        version = load(name).card.model_sha256[:12]
        header, *rows = run(tmp_path / "song.wav", "--model", name).output.splitlines()
        assert header.endswith(",model")
        assert {row.rpartition(",")[2] for row in rows} == {f"{name}@{version}"}
        document = json.loads(run(tmp_path / "song.wav", "--model", name, "--json").stdout)
        assert (document["model"], document["model_version"]) == (name, version)


def test_json_says_what_the_csv_says(tmp_path):
    sf.write(tmp_path / "song.wav", tone(3.3), 22_050)
    done = run(tmp_path / "song.wav", "--json", "--csv", tmp_path / "c.csv")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    with open(tmp_path / "c.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    curves = {name: [float(row[name]) for row in rows] for name in rows[0] if name != "model"}
    curves["times_s"] = curves.pop("time_s")
    assert {name: document[name] for name in curves} == curves
    assert document["file"] == "song.wav"
    assert (document["duration_s"], document["frame_seconds"]) == (3.0, 0.5)
    assert document["mean"]["valence"] == pytest.approx(np.mean(curves["valence"]), abs=1e-5)
    assert document["quadrant"]["name"] in ("Q1", "Q2", "Q3", "Q4")
    assert document["warnings"] == []


def test_warnings_are_told(tmp_path):
    sf.write(tmp_path / "a.wav", tone(9), 22_050)
    cut = tmp_path / "cut.wav"
    cut.write_bytes((tmp_path / "a.wav").read_bytes()[:200_000])
    done = run(cut)
    assert done.exit_code == 0
    (warning,) = done.stderr.splitlines()
    assert warning.startswith("warning: cut.wav: ") and "cut short" in warning
    assert "warning" not in done.stdout
    assert json.loads(run(cut, "--json").stdout)["warnings"] == [warning.removeprefix("warning: ")]
    assert run(tmp_path / "a.wav").stderr == ""


def test_a_folder_is_accounted_for(tmp_path):
    music, out = tmp_path / "music", tmp_path / "out"
    (music / "more").mkdir(parents=True)
    sf.write(music / "a.WAV", tone(2), 22_050)
    sf.write(music / "more" / "a.ogg", tone(2), 22_050)
    (music / "more" / "b.mp3").write_text("no music")
    (music / "notes.txt").write_text("no audio either")
    (music / "more" / "more.txt").touch()
    (music / ".hidden").touch()
    sf.write(tmp_path / "c.wav", tone(9), 22_050)
    (music / "c.wav").write_bytes((tmp_path / "c.wav").read_bytes()[:200_000])
    done = run(music, "--csv", out)
    assert done.exit_code == 1
    model = load_default()
    lines = done.stdout.splitlines()
    assert lines[0].startswith("failed     more/b.mp3: not audio that can be decoded")
    assert lines[1].startswith("warning    c.wav: ") and "cut short" in lines[1]
    assert lines[2:] == [
        "analysed        3  1 with warnings",
        "unchanged       0",
        "failed          1",
        "unreadable      0",
        "not audio       2  2 .txt",
        "hidden          1",
        f"music: 3 audio files have a curve by {model.name}@{model.version}, 1 has none; "
        f"curves and summary.csv in {out}",
    ]
    curves = sorted(p.relative_to(out).as_posix() for p in out.rglob("*.csv"))
    assert curves == ["a.WAV.csv", "c.wav.csv", "more/a.ogg.csv", "summary.csv"]
    # What is there and right stays; the rest is made.
    (out / "a.WAV.csv").write_text("mine")
    (music / "more" / "b.mp3").unlink()
    again = run(music, "--csv", out)
    assert again.exit_code == 0
    assert "analysed        1\nunchanged       2  1 with warnings\n" in again.stdout
    assert (out / "a.WAV.csv").read_text().startswith("time_s,")


def test_a_folder_as_json(tmp_path):
    music = tmp_path / "music"
    music.mkdir()
    sf.write(music / "a.wav", tone(2), 22_050)
    (music / "bad.mp3").write_text("no music")
    (music / "cover.jpg").touch()
    done = run(music, "--json", "--model", "light")
    assert done.exit_code == 1, done.output
    document = json.loads(done.stdout)
    assert document["folder"] == "music"
    assert (document["model"], document["model_version"]) == ("light", load("light").version)
    assert document["counts"] == {
        "analysed": 1, "unchanged": 0, "failed": 1, "unreadable": 0, "repeated": 0, "not audio": 1,
        "hidden": 0, "gone": 0,
    }  # fmt: skip
    assert document["not_audio"] == {".jpg": 1}
    file, bad, cover = document["files"]
    assert file["state"] == "analysed" and file["seconds"] == 2.0 and "output" not in file
    assert bad["reason"].startswith("not audio") and cover["state"] == "not audio"
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.wav", "bad.mp3", "cover.jpg", "music"]
    # Without lost audio the exit code is 0.
    (music / "bad.mp3").unlink()
    both = run(music, "--json", "--csv", tmp_path / "out", "--model", "light")
    assert both.exit_code == 0
    assert json.loads(both.stdout)["files"][0]["output"] == "a.wav.csv"


def test_many_failures_are_counted(tmp_path):
    for i in range(MAX_SHOWN + 7):
        (tmp_path / f"{i:03d}.mp3").write_text("no music")
    done = run(tmp_path, "--csv", tmp_path / "out", "--model", "light")
    assert done.exit_code == 1
    assert done.stdout.count("\nfailed     0") == MAX_SHOWN - 1
    assert "\nfailed     and 7 more\n" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["FOLDER"], "give --csv FOLDER or --json"),
        (["FOLDER", "--csv"], "give --csv FOLDER or --json"),
        (["FOLDER", "--csv", "o", "--plot", "c.png"], "and no --plot"),
        (["FOLDER", "--csv", "o", "--jobs", "0"], "0 is not in the range"),
        (["a.wav", "--jobs", "2"], "--jobs is for a folder"),
        (["a.wav", "--json", "--csv"], "would both be printed"),
        ([], "Missing argument"),
    ],
)
def test_wrong_usage_is_exit_code_2(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FOLDER").mkdir()
    sf.write(tmp_path / "a.wav", tone(2), 22_050)
    done = run(*arguments)
    assert (done.exit_code, message in done.output) == (2, True), done.output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["FOLDER", "a.wav"]


def test_what_cannot_be_done_says_why(tmp_path):
    (tmp_path / "empty").mkdir()
    empty = run(tmp_path / "empty", "--csv", tmp_path / "o")
    assert empty.exit_code == 0 and "no audio file in" in empty.stderr
    assert "not found" in run(tmp_path / "none.mp3").output
    (tmp_path / "short.mp3").write_text("hi")
    short = run(tmp_path / "short.mp3")
    assert short.exit_code == 1 and "not audio that can be decoded" in short.output
    sf.write(tmp_path / "a.wav", tone(2), 22_050)
    blocked = run(tmp_path / "a.wav", "--csv", tmp_path / "a.wav" / "c.csv")
    assert blocked.exit_code == 1 and "cannot write" in blocked.output
    blocked = run(tmp_path / "empty", "--csv", tmp_path / "a.wav")
    assert blocked.exit_code == 1 and "cannot write in" in blocked.output
    nowhere = run(tmp_path / "a.wav", "--model", "nothing")
    assert nowhere.exit_code == 1 and "no bundle 'nothing'" in nowhere.output
    if os.path.exists("/dev/null"):
        device = run("/dev/null")
        assert device.exit_code == 1 and "null: is empty (0 bytes)" in device.output


@pytest.mark.slow
def test_a_picture_needs_matplotlib_and_nothing_else(tmp_path):
    sf.write(tmp_path / "a.wav", tone(2), 22_050)
    code = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in {missing}: raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from msr_utils.cli import main\n"
        "main(['predict', 'a.wav', '--plot', 'c.png', '--model', 'light'])\n"
    )
    without = ["IPython", "matplotlib_inline", "seaborn", "pandas"]
    for missing in (without, [*without, "matplotlib"]):
        (tmp_path / "c.png").unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, "-c", code.format(missing=missing)],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        if "matplotlib" in missing:
            assert done.returncode == 1
            assert re.search("needs the package 'matplotlib'.*plot", done.stderr), done.stderr
            assert not (tmp_path / "c.png").exists()
        else:
            assert done.returncode == 0, done.stderr
            assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


# ------------------------------------------------------------------------------ not a file


@pytest.fixture
def song(tmp_path) -> tuple[bytes, str]:
    """An MP3 and its curve."""
    path = tmp_path / "song.mp3"
    sf.write(path, tone(3, rate=44_100), 44_100)
    return path.read_bytes(), load("light").predict(path).to_csv()


def msr(*arguments, **options) -> subprocess.CompletedProcess[bytes]:
    """`msr predict` in a process of its own, which has a real standard input."""
    command = [sys.executable, "-m", "msr_utils", "predict", *map(str, arguments)]
    return subprocess.run(
        [*command, "--model", "light"], capture_output=True, check=False, timeout=60, **options
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_standard_input(song, tmp_path, name):
    content, curve = song
    piped = msr(name, input=content)  # a pipe
    assert (piped.returncode, piped.stdout.decode().splitlines()) == (0, curve.splitlines())
    with open(tmp_path / "song.mp3", "rb") as file:
        redirected = msr(name, "--csv", tmp_path / "c.csv", stdin=file)
    assert redirected.returncode == 0, redirected.stderr
    assert redirected.stdout.startswith(b"standard input: valence ")
    assert (tmp_path / "c.csv").read_text() == curve
    wrong = msr(name, input=b"no music")
    assert wrong.returncode == 1 and b"standard input: not audio" in wrong.stderr
    empty = msr(name, input=b"")
    assert empty.returncode == 1 and b"standard input: is empty" in empty.stderr
    document = json.loads(msr(name, "--json", input=content).stdout)
    assert document["file"] == "standard input"


@pytest.mark.slow
@needs_posix
def test_pipes(song, tmp_path):
    content, curve = song
    os.mkfifo(tmp_path / "pipe.mp3")
    feed = threading.Thread(target=(tmp_path / "pipe.mp3").write_bytes, args=[content])
    feed.start()
    named = msr(tmp_path / "pipe.mp3")
    feed.join(20)
    assert (named.returncode, named.stdout.decode()) == (0, curve), named.stderr
    # bash gives a process substitution as /dev/fd/63.
    reading, writing = os.pipe()
    feed = threading.Thread(target=os.fdopen(writing, "wb").write, args=[content])
    feed.start()
    substituted = msr(f"/dev/fd/{reading}", pass_fds=[reading])
    os.close(reading)
    feed.join(20)
    assert (substituted.returncode, substituted.stdout.decode()) == (0, curve)


@pytest.mark.slow
@needs_posix
def test_a_terminal_is_no_audio():
    ours, theirs = os.openpty()
    done = msr("-", stdin=theirs)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 2 and b"standard input is a terminal" in done.stderr


@pytest.mark.slow
def test_a_full_temporary_folder_is_said(song, tmp_path):
    content, _ = song
    done = msr("-", input=content, env={**os.environ, "TMPDIR": str(tmp_path / "none")})
    # Without a usable folder, Python falls back to others.
    assert done.returncode == 0
    limits = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)); "
    code = limits + "from msr_utils.cli import main; main(['predict', '-', '--model', 'light'])"
    if os.name == "posix":
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=content + bytes(20_000_000),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 1 and b"Traceback" not in done.stderr
        assert b"-: cannot be copied to " in done.stderr and b"File too large" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp1252"])
def test_names_are_printed_whatever_the_terminal_is(tmp_path, encoding):
    folder = tmp_path / "Ä 音"
    folder.mkdir()
    sf.write(folder / "Ärger 音.wav", tone(1), 22_050)
    (folder / "Tod 死.mp3").write_text("no music")
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for arguments in (["--csv", tmp_path / "o"], ["--json"]):
        done = msr(folder, *arguments, env=environment)
        assert done.returncode == 1 and b"Traceback" not in done.stderr, done.stderr
        if "--json" in arguments:
            names = {file["file"] for file in json.loads(done.stdout.decode(encoding))["files"]}
            assert names == {"Ärger 音.wav", "Tod 死.mp3"}
        else:
            wanted = "Tod 死.mp3".encode(encoding, "backslashreplace")
            assert b"failed     " + wanted + b": not audio" in done.stdout
    single = msr(folder / "Ärger 音.wav", "--csv", tmp_path / "c.csv", env=environment)
    assert single.returncode == 0
    wrong = msr(folder / "Tod 死.mp3", env=environment)
    assert wrong.returncode == 1 and b"Traceback" not in wrong.stderr
