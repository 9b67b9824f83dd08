"""Leaky memory of features: what was heard in the last seconds, at several time scales.

A listener's feeling follows minutes of music, a frame holds half a second of it. Running means
with several time constants give even a linear model a past, and their state is a few numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from msr_utils.constants import FRAME_RATE_HZ


class RunningStats:
    """Running mean, and running standard deviation, of each feature at several time constants.

    The weight of a frame falls by e in each time constant; weights are divided by their sum so
    far, so nothing pulls towards zero at the start. Frames are taken one after the other in
    single precision: a stream gives the numbers of the whole track, to the last bit.

    Parameters
    ----------
    dim : int > 0
        Features in a frame.
    mean_s, sd_s : sequence of float > 0
        Time constants in s of the means, and of the deviations.

    Notes
    -----
    The update is West (1979), "Updating mean and variance estimates: an improved method",
    Communications of the ACM 22(9), with weights that decay.
    """

    def __init__(self, dim: int, mean_s: Sequence[float], sd_s: Sequence[float] = ()) -> None:
        seconds = tuple(dict.fromkeys((*mean_s, *sd_s)))
        self._keep = np.exp(-1 / (np.array(seconds) * FRAME_RATE_HZ)).astype(np.float32)
        self._means = [seconds.index(s) for s in mean_s]
        self._sds = [seconds.index(s) for s in sd_s]
        self._state = {
            "memory_weight": np.zeros(len(seconds), np.float32),
            "memory_mean": np.zeros((len(seconds), dim), np.float32),
            "memory_variance": np.zeros((len(sd_s), dim), np.float32),
        }

    def push(self, frames: np.ndarray) -> np.ndarray:
        """Remember frames, one after the other.

        Parameters
        ----------
        frames : np.ndarray [shape=(T, dim), dtype=float32]

        Returns
        -------
        np.ndarray [shape=(T, dim * (means + deviations)), dtype=float32]
            After each frame: the means by time constant, then the deviations.
        """
        weight, mean, variance = self._state.values()
        dim = mean.shape[1]
        result = np.empty((len(frames), (len(self._means) + len(self._sds)) * dim), np.float32)
        ends = len(self._means) * dim
        for frame, row in zip(frames, result, strict=True):
            weight *= self._keep
            weight += 1
            share = (1 / weight)[:, None]
            off = frame - mean
            if self._sds:
                # Uses the mean before this frame.
                own = share[self._sds]
                variance += own * off[self._sds] ** 2
                variance *= 1 - own
            mean += share * off
            row[:ends] = mean[self._means].ravel()
            row[ends:] = np.sqrt(variance).ravel()
        return result

    def state(self) -> dict[str, np.ndarray]:
        """What the next frame's memory depends on: copies, to hand to `restore`."""
        return {name: value.copy() for name, value in self._state.items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on where a memory of the same shape stood.

        Raises
        ------
        ValueError
            If a part is missing or has another shape.
        """
        for name, own in self._state.items():
            if np.shape(state.get(name)) != own.shape:
                raise ValueError(
                    f"features: {name} of a state has shape {own.shape}, "
                    f"not {np.shape(state.get(name))}"
                )
        self._state = {name: np.array(state[name], np.float32) for name in self._state}
