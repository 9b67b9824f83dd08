"""A loaded bundle: whole files and streams."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnxruntime as ort

from msr_utils.audio import container, decode
from msr_utils.audio import source as audio_source
from msr_utils.audio.container import CUT_SECONDS, stated_seconds
from msr_utils.audio.source import AudioError, AudioSource
from msr_utils.constants import FRAME_SECONDS, SCALE, TARGETS
from msr_utils.features.config import FeatureConfig
from msr_utils.features.extractor import FeatureExtractor
from msr_utils.features.weights import PretrainedWeightsError
from msr_utils.inference.prediction import Prediction
from msr_utils.io import read_json, sha256_file
from msr_utils.paths import MODELS_DIR

KINDS = ("recurrent", "frame", "window")
"""Networks that carry a state, that need none because all memory is in the features, and that
see a window at once."""

PREFERRED = ("full", "light")
"""Bundles that answer when none is named, the first that is there and whose ear is: they have
heard more than one kind of music."""


class BundleError(ValueError):
    """A bundle that is incomplete, was altered or does not fit this version."""


class PretrainedWeightsMissing(BundleError):
    """A bundle that is whole, but needs a pretrained network that was not fetched."""


class TimeLimitExceeded(RuntimeError):
    """Work that took longer than the caller allows."""


class Model:
    """A loaded bundle; safe to share between threads.

    Parameters
    ----------
    folder : Path
        Folder with ``model.onnx``, ``features.json`` and ``card.json``.
    threads : int > 0
        Threads of one prediction.

    Raises
    ------
    BundleError
        If a file is missing, or a hash does not match.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        folder = Path(folder)
        for name in ("model.onnx", "features.json", "card.json"):
            if not (folder / name).is_file():
                raise BundleError(f"bundle {folder.name}: {name} is missing in {folder}")
        try:
            self.card: dict = read_json(folder / "card.json")
            self.name: str = self.card["name"]
            for key in ("model_sha256", "feature_hash", "kind"):
                self.card[key]
            if self.card["kind"] not in KINDS:
                raise ValueError(f"kind {self.card['kind']!r}; known: {', '.join(KINDS)}")
            if self.card["kind"] != "frame":
                self.card["state_shape" if self.is_recurrent else "max_frames"]
            self.margins: dict[str, float] = {
                target: float(own) for target, own in self.card.get("margins", {}).items()
            }
        except (ValueError, KeyError, TypeError) as error:
            raise BundleError(f"bundle {folder.name}: card.json is damaged ({error!r})") from error
        digest = sha256_file(folder / "model.onnx")
        if digest != self.card["model_sha256"]:
            raise BundleError(
                f"bundle {self.name}: model.onnx has SHA-256 {digest[:12]}..., its card says "
                f"{self.card['model_sha256'][:12]}...; fetch or export the bundle again"
            )
        try:
            self.features = FeatureConfig.from_json(read_json(folder / "features.json"))
        except (ValueError, KeyError) as error:
            raise BundleError(f"bundle {self.name}: {error}") from error
        if self.features.hash != self.card["feature_hash"]:
            raise BundleError(f"bundle {self.name}: features.json is not the one of its card")
        try:
            FeatureExtractor(self.features)  # is what it needs at hand?
        except PretrainedWeightsError as error:
            raise PretrainedWeightsMissing(f"bundle {self.name}: {error}") from error
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        try:
            self._session = ort.InferenceSession(
                str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has no common class for what it raises
            raise BundleError(
                f"bundle {self.name}: model.onnx cannot be loaded ({error})"
            ) from error
        self._inputs = [node.name for node in self._session.get_inputs()]

    @property
    def is_recurrent(self) -> bool:
        """True if the network itself carries a state from frame to frame."""
        return self.card["kind"] == "recurrent"

    @property
    def is_causal(self) -> bool:
        """True if it can follow a live stream: no value needs frames that come later."""
        return self.card["kind"] != "window"

    def run(
        self, features: np.ndarray, state: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Run the network.

        Parameters
        ----------
        features : np.ndarray [shape=(N, T, D), dtype=float32]
        state : np.ndarray [shape=(N, S, units), dtype=float32], optional
            Of a recurrent model; zeros start a track.

        Returns
        -------
        curves : np.ndarray [shape=(N, T, 2)]
            (valence, arousal), not clipped.
        state : np.ndarray or None
            To hand to the call for the frames that follow.
        """
        if not self.is_recurrent:
            return self._session.run(None, {self._inputs[0]: features})[0], None
        if state is None:
            state = np.zeros((len(features), *self.card["state_shape"]), np.float32)
        curves, state = self._session.run(
            None, dict(zip(self._inputs, (features, state), strict=True))
        )
        return curves, state

    def predict(self, source: AudioSource, max_seconds: float | None = None) -> Prediction:
        """Predict a file's curve, decoding it block by block.

        Parameters
        ----------
        source : path or binary file
        max_seconds : float > 0, optional
            Longest audio accepted.

        Raises
        ------
        audio.AudioError
            If the audio cannot be decoded, is too long or is shorter than one frame.
        """
        curve = FilePrediction(self, source, max_seconds)
        for _ in curve:
            pass
        return curve.prediction()


class FilePrediction:
    """Curve of a file, while it is decoded: iterate once, then ask for the `prediction`.

    Parameters
    ----------
    model : Model
    source : path or binary file
    max_seconds : float > 0, optional
        Longest audio accepted.
    max_work_seconds : float > 0, optional
        Longest time that the iteration may take.
    """

    def __init__(
        self,
        model: Model,
        source: AudioSource,
        max_seconds: float | None = None,
        max_work_seconds: float | None = None,
    ) -> None:
        self._model = model
        self._source = source
        self._max_seconds = max_seconds
        self._max_work_seconds = max_work_seconds
        self._parts: list[np.ndarray] = []
        self._warnings: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[np.ndarray]:
        """Decode block by block.

        Yields
        ------
        np.ndarray [shape=(frames, 2), dtype=float32]
            (valence, arousal) of at least one frame.

        Raises
        ------
        audio.AudioError
            If the audio cannot be decoded, is too long or is shorter than one frame.
        Overtime
            If it takes longer than `max_work_seconds`.
        """
        name = audio_source.source_name(self._source)
        limit = self._max_work_seconds
        start, decoded = time.monotonic(), 0
        stated_s = stated_seconds(self._source)
        stream = Stream(self._model)
        rate = self._model.features.sample_rate
        for block in decode.stream(self._source, rate, max_seconds=self._max_seconds):
            decoded += len(block)
            yield from self._keep(stream.push(block))
            if limit is not None and time.monotonic() - start > limit:
                raise TimeLimitExceeded(
                    f"{name}: not done after {limit:g} s; try again later, or a shorter excerpt"
                )
        yield from self._keep(stream.finish())
        if not self._parts:
            raise AudioError(f"{name}: shorter than the 500 ms that one prediction needs")
        if stated_s is not None and stated_s - decoded / rate > CUT_SECONDS:
            self._warnings = (
                f"{name}: its header states {stated_s:.1f} s, {decoded / rate:.1f} s could be "
                "decoded; the file may be cut short",
            )
        elif damage := container.container_damage(self._source):
            self._warnings = (f"{name}: {damage}",)

    def _keep(self, values: np.ndarray) -> Iterator[np.ndarray]:
        if len(values):
            self._parts.append(values)
            yield values

    def prediction(self) -> Prediction:
        """All that the iteration gave."""
        values = np.concatenate(self._parts)
        times_s = np.arange(1, len(values) + 1) * FRAME_SECONDS
        return Prediction(
            self._model.name,
            times_s,
            values[:, 0],
            values[:, 1],
            self._warnings,
            self._model.margins,
        )


class Stream:
    """Follow audio as it arrives.

    Parameters
    ----------
    model : Model
        A causal model answers at once; one that needs whole windows answers when a window
        of its ``max_frames`` is full, and in `finish`.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._extractor = FeatureExtractor(model.features)
        self._state: np.ndarray | None = None
        self._waiting = np.zeros((0, model.features.dim), np.float32)

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take the next samples, mono at the model's sample rate; give new (valence, arousal).

        Returns
        -------
        np.ndarray [shape=(frames, 2), dtype=float32]
            In [-1, 1], one row for each 500 ms completed.
        """
        features = self._extractor.push(samples)
        if self._model.is_causal:
            return self._run(features)
        self._waiting = np.concatenate([self._waiting, features])
        longest = self._model.card["max_frames"]
        done = []
        while len(self._waiting) >= longest:
            done.append(self._run(self._waiting[:longest]))
            self._waiting = self._waiting[longest:]
        return np.concatenate(done) if done else np.zeros((0, len(TARGETS)), np.float32)

    def finish(self) -> np.ndarray:
        """Give what is still waiting for a full window, (frames, 2)."""
        waiting, self._waiting = self._waiting, self._waiting[:0]
        return self._run(waiting)

    def state(self) -> dict[str, np.ndarray]:
        """All that the next frame depends on: copies, to hand to `restore`.

        Returns
        -------
        dict of str to np.ndarray [dtype=float32]
            That of the features and, of a recurrent model, ``model``, (S, units).

        Raises
        ------
        ValueError
            If the model is not causal.
        """
        self._need_causal()
        if not self._model.is_recurrent:
            return self._extractor.state()
        shape = self._model.card["state_shape"]
        memory = np.zeros(shape, np.float32) if self._state is None else self._state[0].copy()
        return {"model": memory, **self._extractor.state()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on where a stream of the same model stood, also in another process.

        Raises
        ------
        ValueError
            If `state` is not one of this model.
        """
        self._need_causal()
        if not self._model.is_recurrent:
            self._extractor.restore(state)
            return
        rest = dict(state)
        memory = np.array(rest.pop("model", np.nan), np.float32)
        if memory.shape != tuple(self._model.card["state_shape"]):
            raise ValueError(
                f"model: the state of {self._model.name} has shape "
                f"{tuple(self._model.card['state_shape'])}, not {memory.shape}"
            )
        self._extractor.restore(rest)
        self._state = memory[None]

    def _need_causal(self) -> None:
        if not self._model.is_causal:
            raise ValueError(f"model: {self._model.name} sees windows and carries no state")

    def _run(self, features: np.ndarray) -> np.ndarray:
        if not len(features):
            return np.zeros((0, len(TARGETS)), np.float32)
        curves, self._state = self._model.run(features[None], self._state)
        return np.clip(curves[0], *SCALE)


def available(models_dir: str | Path = MODELS_DIR) -> list[str]:
    """Names of the bundles in a folder, sorted."""
    return sorted(path.parent.name for path in Path(models_dir).glob("*/card.json"))


def usable(models_dir: str | Path = MODELS_DIR) -> list[str]:
    """Names of the bundles that can be loaded now: not those whose pretrained ear is missing.

    Raises
    ------
    BundleError
        If one is damaged.
    """
    found = []
    for name in available(models_dir):
        with suppress(PretrainedWeightsMissing):
            load(name, models_dir)
            found.append(name)
    return found


def load(name: str | Path, models_dir: str | Path = MODELS_DIR, threads: int = 1) -> Model:
    """Load a bundle by name, or by the path of its folder.

    Raises
    ------
    BundleError
        If there is no such bundle, or it is damaged.
    """
    if (Path(name) / "card.json").is_file():
        return Model(Path(name), threads)
    names = available(models_dir)
    if str(name) not in names:
        raise BundleError(f"no bundle {str(name)!r} in {models_dir}; found: {', '.join(names)}")
    return Model(Path(models_dir) / str(name), threads)


def load_default(models_dir: str | Path = MODELS_DIR) -> Model:
    """Load the first of `PREFERRED`, or else of all, whose pretrained ear is at hand.

    Raises
    ------
    BundleError
        If there is no bundle, one is damaged, or all need an ear that was not fetched.
    """
    names = available(models_dir)
    missing: BundleError = BundleError(f"no bundle in {models_dir}; run 'make study' to make one")
    for name in dict.fromkeys([*(n for n in PREFERRED if n in names), *names]):
        try:
            return load(name, models_dir)
        except PretrainedWeightsMissing as error:
            missing = error
    raise missing
