"""Running statistics of features over several time scales.

The response of a listener follows seconds to minutes of music, but a frame covers half a second.
Running means with several time constants add this past to each frame, so that even a linear model
can use it. Their state is a few numbers per feature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from msr_utils.constants import FRAME_RATE_HZ

FRAMES_AT_ONCE = 64
"""Frames whose statistics are in memory beside the result."""


class RunningStats:
    """Running mean and running standard deviation of each feature at several time constants.

    The weight of a frame falls by a factor of e in each time constant. Weights are divided by
    their sum so far, so the first frames are not biased towards zero. Frames are taken one by one
    in single precision: a stream gives the same numbers as the whole track, to the last bit.

    Parameters
    ----------
    dim : int > 0
        Features in a frame.
    mean_s, sd_s : sequence of float > 0
        Time constants in s of the means and of the standard deviations.

    Notes
    -----
    The update is West (1979), "Updating mean and variance estimates: an improved method",
    Communications of the ACM 22(9), with weights that decay.
    """

    def __init__(self, dim: int, mean_s: Sequence[float], sd_s: Sequence[float] = ()) -> None:
        seconds = tuple(dict.fromkeys((*mean_s, *sd_s)))
        self._decay = np.exp(-1 / (np.array(seconds) * FRAME_RATE_HZ)).astype(np.float32)
        self._n_means = len(mean_s)  # the first of the time constants
        self._sds = np.array([seconds.index(s) for s in sd_s], np.intp)
        self._state = {
            "running_weight": np.zeros(len(seconds), np.float32),
            "running_mean": np.zeros((len(seconds), dim), np.float32),
            "running_variance": np.zeros((len(sd_s), dim), np.float32),
        }

    def push(self, frames: np.ndarray) -> np.ndarray:
        """Take frames, one after the other.

        Parameters
        ----------
        frames : np.ndarray [shape=(T, dim), dtype=float32]

        Returns
        -------
        np.ndarray [shape=(T, dim * (means + deviations)), dtype=float32]
            Statistics after each frame: the means by time constant, then the deviations.
        """
        dim = self._state["running_mean"].shape[1]
        result = np.empty((len(frames), self._n_means + len(self._sds), dim), np.float32)
        for first in range(0, len(frames), FRAMES_AT_ONCE):
            some = slice(first, first + FRAMES_AT_ONCE)
            self._take(frames[some], result[some])
        return result.reshape(len(frames), result.shape[1] * dim)

    def _take(self, frames: np.ndarray, out: np.ndarray) -> None:
        """Take a few frames and write their statistics, (T, means + deviations, dim)."""
        weight, mean, variance = self._state.values()
        shares = np.empty((len(frames), *weight.shape, 1), np.float32)
        for share in shares[:, :, 0]:
            weight *= self._decay
            weight += 1
            np.divide(1, weight, out=share)
        means = np.empty((len(frames), *mean.shape), np.float32)
        differences = np.empty_like(means)
        for frame, share, difference, after in zip(frames, shares, differences, means, strict=True):
            np.subtract(frame, mean, out=difference)
            np.multiply(share, difference, out=after)
            mean = np.add(mean, after, out=after)
        out[:, : self._n_means] = means[:, : self._n_means]
        # The deviations use the mean before each frame.
        sd_shares = shares[:, self._sds]
        variances = sd_shares * differences[:, self._sds] ** 2
        for kept, after in zip(1 - sd_shares, variances, strict=True):
            after += variance
            after *= kept
            variance = after
        np.sqrt(variances, out=out[:, self._n_means :])
        self._state = {
            "running_weight": weight,
            "running_mean": mean.copy(),
            "running_variance": variance.copy(),
        }

    def state(self) -> dict[str, np.ndarray]:
        """Everything that the next frame's statistics depend on: copies, for `restore`."""
        return {name: value.copy() for name, value in self._state.items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from the state of running statistics with the same parameters.

        Raises
        ------
        ValueError
            If a part is missing or has another shape.
        """
        for name, value in self._state.items():
            shape = np.shape(state[name]) if name in state else ()
            if shape != value.shape:
                raise ValueError(
                    f"features: {name} of a state has shape {value.shape}, not {shape}"
                )
        self._state = {name: np.array(state[name], np.float32) for name in self._state}
