"""Sample rates, hops, numbers of bins and scales of the study, each defined once."""

FRAME_RATE_HZ = 2
"""Annotations and predictions per second."""

FRAME_SECONDS = 1 / FRAME_RATE_HZ
"""Length of the window that one label describes: ``[t - 0.5 s, t)``."""

SAMPLE_RATE = 22_050
"""Audio is resampled to this rate (Hz) before any feature is computed."""

FRAME_SAMPLES = SAMPLE_RATE // FRAME_RATE_HZ
"""Audio samples in one frame: 11 025, exactly 500 ms."""

HOP_LENGTH = 441
"""STFT hop in samples: 20 ms. 25 hops make exactly one frame."""

N_FFT = 2048
"""STFT window in samples: 93 ms."""

N_MELS = 128
"""Mel bands of the log-mel spectrogram."""

SD_BANDS = 32
"""Groups of neighbouring mel bands in the block logmel_sd."""

FMIN_HZ = 20.0
"""Lower edge of the lowest mel band."""

FMAX_HZ = SAMPLE_RATE / 2
"""Upper edge of the highest mel band."""

POWER_FLOOR = 1e-10
"""Smallest mel power before the logarithm: -100 dB relative to power 1."""

PATCH_STEPS = 5
"""Time steps of the spectrogram patch of one frame (100 ms each), the Transformer's input."""

N_MFCC = 20
"""Cepstral coefficients."""

DELTA_HOPS = 9
"""Hops over which the slope of a cepstral coefficient is fitted: 180 ms."""

CHROMA_N_FFT = 8192
"""STFT window of the chroma in samples: 372 ms. Its bins are 2.7 Hz wide and separate semitones
above about 100 Hz. The bins of the mel spectrogram are 10.8 Hz wide and do so above about
360 Hz."""

CHROMA_STEPS = 5
"""Chroma vectors in a frame, one every 100 ms."""

CHROMA_FLOOR = 1e-2
"""Smallest divisor when a chroma vector is normalised. A full-scale sine gives about 2000."""

KEY_WINDOWS_S = (2.0, 6.0, 20.0)
"""Time constants in s of the chroma averages whose keys are estimated."""

TEMPO_WINDOW_S = 8.0
"""Length in s of the tempogram's window."""

TEMPO_RANGE_BPM = (30.0, 300.0)
"""Slowest and fastest tempo of the tempogram in beats per minute."""

TEMPO_BANDS = 12
"""Tempo bands in that range. Each is 1.21 times as fast as the one before."""

SHORT_TERM_FRAMES = 6
"""Frames in short-term loudness: 3 s (EBU Tech 3341)."""

MOMENTARY_S = 0.4
"""Length in s of momentary loudness (EBU Tech 3341)."""

TARGETS = ("valence", "arousal")
"""The two affect dimensions, in the order of every array with a target axis."""

SCALE = (-1.0, 1.0)
"""Range of valence and arousal everywhere in the project."""
