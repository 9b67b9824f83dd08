"""Small files that ask for much work: time, memory and length stay bounded in every format."""

from __future__ import annotations

import contextlib
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from needs import needs_posix, needs_program

from msr_utils.audio.decode import inspect
from msr_utils.audio.source import AudioError

pytestmark = [pytest.mark.slow, needs_program("ffmpeg")]

MAX_SECONDS = 300.0
MAX_WORK_SECONDS = 2.0
SIZE = 6_000_000
"""Bytes of the files that repeat a few bytes."""

MAX_MEMORY = 150e6
"""Most bytes that a prediction may add to the process. A sound file adds about 20 MB to a process
that has loaded FFmpeg, which itself takes about 20 MB."""

PREDICT = """
import json, resource, sys, time
from msr_utils.audio.source import AudioError, TimeLimitExceeded
from msr_utils.inference import FilePrediction, load

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

model = load("light")
before, start = peak(), time.perf_counter()
try:
    prediction = FilePrediction(model, sys.argv[1], float(sys.argv[2]), float(sys.argv[3]))
    for _ in prediction:
        pass
    outcome = "predicted"
except (AudioError, TimeLimitExceeded) as error:
    outcome = type(error).__name__
print(json.dumps([outcome, time.perf_counter() - start, peak() - before]))
"""


def encoded(options: str, suffix: str) -> Callable[[Path], bytes]:
    def make(folder: Path) -> bytes:
        path = folder / f"made.{suffix}"
        command = f"ffmpeg -v error -y -f lavfi -i {options} {path}"
        subprocess.run(command.split(), check=True, timeout=60)
        return path.read_bytes()

    return make


def repeated(start: bytes, again: bytes) -> Callable[[Path], bytes]:
    return lambda _: start + again * (SIZE // len(again))


def after(make: Callable[[Path], bytes], again: bytes) -> Callable[[Path], bytes]:
    """A sound beginning, then the same bytes again and again."""
    return lambda folder: make(folder) + again * (SIZE // len(again))


def overstated_index(folder: Path) -> bytes:
    """An MP4 whose index states 50 million packets of one byte."""
    changed = bytearray(encoded("sine=d=20 -c:a aac", "m4a")(folder))
    for name, values in {
        b"stsz": (1, 50_000_000),
        b"stsc": (1, 1, 50_000_000, 1),
        b"stts": (1, 50_000_000, 1024),
    }.items():
        start = changed.index(name) + 8
        changed[start : start + 4 * len(values)] = struct.pack(f">{len(values)}I", *values)
    return bytes(changed)


SILENCE = "anullsrc=d=900"
ATTACKS = {
    "a quarter of an hour of silence in FLAC": encoded(f"{SILENCE} -c:a flac", "flac"),
    "a quarter of an hour of silence in Opus": encoded(
        f"{SILENCE}:cl=mono -c:a libopus -b:a 6k", "opus"
    ),
    "a quarter of an hour of silence in AAC": encoded(f"{SILENCE}:cl=mono -c:a aac -b:a 8k", "m4a"),
    "a quarter of an hour of silence in ALAC": encoded(f"{SILENCE} -c:a alac", "m4a"),
    "eight channels at 192 kHz": encoded("anullsrc=d=290:r=192000:cl=7.1 -c:a flac", "flac"),
    "more packets stated than bytes": overstated_index,
    "Opus, then page marks": after(encoded("sine=d=0.4 -c:a libopus", "opus"), b"OggS"),
    "Matroska, then empty clusters": after(
        encoded("sine=d=0.4 -c:a libvorbis", "mka"), b"\x1f\x43\xb6\x75\x80"
    ),
    "MP3 frames that are no frames": repeated(b"", b"\xff\xfb\x90"),
    "MP3 frames of three bytes": repeated(b"", b"\xff\xfb\x00"),
    "two frames, then another file": repeated(
        b"", 2 * (b"\xff\xfb\x90\x64" + bytes(413)) + b".snd" + struct.pack(">II", 24, 0)
    ),
    "only sync bytes": repeated(b"", b"\xff"),
    "only tags": repeated(b"", b"ID3\x04\0\0\0\0\0\0"),
    "AAC frames of eight bytes": repeated(b"", b"\xff\xf1\x50\x80\x01\x1f\xfc\x00"),
    "AMR frames of one byte": repeated(b"#!AMR\n", b"\x7c"),
    "empty chunks": repeated(b"RIFF\xff\xff\xff\xffWAVE", b"LIST\0\0\0\0"),
    "one box to the end": repeated(b"\0\0\0\0ftypM4A ", b"\0"),
    "transport packets of nothing": repeated(b"", b"\x47\x40\x00\x10" + bytes(184)),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_time_memory_and_length_are_bounded(name, tmp_path):
    path = tmp_path / "attack"
    path.write_bytes(ATTACKS[name](tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", PREDICT, path, str(MAX_SECONDS), str(MAX_WORK_SECONDS)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    outcome, seconds, memory = json.loads(done.stdout)
    assert outcome in {"AudioError", "AudioTooLong", "TimeLimitExceeded"}
    assert seconds < MAX_WORK_SECONDS + 1
    assert memory < MAX_MEMORY


WITH_SIZES = {
    "rf64.wav": "-rf64 always",
    "w64": "",
    "caf": "-c:a alac",
    "au": "",
    "m4a": "-c:a aac",
    "mka": "-c:a flac",
    "wma": "-c:a wmav2",
    "tta": "",
    "wv": "",
}
"""Formats that state sizes -> options of ffmpeg."""

SIZES = (2**64 - 1, 2**63 - 1, 2**62, 2**32 - 1)


@pytest.mark.parametrize("suffix", WITH_SIZES)
def test_any_size_in_a_header_is_survived(suffix, tmp_path):
    whole = encoded(f"sine=d=0.1 {WITH_SIZES[suffix]}", suffix)(tmp_path)
    path = tmp_path / "changed"
    for number, at in enumerate(range(0, min(len(whole) - 8, 320), 4)):
        size = SIZES[number % len(SIZES)].to_bytes(8, "little" if number & 4 else "big")
        path.write_bytes(whole[:at] + size + whole[at + 8 :])
        with contextlib.suppress(AudioError):
            inspect(path)


@needs_posix
def test_a_device_that_never_ends_is_refused():
    with pytest.raises(AudioError, match="zero: not audio"):
        inspect("/dev/zero")
