"""`msr data verify` on sound and damaged corpora: everything found in one reading."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from benchmarks.real_data import DATA
from click.testing import CliRunner
from conftest import tone
from needs import needs_data
from test_deam import write_deam

from msr_utils.cli import main
from msr_utils.constants import SAMPLE_RATE
from msr_utils.corpora.base import CorpusError, Track
from msr_utils.corpora.verify import _inspect, identify, validate


def test_a_sound_corpus_has_no_errors(folder_corpus):
    found = validate(folder_corpus, progress=False)
    assert found.ok
    assert (found.corpus, found.tracks, found.without_audio) == ("tones", 6, 0)
    assert found.hours == pytest.approx(6 * 4 / 3600)


def damage(root):
    """Eight defects in six tracks; the last track stays sound."""
    audio = root / "audio"
    sf.write(audio / "t00.mp3", tone(4.0), SAMPLE_RATE)
    whole = (audio / "t00.mp3").read_bytes()
    (audio / "t00.mp3").write_bytes(whole[: len(whole) // 3])
    (audio / "t00.wav").unlink()
    (audio / "t01.wav").write_text("this is no audio\n" * 50)
    sf.write(audio / "t02.wav", np.zeros(4 * SAMPLE_RATE), SAMPLE_RATE)
    bad = tone(4.0)
    bad[100] = np.nan
    sf.write(audio / "t03.wav", bad, SAMPLE_RATE, subtype="FLOAT")
    labels = pd.read_csv(root / "annotations.csv")
    late = labels[labels.track_id == "t04"].assign(time_s=lambda t: t.time_s + 4)
    labels.loc[(labels.track_id == "t04") & labels.time_s.between(1, 2), "valence"] = np.nan
    labels = pd.concat([labels, late])
    labels.loc[(labels.track_id == "t02") & (labels.time_s == 1.0), "arousal"] = 3.5
    labels.to_csv(root / "annotations.csv", index=False)
    tracks = pd.read_csv(root / "tracks.csv").assign(duration_s=4.0)
    tracks["file"] = tracks.file.str.replace("t00.wav", "t00.mp3")
    tracks.to_csv(root / "tracks.csv", index=False)


def test_every_defect_is_found_in_one_reading(folder_corpus):
    damage(folder_corpus)
    found = validate(folder_corpus, progress=False)
    assert not found.ok
    table = found.table()
    errors = table[table.level == "error"].set_index("subject").message.to_dict()
    assert "its header states 4.0 s, 1.1 s could be decoded; the file is cut short" in errors["t00"]
    assert "not audio that can be decoded" in errors["t01"]
    assert "3.5 lies outside" in errors["t02"]
    assert "NaN or infinite sample" in errors["t03"]
    assert "lasts 4.0 s, but 7 annotations lie past its end, the last at 8.0 s" in errors["t04"]
    assert set(errors) == {"t00", "t01", "t02", "t03", "t04"}
    notes = table[(table.level == "note") & (table.subject == "t04")].message
    assert notes.str.contains(
        r"3 of 16 annotated frames lack a value, the longest gap is 1.5 s"
    ).any()


def test_silence_and_a_wrong_length_are_damage(folder_corpus):
    sf.write(folder_corpus / "audio" / "t00.wav", np.zeros(4 * SAMPLE_RATE), SAMPLE_RATE)
    tracks = pd.read_csv(folder_corpus / "tracks.csv").assign(duration_s=4.0)
    tracks.loc[tracks.track_id == "t01", "duration_s"] = 45.0
    tracks.to_csv(folder_corpus / "tracks.csv", index=False)
    messages = validate(folder_corpus, progress=False).table().set_index("subject").message
    assert "nothing to hear" in messages["t00"]
    assert "lasts 4.0 s, the corpus states 45.0 s" in messages["t01"]


def test_silence_after_a_lossy_codec_is_silence(folder_corpus):
    audio = folder_corpus / "audio"
    (audio / "t00.wav").unlink()
    noise = np.random.default_rng(0).normal(0, 1e-5, 4 * SAMPLE_RATE)
    sf.write(audio / "t00.flac", noise, SAMPLE_RATE, subtype="PCM_24")
    (error,) = [f for f in validate(folder_corpus, progress=False).findings if f.level == "error"]
    assert error.subject == "t00" and "nothing to hear" in error.message


def test_annotations_that_stop_early_are_noted(folder_corpus):
    labels = pd.read_csv(folder_corpus / "annotations.csv")
    labels = labels[(labels.track_id != "t00") | (labels.time_s < 2)]
    labels.to_csv(folder_corpus / "annotations.csv", index=False)
    (folder_corpus / "ratings.csv").unlink()
    (finding,) = validate(folder_corpus, progress=False).findings
    assert (finding.level, finding.subject) == ("note", "t00")
    assert finding.message == "lasts 4.0 s, but the last annotation is at 1.5 s"


@pytest.mark.parametrize("suffix", ["ogg", "wav"])
def test_a_file_cut_short_is_one_error(folder_corpus, suffix):
    audio = folder_corpus / "audio"
    (audio / "t00.wav").unlink()
    path = audio / f"t00.{suffix}"
    sf.write(path, np.random.default_rng(0).normal(0, 0.1, 4 * SAMPLE_RATE), SAMPLE_RATE)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    (error,) = [f for f in validate(folder_corpus, progress=False).findings if f.level == "error"]
    assert error.subject == "t00" and "the file is cut short" in error.message


def test_an_end_of_zeros_is_noted(folder_corpus):
    labels = pd.read_csv(folder_corpus / "annotations.csv")
    labels.loc[(labels.track_id == "t00") & (labels.time_s > 2.5), ["valence", "arousal"]] = 0
    labels.to_csv(folder_corpus / "annotations.csv", index=False)
    (finding,) = validate(folder_corpus, progress=False).findings
    assert (finding.level, finding.subject) == ("note", "t00")
    assert "last 3 frames are exactly 0" in finding.message


def test_a_missing_table_is_one_finding(folder_corpus):
    (folder_corpus / "annotations.csv").write_text("track_id,time_s\nt00,0.5\n")
    found = validate(folder_corpus, progress=False)
    assert [f.level for f in found.findings] == ["error"]
    assert "annotations.csv: column 'valence' is missing" in found.findings[0].message


def test_other_corpora_name_a_file_that_cannot_be_read(tmp_path):
    root = write_deam(tmp_path)
    path = next(root.rglob("arousal.csv"))
    path.unlink()
    path.symlink_to("/proc/self/mem")
    (finding,) = validate(root, progress=False).findings
    assert finding.level == "error" and "cannot be read" in finding.message


def test_corpora_are_recognised_by_their_files(folder_corpus, tmp_path):
    assert identify(folder_corpus) == "folder"
    assert identify(write_deam(tmp_path / "d")) == "deam"
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match=r"none of the known corpora; looked for tracks\.csv"):
        validate(tmp_path / "empty")
    with pytest.raises(CorpusError, match="no folder"):
        validate(tmp_path / "nowhere")


def test_several_corpora_in_one_folder_are_refused(folder_corpus, tmp_path):
    data = tmp_path / "data"
    write_deam(data / "deam")
    assert identify(data) == "deam"
    folder_corpus.rename(data / "own")
    with pytest.raises(CorpusError, match=r"data holds several .* deam \(deam\), own \(folder\)"):
        identify(data)
    (tmp_path / "one").mkdir()
    (data / "own").rename(tmp_path / "one" / "own")
    with pytest.raises(CorpusError, match=r"verify a folder inside it: own \(folder\)"):
        identify(tmp_path / "one")


def test_names_of_corpora_that_cannot_be_verified(folder_corpus):
    command = ["data", "verify", str(folder_corpus), "--corpus"]
    run = CliRunner().invoke(main, [*command, "synthetic"])
    assert run.exit_code == 1 and "synthetic has no folder to verify" in run.output
    run = CliRunner().invoke(main, [*command, "daem"])
    assert run.exit_code == 2 and "unknown name 'daem'; known: deam, emotify" in run.output


def test_the_command_reports_and_sets_the_exit_code(folder_corpus, tmp_path):
    run = CliRunner().invoke(main, ["data", "verify", str(folder_corpus)])
    assert run.exit_code == 0, run.output
    assert "tones: 6 tracks with audio (0.01 h), 0 without; 0 errors" in run.output
    assert "the study will use folds = 1, not 5, because the corpus has few groups" in run.output
    damage(folder_corpus)
    csv = tmp_path / "findings.csv"
    run = CliRunner().invoke(main, ["data", "verify", str(folder_corpus), "--csv", str(csv)])
    assert run.exit_code == 1
    assert "error  audio/t01.wav [t01]: t01.wav: not audio" in run.output
    assert set(pd.read_csv(csv).level) == {"error", "note"}
    run = CliRunner().invoke(main, ["data", "verify", str(folder_corpus), "--csv", str(tmp_path)])
    assert run.exit_code == 1 and f"--csv: cannot write {tmp_path}" in run.output
    run = CliRunner().invoke(main, ["data", "verify", "x" * 300])
    assert run.exit_code == 1 and "x: cannot be read (File name too long)" in run.output
    run = CliRunner().invoke(main, ["data", "verify", str(tmp_path / "nowhere")])
    assert run.exit_code == 1 and "no folder" in run.output


def test_annotated_songs_without_audio_are_no_damage(tmp_path):
    found = validate(write_deam(tmp_path), progress=False)
    assert found.without_audio == 2
    assert any(f.level == "note" and "have no audio here" in f.message for f in found.findings)


@pytest.mark.slow
@needs_data("deam")
def test_deam_itself():
    """The other real corpora take a minute to decode: their loaders are tested, not each file."""
    songs = len(list((DATA / "deam/MEMD_audio").glob("*.mp3")))
    found = validate(DATA / "deam", progress=False)
    assert (found.corpus, found.tracks, found.without_audio) == ("deam", songs, 1802 - songs)
    assert found.ok, found.table().head()


def test_no_file_stops_the_verification_of_the_others():
    track = Track("a", Path("a\0.wav"), np.zeros(0), np.zeros(0), np.zeros(0), group="a")
    assert str(_inspect(track)).startswith("ValueError: embedded null")
