"""Audio file formats that the project reads: one list for corpora, prediction and the service."""

from __future__ import annotations

SUFFIXES = {
    "MP3": (".mp3",),
    "Ogg": (".ogg", ".oga", ".opus", ".spx", ".ogv"),
    "FLAC": (".flac", ".fla"),
    "WAV": (".wav", ".wave", ".rf64", ".w64", ".bwf"),
    "AIFF": (".aif", ".aiff", ".aifc", ".8svx"),
    "MP4": (
        ".m4a", ".mp4", ".m4b", ".m4r", ".m4v", ".m4p", ".mov", ".3gp", ".3g2", ".qt", ".f4v",
    ),
    "WebM and Matroska": (".webm", ".weba", ".mka", ".mkv", ".mk3d"),
    "AAC": (".aac", ".adts", ".latm", ".loas"),
    "Windows Media": (".wma", ".asf", ".wmv"),
    "MPEG": (
        ".mp2", ".mp1", ".mpga", ".mpg", ".mpeg", ".vob", ".ts", ".m2ts", ".mts", ".tp", ".trp",
    ),
    "Dolby Digital": (".ac3", ".eac3"),
    "DTS": (".dts",),
    "AMR": (".amr", ".awb"),
    "Sun audio": (".au", ".snd"),
    "Core Audio": (".caf",),
    "AVI": (".avi", ".divx"),
    "WavPack": (".wv",),
    "Monkey's Audio": (".ape",),
    "True Audio": (".tta",),
}  # fmt: skip
"""Documented containers and the suffixes of their files, in lower case."""

AUDIO_SUFFIXES = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
"""Suffixes of files that hold audio, in lower case.

Where a corpus has several files of the same stem, the first suffix in this order is taken. MP3
comes first because the official archives contain MP3.
"""

UNREADABLE_SUFFIXES = {
    ".aa": "Audible", ".aax": "Audible", ".aaxc": "Audible", ".aa3": "ATRAC", ".at3": "ATRAC",
    ".oma": "ATRAC", ".dff": "DSD", ".dsf": "DSD", ".mpc": "Musepack", ".mp+": "Musepack",
    ".mpp": "Musepack", ".ofr": "OptimFROG", ".ra": "RealAudio", ".rm": "RealMedia",
    ".shn": "Shorten", ".tak": "TAK", ".thd": "Dolby TrueHD", ".voc": "Creative Voice",
    ".sd2": "Sound Designer II", ".gsm": "raw GSM", ".vox": "raw ADPCM",
    ".flv": "Flash video", ".mxf": "MXF", ".nut": "NUT", ".wtv": "Windows Recorded TV",
}  # fmt: skip
"""Suffixes of audio that cannot be decoded here -> name of the format."""

UNREADABLE_MAGICS = {
    b"DSD ": "DSD", b"FRM8": "DSD", b"MPCK": "Musepack", b"MP+": "Musepack", b"OFR ": "OptimFROG",
    b".RMF": "RealMedia", b".ra\xfd": "RealAudio", b"ajkg": "Shorten", b"tBaK": "TAK",
    b"Creative Voice": "Creative Voice", b"FLV\1": "Flash video", b"\x06\x0e\x2b\x34": "MXF",
    b"nut/multimedia": "NUT", b"\xb7\xd8\x00\x20\x37\x49\xda\x11": "Windows Recorded TV",
    b"NIST_1A": "NIST Sphere", b".SoX": "SoX",
}  # fmt: skip
"""First bytes of audio that cannot be decoded here -> name of the format."""

FORMAT_NAMES = "MP3, M4A, Ogg, FLAC, WAV, AIFF, WMA, WebM or a video with sound"
"""The most common formats, as error messages name them."""

FFMPEG_DEMUXERS = (
    "aac", "ac3", "aiff", "amr", "ape", "asf", "au", "avi", "caf", "dts", "eac3", "flac", "loas",
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


def unreadable_format(head: bytes) -> str:
    """Name of a known format that cannot be decoded here, by its first bytes; empty for others."""
    return next((name for magic, name in UNREADABLE_MAGICS.items() if head.startswith(magic)), "")
