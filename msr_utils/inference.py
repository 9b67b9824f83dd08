"""From a bundle to a curve, whole file or stream, with neither tensorflow nor librosa.

>>> from msr_utils.inference import load
>>> curve = load("lstm").predict("song.mp3")     # doctest: +SKIP
>>> curve.times_s[:3], curve.valence[:3]         # doctest: +SKIP
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from msr_utils import audio
from msr_utils.constants import FRAME_SECONDS, SCALE, TARGETS
from msr_utils.features import FeatureConfig, FeatureExtractor
from msr_utils.io import read_json, sha256_file

MODELS_DIR = Path(__file__).resolve().parent.parent / "serve" / "models"
"""Where the bundles of a checkout lie."""

QUADRANTS = {
    (True, True): ("Q1", "happy, excited"),
    (False, True): ("Q2", "tense, angry"),
    (False, False): ("Q3", "sad, gloomy"),
    (True, False): ("Q4", "calm, content"),
}
"""(valence >= 0, arousal >= 0) -> name and words, after Russell (1980), "A circumplex model
of affect", Journal of Personality and Social Psychology 39(6)."""


class BundleError(ValueError):
    """A bundle that is incomplete, was altered or does not fit this version."""


@dataclass(frozen=True)
class Prediction:
    """A curve of valence and arousal.

    Parameters
    ----------
    model : str
        Name of the bundle.
    times_s : np.ndarray [shape=(T,)]
        Ends of the 500 ms windows that the values describe.
    valence, arousal : np.ndarray [shape=(T,), dtype=float32]
        In [-1, 1].
    """

    model: str
    times_s: np.ndarray
    valence: np.ndarray
    arousal: np.ndarray

    @property
    def mean(self) -> dict[str, float]:
        """Mean valence and arousal of the track."""
        return {target: float(getattr(self, target).mean()) for target in TARGETS}

    @property
    def quadrant(self) -> tuple[str, str]:
        """Quadrant of the means in the valence-arousal plane, and words for it."""
        return QUADRANTS[self.mean["valence"] >= 0, self.mean["arousal"] >= 0]

    def to_csv(self) -> str:
        """The curve as CSV with a header line."""
        rows = zip(self.times_s, self.valence, self.arousal, strict=True)
        lines = [f"{t:.1f},{v:.4f},{a:.4f}" for t, v, a in rows]
        return "\n".join(["time_s,valence,arousal", *lines]) + "\n"


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
            self.card["state_shape" if self.is_recurrent else "max_frames"]
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
        """True if the model is causal and carries a state: it can follow a live stream."""
        return self.card["kind"] == "recurrent"

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

    def predict(self, source: audio.AudioSource, max_seconds: float | None = None) -> Prediction:
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
        stream = Stream(self)
        blocks = audio.stream(source, self.features.sample_rate, max_seconds=max_seconds)
        parts = [stream.push(block) for block in blocks]
        parts.append(stream.finish())
        values = np.concatenate(parts)
        if not len(values):
            raise audio.AudioError(
                f"{audio.source_name(source)}: shorter than the 500 ms that one prediction needs"
            )
        times_s = np.arange(1, len(values) + 1) * FRAME_SECONDS
        return Prediction(self.name, times_s, values[:, 0], values[:, 1])


class Stream:
    """Follow audio as it arrives.

    Parameters
    ----------
    model : Model
        A recurrent model answers at once; one that needs whole windows answers when a window
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
        if self._model.is_recurrent:
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

    def _run(self, features: np.ndarray) -> np.ndarray:
        if not len(features):
            return np.zeros((0, len(TARGETS)), np.float32)
        curves, self._state = self._model.run(features[None], self._state)
        return np.clip(curves[0], *SCALE)


def available(models_dir: str | Path = MODELS_DIR) -> list[str]:
    """Names of the bundles in a folder, sorted."""
    return sorted(path.parent.name for path in Path(models_dir).glob("*/card.json"))


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
