"""Decoding: formats, sample rates, streams and input that is not music."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
import soundfile as sf
from conftest import tone

from msr_utils.audio import decode, readers
from msr_utils.audio.decode import Resampler
from msr_utils.audio.source import AudioError, AudioTooLong, Limits
from msr_utils.constants import SAMPLE_RATE


@pytest.mark.parametrize("suffix", ["mp3", "ogg", "flac", "wav", "aiff", "au", "caf", "w64"])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_formats_and_rates_keep_length_and_pitch(tmp_path, suffix, rate):
    path = tmp_path / f"tone.{suffix}"
    sf.write(path, tone(2.0, 440, rate), rate)
    samples = decode.load(path)
    assert samples.dtype == np.float32
    assert len(samples) == pytest.approx(2 * SAMPLE_RATE, abs=0.06 * SAMPLE_RATE)
    spectrum = np.abs(np.fft.rfft(samples[: 2 * SAMPLE_RATE]))
    peak_hz = np.argmax(spectrum) * SAMPLE_RATE / len(samples[: 2 * SAMPLE_RATE])
    assert peak_hz == pytest.approx(440, abs=2)


@pytest.mark.parametrize("suffix", ["wav", "mp3", "ogg", "flac"])
@pytest.mark.parametrize("block_seconds", [0.1, 0.333, 7.0])
def test_block_size_does_not_change_the_samples(monkeypatch, tmp_path, block_seconds, suffix):
    monkeypatch.setattr(readers, "BLOCK_SECONDS", block_seconds)
    monkeypatch.setattr(decode, "BLOCK_SECONDS", block_seconds)
    path = tmp_path / f"notes.{suffix}"
    # Notes that fade: frames of an MP3 then borrow bytes from those before.
    t = np.arange(44_100 * 3) / 44_100
    sf.write(path, 0.5 * np.exp(-30 * (t % 0.25)) * np.sin(2 * np.pi * 440 * t), 44_100)
    blocks = list(decode.stream(path))
    at_once = Resampler(44_100).push(sf.read(path, dtype="float32")[0], last=True)
    np.testing.assert_allclose(np.concatenate(blocks), at_once, atol=1e-6)


def test_channels_are_averaged(tmp_path):
    path = tmp_path / "eight.wav"
    channels = np.zeros((SAMPLE_RATE, 8), np.float32)
    channels[:, 3] = tone(1.0)
    sf.write(path, channels, SAMPLE_RATE, subtype="FLOAT")
    np.testing.assert_allclose(decode.load(path), tone(1.0) / 8, atol=1e-7)


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_mono_is_the_mean_to_the_last_bit(channels):
    samples = np.random.default_rng(0).normal(0, 0.3, (1000, channels)).astype(np.float32)
    np.testing.assert_array_equal(decode.mono(samples), samples.mean(axis=1))


def test_a_file_object_is_read_like_a_path(tmp_path):
    path = tmp_path / "tone.flac"
    sf.write(path, tone(1.0), SAMPLE_RATE)
    np.testing.assert_array_equal(decode.load(io.BytesIO(path.read_bytes())), decode.load(path))


def test_text_is_refused_with_its_name_and_what_to_send(tmp_path):
    path = tmp_path / "song.mp3"
    path.write_text("this is not music " * 100)
    with pytest.raises(AudioError, match=r"song\.mp3: not audio.*send MP3"):
        decode.load(path)


def test_empty_file_and_no_samples_are_refused(tmp_path):
    empty = tmp_path / "empty.wav"
    empty.touch()
    with pytest.raises(AudioError, match=r"empty\.wav: is empty \(0 bytes\)"):
        decode.load(empty)
    silent = tmp_path / "none.wav"
    sf.write(silent, np.zeros(0), SAMPLE_RATE)
    with pytest.raises(AudioError, match="holds no audio samples"):
        decode.load(silent)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_refused_with_their_time(tmp_path, value):
    samples = tone(1.0)
    samples[SAMPLE_RATE // 2] = value
    path = tmp_path / "bad.wav"
    sf.write(path, samples, SAMPLE_RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"bad\.wav: NaN or infinite sample at 0\.500 s"):
        decode.load(path)


def test_samples_far_beyond_full_scale_are_refused(tmp_path):
    path = tmp_path / "huge.wav"
    sf.write(path, tone(1.0) * 1e20, SAMPLE_RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"huge\.wav: samples reach 3e\+19"):
        decode.load(path)


def test_too_long_is_noticed_while_decoding(tmp_path):
    path = tmp_path / "long.wav"
    sf.write(path, tone(3.0), SAMPLE_RATE)
    with pytest.raises(AudioTooLong, match="longer than the 2 s"):
        list(decode.AudioFile(path, limits=Limits(seconds=2)))
    assert len(decode.load(path)) == 3 * SAMPLE_RATE


@pytest.mark.parametrize(("channels", "rate"), [(1, 8_000), (8, 8_000), (2, 48_000)])
def test_samples_of_all_channels_are_limited(tmp_path, channels, rate):
    path = tmp_path / "a.wav"
    sf.write(path, np.full((rate, channels), 0.1, np.float32), rate)
    values = rate * channels
    assert list(decode.AudioFile(path, limits=Limits(values=values)))
    with pytest.raises(AudioTooLong, match=rf"{channels} channel\(s\) at {rate} Hz; convert it"):
        list(decode.AudioFile(path, limits=Limits(values=values - 1)))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.mp3"):
        decode.load(tmp_path / "nowhere.mp3")


def defects(source, *kinds: str) -> list[str]:
    """Messages of the defects of a source, which are of these kinds."""
    found = decode.inspect(source).defects
    assert [defect.kind for defect in found] == list(kinds)
    return [defect.message for defect in found]


@pytest.mark.parametrize("share", [0.5, 0.9, 0.995])
@pytest.mark.parametrize(
    "format, subtype",
    [("OGG", "VORBIS"), ("OGG", "OPUS"), ("WAV", "PCM_16"), ("WAVEX", "FLOAT"), ("AIFF", "PCM_24")],
)
def test_a_file_cut_short_is_noticed_by_its_container(tmp_path, format, subtype, share):
    path = tmp_path / "noise"
    noise = np.random.default_rng(0).normal(0, 0.1, (48_000 * 5, 2))
    sf.write(path, noise, 48_000, format=format, subtype=subtype)
    whole = path.read_bytes()
    defects(path)
    defects(io.BytesIO(whole))
    path.write_bytes(whole[: int(len(whole) * share)])
    (message,) = defects(path, "cut short")
    assert "the file is cut short" in message
    assert [message] == defects(io.BytesIO(path.read_bytes()), "cut short")


def test_holes_in_an_ogg_file_are_noticed(tmp_path):
    path = tmp_path / "noise.ogg"
    sf.write(path, np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE * 20), SAMPLE_RATE)
    whole = path.read_bytes()
    pages = [i for i in range(len(whole)) if whole.startswith(b"OggS", i)]
    middle = pages[len(pages) // 2]
    path.write_bytes(whole[: middle + 500] + bytes(200) + whole[middle + 700 :])
    message, skipped = defects(path, "damaged", "damaged")
    assert f"checksum of the page at byte {middle} is wrong" in message
    assert re.search(r"skipped \(\d\.\d\d s at \d+\.\d s\)", skipped)
    path.write_bytes(whole[:middle] + whole[pages[len(pages) // 2 + 1] :])
    message, _ = defects(path, "damaged", "damaged")
    assert f"pages are missing before byte {middle}" in message
    path.write_bytes(whole[:middle] + bytes(900) + whole[middle + 900 :])
    message, _ = defects(path, "damaged", "damaged")
    assert f"no page begins at byte {middle}" in message
    path.write_bytes(whole + b"TAG" + bytes(125))
    defects(path)


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_wav_file_written_to_a_pipe_states_no_size(tmp_path, size):
    path = tmp_path / "pipe.wav"
    sf.write(path, tone(1.0), SAMPLE_RATE)
    content = bytearray(path.read_bytes())
    content[40:44] = size.to_bytes(4, "little")
    defects(io.BytesIO(content))
    assert len(decode.load(io.BytesIO(content))) == SAMPLE_RATE
