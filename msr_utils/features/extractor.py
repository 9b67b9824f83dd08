"""Turn a stream of samples into feature frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from msr_utils.audio import decode
from msr_utils.audio import source as audio_source
from msr_utils.audio.source import AudioError, AudioSource
from msr_utils.features.blocks.registry import ALL_BLOCKS
from msr_utils.features.config import FeatureConfig
from msr_utils.features.frame import BlockState, Frame, context_samples


class FeatureExtractor:
    """Turn a stream of samples into feature frames.

    What it remembers is constant in size, and can be carried elsewhere: see `state`.

    Parameters
    ----------
    config : FeatureConfig
    """

    def __init__(self, config: FeatureConfig) -> None:
        self.config = config
        self._blocks = [ALL_BLOCKS[name] for name in config.blocks]
        # Before the first sample there was silence: the first windows reach into it.
        self._heard = max(context_samples(config), *(block.heard(config) for block in self._blocks))
        self._samples = np.zeros(self._heard, np.float32)
        self._memory: BlockState = {}
        for block in self._blocks:
            self._memory |= block.memory(config)
        self._leaky = config.memory()

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take the next samples and give the frames that they complete.

        Parameters
        ----------
        samples : np.ndarray [shape=(n,), dtype=float32]
            Mono audio at ``config.sample_rate``, any length.

        Returns
        -------
        np.ndarray [shape=(frames, config.dim), dtype=float32]
            Possibly no frame; what is left of the samples waits for the next call.

        Raises
        ------
        ValueError
            If the samples are not mono floating point, or not all finite: one NaN would stay in
            what blocks remember.
        """
        rows = [
            np.concatenate([block.compute(frame) for block in self._blocks])
            for frame in self._frames(samples)
        ]
        frames = np.array(rows, np.float32).reshape(len(rows), self.config.frame_dim)
        return self._leaky.push(frames) if self.config.has_memory else frames

    def push_logmel(self, samples: np.ndarray) -> np.ndarray:
        """Like `push`, but give each frame's log-mel spectrogram; blocks hear nothing of it.

        Returns
        -------
        np.ndarray [shape=(frames, config.steps, n_mels), dtype=float32]
            dB relative to power 1.
        """
        rows = [frame.mel_db for frame in self._frames(samples)]
        return np.array(rows, np.float32).reshape(len(rows), self.config.steps, self.config.n_mels)

    def _frames(self, samples: np.ndarray) -> Iterator[Frame]:
        """The frames that `samples` complete, one at a time."""
        if samples.ndim != 1 or not np.issubdtype(samples.dtype, np.floating):
            raise ValueError(
                f"samples: need mono floating point, not {samples.dtype} of shape {samples.shape}"
            )
        if not np.isfinite(samples).all():
            raise ValueError("samples: NaN or infinite; leave out or repair what is damaged")
        known = np.concatenate([self._samples, samples.astype(np.float32, copy=False)])
        size = self.config.frame_samples
        count = (len(known) - self._heard) // size
        self._samples = known[count * size :].copy()
        for start in range(0, count * size, size):
            yield Frame(known[start : start + self._heard + size], self.config, self._memory)

    def state(self) -> dict[str, np.ndarray]:
        """All that the next frame depends on: copies, to hand to `restore`.

        Returns
        -------
        dict of str to np.ndarray [dtype=float32]
            ``samples``: the past that windows still cover and what waits for a whole frame;
            the rest by the names that blocks give it.
        """
        return {
            "samples": self._samples.copy(),
            **{name: value.copy() for name, value in self._memory.items()},
            **(self._leaky.state() if self.config.has_memory else {}),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on where an extractor of the same parameters stood.

        Raises
        ------
        ValueError
            If `state` is not one of an extractor with these parameters.
        """
        leaky = set(self._leaky.state()) if self.config.has_memory else set()
        if set(state) != {"samples", *self._memory, *leaky}:
            raise ValueError(
                f"features: a state of {', '.join(self.config.blocks)} holds "
                f"{', '.join(['samples', *self._memory, *sorted(leaky)])}, "
                f"not {', '.join(state) or 'nothing'}"
            )
        given = {name: np.array(value, np.float32) for name, value in state.items()}
        shortest, longest = self._heard, self._heard + self.config.frame_samples - 1
        if given["samples"].ndim != 1 or not shortest <= len(given["samples"]) <= longest:
            raise ValueError(
                f"features: samples of a state must be {shortest} to {longest}, "
                f"not {given['samples'].shape}"
            )
        for name, value in self._memory.items():
            if given[name].shape != value.shape:
                raise ValueError(
                    f"features: {name} of a state has shape {value.shape}, not {given[name].shape}"
                )
        if leaky:
            self._leaky.restore({name: given.pop(name) for name in leaky})
        self._samples = given.pop("samples")
        self._memory = given


def logmel_spectrogram(samples: np.ndarray, config: FeatureConfig | None = None) -> np.ndarray:
    """Log-mel spectrogram of whole frames, for pictures.

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
        Frame ``i`` describes the audio in ``[i / 2, (i + 1) / 2)`` s. A last part shorter
        than a frame is left out.

    Raises
    ------
    audio.AudioError
        If the audio cannot be decoded or is shorter than one frame.
    """
    config = config or FeatureConfig()
    extractor = FeatureExtractor(config)
    frames = [extractor.push(block) for block in decode.stream(source, config.sample_rate)]
    result = np.concatenate(frames)
    if not len(result):
        raise AudioError(
            f"{audio_source.source_name(source)}: shorter than the 500 ms that one prediction needs"
        )
    return result
