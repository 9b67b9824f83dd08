"""Audio file formats that the project reads: one list for corpora, prediction and the service."""

from __future__ import annotations

SUFFIXES = {
    "MP3": (".mp3",),
    "Ogg": (".ogg", ".oga", ".opus", ".spx", ".ogv"),
    "FLAC": (".flac",),
    "WAV": (".wav", ".wave", ".rf64", ".w64", ".bwf"),
    "AIFF": (".aif", ".aiff", ".aifc"),
    "MP4": (".m4a", ".mp4", ".m4b", ".m4v", ".mov", ".3gp", ".3g2", ".qt"),
    "WebM and Matroska": (".webm", ".weba", ".mka", ".mkv"),
    "AAC": (".aac", ".adts"),
    "Windows Media": (".wma", ".asf", ".wmv"),
    "MPEG": (".mp2", ".mpga", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts"),
    "Dolby Digital": (".ac3", ".eac3"),
    "AMR": (".amr", ".awb"),
    "Sun audio": (".au", ".snd"),
    "Core Audio": (".caf",),
    "AVI": (".avi",),
    "WavPack": (".wv",),
    "Monkey's Audio": (".ape",),
    "True Audio": (".tta",),
}
"""Documented containers and the suffixes of their files, in lower case."""

AUDIO_SUFFIXES = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
"""Suffixes of files that hold audio, in lower case.

Where a corpus has several files of the same stem, the first suffix in this order is taken. MP3
comes first because the official archives contain MP3.
"""

FORMAT_NAMES = "MP3, M4A, Ogg, FLAC, WAV, AIFF, WMA, WebM or a video with sound"
"""The most common formats, as error messages name them."""

FFMPEG_DEMUXERS = (
    "aac", "ac3", "aiff", "amr", "ape", "asf", "au", "avi", "caf", "eac3", "flac", "loas",
    "matroska", "mov", "mp3", "mpeg", "mpegts", "ogg", "tta", "w64", "wav", "wv",
)  # fmt: skip
"""FFmpeg's names of the documented containers.

FFmpeg knows several hundred. Some of them open other files or addresses that a file names, so the
others are refused.
"""

FFMPEG_DECODERS = (
    "aac", "aac_fixed", "aac_latm", "ac3", "adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms",
    "adpcm_yamaha", "alac", "amrnb", "amrwb", "ape", "dca", "eac3", "flac", "gsm", "gsm_ms",
    "libopencore_amrnb", "libopencore_amrwb", "libopus", "libspeex", "libvorbis", "mlp", "mp1",
    "mp1float", "mp2", "mp2float", "mp3", "mp3float", "opus", "pcm_alaw", "pcm_bluray", "pcm_dvd",
    "pcm_f32be", "pcm_f32le", "pcm_f64be", "pcm_f64le", "pcm_mulaw", "pcm_s16be", "pcm_s16le",
    "pcm_s24be", "pcm_s24le", "pcm_s32be", "pcm_s32le", "pcm_s8", "pcm_u8", "qdm2", "speex",
    "truehd", "tta", "vorbis", "wavpack", "wmalossless", "wmapro", "wmav1", "wmav2", "wmavoice",
)  # fmt: skip
"""FFmpeg's names of the audio decoders that are used. No decoder of pictures is."""
