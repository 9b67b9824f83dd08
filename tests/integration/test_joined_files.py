"""Files that follow each other, tags behind the end, pipes, cancelled channels and odd names."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from audio_makers import ID3_TAG, TAG, encode, music_file, run
from conftest import cadences, tone
from needs import needs_program

from msr_utils.audio import decode
from msr_utils.audio.decode import AudioFile
from msr_utils.constants import SAMPLE_RATE

__all__ = ["music_file"]  # a fixture

pytestmark = [pytest.mark.slow, needs_program("ffmpeg")]


TWICE = {
    "wav": "",
    "aiff": "",
    "rf64.wav": "-rf64 always",
    "w64": "",
    "caf": "-c:a alac",
    "au": "",
    "m4a": "-c:a aac",
    "mov": "-c:a pcm_s16be",
    "wma": "-c:a wmav2",
    "tta": "",
    "wv": "",
}
"""Formats whose decoders stop at the end that the header states."""


@pytest.mark.parametrize("suffix", TWICE)
def test_files_that_follow_each_other_are_decoded_one_after_the_other(suffix, music_file, tmp_path):
    one, two = tmp_path / f"one.{suffix}", tmp_path / f"two.{suffix}"
    run(encode(f"-t 1 {TWICE[suffix]}").format(**{"in": music_file, "out": one}))
    two.write_bytes(2 * one.read_bytes())
    audio = AudioFile(two)
    both, single = np.concatenate(list(audio)), decode.load(one)
    np.testing.assert_allclose(both, np.r_[single, single], atol=0.1)
    assert audio.warnings == ()


FOLLOWED = ("mp3", "flac", "ogg", "mka", "m4a", "wma", "wv", "caf", "aac", "ac3", "mp2", "wav")


@pytest.fixture(scope="module")
def short_files(music_file, tmp_path_factory) -> dict[str, bytes]:
    """Files of half a second in several formats."""
    folder = tmp_path_factory.mktemp("short")
    for suffix in FOLLOWED:
        path = folder / f"short.{suffix}"
        run(
            encode("-t 0.5 -id3v2_version 0" if suffix == "mp3" else "-t 0.5").format(
                **{"in": music_file, "out": path}
            )
        )
    return {suffix: (folder / f"short.{suffix}").read_bytes() for suffix in FOLLOWED}


@pytest.mark.parametrize("suffix", FOLLOWED)
def test_a_file_of_another_format_behind_the_end_is_decoded(suffix, short_files):
    other = "aac" if suffix == "mp3" else "mp3"
    first, second = (decode.load(io.BytesIO(short_files[name])) for name in (suffix, other))
    audio = AudioFile(io.BytesIO(short_files[suffix] + short_files[other]))
    both = np.concatenate(list(audio))
    assert len(both) == pytest.approx(len(first) + len(second), abs=2)
    inside = len(second) - 100  # The resampler goes on over the joint.
    np.testing.assert_allclose(both[-inside:], second[-inside:], atol=1e-3)
    assert not any("damaged" in warning for warning in audio.warnings)


def test_files_of_many_formats_follow_each_other(short_files):
    names = ("mp3", "wav", "m4a", "ogg", "aac", "wv", "mka")
    seconds = sum(decode.inspect(io.BytesIO(short_files[name])).seconds for name in names)
    facts = decode.inspect(io.BytesIO(b"".join(short_files[name] for name in names)))
    assert facts.seconds == pytest.approx(seconds, abs=1e-6)
    assert facts.defects == ()


@pytest.mark.parametrize("suffix", [*TWICE, "flac", "opus", "mka", "aac", "ac3", "mp2"])
def test_a_tag_behind_the_end_is_no_damage(suffix, music_file, tmp_path):
    path = tmp_path / f"one.{suffix}"
    run(encode(f"-t 1 {TWICE.get(suffix, '')}").format(**{"in": music_file, "out": path}))
    expected = decode.load(path)
    path.write_bytes(path.read_bytes() + ID3_TAG + TAG)
    audio = AudioFile(path)
    np.testing.assert_array_equal(np.concatenate(list(audio)), expected)
    assert audio.warnings == ()


def test_music_of_a_cancelled_mix_is_that_of_one_channel(tmp_path):
    left = cadences(60)
    sf.write(tmp_path / "left.wav", left, SAMPLE_RATE, subtype="FLOAT")
    sf.write(tmp_path / "both.wav", np.stack([left, -left], 1), SAMPLE_RATE, subtype="FLOAT")
    np.testing.assert_array_equal(
        decode.load(tmp_path / "both.wav"), decode.load(tmp_path / "left.wav")
    )


def test_nothing_beside_the_file_is_opened(tmp_path):
    """An AppleDouble file beside a song is no part of it."""
    sf.write(tmp_path / "song.mp3", tone(2.0), SAMPLE_RATE)
    expected = decode.load(tmp_path / "song.mp3")
    (tmp_path / "._song.mp3").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X" + bytes(200))
    np.testing.assert_array_equal(decode.load(tmp_path / "song.mp3"), expected)


def test_a_pipe_is_read_like_a_file(tmp_path):
    path = tmp_path / "song.flac"
    sf.write(path, tone(2.0), SAMPLE_RATE)
    with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as cat:
        np.testing.assert_array_equal(decode.load(cat.stdout), decode.load(path))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(f"cat {path} > {pipe}", shell=True):
        np.testing.assert_array_equal(decode.load(pipe), decode.load(path))


@pytest.mark.parametrize("name", [b"F\xfcr Elise.wav", b"x" * 247 + b".wav", b"a\nb.wav"])
def test_any_name_that_the_file_system_allows(tmp_path, name):
    path = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))
    with open(path, "wb") as file:
        content = io.BytesIO()
        sf.write(content, tone(1.0), SAMPLE_RATE, format="WAV")
        file.write(content.getvalue())
    audio = AudioFile(path)
    assert len(np.concatenate(list(audio))) == SAMPLE_RATE
    audio.name.encode("utf-8")
