"""Ways to make audio files of every kind, by a line of ffmpeg or by Python."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile as sf
from conftest import cadences, tone

from msr_utils.constants import SAMPLE_RATE

MUSIC_SECONDS = 6.0
RATE = 44_100

FRAME = 2048
"""Samples of the longest frame of the lossy codecs here."""

Make = str | Callable[[Path, Path], None]
"""A command line in which ``{in}`` is the music as WAV and ``{out}`` the file to make, or a
function of both."""


@dataclass(frozen=True)
class Case:
    """An input and what is expected of it.

    Parameters
    ----------
    file : str
        Its name.
    make : Make
    seconds : float, optional
        Length to be decoded; None if the file is refused.
    says : str
        Pattern of the only warning, or of the reason for which the file is refused. Empty: no
        warning.
    exact : bool
        Compare the samples with ffmpeg's. Decoders differ in how they hide damage.
    """

    file: str
    make: Make
    seconds: float | None = MUSIC_SECONDS
    says: str = ""
    exact: bool = True


def encode(options: str) -> str:
    return f"ffmpeg -v error -y -i {{in}} {options} {{out}}"


LAVFI = "ffmpeg -v error -y -f lavfi -i "


def joined(*commands: str, files: str) -> str:
    """Make parts in the folder of the output, and join their bytes."""
    return " && ".join(commands) + f" && cat {files} > {{out}}"


def edited(
    options: str, suffix: str, edit: Callable[[bytes], bytes]
) -> Callable[[Path, Path], None]:
    """Encode the music, then change the bytes of the file."""

    def make(source: Path, out: Path) -> None:
        whole = out.with_name(f"whole.{suffix}")
        run(encode(options).format(**{"in": source, "out": whole}))
        out.write_bytes(edit(whole.read_bytes()))

    return make


def run(command: str) -> None:
    done = subprocess.run(["bash", "-ec", command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{command}\n{done.stderr}"


def in_the_middle(new: bytes, replace: bool) -> Callable[[bytes], bytes]:
    def edit(data: bytes) -> bytes:
        half = len(data) // 2
        return data[:half] + new + data[half + (len(new) if replace else 0) :]

    return edit


def in_wav(rate: int, options: str) -> Callable[[Path, Path], None]:
    """A bit stream as the samples of a 16-bit stereo WAV file."""

    def make(source: Path, out: Path) -> None:
        stream = out.with_name("stream")
        run(f"ffmpeg -v error -y -i {source} -t 2 -ar {rate} -strict -2 {options} {stream}")
        samples = np.frombuffer(stream.read_bytes(), "<i2")
        sf.write(out, samples[: len(samples) // 2 * 2].reshape(-1, 2), rate, subtype="PCM_16")

    return make


def damaged_contents(data: bytes) -> bytes:
    """MP3 of 128 kbit/s and 48 kHz: the headers of frames are whole, what follows is noise."""
    changed, start = bytearray(data), data.index(b"\xff\xfb")
    generator = np.random.default_rng(0)
    for at in range(start + 384 * 50, start + 384 * 130, 384):
        changed[at + 4 : at + 384] = generator.bytes(380)
    return bytes(changed)


def mp3_in_wav(edit: Callable[[bytes], bytes] = bytes) -> Callable[[Path, Path], None]:
    """An MP3 of variable bit rate as the samples of a WAV file, as old recorders write it."""

    def make(source: Path, out: Path) -> None:
        mp3 = out.with_name("samples.mp3")
        run(f"ffmpeg -v error -y -i {source} -q:a 2 -write_xing 0 -id3v2_version 0 {mp3}")
        data = edit(mp3.read_bytes())
        described = struct.pack("<HHIIHHHHIHHH", 0x55, 2, RATE, 16000, 1, 0, 12, 1, 2, 417, 1, 1393)
        chunks = b"WAVEfmt " + struct.pack("<I", len(described)) + described
        chunks += b"data" + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
        out.write_bytes(b"RIFF" + struct.pack("<I", len(chunks)) + chunks)

    return make


def large_id3(data: bytes) -> bytes:
    """Add a tag of more than 1 MB in front, as with a cover."""
    return b"ID3\3\0\0" + bytes((0, 0x50, 0, 0)) + b"JPEG\xab\xcd\x0b\xff" * 163_840 + data


def stated(mark: bytes, offset: int, size: bytes) -> Callable[[bytes], bytes]:
    """Replace the size that stands so many bytes behind a mark."""

    def edit(data: bytes) -> bytes:
        at = data.index(mark) + offset
        return data[:at] + size + data[at + len(size) :]

    return edit


STALE = (
    ("au", "", stated(b".snd", 8, struct.pack(">I", 400_000))),
    ("caf", "", stated(b"data", 4, struct.pack(">q", 400_004))),
    ("w64", "", stated(b"data\xf3", 16, struct.pack("<Q", 400_024))),
    ("rf64", "-rf64 always -f wav", stated(b"ds64", 16, struct.pack("<Q", 400_000))),
)
"""Formats whose headers state a size -> options of ffmpeg, and the edit that makes it too small."""


def joined_late(data: bytes) -> bytes:
    """An Ogg radio station: the pages of the headers, then what was on."""
    pages, at = [], 0
    while at < len(data):
        length = 27 + data[at + 26] + sum(data[at + 27 : at + 27 + data[at + 26]])
        pages.append(data[at : at + length])
        at += length
    return b"".join(pages[:2] + pages[len(pages) // 2 :])


APE_TAG = b"APETAGEX" + struct.pack("<4I8x", 2000, 32 + 100, 1, 0xA0000000)
APE_TAG += struct.pack("<2I", 86, 0) + b"Title" + bytes(87) + APE_TAG.replace(b"\xa0", b"\x80")
"""A tag as MP3 players of the nineties wrote it, at the start of a file."""

ID3_TAG = b"ID3\3\0\0\0\0\x20\0" + bytes(4096)

NOISE = np.random.default_rng(0).bytes(1600)

TAG = b"TAG" + b"Song".ljust(30, b"\0") + b"Artist".ljust(95, b"\0")


def ape_tag(header: bool, after: bytes = b"") -> Callable[[bytes], bytes]:
    """Add an APEv2 tag with a cover of 20 KB at the end; its header is optional."""
    cover = b"Cover Art (Front)\0cover.jpg\0" + np.random.default_rng(1).bytes(20_000)
    items = struct.pack("<2I", len(cover) - 18, 0) + cover

    def part(flags: int) -> bytes:
        return b"APETAGEX" + struct.pack("<4I8x", 2000, len(items) + 32, 1, flags)

    tag = (part(0xA0000000) if header else b"") + items + part(0x80000000 if header else 0)
    return lambda data: data + tag + after


def written(rate: int = RATE, channels: int = 1, seconds: float = 2.0, **options: str):
    def make(_: Path, out: Path) -> None:
        samples = np.tile(tone(seconds, 440, rate)[:, None], (1, channels))
        sf.write(out, samples, rate, **options)

    return make


def raw(content: bytes) -> Callable[[Path, Path], None]:
    return lambda _, out: out.write_bytes(content) and None


def encode_amr(source: Path, out: Path) -> None:
    """AMR, which Debian's ffmpeg does not encode."""
    with av.open(str(source)) as music, av.open(str(out), "w", format="amr") as file:
        stream = file.add_stream("libopencore_amrnb", rate=8000, layout="mono", bit_rate=12_200)
        resampler = av.AudioResampler("s16", "mono", 8000, frame_size=160)
        for frame in [*music.decode(audio=0), None]:
            for part in resampler.resample(frame):
                file.mux(stream.encode(part))
        file.mux(stream.encode(None))


def free_format(data: bytes) -> bytes:
    """MP3 of 128 kbit/s and 48 kHz whose headers state no bit rate."""
    changed = bytearray(data)
    for at in range(0, len(data), 384):
        changed[at + 2] &= 0x0F
    return bytes(changed)


def flip(data: bytes) -> bytes:
    """Change one bit in the middle."""
    half = len(data) // 2
    return data[:half] + bytes([data[half] ^ 4]) + data[half + 1 :]


def edited_amr(edit: Callable[[bytes], bytes]) -> Callable[[Path, Path], None]:
    def make(source: Path, out: Path) -> None:
        encode_amr(source, out)
        out.write_bytes(edit(out.read_bytes()))

    return make


def piped_half(source: Path, out: Path) -> None:
    """The first half of a stream whose segment has no stated size."""
    run(f"ffmpeg -v error -y -i {source} -c:a libopus -f webm - | cat > {out}")
    data = out.read_bytes()
    out.write_bytes(data[: len(data) // 2 + 11])


HALF = (
    ("loas", "-c:a aac -f latm", 3.0, "frame"),
    ("ts", "-c:a mp2 -f mpegts", 3.0, "packet"),
    ("m2ts", "-c:a ac3 -f mpegts -mpegts_m2ts_mode 1", 3.0, "packet"),
    ("vob", "-c:a ac3 -f vob", 3.0, "packet"),
    ("mpg", "-c:a mp2 -f mpeg", 3.0, "packet"),
)
"""Suffix, options of ffmpeg, seconds of the first half, and what is not whole at its end."""


def overstated_index(data: bytes) -> bytes:
    """An MP4 whose index states 200 million packets of one byte."""
    changed = bytearray(data)
    for name, values in {
        b"stsz": (1, 200_000_000),
        b"stsc": (1, 1, 200_000_000, 1),
        b"stts": (1, 200_000_000, 1024),
    }.items():
        start = data.index(name) + 8
        changed[start : start + 4 * len(values)] = struct.pack(f">{len(values)}I", *values)
    return bytes(changed)


@pytest.fixture(scope="module")
def music_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stereo music of `MUSIC_SECONDS`, as 24-bit WAV."""
    left, right = cadences(60, times=4), cadences(64, times=4)
    samples = np.stack([left, right], 1)[: int(MUSIC_SECONDS * SAMPLE_RATE)]
    path = tmp_path_factory.mktemp("music") / "music.wav"
    source = path.with_name("low.wav")
    sf.write(source, samples, SAMPLE_RATE, subtype="PCM_24")
    run(f"ffmpeg -v error -y -i {source} -ar {RATE} -c:a pcm_s24le {path}")
    return path
