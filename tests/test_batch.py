"""`msr predict` on files and folders, with the bundle that is committed."""

from __future__ import annotations

import soundfile as sf
from click.testing import CliRunner
from conftest import tone

from msr_utils.cli import main


def run(*arguments):
    return CliRunner().invoke(main, ["predict", *map(str, arguments)])


def test_a_file_gives_a_curve_and_a_picture(tmp_path):
    sf.write(tmp_path / "song.mp3", tone(5.3, rate=44_100), 44_100)
    plain = run(tmp_path / "song.mp3")
    assert plain.exit_code == 0, plain.output
    assert plain.output.startswith("time_s,valence,arousal\n0.5,")
    assert len(plain.output.splitlines()) == 11
    done = run(tmp_path / "song.mp3", "--csv", tmp_path / "c.csv", "--plot", tmp_path / "c.png")
    assert done.exit_code == 0, done.output
    assert "song.mp3: valence" in done.output
    assert (tmp_path / "c.csv").read_text() == plain.output
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    wrong = run(tmp_path / "song.mp3", "--plot", tmp_path / "c.xyz")
    assert wrong.exit_code == 1 and "--plot: Format 'xyz' is not supported" in wrong.output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.csv", "c.png", "song.mp3"]


def test_a_folder_goes_on_where_it_was(tmp_path):
    music, out = tmp_path / "music", tmp_path / "out"
    (music / "more").mkdir(parents=True)
    sf.write(music / "a.WAV", tone(2), 22_050)
    sf.write(music / "more" / "a.ogg", tone(2), 22_050)
    (music / "more" / "b.mp3").write_text("no music")
    (music / "notes.txt").write_text("no audio either")
    done = run(music, "--csv", out)
    assert done.exit_code == 1
    assert "failed  more/b.mp3: b.mp3: not audio" in done.output
    curves = sorted(p.relative_to(out).as_posix() for p in out.rglob("*.csv"))
    assert curves == ["a.WAV.csv", "more/a.ogg.csv"]
    # What is there stays; what is missing is made.
    (out / "a.WAV.csv").write_text("mine")
    (out / "more/a.ogg.csv").unlink()
    (music / "more" / "b.mp3").unlink()
    assert run(music, "--csv", out).exit_code == 0
    assert (out / "a.WAV.csv").read_text() == "mine"
    assert (out / "more/a.ogg.csv").is_file()


def test_what_cannot_be_done_says_why(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no audio file in" in run(tmp_path / "empty", "--csv", tmp_path / "o").output
    assert "give --csv FOLDER" in run(tmp_path / "empty").output
    assert "not found" in run(tmp_path / "none.mp3").output
    sf.write(tmp_path / "a.wav", tone(2), 22_050)
    blocked = run(tmp_path / "a.wav", "--csv", tmp_path / "a.wav" / "c.csv")
    assert blocked.exit_code == 1 and "cannot write" in blocked.output
