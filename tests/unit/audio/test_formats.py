"""The one list of audio suffixes against what the decoder writes and reads."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner
from conftest import tone

from msr_utils.audio import decode
from msr_utils.audio.formats import AUDIO_SUFFIXES, CONTAINERS
from msr_utils.cli import main
from msr_utils.constants import SAMPLE_RATE

SUFFIXES = [(suffix, name) for name, suffixes in CONTAINERS.items() for suffix in suffixes]


@pytest.mark.parametrize("suffix, container", SUFFIXES)
def test_a_file_of_each_suffix_is_read(tmp_path, suffix, container):
    if container not in sf.available_formats():
        assert suffix not in AUDIO_SUFFIXES
        return  # this libsndfile has no such container
    assert suffix in AUDIO_SUFFIXES
    path = tmp_path / f"tone{suffix}"
    opus = suffix == ".opus"
    rate = 48_000 if opus else SAMPLE_RATE
    written = tone(2.0, 440, rate)
    sf.write(path, written, rate, format=container, subtype="OPUS" if opus else None)
    assert sf.info(path).format == container
    samples = decode.load(path)
    assert len(samples) == pytest.approx(2 * SAMPLE_RATE, abs=0.06 * SAMPLE_RATE)
    middle = samples[SAMPLE_RATE // 2 : SAMPLE_RATE]
    peak = np.abs(np.fft.rfft(middle)).argmax() * SAMPLE_RATE / len(middle)
    assert peak == pytest.approx(440, abs=5)


def test_suffixes_are_unique_and_in_lower_case():
    assert len(set(AUDIO_SUFFIXES)) == len(AUDIO_SUFFIXES) > 0
    assert [s.lower() for s in AUDIO_SUFFIXES] == list(AUDIO_SUFFIXES)


def test_the_decoder_recognises_each_suffix_by_itself():
    """libsndfile's own table of suffixes agrees, where it has an entry."""
    for suffix, container in SUFFIXES:
        name = suffix.removeprefix(".").upper()
        assert name not in sf.available_formats() or name == container


@pytest.mark.parametrize("command", ["features", "predict"])
def test_features_and_predictions_take_the_same_files(tmp_path, command):
    folder, out = tmp_path / "music", tmp_path / "out"
    folder.mkdir()
    (folder / "notes.txt").write_text("no audio")
    available = [pair for pair in SUFFIXES if pair[0] in AUDIO_SUFFIXES]
    for n, (suffix, container) in enumerate(available):
        path = folder / f"tone{suffix.upper()}"
        sf.write(path, tone(1.0, 300 + 100 * n, 48_000), 48_000, format=container)
    arguments = {
        "features": ["--corpus", "audio", "--data", folder, "--features", "logmel", "--cache", out],
        "predict": [folder, "--model", "light", "--csv", out],
    }[command]
    done = CliRunner().invoke(main, [command, *map(str, arguments)])
    assert done.exit_code == 0, done.output
    if command == "features":
        assert f"{len(available)} computed" in done.output
    else:
        assert len(list(out.glob("tone*.csv"))) == len(available)
