"""Files as people own them: decoded whole, or refused with the reason.

Each input is made in the test, by a line of ffmpeg or by Python. Where it can be decoded,
Debian's ffmpeg is the reference: the same length to one frame, the same samples to 1e-3.
"""

from __future__ import annotations

import io
import os
import re
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner
from conftest import cadences, tone
from needs import needs_program

from msr_utils.audio import decode
from msr_utils.audio.decode import AudioFile
from msr_utils.audio.formats import AUDIO_SUFFIXES
from msr_utils.cli import main
from msr_utils.constants import SAMPLE_RATE

pytestmark = [pytest.mark.slow, needs_program("ffmpeg")]

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


FORMATS = [
    Case("cbr.mp3", encode("-b:a 128k")),
    Case("vbr.mp3", encode("-q:a 2")),
    Case("no-xing.mp3", encode("-b:a 128k -write_xing 0"), 6.03),
    Case("low.mp3", encode("-ar 22050 -b:a 32k")),
    Case("tags.mp3", encode("-b:a 192k -id3v2_version 4 -write_id3v1 1 -metadata title=Ünïcödé")),
    Case("vorbis.ogg", encode("-c:a libvorbis -q:a 5")),
    Case("vorbis.oga", encode("-c:a libvorbis -q:a 1 -f ogg")),
    Case("opus.opus", encode("-c:a libopus -b:a 96k")),
    Case("opus.ogg", encode("-c:a libopus -b:a 64k -ac 1")),
    Case("flac.ogg", encode("-c:a flac")),
    Case("speex.spx", encode("-c:a libspeex -ar 32000 -ac 1")),
    Case("16.flac", encode("-c:a flac -sample_fmt s16")),
    Case("24.flac", encode("-c:a flac -sample_fmt s32")),
    Case("96k.flac", encode("-c:a flac -ar 96000")),
    Case("streamed.flac", "ffmpeg -v error -i {in} -f flac - | cat > {out}"),
    Case("16.wav", encode("-c:a pcm_s16le")),
    Case("24.wav", encode("-c:a pcm_s24le")),
    Case("32.wav", encode("-c:a pcm_s32le")),
    Case("8.wav", encode("-c:a pcm_u8")),
    Case("float.wav", encode("-c:a pcm_f32le")),
    Case("double.wav", encode("-c:a pcm_f64le")),
    Case("mulaw.wav", encode("-c:a pcm_mulaw")),
    Case("adpcm.wave", encode("-c:a adpcm_ms -f wav"), 6.01),
    Case("gsm.wav", encode("-c:a libgsm_ms -ar 8000 -ac 1 -f wav"), 6.04),
    Case("piped.wav", "ffmpeg -v error -i {in} -f wav - | cat > {out}"),
    Case("size-0.wav", edited("", "wav", lambda d: d.replace(d[d.index(b"data") :][:8], b"data" + bytes(4)))),
    Case("rf64.wav", encode("-rf64 always")),
    Case("sony.w64", encode("")),
    Case("6-channels.wav", encode("-ac 6")),
    Case("8k.wav", encode("-ar 8000")),
    Case("192k.wav", encode("-ar 192000")),
    Case("16.aiff", encode("")),
    Case("16.aif", encode("-f aiff")),
    Case("little-endian.aifc", encode("-c:a pcm_s16le -f aiff")),
    Case("float.aifc", encode("-c:a pcm_f32be -f aiff")),
    Case("amiga.8svx", written(format="SVX"), 2.0, exact=False),
    Case("sun.au", encode("")),
    Case("mulaw.au", encode("-c:a pcm_mulaw")),
    Case("core.caf", encode("")),
    Case("alac.caf", encode("-c:a alac")),
    Case("aac.m4a", encode("-c:a aac -b:a 128k")),
    Case("aac.mp4", encode("-c:a aac -movflags +faststart")),
    Case("alac.m4a", encode("-c:a alac")),
    Case("book.m4b", encode("-c:a aac -f ipod")),
    Case("fragments.mp4", encode("-c:a aac -movflags frag_keyframe+empty_moov"), 6.04),
    Case("adts.aac", encode("-c:a aac -f adts"), 6.04),
    Case("phone.3gp", encode("-c:a aac -ar 16000 -ac 1")),
    Case("opus.webm", encode("-c:a libopus")),
    Case("vorbis.webm", encode("-c:a libvorbis")),
    Case("vorbis.mka", encode("-c:a libvorbis")),
    Case("flac.mka", encode("-c:a flac")),
    Case("aac.mkv", encode("-c:a aac"), 6.04),
    Case("windows.wma", encode("-c:a wmav2"), 5.97),
    Case("old.wma", encode("-c:a wmav1"), 5.97),
    Case("layer2.mp2", encode("-c:a mp2"), 6.01),
    Case("radio.ts", encode("-c:a mp2 -f mpegts"), 6.01),
    Case("dolby.ac3", encode("-c:a ac3"), 6.03),
    Case("theatre.dts", encode("-t 2 -c:a dca -strict -2"), 2.0),
    Case("dolby.eac3", encode("-c:a eac3 -f eac3"), 6.03),
    Case("phone.amr", encode_amr),
    Case("wavpack.wv", encode("")),
    Case("true.tta", encode("")),
    Case("sound.avi", LAVFI + "testsrc=d=6:r=5:s=64x48 -i {in} -c:v mpeg4 -c:a libmp3lame {out}", 6.03),
    Case("video.mp4", LAVFI + "testsrc=d=6:r=5:s=64x48 -i {in} -c:v mpeg4 -c:a aac {out}", 6.01),
    Case("video.mov", LAVFI + "testsrc=d=6:r=5:s=64x48 -i {in} -c:v mpeg4 -c:a pcm_s16le {out}"),
    Case("short-sound.mkv", LAVFI + "testsrc=d=9:r=5:s=64x48 -i {in} -c:v mpeg4 -c:a flac {out}"),
    Case("video.mpg", LAVFI + "testsrc=d=6:r=25:s=64x48 -i {in} -c:v mpeg1video -c:a mp2 -f mpeg {out}", 6.01),
    # What browsers record: Chrome, Firefox and Safari.
    Case("chrome.webm", encode("-c:a libopus -f webm -live 1 -write_crc32 0 -cluster_time_limit 1000")),
    Case("firefox.ogg", encode("-c:a libopus -page_duration 1000000 -f ogg")),
    Case("safari.mp4", encode("-c:a aac -movflags frag_keyframe+empty_moov+default_base_moof"), 6.04),
]  # fmt: skip
"""Every format, as programs write it."""

FAULTS = [
    Case("vbr-without-length.mp3", LAVFI + "\"anoisesrc=d=60:a=0.5,volume='if(lt(t,5),1,0.01)':eval=frame\" -q:a 2 -write_xing 0 {out}", 60.02),
    Case("two.mp3", joined(encode("-b:a 128k").replace("{out}", "{dir}/a.mp3"), files="{dir}/a.mp3 {dir}/a.mp3"), 12.04, "header states 6.0 s, 12.0 s could be decoded"),
    Case("false-count.mp3", edited("-b:a 128k", "mp3", lambda d: d.replace(d[d.index(b"Info") : d.index(b"Info") + 12], d[d.index(b"Info") :][:8] + struct.pack(">I", 50))), 6.04, r"header states 1\.\d s, 6.0 s could be decoded", exact=False),
    Case("cover.mp3", LAVFI + "color=red:s=2000x2000 -frames:v 1 {dir}/c.bmp && ffmpeg -v error -y -i {in} -i {dir}/c.bmp -map 0:a -map 1:v -c:v copy -b:a 128k -write_xing 0 {out}", 6.03),
    Case("foreign-bytes.mp3", edited("-b:a 128k", "mp3", in_the_middle(NOISE, False)), 5.98, r"1\d{3} bytes after 3\.\d s, the size of 0\.\d\d s, are no audio", exact=False),
    Case("zeros-first.mp3", edited("-b:a 128k", "mp3", lambda d: bytes(100_000) + d), 6.04, "it begins with 100000 zero bytes", exact=False),
    Case("half.mp3", edited("-b:a 128k", "mp3", lambda d: d[: len(d) // 2]), 3.0, "header states 6.0 s, 3.0 s could be decoded; the file is cut short"),
    Case("half-without-length.mp3", edited("-b:a 128k -write_xing 0", "mp3", lambda d: d[: len(d) // 2]), 3.0, "its last frame is not whole"),
    Case("chained.ogg", joined(*(f"ffmpeg -v error -y -i {{in}} -c:a libvorbis -serial_offset {k} {{dir}}/{k}.ogg" for k in (1, 2)), files="{dir}/1.ogg {dir}/2.ogg"), 12.0, exact=False),
    Case("two.flac", joined(encode("-c:a flac").replace("{out}", "{dir}/a.flac"), files="{dir}/a.flac {dir}/a.flac"), 12.0, "header states 6.0 s, 12.0 s", exact=False),
    Case("damaged.flac", edited("-c:a flac", "flac", in_the_middle(b"\x55" * 3000, True)), 5.9, r"skipped \(0\.\d\d s at \d\.\d s\)", exact=False),
    Case("damaged.m4a", edited("-c:a aac", "m4a", in_the_middle(b"\x55" * 2000, True)), 5.9, r"skipped \(0\.\d\d s at \d\.\d s\)", exact=False),
    Case("half.flac", edited("-c:a flac", "flac", lambda d: d[: len(d) // 2]), 3.0, "the file is cut short", exact=False),
    Case("half.wav", edited("", "wav", lambda d: d[: len(d) // 2]), 3.0, "header states 6.0 s, 3.0 s"),
    Case("half.opus", edited("-c:a libopus", "opus", lambda d: d[: len(d) // 2]), 3.0, "the file is cut short: its last page", exact=False),
    Case("half.webm", edited("-c:a libopus", "webm", lambda d: d[: len(d) // 2]), 3.0, "the file is cut short", exact=False),
    Case("half-faststart.m4a", edited("-c:a aac -movflags +faststart", "m4a", lambda d: d[: len(d) // 2]), 3.0, "the file is cut short", exact=False),
    Case("opposite.wav", encode('-af "pan=stereo|c0=c0|c1=-1*c0"'), 6.0, "the channels cancel each other in the mono mix", exact=False),
    Case("opposite.mp3", encode('-af "pan=stereo|c0=c0|c1=-1*c0" -b:a 192k'), 6.0, "the channels cancel each other in the mono mix", exact=False),
    Case("silence.wav", LAVFI + "anullsrc=d=6 {out}", 6.0, "nothing to hear"),
    Case("silence.mp3", LAVFI + "anullsrc=d=6 {out}", 6.0, "nothing to hear"),
    Case("whisper.wav", encode("-af volume=-90dB"), 6.0, "nothing to hear"),
    Case("wrong-suffix.mp3", encode("-c:a aac -f mp4"), 6.0, exact=False),
    Case("no-suffix", encode("-c:a flac -f flac")),
    Case("7.1.m4a", encode("-af aformat=channel_layouts=7.1 -c:a aac"), exact=False),
    Case("7.1.webm", encode("-af aformat=channel_layouts=7.1 -c:a libopus -mapping_family 1"), exact=False),
    Case("7.1.wv", encode("-af aformat=channel_layouts=7.1")),
    Case("dts-cd.wav", in_wav(44_100, "-c:a dca -b:a 1411200 -f dts"), 2.0, exact=False),
    Case("receiver.wav", in_wav(48_000, "-c:a ac3 -f spdif"), 2.0, exact=False),
    Case("contents.mp3", edited("-ar 48000 -b:a 128k", "mp3", damaged_contents), 4.1, r"skipped \([0-9.]+ s at 1\.\d s", exact=False),
    Case("zeros-inside.mp3", edited("-b:a 128k", "mp3", in_the_middle(bytes(20_000), True)), 4.75, r"\A(?s:(?!.*cut short).*the size of 1\.\d\d s, are no audio)", exact=False),
    Case("noise.mp2", edited("-c:a mp2 -b:a 192k", "mp2", in_the_middle(NOISE * 8, True)), 5.5, r"after 3\.0 s, the size of 0\.5\d s, are no audio", exact=False),
    Case("noise.ac3", edited("-c:a ac3 -b:a 192k", "ac3", in_the_middle(NOISE * 8, True)), 5.5, r"after 3\.0 s, the size of 0\.5\d s, are no audio", exact=False),
    Case("tag-first.mp3", edited("-b:a 128k", "mp3", lambda d: APE_TAG + d), 6.0, exact=False),
    Case("radio.ogg", edited("-c:a libvorbis -page_duration 500000", "ogg", joined_late), 3.44, exact=False),
    Case("dts.avi", encode("-t 2 -c:a dca -strict -2"), 2.0, exact=False),
    Case("vorbis.avi", encode("-t 2 -c:a libvorbis"), 2.0, exact=False),
    Case("two-programmes.ts", joined(*(f"ffmpeg -v error -y -i {{in}} -t 2 -c:a aac -streamid 0:{k} {{dir}}/{k}.ts" for k in (256, 512)), files="{dir}/256.ts {dir}/512.ts"), 4.08, exact=False),
    Case("three-programmes.ts", joined(*(f"ffmpeg -v error -y -i {{in}} -c:a aac -streamid 0:{k} {{dir}}/{k}.ts" for k in (256, 512)), files="{dir}/256.ts {dir}/512.ts {dir}/256.ts"), 18.1, exact=False),
    Case("hole.m4a", edited("-c:a aac -movflags +faststart", "m4a", lambda d: d[: len(d) // 2] + d[len(d) // 2 + 8000 :]), 2.95, "damaged", exact=False),
    Case("mono-then-stereo.mp3", joined(encode("-ac 1 -b:a 96k -write_xing 0 -id3v2_version 0").replace("{out}", "{dir}/m.mp3"), encode("-b:a 128k -write_xing 0 -id3v2_version 0").replace("{out}", "{dir}/s.mp3"), files="{dir}/m.mp3 {dir}/s.mp3"), 12.06, exact=False),
    Case("bytes-behind.mp3", edited("-b:a 128k -write_xing 0", "mp3", lambda d: d + bytes(2000)), 6.03),
    Case("lyrics.mp3", edited("-b:a 128k", "mp3", lambda d: d + b"LYRICSBEGIN" + b"la " * 2000 + b"006000LYRICS200")),
    Case("old-lyrics.mp3", edited("-b:a 128k", "mp3", lambda d: d + b"LYRICSBEGIN" + b"la \xff\xfb\x90d" * 700 + b"LYRICSEND" + TAG)),
    Case("ape-short.mp3", edited("-b:a 128k", "mp3", lambda d: d + b"Title\0APETAGEX" + struct.pack("<4I8x", 1000, 38, 1, 0))),
    Case("ape-end.mp3", edited("-b:a 128k", "mp3", ape_tag(True))),
    Case("ape-footer.mp3", edited("-q:a 2", "mp3", ape_tag(False, b"TAG" + bytes(125)))),
    Case("id3-end.mp3", edited("-b:a 128k", "mp3", lambda d: d + b"ID3\4\0\x10\0\0\x0f\x50" + NOISE[:1000] * 2 + b"3DI\4\0\x10\0\0\x0f\x50")),
    Case("ape-end.aac", edited("-c:a aac -f adts", "aac", ape_tag(False)), exact=False),
    Case("zeros-3-mb.mp3", edited("-b:a 128k", "mp3", lambda d: bytes(3_000_000) + d), 6.0, "it begins with 3000000 zero bytes", exact=False),
    Case("half.caf", edited("", "caf", lambda d: d[: len(d) // 2]), 3.0, "the file is cut short"),
    Case("half.w64", edited("", "w64", lambda d: d[: len(d) // 2]), 3.0, "the file is cut short"),
    Case("half-rf64.wav", edited("-rf64 always", "wav", lambda d: d[: len(d) // 2]), 3.0, "the file is cut short"),
    Case("half-fragments.mp4", edited("-c:a aac -movflags frag_keyframe+empty_moov -frag_duration 500000", "mp4", lambda d: d[: len(d) // 2]), 3.0, "the file is cut short", exact=False),
    Case("half.wma", edited("-c:a wmav2", "wma", lambda d: d[: len(d) // 2]), 3.0, "the file is cut short", exact=False),
    Case("half.aac", edited("-c:a aac -f adts", "aac", lambda d: d[: len(d) // 2]), 3.0, "its last frame is not whole", exact=False),
    Case("half.ac3", edited("-c:a ac3", "ac3", lambda d: d[: len(d) // 2 + 3]), 3.0, "its last frame is not whole", exact=False),
    Case("half.eac3", edited("-c:a eac3", "eac3", lambda d: d[: len(d) // 2 + 3]), 3.0, "its last frame is not whole", exact=False),
    Case("half.mka", edited("-c:a flac", "mka", lambda d: d[: len(d) // 2]), 3.0, "the file is cut short", exact=False),
    Case("late.webm", "ffmpeg -v error -y -itsoffset 5 -i {in} -c:a libopus {out}", exact=False),
    Case("tagged.flac", edited("-c:a flac", "flac", lambda d: b"ID3\3\0\0\0\0\0\0" + d)),
    Case("tagged.wav", edited("", "wav", lambda d: b"ID3\3\0\0\0\0\0\0" + d), exact=True),
    Case("chain-of-codecs.ogg", joined("ffmpeg -v error -y -i {in} -c:a libvorbis -serial_offset 1 {dir}/1.ogg", "ffmpeg -v error -y -i {in} -c:a libopus -ac 1 -serial_offset 2 {dir}/2.ogg", files="{dir}/1.ogg {dir}/2.ogg"), 12.0, exact=False),
    Case("video-behind.ogg", joined("ffmpeg -v error -y -i {in} -c:a libvorbis -serial_offset 1 {dir}/1.ogg", LAVFI + "testsrc=d=1:s=64x64 -c:v libtheora -serial_offset 2 {dir}/2.ogg", files="{dir}/1.ogg {dir}/2.ogg"), 6.0, "part 2 of 2", exact=False),
    Case("stale-size.wav", edited("", "wav", lambda d: d.replace(d[d.index(b"data") :][:8], b"data" + struct.pack("<I", 400_000))), 2.27, "header states a wrong size", exact=False),
    Case("noise.aac", edited("-c:a aac -f adts", "aac", in_the_middle(NOISE * 2, True)), 5.2, "damaged", exact=False),
    Case("offset.wav", LAVFI + '"aevalsrc=0.3:d=6" {out}', 6.0, "nothing to hear"),
    Case("opposite-in-part.wav", encode("-af \"aeval='val(0)|if(between(t,2,4),-val(0),val(0))':c=stereo\""), 6.0, r"cancel each other in the mono mix \(2 to 4 s\)", exact=False),
    Case("first-packet.m4a", edited("-c:a aac -b:a 128k", "m4a", lambda d: d[:50] + b"U" * 300 + d[350:]), exact=False),
    Case("cut-start.ac3", edited("-c:a ac3 -b:a 192k", "ac3", lambda d: d[1000:]), 5.95, exact=False),
    Case("vbr-in.wav", mp3_in_wav(), 6.03, exact=False),
    Case("damaged-in.wav", mp3_in_wav(in_the_middle(NOISE, True)), 5.95, "are no audio; skipped", exact=False),
    Case("half-in.wav", lambda source, out: mp3_in_wav()(source, out) or out.write_bytes(out.read_bytes()[:50_000]), 4.65, "bytes of samples are there", exact=False),
    Case("cover.aac", edited("-c:a aac -f adts", "aac", large_id3), 6.04, exact=False),
    Case("cover.ac3", edited("-c:a ac3", "ac3", large_id3), 6.03, exact=False),
    Case("cover.dts", edited("-t 2 -c:a dca -strict -2 -f dts", "dts", large_id3), 2.0, exact=False),
    Case("cover.amr", edited_amr(large_id3), 6.0, exact=False),
    Case("half.amr", edited_amr(lambda d: d[: len(d) // 2 + 11]), 3.0, "its last frame is not whole", exact=False),
    Case("cut-start.dts", edited("-t 2 -c:a dca -strict -2 -f dts", "dts", lambda d: d[1000:]), 2.0, exact=False),
    Case("noise-first.dts", edited("-t 2 -c:a dca -strict -2 -f dts", "dts", lambda d: NOISE * 6 + d), 2.0, "9600 bytes before its first frame are no audio", exact=False),
    Case("half.dts", edited("-t 4 -c:a dca -strict -2 -f dts", "dts", lambda d: d[: len(d) // 2 + 300]), 2.0, "its last frame is not whole", exact=False),
    *(Case(f"stale-size.{suffix}", edited(options, suffix, stale), 2.27, "states a wrong size: the last 6[0-9]{5} bytes", exact=False) for suffix, options, stale in STALE),
    *(Case(f"half.{suffix}", edited(options, suffix, lambda d: d[: len(d) // 2 + 11]), seconds, f"its last {unit} is not whole", exact=False) for suffix, options, seconds, unit in HALF),
    Case("half-piped.webm", piped_half, 3.0, "its last block is not whole", exact=False),
    Case("free-format.mp3", edited("-ar 48000 -b:a 128k -write_xing 0 -id3v2_version 0", "mp3", free_format), 6.04, exact=False),
    Case("flipped-bit.flac", edited("-c:a flac", "flac", flip), 5.9, "what could not be decoded was skipped", exact=False),
    Case("flipped-bit.tta", edited("-c:a tta", "tta", flip), 4.96, "what could not be decoded was skipped", exact=False),
    Case("last-frame.flac", edited("-c:a flac", "flac", lambda d: d[:-2000]), 5.9, r"its last 0\.[01]\d s are missing", exact=False),
    Case("last-samples.au", edited("", "au", lambda d: d[:-20_000]), 5.9, "bytes of samples are there", exact=False),
    Case("tag-inside.mp3", edited("-b:a 128k -write_xing 0 -id3v2_version 0", "mp3", in_the_middle(large_id3(b"")[:30_000].replace(b"\0\x50\0\0", b"\0\1\x6a\x26", 1), False)), 5.95, r"\A[^;]*; [^;]*\n?\Z", exact=False),
    Case("zeros-behind.amr", edited_amr(lambda d: d + bytes(20_000)), 6.0, "20000 bytes behind its last frame are no audio", exact=False),
    Case("set-bits-inside.aac", edited("-c:a aac -f adts", "aac", in_the_middle(b"\xff" * 3_000_000, False)), 4.4, "3000000 bytes after", exact=False),
    Case("rate-changes.mp3", joined(encode("-b:a 128k -write_xing 0").replace("{out}", "{dir}/a.mp3"), encode("-ar 32000 -b:a 64k -write_xing 0").replace("{out}", "{dir}/b.mp3"), files="{dir}/a.mp3 {dir}/b.mp3"), 12.1, exact=False),
]  # fmt: skip
"""Files that are not as they should be, and can be decoded nevertheless."""

REFUSED = [
    Case("empty.mp3", raw(b""), None, r"is empty \(0 bytes\)"),
    Case("text.mp3", raw(b"this is not music\n" * 500), None, "not audio that can be decoded"),
    Case("noise.wav", raw(NOISE * 20), None, "not audio that can be decoded"),
    Case("picture.mp3", LAVFI + "testsrc -frames:v 1 -f image2 {dir}/p.png && cp {dir}/p.png {out}", None, "not audio that can be decoded"),
    Case("list.m4a", raw(b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n"), None, "not audio that can be decoded"),
    Case("names-a-file.mp3", raw(b"ffconcat version 1.0\nfile /etc/passwd\n"), None, "not audio that can be decoded"),
    Case("mute.mp4", LAVFI + "testsrc=d=2:r=5:s=64x48 -c:v mpeg4 {out}", None, "a video without sound"),
    Case("half.m4a", edited("-c:a aac", "m4a", lambda d: d[: len(d) // 2]), None, "the index at the end of an MP4 file is missing"),
    Case("no-samples.wav", raw(b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0D\xac\0\0\x88X\1\0\2\0\x10\0data\0\0\0\0"), None, "holds no audio samples"),
    Case("one-sample.wav", written(seconds=1.01 / RATE), None, "shorter than the 500 ms"),
    Case("infinite.wav", lambda _, out: sf.write(out, np.r_[tone(1.0), np.inf], SAMPLE_RATE, subtype="FLOAT"), None, "NaN or infinite sample at 1.000 s"),
    Case("1-hz.wav", written(rate=1, seconds=40), None, "sample rate is 1 Hz"),
    Case("384k.wav", written(rate=384_000), None, "sample rate is 384000 Hz"),
    Case("384k.flac", encode("-c:a flac -ar 384000"), None, "sample rate is 384000 Hz"),
    Case("255-channels.wav", written(rate=8000, channels=255), None, "has 255 channels"),
    Case("overstated-index.m4a", edited("-c:a aac", "m4a", overstated_index), None, "its index states 200000000 packets of sound"),
    Case("unknown-codec.mkv", encode("-c:a g726 -ac 1 -ar 8000 -f matroska") , None, "coded as"),
    Case("half-alac.caf", edited("-c:a alac", "caf", lambda d: d[: len(d) // 2]), None, "the packet table at the end of a CAF file is missing"),
    Case("encrypted.mp4", encode("-t 1 -c:a aac -encryption_scheme cenc-aes-ctr -encryption_key 76a6c65c5ea762046bd749a2e632ccbb -encryption_kid a7e61c373e219033c21091fa607bf3b8"), None, "its sound is encrypted"),
    Case("cut-old.mov", edited("-c:a pcm_s16le", "mov", lambda d: d.replace(b"ftyp", b"skip", 1)[: len(d) // 2]), None, "the index at the end of an MP4 file is missing"),
    Case("flash.flv", encode("-c:a libmp3lame"), None, "is Flash video, which cannot be decoded here"),
    Case("broadcast.mxf", LAVFI + "testsrc=d=1:r=25:s=64x48 -i {in} -ar 48000 -t 1 -c:v mpeg2video -c:a pcm_s16le {out}", None, "is MXF, which cannot be decoded here"),
    Case("dsd.dsf", raw(b"DSD " + bytes(5000)), None, "is DSD, which cannot be decoded here"),
    Case("midi.mid", raw(b"MThd\0\0\0\6\0\0\0\1\0\x60MTrk\0\0\0\4\0\xff/\0"), None, "not audio that can be decoded"),
]  # fmt: skip
"""Files that are no audio, or audio that no one owns."""

WITHOUT_REFERENCE = (
    # ffmpeg converts all of a file to its first rate.
    "rate-changes.mp3",
    # Before version 6, ffmpeg loses the end of a FLAC file that another follows.
    "two.flac",
    # ffmpeg reads the first link of a chain whose codec changes, and finds no file behind a tag.
    "chain-of-codecs.ogg",
    "tagged.wav",
    # ffmpeg reads one of the streams, and not what lies between its parts.
    "three-programmes.ts",
    "zeros-3-mb.mp3",
    "two-programmes.ts",
    # ffmpeg drops other frames where the contents are damaged, and counts from 0 before a late start.
    "contents.mp3",
    "radio.ogg",
    "noise.ac3",
    # ffmpeg 5 stops at a damaged beginning.
    "first-packet.m4a",
    # ffmpeg 5 finds nothing behind so much that is no frame, and takes the stated size of AU for none.
    "cover.aac",
    "cover.ac3",
    "cover.amr",
    "cover.dts",
    "noise-first.dts",
    "zeros-behind.amr",
    # It does not decode the free format, and keeps frames with a wrong checksum.
    "free-format.mp3",
    "flipped-bit.flac",
    "flipped-bit.tta",
    "set-bits-inside.aac",
    "stale-size.au",
    "stale-size.w64",
)
"""Files of which ffmpeg gives something else."""

CASES = [*FORMATS, *FAULTS, *REFUSED]


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


def make(case: Case, music_file: Path, folder: Path) -> Path:
    """Make the file of a case."""
    path = folder / case.file
    if callable(case.make):
        case.make(music_file, path)
    else:
        names = {"in": music_file, "out": path, "dir": folder}
        run(re.sub(r"\{(in|out|dir)\}", lambda found: str(names[found[1]]), case.make))
    return path


def reference(path: Path) -> tuple[np.ndarray, int]:
    """Mono samples at the file's own rate, decoded by Debian's ffmpeg."""
    probe = "ffprobe -v error -select_streams a:0 -show_entries stream=sample_rate,channels"
    done = subprocess.run(
        [*probe.split(), "-of", "csv=p=0", path], capture_output=True, text=True, check=True
    )
    rate, channels = map(int, done.stdout.split("\n")[0].rstrip(",").split(",")[:2])
    done = subprocess.run(
        ["ffmpeg", "-v", "quiet", "-i", path, "-map", "a:0", "-f", "f32le", "-"],
        capture_output=True,
    )
    samples = np.frombuffer(done.stdout, np.float32)
    return samples[: len(samples) // channels * channels].reshape(-1, channels).mean(axis=1), rate


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.file)
def test_it_is_decoded_whole_or_refused(case, music_file, tmp_path):
    path = make(case, music_file, tmp_path)
    if case.seconds:
        assert_decoded_whole(case, path)
    assert_command_line_says_what_is_wrong(case, path)


def assert_decoded_whole(case: Case, path: Path) -> None:
    audio = AudioFile(path, sample_rate=None)
    samples = np.concatenate(list(audio))
    assert audio.facts.seconds == pytest.approx(case.seconds, abs=0.1)
    compared = case.file not in WITHOUT_REFERENCE
    expected, rate = reference(path) if compared or case.exact else (samples, 0)
    if compared:
        assert len(samples) == pytest.approx(len(expected), abs=FRAME)
        assert audio.facts.rate == rate
    if case.exact:
        assert_same(samples, expected)


def assert_same(samples: np.ndarray, expected: np.ndarray) -> None:
    """The same samples to 1e-3, after a shift of at most one frame."""
    part = expected[len(expected) // 3 :][: 1 << 15]
    start = len(expected) // 3
    window = samples[max(start - FRAME, 0) : start + len(part) + FRAME]
    size = len(window) + len(part)
    product = np.fft.irfft(np.fft.rfft(window, size) * np.conj(np.fft.rfft(part, size)), size)
    at = int(np.argmax(product[: len(window) - len(part) + 1]))
    shift = at + max(start - FRAME, 0) - start
    assert abs(shift) <= FRAME
    a, b = (samples[shift:], expected) if shift >= 0 else (samples, expected[-shift:])
    length = min(len(a), len(b))
    edge = FRAME if length > 4 * FRAME else 0
    np.testing.assert_allclose(a[edge : length - edge], b[edge : length - edge], atol=1e-3)


def assert_command_line_says_what_is_wrong(case: Case, path: Path) -> None:
    done = CliRunner().invoke(main, ["predict", str(path), "--model", "light", "--csv"])
    assert done.exit_code == (0 if case.seconds else 1), done.output
    assert "Traceback" not in done.output
    if case.seconds:
        rows = [line for line in done.stdout.splitlines() if re.match(r"\d+\.[05],", line)]
        assert len(rows) == pytest.approx(2 * case.seconds, abs=1)
    if case.says:
        assert re.search(case.says, done.stderr), done.stderr
        assert path.name in done.stderr
    else:
        assert done.stderr == ""


def test_every_suffix_has_a_case():
    covered = {Path(case.file).suffix for case in FORMATS}
    # Other names of the same containers, and what no free program writes (Monkey's Audio, AMR-WB).
    others = {
        ".ape", ".awb", ".rf64", ".bwf", ".m4v", ".3g2", ".qt", ".weba", ".adts", ".asf", ".wmv", ".mpga",
        ".mpeg", ".m2ts", ".mts", ".snd", ".ogv", ".fla", ".m4r", ".m4p", ".f4v", ".mk3d", ".latm",
        ".loas", ".mp1", ".vob", ".tp", ".trp", ".divx",
    }  # fmt: skip
    assert covered | others == set(AUDIO_SUFFIXES)
    assert len(CASES) >= 60


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
