"""One list of audio suffixes for all commands."""

from __future__ import annotations

import pytest
import soundfile as sf
from click.testing import CliRunner
from conftest import tone

from msr_utils.audio.formats import AUDIO_SUFFIXES, UNREADABLE_SUFFIXES
from msr_utils.cli import main

WRITABLE = {
    ".mp3": "MP3", ".ogg": "OGG", ".oga": "OGG", ".opus": "OGG", ".flac": "FLAC", ".wav": "WAV",
    ".wave": "WAV", ".w64": "W64", ".rf64": "RF64", ".aif": "AIFF", ".aiff": "AIFF",
    ".aifc": "AIFF", ".au": "AU", ".snd": "AU", ".caf": "CAF",
}  # fmt: skip
"""Suffixes whose files libsndfile writes -> its name of the container."""


def test_suffixes_are_unique_and_in_lower_case():
    assert len(set(AUDIO_SUFFIXES)) == len(AUDIO_SUFFIXES) > 0
    assert [s.lower() for s in AUDIO_SUFFIXES] == list(AUDIO_SUFFIXES)
    assert not UNREADABLE_SUFFIXES.keys() & set(AUDIO_SUFFIXES)


@pytest.mark.parametrize("command", ["features", "predict"])
def test_features_and_predictions_take_the_same_files(tmp_path, command):
    folder, out = tmp_path / "music", tmp_path / "out"
    folder.mkdir()
    (folder / "notes.txt").write_text("no audio")
    for n, (suffix, container) in enumerate(WRITABLE.items()):
        path = folder / f"tone{suffix.upper()}"
        sf.write(path, tone(1.0, 300 + 100 * n, 48_000), 48_000, format=container)
    arguments = {
        "features": ["--corpus", "audio", "--data", folder, "--features", "logmel", "--cache", out],
        "predict": [folder, "--model", "light", "--csv", out],
    }[command]
    done = CliRunner().invoke(main, [command, *map(str, arguments)])
    assert done.exit_code == 0, done.output
    if command == "features":
        assert f"{len(WRITABLE)} computed" in done.output
    else:
        assert len(list(out.glob("tone*.csv"))) == len(WRITABLE)


@pytest.mark.parametrize("command", ["features", "predict"])
def test_audio_that_cannot_be_used_is_named(tmp_path, command):
    folder = tmp_path / "music"
    folder.mkdir()
    sf.write(folder / "tone.wav", tone(1.0), 22_050)
    (folder / "old.MPC").write_bytes(b"MPCK" + bytes(100))
    (folder / "gone.mp3").symlink_to("nowhere")
    arguments = {
        "features": ["--corpus", "audio", "--data", folder, "--features", "onset", "--cache"],
        "predict": [folder, "--model", "light", "--csv"],
    }[command]
    done = CliRunner().invoke(main, [command, *map(str, [*arguments, tmp_path / "out"])])
    assert done.exit_code == 1
    assert "old.MPC: Musepack cannot be decoded here; convert it" in done.output
    assert "gone.mp3: broken link" in done.output
