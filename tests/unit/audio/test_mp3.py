"""Counting the frames of MP3 files: tags, false headers, foreign bytes."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile as sf
from conftest import tone

from msr_utils.audio import mp3
from msr_utils.audio.mp3 import count_frames
from msr_utils.audio.source import Deadline

RATE = 44_100
SAMPLES = 1152


def encoded(seconds: float = 4.0, rate: int = RATE, mode: str = "CONSTANT") -> bytes:
    file = io.BytesIO()
    sf.write(
        file, tone(seconds, 440, rate), rate, format="MP3", bitrate_mode=mode, compression_level=0.5
    )
    return file.getvalue()


def counted(content: bytes) -> mp3.Mp3Frames:
    frames = count_frames(io.BytesIO(content), Deadline("test", None))
    assert frames is not None
    return frames


@pytest.fixture(params=[50, 5000, 1 << 20])
def window(request, monkeypatch):
    """Bytes that are read at a time do not matter."""
    monkeypatch.setattr(mp3, "WINDOW_BYTES", request.param)


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("rate", [44_100, 48_000, 22_050, 16_000, 8_000])
def test_it_finds_the_length_that_the_decoder_gives(rate, mode, window):
    content = encoded(rate=rate, mode=mode)
    frames = counted(content)
    assert (frames.rate, frames.gaps, frames.complete) == (rate, (), True)
    decoded = len(sf.read(io.BytesIO(content))[0])
    assert frames.seconds * rate == pytest.approx(decoded, abs=frames.frame_samples)
    assert frames.stated_seconds == pytest.approx(frames.seconds, abs=0.001)


def test_tags_are_no_foreign_bytes(window):
    content = encoded()
    # Each of its bytes looks like the start of a frame.
    size = bytes((0, 0, 4000 >> 7, 4000 & 127))
    tags = b"ID3\4\0\0" + size + b"\xff\xfb\x90\0" * 1000
    for changed in (
        tags + content,
        tags * 3 + content,
        content + b"TAG" + bytes(125),
        content + bytes(5000),
    ):
        frames = counted(changed)
        assert frames.gaps == () and frames.complete
        assert frames.count == counted(content).count


def test_foreign_bytes_are_counted_with_their_time(window):
    content = encoded()
    positions = frame_starts(content)
    middle = positions[len(positions) // 2]
    noise = np.random.default_rng(0).integers(0, 255, 3000, np.uint8).tobytes()
    frames = counted(content[:middle] + noise + content[middle:])
    (gap,) = frames.gaps
    assert gap.n_bytes == pytest.approx(len(noise), abs=200)
    assert gap.time_s == pytest.approx(2.0, abs=0.1)
    assert frames.count == pytest.approx(counted(content).count, abs=1)
    (gap,) = counted(bytes(100_000) + content).gaps
    assert (gap.time_s, gap.n_bytes) == (0.0, 100_000)


def frame_starts(content: bytes) -> list[int]:
    return [i for i in range(len(content)) if content[i : i + 2] in (b"\xff\xfb", b"\xff\xfa")]


def test_a_false_number_of_frames_is_known(window):
    content = encoded(mode="VARIABLE")
    at = max(content.find(b"Xing"), content.find(b"Info")) + 8
    frames = counted(content[:at] + struct.pack(">I", 50) + content[at + 4 :])
    assert frames.stated == 50
    assert frames.count == counted(content).count
    without = content[: at - 8] + b"None" + content[at - 4 :]
    assert counted(without).stated_seconds is None


def test_a_last_frame_that_lacks_bytes_is_noticed(window):
    assert not counted(encoded()[:-20]).complete


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"this is not music" * 500,
        bytes(9000),
        b"\xff" * 9000,
        b"ID3\4\0\0\x7f\x7f\x7f\x7f",
    ],
)
def test_what_is_no_mp3_has_no_frames(content, window):
    assert count_frames(io.BytesIO(content), Deadline("test", None)) is None


def test_false_starts_are_given_up(monkeypatch):
    monkeypatch.setattr(mp3, "MAX_ATTEMPTS", 100)
    false = (b"\xff\xfb\x90\x64" + bytes(20)) * 500
    assert count_frames(io.BytesIO(false), Deadline("test", None)) is None
    frames = counted(encoded() + false + encoded())
    assert not frames.complete
