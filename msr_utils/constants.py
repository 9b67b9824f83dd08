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

TARGETS = ("valence", "arousal")
"""Order of the two affect dimensions in every array with a target axis."""

SCALE = (-1.0, 1.0)
"""Range of valence and arousal everywhere in the project."""
