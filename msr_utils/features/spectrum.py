"""Parameters of the spectra that all feature blocks are computed from."""

from __future__ import annotations

from dataclasses import dataclass

from msr_utils.constants import (
    FMAX_HZ,
    FMIN_HZ,
    FRAME_RATE_HZ,
    HOP_LENGTH,
    N_FFT,
    N_MELS,
    PATCH_STEPS,
    SAMPLE_RATE,
)


class FeatureConfigError(ValueError):
    """Feature parameters that are unknown, out of range or do not fit each other.

    Parameters
    ----------
    message : str
    field : str
        Name of the parameter.
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, kw_only=True)
class SpectrumConfig:
    """Parameters of the short-time spectra of a frame.

    Frames, filterbanks and blocks depend on these numbers alone.

    Parameters
    ----------
    sample_rate : int > 0
        Hz.
    n_fft : int > 0
        STFT window in samples.
    hop_length : int > 0
        STFT hop in samples; must divide a 500 ms frame exactly.
    n_mels : int > 0
        Mel bands.
    fmin, fmax : float >= 0
        Edges of the mel filterbank in Hz.
    patch_steps : int > 0
        Time steps of the block ``patch``; must divide the hops of a frame.

    Raises
    ------
    FeatureConfigError
        If a parameter is out of range; `field` is its name.
    """

    sample_rate: int = SAMPLE_RATE
    n_fft: int = N_FFT
    hop_length: int = HOP_LENGTH
    n_mels: int = N_MELS
    fmin: float = FMIN_HZ
    fmax: float = FMAX_HZ
    patch_steps: int = PATCH_STEPS

    def __post_init__(self) -> None:
        for name in ("sample_rate", "n_fft", "hop_length", "n_mels", "patch_steps"):
            if getattr(self, name) < 1:
                raise FeatureConfigError(
                    f"features: {name} must be at least 1, not {getattr(self, name)}", name
                )
        if self.sample_rate % FRAME_RATE_HZ or self.frame_samples % self.hop_length:
            raise FeatureConfigError(
                f"features: hop_length {self.hop_length} does not divide a 500 ms frame "
                f"of {self.sample_rate} Hz audio",
                "hop_length",
            )
        if self.hop_length > self.n_fft:
            raise FeatureConfigError(
                f"features: n_fft {self.n_fft} must be at least hop_length {self.hop_length}",
                "n_fft",
            )
        if self.steps % self.patch_steps:
            raise FeatureConfigError(
                f"features: patch_steps {self.patch_steps} does not divide "
                f"the {self.steps} hops of a frame",
                "patch_steps",
            )
        if not 0 <= self.fmin < self.fmax <= self.sample_rate / 2:
            raise FeatureConfigError(
                "features: need 0 <= fmin < fmax <= sample_rate / 2, not "
                f"fmin {self.fmin:g} and fmax {self.fmax:g} at {self.sample_rate} Hz",
                "fmax" if self.fmin >= 0 else "fmin",
            )

    @property
    def frame_samples(self) -> int:
        """Samples in one 500 ms frame."""
        return self.sample_rate // FRAME_RATE_HZ

    @property
    def steps(self) -> int:
        """STFT hops in one frame."""
        return self.frame_samples // self.hop_length
