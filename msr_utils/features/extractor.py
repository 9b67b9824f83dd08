"""Compute feature frames from a stream of samples or from a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from msr_utils.audio import decode
from msr_utils.audio.source import AudioError, AudioSource, source_name
from msr_utils.features.blocks.registry import ALL_BLOCKS
from msr_utils.features.config import FeatureConfig
from msr_utils.features.frame import BlockState, Frames, WorkArrays, stft_context_samples

MAX_FRAMES_AT_ONCE = 24
"""Most frames that are computed at once: those of a decoded block of 10 s, and a few more."""


class FeatureExtractor:
    """Computes feature frames from a stream of samples.

    Its state has a constant size and can be carried to another process, see `state`.

    Parameters
    ----------
    config : FeatureConfig

    Raises
    ------
    PretrainedWeightsError
        If a block needs weights that are missing.
    """

    def __init__(self, config: FeatureConfig) -> None:
        self.config = config
        self._blocks = [ALL_BLOCKS[name] for name in config.blocks]
        self._context = max(
            stft_context_samples(config), *(block.context_samples(config) for block in self._blocks)
        )
        # The first windows reach back before the first sample: silence.
        self._samples = np.zeros(self._context, np.float32)
        self._block_state: BlockState = {}
        for block in self._blocks:
            self._block_state |= block.initial_state(config)
        self._running_stats = config.running_stats()
        self._work = WorkArrays()

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take the next samples and give the frames that they complete.

        Parameters
        ----------
        samples : np.ndarray [shape=(n,), dtype=float32]
            Mono audio at ``config.sample_rate``, any length.

        Returns
        -------
        np.ndarray [shape=(frames, config.dim), dtype=float32]
            Possibly no frame. Remaining samples wait for the next call.

        Raises
        ------
        ValueError
            If the samples are not mono floating point or not all finite. One NaN would stay in
            the state of the blocks.
        """
        rows = [np.empty((0, self.config.frame_dim), np.float32)]
        for frames in self._frames(samples):
            parts = [block.compute(frames) for block in self._blocks]
            rows.append(np.concatenate(parts, axis=1, dtype=np.float32))
        result = np.concatenate(rows)
        return self._running_stats.push(result) if self.config.has_running_stats else result

    def push_logmel(self, samples: np.ndarray) -> np.ndarray:
        """Like `push`, but give each frame's log-mel spectrogram. No block is computed.

        Returns
        -------
        np.ndarray [shape=(frames, config.steps, n_mels), dtype=float32]
            dB relative to power 1.
        """
        rows = [np.empty((0, self.config.steps, self.config.n_mels), np.float32)]
        return np.concatenate([*rows, *(frames.mel_db for frames in self._frames(samples))])

    def _frames(self, samples: np.ndarray) -> Iterator[Frames]:
        """Frames that `samples` complete, at most `MAX_FRAMES_AT_ONCE` at a time."""
        if samples.ndim != 1 or not np.issubdtype(samples.dtype, np.floating):
            raise ValueError(
                f"samples: need mono floating point, not {samples.dtype} of shape {samples.shape}"
            )
        if not np.isfinite(samples).all():
            raise ValueError("samples: NaN or infinite; leave out or repair what is damaged")
        waiting = np.concatenate([self._samples, samples.astype(np.float32, copy=False)])
        size = self.config.frame_samples
        count = (len(waiting) - self._context) // size
        self._samples = waiting[count * size :].copy()
        batches = -(-count // MAX_FRAMES_AT_ONCE)
        for k in range(batches):  # of nearly equal size
            first, end = count * k // batches, count * (k + 1) // batches
            needed = waiting[first * size : self._context + end * size]
            yield Frames(needed, end - first, self.config, self._block_state, self._work)

    def state(self) -> dict[str, np.ndarray]:
        """Everything that the next frame depends on: copies, for `restore`.

        Returns
        -------
        dict of str to np.ndarray [dtype=float32]
            ``samples``: the past that windows still cover, then the samples that wait for a whole
            frame. The other names come from blocks and from `RunningStats`.
        """
        return {
            "samples": self._samples.copy(),
            **{name: value.copy() for name, value in self._block_state.items()},
            **(self._running_stats.state() if self.config.has_running_stats else {}),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from the state of an extractor with the same parameters.

        Raises
        ------
        ValueError
            If `state` does not belong to an extractor with these parameters.
        """
        running = set(self._running_stats.state()) if self.config.has_running_stats else set()
        if set(state) != {"samples", *self._block_state, *running}:
            raise ValueError(
                f"features: a state of {', '.join(self.config.blocks)} holds "
                f"{', '.join(['samples', *self._block_state, *sorted(running)])}, "
                f"not {', '.join(state) or 'nothing'}"
            )
        given = {name: np.array(value, np.float32) for name, value in state.items()}
        shortest, longest = self._context, self._context + self.config.frame_samples - 1
        if given["samples"].ndim != 1 or not shortest <= len(given["samples"]) <= longest:
            raise ValueError(
                f"features: samples of a state must be {shortest} to {longest}, "
                f"not {given['samples'].shape}"
            )
        for name, value in self._block_state.items():
            if given[name].shape != value.shape:
                raise ValueError(
                    f"features: {name} of a state has shape {value.shape}, not {given[name].shape}"
                )
        if running:
            self._running_stats.restore({name: given.pop(name) for name in running})
        self._samples = given.pop("samples")
        self._block_state = given


def logmel_spectrogram(samples: np.ndarray, config: FeatureConfig | None = None) -> np.ndarray:
    """Log-mel spectrogram of whole frames, for figures.

    Returns
    -------
    np.ndarray [shape=(frames * steps, n_mels), dtype=float32]
        dB; one row a hop (20 ms by default).
    """
    config = config or FeatureConfig()
    return FeatureExtractor(config).push_logmel(samples).reshape(-1, config.n_mels)


def extract(source: AudioSource, config: FeatureConfig | None = None) -> np.ndarray:
    """Feature frames of an audio file.

    Parameters
    ----------
    source : path or binary file
    config : FeatureConfig, optional

    Returns
    -------
    np.ndarray [shape=(T, config.dim), dtype=float32]
        Frame ``i`` describes the audio in ``[i / 2, (i + 1) / 2)`` s. A last part shorter than
        a frame is left out.

    Raises
    ------
    AudioError
        If the audio cannot be decoded or is shorter than one frame.
    """
    config = config or FeatureConfig()
    extractor = FeatureExtractor(config)
    frames = [extractor.push(block) for block in decode.stream(source, config.sample_rate)]
    result = np.concatenate(frames)
    if not len(result):
        raise AudioError(
            f"{source_name(source)}: shorter than the 500 ms that one prediction needs"
        )
    return result
