"""A loaded bundle, and predictions of whole files and of streams."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from msr_utils.audio.decode import AudioFile
from msr_utils.audio.source import AudioError, AudioSource, Limits
from msr_utils.constants import SCALE, TARGETS
from msr_utils.features.extractor import FeatureExtractor
from msr_utils.features.weights import PretrainedWeightsError
from msr_utils.inference import content
from msr_utils.inference.bundle_files import load_network, read_card, read_features
from msr_utils.inference.card import PREFERRED, VERSION_DIGITS, available
from msr_utils.inference.errors import BundleError, PretrainedWeightsMissing
from msr_utils.inference.overlap import has_second_core, overlapped
from msr_utils.inference.prediction import Prediction
from msr_utils.io import sha256_file
from msr_utils.paths import MODELS_DIR

__all__ = [
    "PREFERRED",
    "VERSION_DIGITS",
    "BundleError",
    "FilePrediction",
    "Model",
    "PretrainedWeightsMissing",
    "Stream",
    "available",
    "load",
    "load_default",
    "usable",
]


class Model:
    """A loaded bundle. Threads may share it.

    Other processes may share it as well: pickled, it is its folder, which is loaded again.

    Parameters
    ----------
    folder : Path
        Folder with ``model.onnx``, ``features.json`` and ``card.json``.
    threads : int > 0
        Threads of one prediction.

    Attributes
    ----------
    folder : Path
        Absolute path of the bundle.
    threads : int
    card : ModelCard
    features : FeatureConfig
        Features that the network takes.

    Raises
    ------
    BundleError
        If a file is missing or damaged, or a hash does not match.
    PretrainedWeightsMissing
        If the features need pretrained weights that were not fetched.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        folder = Path(folder)
        for name in ("model.onnx", "features.json", "card.json"):
            if not (folder / name).is_file():
                raise BundleError(f"bundle {folder.name}: {name} is missing in {folder}", file=name)
        self.folder = folder.absolute()
        self.threads = threads
        self.card = read_card(folder)
        digest = sha256_file(folder / "model.onnx")
        if digest != self.card.model_sha256:
            raise BundleError(
                f"bundle {self.name}: model.onnx has SHA-256 {digest[:12]}..., its card says "
                f"{self.card.model_sha256[:12]}...; fetch or export the bundle again",
                "card.json",
                "model_sha256",
            )
        self.features = read_features(folder, self.card)
        try:
            FeatureExtractor(self.features)
            content.detector(self.features.sample_rate)  # Loads YAMNet, if it is installed.
        except PretrainedWeightsError as error:
            raise PretrainedWeightsMissing(f"bundle {self.name}: {error}") from error
        self._session = load_network(folder, self.name, threads)
        self._inputs = [node.name for node in self._session.get_inputs()]

    def __reduce__(self) -> tuple[Callable[..., Model], tuple[Path, int, str, str]]:
        hashes = self.card.model_sha256, self.card.feature_hash
        return _load_again, (self.folder, self.threads, *hashes)

    @property
    def name(self) -> str:
        """Name of the bundle."""
        return self.card.name

    @property
    def version(self) -> str:
        """Start of the SHA-256 of the network, `VERSION_DIGITS` long."""
        return self.card.version

    @property
    def margins(self) -> Mapping[str, float]:
        """Half-width of each target's interval; empty if the model gives none."""
        return self.card.margins

    @property
    def is_recurrent(self) -> bool:
        """True if the network itself carries a state from frame to frame."""
        return self.card.kind == "recurrent"

    @property
    def is_causal(self) -> bool:
        """True if the model can follow a live stream: no value needs later frames."""
        return self.card.is_causal

    def run(
        self, features: np.ndarray, state: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Run the network.

        Parameters
        ----------
        features : np.ndarray [shape=(N, T, D), dtype=float32]
        state : np.ndarray [shape=(N, S, units), dtype=float32], optional
            State of a recurrent model; None at the start of a track.

        Returns
        -------
        curves : np.ndarray [shape=(N, T, 2)]
            (valence, arousal), not clipped.
        state : np.ndarray [shape=(N, S, units), dtype=float32] or None
            State for the frames that follow; None if the model is not recurrent.
        """
        if not self.is_recurrent:
            return self._session.run(None, {self._inputs[0]: features})[0], None
        if state is None:
            state = np.zeros((len(features), *self.state_shape), np.float32)
        curves, state = self._session.run(
            None, dict(zip(self._inputs, (features, state), strict=True))
        )
        return curves, state

    @property
    def state_shape(self) -> tuple[int, ...]:
        """Shape of a recurrent model's state, (S, units); empty for other models."""
        return self.card.state_shape or ()

    def predict(
        self, source: AudioSource, max_seconds: float | None = None, overlap: bool = True
    ) -> Prediction:
        """Predict the curves of a file, which is decoded block by block.

        Parameters
        ----------
        source : path or binary file
        max_seconds : float > 0, optional
            Longest audio accepted.
        overlap : bool
            A second thread predicts a block while this one decodes the next, if there is a second
            core. The values are the same. False uses one thread, which is better if other
            predictions keep the other cores busy.

        Raises
        ------
        AudioError
            If the audio cannot be decoded, is too long or is shorter than one frame.
        FileNotFoundError, IsADirectoryError, PermissionError
            If `source` is a path that cannot be opened.
        TypeError
            If `source` is neither a path nor a file, such as an array of samples. `Stream` takes
            samples.
        """
        prediction = FilePrediction(self, source, max_seconds, overlap=overlap)
        for _ in prediction:
            pass
        return prediction.prediction()


def _load_again(folder: Path, threads: int, model_sha256: str, feature_hash: str) -> Model:
    """Load the bundle of a pickled model, or raise BundleError if it is another one now."""
    model = Model(folder, threads)
    if (model.card.model_sha256, model.card.feature_hash) != (model_sha256, feature_hash):
        raise BundleError(
            f"bundle {model.name}: {folder} has changed since the model was pickled; load it again",
            "card.json",
        )
    return model


class FilePrediction:
    """Curves of a file while it is decoded. Iterate once, then call `prediction`.

    Parameters
    ----------
    model : Model
    source : path or binary file
    max_seconds : float > 0, optional
        Longest audio accepted.
    max_work_seconds : float > 0, optional
        Longest time that the iteration may take.
    max_values : int > 0, optional
        Most samples accepted, over all channels.
    on_samples, on_features : callable, optional
        Called with each block of samples, (n,) at the rate of the model's features, and with the
        feature frames of each block, (frames, D). They see what the model sees, without a second
        decoding.
    overlap : bool
        A second thread predicts a block while the caller's thread decodes the next, if there is a
        second core. It calls `on_features` too.
    """

    def __init__(
        self,
        model: Model,
        source: AudioSource,
        max_seconds: float | None = None,
        max_work_seconds: float | None = None,
        max_values: int | None = None,
        on_samples: Callable[[np.ndarray], None] | None = None,
        on_features: Callable[[np.ndarray], None] | None = None,
        overlap: bool = False,
    ) -> None:
        self._model = model
        self._on_samples, self._on_features = on_samples, on_features
        self._overlap = overlap and has_second_core()
        limits = Limits(max_seconds, max_work_seconds, max_values)
        self._audio = AudioFile(source, model.features.sample_rate, limits)
        self._content = content.detector(model.features.sample_rate)
        self._parts: list[np.ndarray] = []

    def __iter__(self) -> Iterator[np.ndarray]:
        """Decode and predict block by block.

        Yields
        ------
        np.ndarray [shape=(frames, 2), dtype=float32]
            (valence, arousal) of at least one frame.

        Raises
        ------
        AudioError
            If the audio cannot be decoded, is too long or is shorter than one frame.
        TimeLimitExceeded
            If it takes longer than `max_work_seconds`.
        """
        stream = Stream(self._model, self._on_features)
        predict = overlapped if self._overlap else map
        for values in predict(stream.push, self._blocks()):
            yield from self._add(values)
        yield from self._add(stream.finish())
        if not self._parts:
            raise AudioError(
                f"{self._audio.name}: shorter than the 500 ms that one prediction needs"
            )

    def _blocks(self) -> Generator[np.ndarray, None, None]:
        """Decode block by block.

        The detector of content looks at a block when the next one is due. If a second thread
        predicts, it is busy with that block then.
        """
        for block in self._audio:
            if self._on_samples is not None:
                self._on_samples(block)
            yield block
            if self._content is not None:
                self._content.push(block)

    def _add(self, values: np.ndarray) -> Iterator[np.ndarray]:
        """Store new values and yield them, unless there are none."""
        if len(values):
            self._parts.append(values)
            yield values

    def prediction(self) -> Prediction:
        """All values of the iteration as one prediction."""
        values = np.concatenate(self._parts)
        warnings, silent = self._audio.warnings, self._audio.facts.silent
        found = None if self._content is None else self._content.content()
        if found is not None and found.warning and not silent:
            warnings += (f"{self._audio.name}: {found.warning}",)
        return Prediction.of_values(values, self._model.card, warnings, silent, found)


class Stream:
    """Predictions of audio as it arrives.

    Parameters
    ----------
    model : Model
        A causal model answers at once. A model that needs whole windows answers when a window of
        ``max_frames`` is full, and in `finish`.
    on_features : callable, optional
        Called with the feature frames of each `push`, (frames, D).
    """

    def __init__(
        self, model: Model, on_features: Callable[[np.ndarray], None] | None = None
    ) -> None:
        self._model = model
        self._on_features = on_features
        self._extractor = FeatureExtractor(model.features)
        self._state: np.ndarray | None = None
        self._waiting = np.zeros((0, model.features.dim), np.float32)

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take the next samples and predict the frames that they complete.

        Parameters
        ----------
        samples : np.ndarray [shape=(n,), dtype=float32]
            Mono audio at the sample rate of the model's features.

        Returns
        -------
        np.ndarray [shape=(frames, 2), dtype=float32]
            (valence, arousal) in [-1, 1], one row for each 500 ms completed.
        """
        features = self._extractor.push(samples)
        if self._on_features is not None:
            self._on_features(features)
        longest = self._model.card.max_frames
        if self._model.is_causal or longest is None:
            return self._run(features)
        self._waiting = np.concatenate([self._waiting, features])
        done = []
        while len(self._waiting) >= longest:
            done.append(self._run(self._waiting[:longest]))
            self._waiting = self._waiting[longest:]
        return np.concatenate(done) if done else np.zeros((0, len(TARGETS)), np.float32)

    def finish(self) -> np.ndarray:
        """Predict frames that still wait for a full window, (frames, 2)."""
        waiting, self._waiting = self._waiting, self._waiting[:0]
        return self._run(waiting)

    def state(self) -> dict[str, np.ndarray]:
        """Everything that the next frame depends on: copies, for `restore`.

        Returns
        -------
        dict of str to np.ndarray [dtype=float32]
            State of the features. For a recurrent model also ``model``, (S, units).

        Raises
        ------
        ValueError
            If the model is not causal.
        """
        self._need_causal()
        if not self._model.is_recurrent:
            return self._extractor.state()
        shape = self._model.state_shape
        state = np.zeros(shape, np.float32) if self._state is None else self._state[0].copy()
        return {"model": state, **self._extractor.state()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from the state of a stream of the same model, also in another process.

        Raises
        ------
        ValueError
            If `state` does not belong to this model.
        """
        self._need_causal()
        if not self._model.is_recurrent:
            self._extractor.restore(state)
            return
        rest = dict(state)
        own = np.array(rest.pop("model", np.nan), np.float32)
        if own.shape != self._model.state_shape:
            raise ValueError(
                f"model: the state of {self._model.name} has shape "
                f"{self._model.state_shape}, not {own.shape}"
            )
        self._extractor.restore(rest)
        self._state = own[None]

    def _need_causal(self) -> None:
        if not self._model.is_causal:
            raise ValueError(f"model: {self._model.name} needs whole windows and carries no state")

    def _run(self, features: np.ndarray) -> np.ndarray:
        """Run the network on frames that follow the last ones, (frames, D) -> (frames, 2)."""
        if not len(features):
            return np.zeros((0, len(TARGETS)), np.float32)
        curves, self._state = self._model.run(features[None], self._state)
        clipped: np.ndarray = np.clip(curves[0], *SCALE)
        return clipped


def usable(models_dir: str | Path = MODELS_DIR) -> list[str]:
    """Names of the bundles that can be loaded now: those whose pretrained weights are installed.

    Raises
    ------
    BundleError
        If a bundle is damaged.
    """
    names = []
    for name in available(models_dir):
        with suppress(PretrainedWeightsMissing):
            load(name, models_dir)
            names.append(name)
    return names


def load(name: str | Path, models_dir: str | Path = MODELS_DIR, threads: int = 1) -> Model:
    """Load a bundle by name, or by the path of its folder.

    Parameters
    ----------
    name : str or Path
    models_dir : str or Path
        Folder of bundles.
    threads : int > 0
        Threads of one prediction.

    Raises
    ------
    BundleError
        If there is no such bundle, or it is damaged.
    PretrainedWeightsMissing
        If it needs pretrained weights that were not fetched.
    """
    if (Path(name) / "card.json").is_file():
        return Model(Path(name), threads)
    names = available(models_dir)
    if str(name) not in names:
        raise BundleError(f"no bundle {str(name)!r} in {models_dir}; found: {', '.join(names)}")
    return Model(Path(models_dir) / str(name), threads)


def load_default(models_dir: str | Path = MODELS_DIR) -> Model:
    """Load the first bundle whose pretrained weights are installed, `PREFERRED` ones first.

    Raises
    ------
    BundleError
        If there is no bundle, or one is damaged.
    PretrainedWeightsMissing
        If all bundles need pretrained weights that were not fetched.
    """
    names = available(models_dir)
    reason = BundleError(f"no bundle in {models_dir}; run 'make study' to make one")
    for name in dict.fromkeys([*(n for n in PREFERRED if n in names), *names]):
        try:
            return load(name, models_dir)
        except PretrainedWeightsMissing as error:
            reason = error
    raise reason
