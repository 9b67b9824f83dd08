"""Tags of every container that mutagen knows, written by mutagen itself or by FFmpeg."""

from __future__ import annotations

import io

import av
import mutagen
import numpy as np
import pytest
import soundfile as sf
from conftest import tone

from msr_utils.library.tags import Tags, parts, read_tags

WANTED = {"artist": "Änne", "title": "日本", "album": "Album", "genre": "Jazz", "date": "1987"}

FORMATS = ["mp3", "m4a", "flac", "ogg", "opus", "wma", "wav", "aiff"]


def write(path, tags):
    """A short file whose tags FFmpeg writes."""
    codec = {"m4a": "aac", "ogg": "libopus", "opus": "libopus", "wma": "wmav2",
             "aiff": "pcm_s16be", "mp3": "libmp3lame", "flac": "flac",
             "wav": "pcm_s16le"}[path.suffix[1:]]  # fmt: skip
    options = {"write_id3v2": "1"} if path.suffix == ".aiff" else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=48000, layout="mono", bit_rate=64000)
        container.metadata.update(tags)
        format_ = stream.codec_context.format.name
        resampler = av.AudioResampler(format=format_, layout="mono", rate=48000)
        samples = tone(0.5, rate=48000)[None]
        frame = av.AudioFrame.from_ndarray(samples.astype(np.float32), "fltp", "mono")
        frame.rate = 48000
        fifo = av.AudioFifo()
        for part in resampler.resample(frame):
            fifo.write(part)
        size = stream.codec_context.frame_size or 1024
        while (part := fifo.read(size, partial=True)) is not None:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("suffix", FORMATS)
def test_tags_are_read_in_every_format(suffix, tmp_path):
    path = tmp_path / f"x.{suffix}"
    if suffix == "wav":  # FFmpeg writes RIFF INFO there, which has no character set
        sf.write(path, tone(0.5), 22050)
        wave = mutagen.File(path)
        wave.add_tags()
        for name, frame in (
            ("artist", "TPE1"),
            ("title", "TIT2"),
            ("album", "TALB"),
            ("genre", "TCON"),
            ("date", "TDRC"),
        ):
            wave.tags.add(getattr(mutagen.id3, frame)(encoding=3, text=[WANTED[name]]))
        wave.save()
    else:
        write(path, WANTED)
    with open(path, "rb") as file:
        assert read_tags(file) == Tags("Änne", "日本", "Album", "Jazz", 1987, None)


def info(**values: bytes) -> bytes:
    """A chunk ``LIST INFO``."""
    inner = b"".join(
        name.encode() + len(value).to_bytes(4, "little") + value + b"\0" * (len(value) % 2)
        for name, value in values.items()
    )
    return b"LIST" + (len(inner) + 4).to_bytes(4, "little") + b"INFO" + inner


def test_riff_info_of_a_wav_file_is_read_where_it_has_no_id3(tmp_path):
    path = tmp_path / "x.wav"
    sf.write(path, tone(0.5), 22050)
    chunk = info(INAM="日本".encode() + b"\0", IART="Änne".encode("cp1252"), IPRD=b"Album\0rest",
                 ITRK=b"3", IGNR=b"Jazz\n", ICRD=b"1987-05-01")  # fmt: skip
    path.write_bytes(path.read_bytes() + chunk)
    wanted = Tags("Änne", "日本", "Album", "Jazz", 1987, None)
    with open(path, "rb") as file:
        assert read_tags(file) == wanted
    write(tmp_path / "ffmpeg.wav", WANTED)  # the chunk comes before the samples
    with open(tmp_path / "ffmpeg.wav", "rb") as file:
        assert read_tags(file) == wanted
    wave = mutagen.File(path)
    wave.add_tags()
    wave.tags.add(mutagen.id3.TIT2(encoding=3, text=["Title"]))
    wave.save()
    with open(path, "rb") as file:
        assert read_tags(file) == Tags("Änne", "Title", "Album", "Jazz", 1987, None)


def test_several_values_are_joined_and_split(tmp_path):
    sf.write(tmp_path / "x.flac", tone(0.5), 22050)
    file = mutagen.File(tmp_path / "x.flac")
    file["genre"], file["bpm"], file["date"] = ["Rock", "Pop"], "128.5", "May 2001"
    file.save()
    with open(tmp_path / "x.flac", "rb") as opened:
        tags = read_tags(opened)
    assert (tags.genre, tags.tempo, tags.year) == ("Rock; Pop", 128.5, 2001)
    assert parts(tags.genre) == ["rock", "pop"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"ID3\x04\x00\x00\xff\xff\xff\xff",
        b"fLaC" + b"\xff" * 50,
        b"RIFF\0\0\0\0WAVELIST\xff\xff\xff\xffINFOINAM\xff\xff\xff\xff",
        b"RIFF\0\0\0\0WAVELIST" + b"\0" * 300,
    ],
)
def test_damaged_tags_are_no_tags(content):
    assert read_tags(io.BytesIO(content)) == Tags()
