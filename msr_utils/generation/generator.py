"""A loaded generator, which writes notes one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np

from msr_utils.generation.card import TOLD, Decoding, GeneratorCard
from msr_utils.generation.codes import (
    ATTRIBUTES,
    LENGTH,
    LENGTHS_S,
    PITCH,
    START,
    VELOCITY,
    WAIT,
    WAITS_S,
    GeneratedNote,
    velocity_of,
)
from msr_utils.generation.condition import EMOTION, MUSIC, condition, without
from msr_utils.generation.request import MusicRequest
from msr_utils.generation.sampling import Guard, draw
from msr_utils.inference.bundle_files import load_network
from msr_utils.inference.card import CardError
from msr_utils.inference.errors import BundleError
from msr_utils.io import read_json, sha256_file
from msr_utils.paths import GENERATORS_DIR
from msr_utils.symbolic.words import N_SPECIAL


class Generator:
    """A loaded bundle. Threads may share it.

    Other processes may share it as well: pickled, it is its folder, which is loaded again.

    Parameters
    ----------
    folder : Path
        Folder with ``model.onnx`` and ``card.json``.
    threads : int > 0
        Threads of one step.

    Raises
    ------
    BundleError
        If a file is missing or damaged, or the hash does not match.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        folder = Path(folder)
        for name in ("model.onnx", "card.json"):
            if not (folder / name).is_file():
                raise BundleError(f"generator {folder.name}: {name} is missing in {folder}", name)
        self.folder, self.threads = folder.absolute(), threads
        self.card = _read_card(folder)
        digest = sha256_file(folder / "model.onnx")
        if digest != self.card.model_sha256:
            raise BundleError(
                f"generator {self.name}: model.onnx has SHA-256 {digest[:12]}..., its card says "
                f"{self.card.model_sha256[:12]}...; fetch or export the bundle again",
                "card.json",
                "model_sha256",
            )
        self._session = load_network(folder, self.name, threads)

    def __reduce__(self) -> tuple[Callable[..., Generator], tuple[Path, int]]:
        return type(self), (self.folder, self.threads)

    @classmethod
    def load(cls, folder: Path) -> Generator:
        """Load a bundle; see the class."""
        return cls(folder)

    @property
    def name(self) -> str:
        """Name of the bundle."""
        return self.card.name

    def with_decoding(self, decoding: Decoding) -> Generator:
        """The same network, which draws notes in another way."""
        other = copy(self)
        other.card = replace(self.card, decoding=decoding)
        return other

    def notes(self, request: MusicRequest) -> Iterator[GeneratedNote]:
        """Notes of a piece, in the order of their starts; each is computed when it is asked for.

        Parameters
        ----------
        request : MusicRequest

        Yields
        ------
        GeneratedNote
            The first starts at 0. None starts or ends after the length that was asked for.
        """
        piece = _Piece(self, request)
        while (note := piece.next()) is not None:
            yield note

    def step(
        self, note: np.ndarray, drawn: np.ndarray, condition: np.ndarray, state: np.ndarray
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Logits of every attribute of the next note, (B, codes) each, and the new state.

        Parameters
        ----------
        note, drawn : np.ndarray [shape=(B, 4)]
            Codes of the note before, and those of the next note that were drawn already.
        condition : np.ndarray [shape=(B, CONDITION_SIZE)]
        state : np.ndarray
            See `initial_state`.
        """
        inputs = {"note": note, "drawn": drawn, "condition": condition, "state": state}
        feeds = {name: value.astype(np.float32, copy=False) for name, value in inputs.items()}
        *logits, state = self._session.run([*ATTRIBUTES, "state_next"], feeds)
        return logits, state

    def initial_state(self, batch: int) -> np.ndarray:
        """State before the first note, see `msr_utils.generation.graph.state_shape`."""
        rows, hidden = self.card.state_shape
        shape = (rows, batch, hidden) if self.card.kind == "lstm" else (rows, batch, 0, hidden)
        return np.zeros(shape, np.float32)


class _Piece:
    """A piece that is being written."""

    def __init__(self, generator: Generator, request: MusicRequest) -> None:
        self.generator, self.request = generator, request
        card = generator.card
        self.model, self.decoding = card.attributes, card.decoding
        self.rng = np.random.default_rng(request.seed)
        self.residual = self.model.residual(self.rng) * self.decoding.spread
        self.tonic = int(self.rng.integers(12))
        self.guard = Guard()
        self.note = np.full(len(ATTRIBUTES), START)
        self.now_s = 0.0
        # With guidance, a second row of the batch is not told what is wanted.
        self.rows = 1 if self.decoding.guidance == 1 else 2
        self.state = generator.initial_state(self.rows)
        self.recent: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=max(card.context // 2, 1))

    def next(self) -> GeneratedNote | None:
        """The next note, or none if it would start after the end."""
        told = self._told()
        self._forget()
        codes = np.full(len(ATTRIBUTES), START)
        state = self.state
        for k in range(len(ATTRIBUTES)):
            if k == WAIT and self.note[PITCH] == START:
                codes[WAIT] = N_SPECIAL  # The first note starts the piece.
                continue
            logits, state = self._step(codes, told)
            codes[k] = draw(
                logits[k],
                self.guard.allowed(k, codes),
                self.request.temperature,
                self.decoding.top_p,
                self.rng,
            )
        self.recent.append((self.note, told))
        self.state, self.note = state, codes
        start_s = self.now_s + float(WAITS_S[codes[WAIT]])
        if start_s >= self.request.seconds:
            return None
        self.now_s = start_s
        pitch = int(codes[PITCH]) - N_SPECIAL
        self.guard.add(start_s, pitch)
        length_s = min(float(LENGTHS_S[codes[LENGTH]]), self.request.seconds - start_s)
        return GeneratedNote(start_s, length_s, pitch, velocity_of(int(codes[VELOCITY])))

    def _step(self, codes: np.ndarray, told: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Guided logits of every attribute, (codes,) each, and the new state."""
        logits, state = self.generator.step(
            np.tile(self.note, (self.rows, 1)), np.tile(codes, (self.rows, 1)), told, self.state
        )
        if self.rows == 1:
            return [one[0] for one in logits], state
        weight = self.decoding.guidance
        return [one[1] + weight * (one[0] - one[1]) for one in logits], state

    def _told(self) -> np.ndarray:
        """Condition of this step, (rows, CONDITION_SIZE)."""
        valence, arousal = self.request.curve.at(self.now_s)
        gain = self.decoding.gain
        wanted = self.model.wanted(gain * valence, gain * arousal, self.residual)
        key = self.tonic + (0 if self.model.is_major(wanted) else 12)
        row = condition(
            np.array([valence]),
            np.array([arousal]),
            wanted[None],
            np.array([key]),
            self.decoding.style,
        )
        row = without(row, *TOLD[self.decoding.told])
        return row if self.rows == 1 else np.concatenate([row, without(row, EMOTION, MUSIC)])

    def _forget(self) -> None:
        """Once a GPT has seen as much as it can, read the last half of it again."""
        context = self.generator.card.context
        if not context or self.state.shape[2] < context:
            return
        self.state = self.generator.initial_state(self.rows)
        none = np.full((self.rows, len(ATTRIBUTES)), N_SPECIAL)
        for note, told in self.recent:
            _, self.state = self.generator.step(
                np.tile(note, (self.rows, 1)), none, told, self.state
            )


def _read_card(folder: Path) -> GeneratorCard:
    """Read the card of a generator, or raise BundleError."""
    try:
        return GeneratorCard.from_json(read_json(folder / "card.json"))
    except ValueError as error:
        raise BundleError(
            f"generator {folder.name}: card.json is damaged ({error})",
            "card.json",
            error.field if isinstance(error, CardError) else "",
        ) from error


def find_generators(folder: Path = GENERATORS_DIR) -> list[Path]:
    """Folders of the generators in a folder, sorted by name."""
    return sorted(path.parent for path in Path(folder).glob("*/card.json"))
