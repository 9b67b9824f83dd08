"""`msr generate`: files of a piece, the same ones for the same options, and errors that name options."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner

from msr_utils import paths
from msr_utils.cli import main
from msr_utils.corpora.midi import read_midi
from msr_utils.generation.codes import as_notes
from msr_utils.generation.generator import Generator
from msr_utils.generation.request import EmotionCurve, MusicRequest
from msr_utils.generation.untrained import untrained_generator

MOOD = ("--valence", "0.6", "--arousal", "-0.4")


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    return untrained_generator(tmp_path_factory.mktemp("generators") / "tiny")


def run(*words, code=0) -> str:
    done = CliRunner().invoke(main, ["generate", *map(str, words)])
    assert done.exit_code == code, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.output


def test_all_files_hold_the_piece_that_the_generator_writes(generator, tmp_path):
    names = ("a.mid", "a.wav", "a.FLAC")
    files = [tmp_path / name for name in names]
    options = ("--generator", generator, *MOOD, "--seconds", 6, "--seed", 3)
    said = run(*options, "--no-check", *files)
    assert said.endswith(f"a.FLAC: {len(read_midi(files[0]))} notes in 6 s by tiny, seed 3\n")
    wanted = Generator.load(generator).notes(MusicRequest(EmotionCurve.constant(0.6, -0.4), 6.0, 3))
    expected = as_notes(wanted)
    notes = read_midi(files[0])
    np.testing.assert_allclose(notes.start_s, expected.start_s, atol=1e-3)
    np.testing.assert_array_equal(notes.pitch, expected.pitch)
    np.testing.assert_array_equal(notes.velocity, expected.velocity)
    (wav, rate), (flac, _) = (sf.read(file, dtype="int16") for file in files[1:])
    assert (rate, len(wav)) == (44_100, 8 * 44_100) and np.abs(wav).max() > 1000
    np.testing.assert_array_equal(wav, flac)

    again = [tmp_path / "again" / name for name in names]  # Folders are made.
    run(*options, "--no-check", *again)
    assert [f.read_bytes() for f in again] == [f.read_bytes() for f in files]
    run("--generator", generator, *MOOD, "--seconds", 6, "--seed", 4, "--no-check", again[0])
    assert again[0].read_bytes() != files[0].read_bytes()


def test_a_curve_comes_from_a_file_and_the_recogniser_says_what_it_hears(
    generator, tmp_path, monkeypatch
):
    curve = tmp_path / "arc.csv"
    curve.write_text("time_s,valence,arousal,model\n0,0.8,0.7,light@0\n4,-0.6,-0.8,light@0\n")
    monkeypatch.setattr(paths, "GENERATORS_DIR", generator.parent)
    one, other = tmp_path / "one.mid", tmp_path / "other.mid"
    options = ("--generator", "tiny", "--seconds", 4)
    said = run(*options, "--curve", curve, "--check", one)
    assert " hears valence " in said and "(asked: +0.0" in said and said.count(", r ") == 2
    run(*options, "--valence", 0.8, "--arousal", 0.7, "--no-check", other)
    assert one.read_bytes() != other.read_bytes()
    # The columns of an arc of the library do as well.
    arc = tmp_path / "same.csv"
    arc.write_text("time,valence,arousal\n0,0.8,0.7\n4,-0.6,-0.8\n")
    run("--seconds", 4, "--curve", arc, "--no-check", other)  # tiny is the first generator
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--valence", "0.6"], 2, "--arousal: is missing"),
        (["--valence", "nan", "--arousal", "0"], 2, "--valence: must be finite"),
        (["--valence", "0", "--arousal", "1.5"], 2, "--arousal: must lie in [-1, 1]"),
        ([*MOOD, "--seconds", "1e9"], 2, "--seconds: must be above 0"),
        ([*MOOD, "--seconds", "inf"], 2, "--seconds: must be above 0"),
        ([*MOOD, "--seed", "-1"], 2, "--seed: must be a whole number"),
        ([*MOOD, "--temperature", "0"], 2, "--temperature: must lie in"),
        ([*MOOD, "--curve", "arc.csv"], 2, "--curve: give either"),
        (["--curve", "no such.csv"], 1, "--curve: cannot read an arc from no such.csv"),
        (["--curve", "wrong.csv"], 1, "--curve: wrong.csv: valence and arousal of an arc lie in"),
        (["--curve", "early.csv"], 2, "--curve: must rise from 0"),
        ([*MOOD, "--generator", "no"], 1, "--generator: 'no' is neither a folder"),
        (
            [*MOOD, "--generator", "damaged"],
            1,
            "--generator: generator tiny: model.onnx has SHA-256",
        ),
    ],
)
def test_errors_name_the_option(words, code, message, generator, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paths, "GENERATORS_DIR", generator.parent)
    (tmp_path / "wrong.csv").write_text("time_s,valence,arousal\n0,0,0\n1,2,0\n")
    (tmp_path / "early.csv").write_text("time_s,valence,arousal\n-1,0,0\n1,0,0\n")
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "card.json").write_bytes((generator / "card.json").read_bytes())
    (damaged / "model.onnx").write_bytes((generator / "model.onnx").read_bytes()[:-1])
    assert message in run(*words, "out.mid", code=code)
    assert not (tmp_path / "out.mid").exists()


def test_files_are_written_whole_or_not_at_all(generator, tmp_path):
    options = ("--generator", generator, *MOOD, "--seconds", 2, "--no-check")
    assert "a.mp3 must end in .mid, .wav or .flac" in run(*options, tmp_path / "a.mp3", code=2)
    (tmp_path / "file").write_text("no folder")
    assert "cannot write" in run(*options, tmp_path / "file" / "a.wav", code=1)
    (tmp_path / "folder.wav").mkdir()
    assert "cannot write" in run(*options, tmp_path / "folder.wav", code=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.wav"]


def test_without_a_generator_the_error_says_where_one_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "GENERATORS_DIR", tmp_path)
    assert f"there is none in {tmp_path}" in run(*MOOD, tmp_path / "a.mid", code=1)
