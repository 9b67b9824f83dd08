"""Every rate, hop, bin count and scale of the study, named once."""

FRAME_RATE_HZ = 2
"""Annotations and predictions per second."""

FRAME_SECONDS = 1 / FRAME_RATE_HZ
"""Length of the window that one label describes: ``[t - 0.5 s, t)``."""

SAMPLE_RATE = 22_050
"""Audio is resampled to this rate (Hz) before any feature is computed."""

FRAME_SAMPLES = SAMPLE_RATE // FRAME_RATE_HZ
"""Audio samples in one frame: 11 025, exactly 500 ms."""

HOP_LENGTH = 441
"""STFT hop in samples: 20 ms, so that 25 hops make exactly one frame."""

N_FFT = 2048
"""STFT window in samples: 93 ms."""

N_MELS = 128
"""Mel bands of the log-mel spectrogram."""

SD_BANDS = 32
"""Groups of neighbouring mel bands whose fluctuation within a frame is a feature."""

FMIN_HZ = 20.0
"""Lower edge of the lowest mel band."""

FMAX_HZ = SAMPLE_RATE / 2
"""Upper edge of the highest mel band."""

POWER_FLOOR = 1e-10
"""Smallest mel power before the logarithm: -100 dB relative to full scale power 1."""

PATCH_STEPS = 5
"""Time steps of the spectrogram patch that one frame gives to the Transformer (100 ms each)."""

N_MFCC = 20
"""Cepstral coefficients."""

DELTA_HOPS = 9
"""Hops over which the slope of a cepstral coefficient is fitted: 180 ms."""

CHROMA_N_FFT = 8192
"""STFT window of the chroma in samples: 372 ms. Its bins of 2.7 Hz tell semitones apart from
about 100 Hz up; those of the mel bands, 10.8 Hz wide, from about 360 Hz."""

CHROMA_STEPS = 5
"""Chroma vectors in a frame: one every 100 ms."""

CHROMA_FLOOR = 1e-2
"""Smallest sum of a chroma vector that is divided by; a full-scale sine gives about 2000."""

KEY_WINDOWS_S = (2.0, 6.0, 20.0)
"""Time constants of the averages in which keys are sought."""

TEMPO_WINDOW_S = 8.0
"""Seconds in which the tempogram seeks a beat."""

TEMPO_RANGE_BPM = (30.0, 300.0)
"""Tempi of the tempogram."""

TEMPO_BANDS = 12
"""Bands of equal ratio (1.21) in that range."""

SHORT_TERM_FRAMES = 6
"""Frames of short-term loudness: the 3 s of EBU Tech 3341."""

MOMENTARY_S = 0.4
"""Seconds of momentary loudness (EBU Tech 3341)."""

TARGETS = ("valence", "arousal")
"""Order of the two affect dimensions in every array with a target axis."""

SCALE = (-1.0, 1.0)
"""Range of valence and arousal everywhere in the project."""
