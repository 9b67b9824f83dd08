"""What is in a recording: music, singing, speech, noise or silence.

A model of feelings has an answer for any sound. YAMNet, a network that knows 521 kinds of sound,
looks at a second of audio here and there. If it hears no music, the prediction has a warning.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np

from msr_utils.features.weights import (
    YAMNET,
    PretrainedWeightsError,
    session,
    weights_file,
)
from msr_utils.features.yamnet_graph import (
    CLASSES,
    FRAME_SAMPLES,
    HOP_SAMPLES,
    PATCH_SAMPLES,
    YAMNET_RATE,
)

CONTENT_VARIABLE = "MSR_CONTENT"
"""Environment variable that switches the detector off, if it is one of `OFF`."""

OFF = ("0", "no", "off", "false")

KINDS = {
    "music": range(132, 277),
    "singing": range(24, 33),
    "speech": range(13),
    "silence": range(494, 495),
}
"""Kinds of content, and the numbers of their classes in YAMNet. All other classes are noise."""

CONTENT = (*KINDS, "noise")
"""Names of all kinds."""

FIRST_S = 2.0
"""Where the first window begins. Many recordings begin with silence."""

SPACING_S = 15.0
"""Seconds from one window to the next at first."""

WINDOWS_PER_SPACING = 20
"""The spacing doubles after so many windows: an hour has about 70, ten hours have about 140."""

LEAST_MUSIC = 0.2
"""A recording is music if YAMNet gives music or singing this probability in one window at least."""

SILENT_PEAK = 1e-4
"""A window with a lower peak, -80 dBFS, is silence."""

QUIET_PEAK = 0.1
"""A window with a lower peak is amplified to it. YAMNet takes quiet music for silence."""

STEADY_PARTS = 8
"""Parts of a window whose spectra are compared."""

STEADY = 0.1
"""A window is a steady tone, such as mains hum, if the spectra of its parts differ from their mean
by less than this share of it. YAMNet takes hum for music."""


@dataclass(frozen=True)
class Content:
    """Shares of the windows that YAMNet looked at.

    Parameters
    ----------
    music, singing, speech, noise, silence : float
        They add up to 1. A window counts for the kind of its most probable class.
    windows : int > 0
    is_music : bool
        False if no window is music or singing with a probability of `LEAST_MUSIC`.
    """

    music: float
    singing: float
    speech: float
    noise: float
    silence: float
    windows: int
    is_music: bool

    @classmethod
    def of_windows(cls, probabilities: np.ndarray) -> Content:
        """Count windows.

        Parameters
        ----------
        probabilities : np.ndarray [shape=(windows, len(CONTENT))]
            The greatest probability of a class of each kind.
        """
        kinds = probabilities.argmax(axis=1)
        shares = np.bincount(kinds, minlength=len(CONTENT)) / len(kinds)
        heard = probabilities[:, [CONTENT.index("music"), CONTENT.index("singing")]]
        return cls(
            **dict(zip(CONTENT, shares.tolist(), strict=True)),
            windows=len(kinds),
            is_music=bool(heard.max() >= LEAST_MUSIC),
        )

    @property
    def shares(self) -> dict[str, float]:
        """Share of each kind."""
        return {kind: getattr(self, kind) for kind in CONTENT}

    def to_json(self) -> dict[str, float]:
        """The shares, rounded to two digits."""
        return {kind: round(share, 2) for kind, share in self.shares.items()}

    @property
    def kind(self) -> str:
        """``"music"``; for other recordings speech, noise or silence, whichever is most of it."""
        if self.is_music:
            return "music"
        return max(("noise", "speech", "silence"), key=self.shares.__getitem__)

    @property
    def warning(self) -> str:
        """What to say about a recording that is not music; empty for music."""
        if self.is_music:
            return ""
        return (
            f"sounds like {self.kind}, not like music; the model knows music only, so do not "
            "rely on the curves"
        )


class ContentDetector:
    """Looks at windows of audio as it arrives.

    Parameters
    ----------
    sample_rate : int
        Of the audio, Hz.

    Raises
    ------
    PretrainedWeightsError
        If the weights of YAMNet are missing or altered.
    """

    def __init__(self, sample_rate: int) -> None:
        self._session = session(YAMNET)
        self._rate = sample_rate
        self._length = round(PATCH_SAMPLES * sample_rate / YAMNET_RATE)
        self._kept = np.zeros(0, np.float32)
        self._position = 0  # of the first sample that is kept
        self._next = round(FIRST_S * sample_rate)
        self._found: list[np.ndarray] = []

    def push(self, samples: np.ndarray) -> None:
        """Take the next samples, (n,) float32."""
        self._kept = np.concatenate([self._kept, samples])
        while self._next + self._length <= self._position + len(self._kept):
            first = self._next - self._position
            self._look_at(self._kept[first : first + self._length])
            spacing = SPACING_S * 2 ** (len(self._found) // WINDOWS_PER_SPACING)
            self._next += round(spacing * self._rate)
        if self._found:  # Of a short recording, the start may be needed.
            passed = min(max(self._next - self._position, 0), len(self._kept))
            self._kept, self._position = self._kept[passed:], self._position + passed

    def content(self) -> Content:
        """What was found. Of a recording that is too short for a window, its end is taken."""
        if not self._found:
            end = self._kept[-self._length :]
            self._look_at(np.pad(end, (0, self._length - len(end))))
        return Content.of_windows(np.stack(self._found))

    def _look_at(self, window: np.ndarray) -> None:
        """Find the probability of each kind in a window."""
        import soxr

        peak = float(np.abs(window).max())
        if peak < SILENT_PEAK:
            self._found.append(np.eye(len(CONTENT))[CONTENT.index("silence")])
            return
        window = window * max(QUIET_PEAK / peak, 1)
        audio = soxr.resample(window, self._rate, YAMNET_RATE)[:PATCH_SAMPLES]
        audio = np.pad(audio, (0, PATCH_SAMPLES - len(audio)))
        frames = np.lib.stride_tricks.sliding_window_view(audio, FRAME_SAMPLES)[::HOP_SAMPLES]
        (scores,) = self._session.run(["scores"], {"frames": frames[None].astype(np.float32)})
        greatest = np.array([scores[0, members].max() for members in _members()])
        if steadiness(audio) < STEADY:
            greatest = np.eye(len(CONTENT))[CONTENT.index("noise")]
        self._found.append(greatest)


def steadiness(audio: np.ndarray) -> float:
    """How much the spectra of the parts of a window differ from their mean, as a share of it."""
    parts = audio[: len(audio) // STEADY_PARTS * STEADY_PARTS].reshape(STEADY_PARTS, -1)
    spectra = np.abs(np.fft.rfft(parts * np.hanning(parts.shape[1])))
    mean = spectra.mean(axis=0)
    return float(np.linalg.norm(spectra - mean, axis=1).mean() / (np.linalg.norm(mean) + 1e-12))


def detector(sample_rate: int) -> ContentDetector | None:
    """A detector, or None if the weights of YAMNet are not installed or it is switched off.

    Altered weights give a warning and None: predictions do not need them.
    """
    off = os.environ.get(CONTENT_VARIABLE, "").casefold() in OFF
    if off or not weights_file(YAMNET).is_file():
        return None
    try:
        return ContentDetector(sample_rate)
    except PretrainedWeightsError as error:
        warnings.warn(f"answers have no content: {error}", UserWarning, stacklevel=2)
        return None


def detector_version() -> str:
    """What `content` of a prediction depends on beside the audio and this package; empty if a
    prediction has none now, see `detector`."""
    return "" if detector(YAMNET_RATE) is None else YAMNET.sha256


@cache
def _members() -> list[np.ndarray]:
    """Numbers of the classes of each kind, in the order of `CONTENT`."""
    named = [np.array(classes) for classes in KINDS.values()]
    return [*named, np.setdiff1d(np.arange(CLASSES), np.concatenate(named))]
