"""Do generated pieces feel as they were asked to? Every figure of the chapter is computed here."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from msr_utils.experiments.generation.copying import longest_shared_runs
from msr_utils.experiments.generation.judges import (
    SOUND,
    Judgement,
    Judges,
    clips_only,
)
from msr_utils.experiments.generation.listening import listen
from msr_utils.experiments.generation.material import Labelled, Material
from msr_utils.experiments.generation.music import MusicComparison, compare
from msr_utils.experiments.generation.writing import (
    ARCS,
    arc_requests,
    grid_requests,
    quadrant_requests,
    write_pieces,
)
from msr_utils.experiments.symbolic.scores import Accuracies, accuracies, hits
from msr_utils.generation.generator import Generator
from msr_utils.generation.request import EmotionCurve, MusicRequest
from msr_utils.inference.model import Model
from msr_utils.metrics.bootstrap import N_BOOT, draw_counts
from msr_utils.metrics.correlation import pearson, weighted_pearson
from msr_utils.metrics.estimate import Estimate
from msr_utils.notes import Notes

DIMENSIONS = ("valence", "arousal")

CONTROLS = {
    "only the attributes are told": "attributes",
    "only the emotion is told": "emotion",
    "nothing is told": "nothing",
}
"""Pieces of which the generator is told less -> `msr_utils.generation.card.Decoding.told`."""

GENERATED, REAL, ON_GRID = "generated", "real", "places"
"""Sets of pieces that are judged besides the controls."""

SHUFFLED = "asked quadrants exchanged"
"""The same pieces, each compared with what another one was asked for."""

TARGETS = {"quadrant": 0.55, "arousal": 0.80, "valence": 0.65}
"""Accuracies that were asked for before anything was trained."""

PLACE_TARGETS = {"valence": 0.4, "arousal": 0.7}
"""Correlations of asked and heard values that were asked for."""

FIRST_NOTE_MS, TIMES_REAL_TIME = 300, 5
"""Longest time to the first note, and least speed, that were asked for."""

GRID_SEED, ARC_SEED, CONTROL_SEED = 2_000_000, 3_000_000, 4_000_000
"""First seeds of the pieces of each part."""


@dataclass(frozen=True)
class Size:
    """How much is generated.

    Parameters
    ----------
    per_quadrant : int > 0
        Pieces of each quadrant.
    seconds : float
        Their length.
    controls : int > 0
        Pieces of each quadrant of each control.
    grid, grid_repeats : int > 0
        Places on each axis, and pieces of each place.
    arcs : int > 0
        Pieces of each arc.
    arc_seconds : float
    held_out : int > 0
        Most real clips on which the judges are tested.
    bootstrap : int >= 0
    seed : int
    """

    per_quadrant: int = 100
    seconds: float = 30.0
    controls: int = 20
    grid: int = 5
    grid_repeats: int = 3
    arcs: int = 5
    arc_seconds: float = 60.0
    held_out: int = 240
    bootstrap: int = N_BOOT
    seed: int = 7


@dataclass(frozen=True, eq=False)
class Places:
    """Asked and heard places of a grid.

    Parameters
    ----------
    asked : np.ndarray [shape=(N, 2)]
    heard : dict of judge to np.ndarray [shape=(N, 2)]
    r : dict of judge to dimension to Estimate
    """

    asked: np.ndarray
    heard: dict[str, np.ndarray]
    r: dict[str, dict[str, Estimate]]


@dataclass(frozen=True, eq=False)
class Arcs:
    """Asked and heard courses.

    Parameters
    ----------
    asked, heard : dict of arc to np.ndarray [shape=(T, 2)]
        Valence and arousal every 500 ms; heard is the mean over the pieces of an arc.
    r : dict of dimension to Estimate
        Mean over pieces of the correlation within a piece, where the dimension was asked to move.
    pieces : int
    """

    asked: dict[str, np.ndarray]
    heard: dict[str, np.ndarray]
    r: dict[str, Estimate]
    pieces: int


@dataclass(frozen=True, eq=False)
class Copying:
    """Longest runs of notes that pieces share with any training piece.

    Parameters
    ----------
    generated, real : np.ndarray [shape=(N,), dtype=int]
    """

    generated: np.ndarray
    real: np.ndarray

    @property
    def percentiles(self) -> dict[str, float]:
        """95th percentiles."""
        return {
            "generated": float(np.percentile(self.generated, 95)),
            "real": float(np.percentile(self.real, 95)),
        }


@dataclass(frozen=True)
class Speed:
    """Speed on one core.

    Parameters
    ----------
    first_note_ms : float
        From a request to its first note, with the network loaded; the median of some requests.
    times_real_time : float
        Seconds of music written in a second.
    """

    first_note_ms: float
    times_real_time: float


@dataclass(frozen=True, eq=False)
class GenerationResults:
    """All figures of a generator.

    Parameters
    ----------
    accuracy, held_out : dict of judge to target to Estimate
        Of generated pieces, and of real clips of the generator's half.
    controls : dict of control to judge to target to Estimate
    places : Places
    arcs : Arcs
    music : dict of statistic to MusicComparison
    copying : Copying
    speed : Speed
    empty : int
        Pieces with fewer than two notes; they count as not recognised.
    confusion : np.ndarray [shape=(4, 4), dtype=int]
        Rows are asked and columns heard quadrants, by the first judge.
    pieces : list of Notes
        Those of `accuracy`; the quadrants asked for are Q1, Q2, Q3, Q4, Q1 and so on.
    probabilities : np.ndarray [shape=(N, 4)]
        Of their quadrants, by the first judge.
    """

    accuracy: dict[str, Accuracies]
    held_out: dict[str, Accuracies]
    controls: dict[str, dict[str, Accuracies]]
    places: Places
    arcs: Arcs
    music: dict[str, MusicComparison]
    copying: Copying
    speed: Speed
    empty: int
    confusion: np.ndarray
    pieces: list[Notes]
    probabilities: np.ndarray

    def to_json(self) -> dict[str, Any]:
        """All but the pieces and what was heard of single ones."""
        return {
            "accuracy": self.accuracy,
            "held_out": self.held_out,
            "controls": self.controls,
            "places": {"r": self.places.r, "pieces": len(self.places.asked)},
            "arcs": {"r": self.arcs.r, "pieces": self.arcs.pieces},
            "music": self.music,
            "copied": self.copying.percentiles,
            "speed": self.speed,
            "empty": self.empty,
            "pieces": len(self.pieces),
            "confusion": self.confusion,
        }


def evaluate(
    generator: Generator, material: Material, model: Model, size: Size, progress: bool = True
) -> GenerationResults:
    """Generate, render, judge and compare.

    Parameters
    ----------
    generator : Generator
    material : Material
        The judges learn from one half of it. The generator was trained on the other.
    model : Model
        Hears the sound, see `msr_utils.experiments.generation.listening.listen`.
    size : Size
    progress : bool
    """
    known = clips_only(material.judging, size.seconds)
    real = _held_out(material, size)
    requests = quadrant_requests(size.per_quadrant, size.seconds, size.seed)
    pieces = write_pieces(generator, requests, progress)
    grid = grid_requests(size.grid, size.grid_repeats, size.seconds, size.seed + GRID_SEED)
    sets = {
        GENERATED: pieces,
        REAL: [r.piece.notes for r in real],
        ON_GRID: write_pieces(generator, grid, progress),
        **_less_told(generator, size, progress),
    }
    judged = _judge(sets, _judges(known, model, size, progress), model, progress)
    asked = np.arange(len(pieces)) % 4
    exchanged = np.random.default_rng(size.seed).permutation(asked)
    controls = {SHUFFLED: _accuracies(judged[GENERATED], exchanged, size)}
    for name in CONTROLS:
        controls[name] = _accuracies(judged[name], np.arange(len(sets[name])) % 4, size)
    songs, labels = (np.array([getattr(r, k) for r in real]) for k in ("group", "label"))
    sound = judged[GENERATED][SOUND]
    return GenerationResults(
        accuracy=_accuracies(judged[GENERATED], asked, size),
        held_out=_accuracies(judged[REAL], labels, size, songs),
        controls=controls,
        places=_places(grid, judged[ON_GRID], size),
        arcs=_arcs(generator, model, size, progress),
        music=compare(_playable(pieces), [k.piece.notes for k in known]),
        copying=_copying(_playable(pieces), [k.piece.notes for k in known], material),
        speed=measure_speed(generator),
        empty=len(pieces) - len(_playable(pieces)),
        confusion=_confusion(sound, asked),
        pieces=pieces,
        probabilities=sound.probabilities,
    )


def _held_out(material: Material, size: Size) -> list[Labelled]:
    """Real clips of the generator's half, drawn at random: no judge has learned from them."""
    clips = clips_only([*material.train, *material.validation], size.seconds)
    order = np.random.default_rng(size.seed).permutation(len(clips))
    return [clips[i] for i in np.sort(order[: size.held_out])]


def _less_told(generator: Generator, size: Size, progress: bool) -> dict[str, list[Notes]]:
    """Pieces of the controls."""
    requests = quadrant_requests(size.controls, size.seconds, size.seed + CONTROL_SEED)
    found = {}
    for name, told in CONTROLS.items():
        decoding = replace(generator.card.decoding, told=told)
        found[name] = write_pieces(generator.with_decoding(decoding), requests, progress)
    return found


def _judges(known: Sequence[Labelled], model: Model, size: Size, progress: bool) -> Judges:
    notes = [k.piece.notes for k in known]
    return Judges(
        listen(notes, model, progress),
        notes,
        np.array([k.label for k in known]),
        np.array([k.group for k in known]),
        size.seed,
    )


def _playable(pieces: Sequence[Notes]) -> list[Notes]:
    return [piece for piece in pieces if len(piece) > 1]


def _judge(
    sets: Mapping[str, Sequence[Notes]], judges: Judges, model: Model, progress: bool
) -> dict[str, dict[str, Judgement]]:
    """Judgements of sets of pieces, by set and judge. One without notes is in no quadrant."""
    pieces = [piece for one in sets.values() for piece in one]
    there, playable = np.array([len(piece) > 1 for piece in pieces]), _playable(pieces)
    found = judges.judge(listen(playable, model, progress), playable)
    bounds = np.cumsum([len(one) for one in sets.values()])[:-1]
    judged: dict[str, dict[str, Judgement]] = {name: {} for name in sets}
    for judge, one in found.items():
        probabilities, emotion = np.zeros((len(pieces), 4)), np.zeros((len(pieces), 2))
        probabilities[there], emotion[there] = one.probabilities, one.emotion
        parts = zip(np.split(probabilities, bounds), np.split(emotion, bounds), strict=True)
        for name, part in zip(sets, parts, strict=True):
            judged[name][judge] = Judgement(*part)
    return judged


def _accuracies(
    judged: Mapping[str, Judgement],
    asked: np.ndarray,
    size: Size,
    groups: np.ndarray | None = None,
) -> dict[str, Accuracies]:
    """Accuracy of each judge; intervals resample pieces, or groups of them."""
    units = np.arange(len(asked)) if groups is None else groups
    counts = draw_counts(units, size.bootstrap, size.seed)
    found = {}
    for name, one in judged.items():
        right = hits(one.probabilities, asked)
        empty = one.probabilities.sum(axis=1) == 0
        found[name] = accuracies(counts, {t: h & ~empty for t, h in right.items()})
    return found


def _confusion(judged: Judgement, asked: np.ndarray) -> np.ndarray:
    table = np.zeros((4, 4), int)
    np.add.at(table, (asked, judged.probabilities.argmax(axis=1)), 1)
    return table


def _places(
    requests: Sequence[MusicRequest], judged: Mapping[str, Judgement], size: Size
) -> Places:
    asked = np.array([r.curve.at(0.0) for r in requests])
    counts = draw_counts(np.arange(len(asked)), size.bootstrap, size.seed)
    r = {}
    for name, one in judged.items():
        draws = weighted_pearson(counts, asked, one.emotion)
        r[name] = {d: Estimate.of_draws(draws[:, k]) for k, d in enumerate(DIMENSIONS)}
    return Places(asked, {name: one.emotion for name, one in judged.items()}, r)


def _arcs(generator: Generator, model: Model, size: Size, progress: bool) -> Arcs:
    requests = arc_requests(size.arcs, size.arc_seconds, size.seed + ARC_SEED)
    pieces = write_pieces(generator, requests, progress)
    count = int(size.arc_seconds * 2)
    times = (np.arange(count) + 1) / 2
    asked = [np.array([r.curve.at(t) for t in times]) for r in requests]
    heard = [_filled(curve, count) for curve in _curves(pieces, model, progress)]
    r = {}
    for k, dimension in enumerate(DIMENSIONS):
        values = pearson(np.stack([a[:, k] for a in asked]), np.stack([h[:, k] for h in heard]))
        values = values[np.isfinite(values)]
        counts = draw_counts(np.arange(len(values)), size.bootstrap, size.seed)
        r[dimension] = Estimate.of_draws(counts @ values / counts.sum(axis=1))
    names = list(ARCS)
    return Arcs(
        {name: asked[k] for k, name in enumerate(names)},
        {name: np.mean(heard[k :: len(names)], axis=0) for k, name in enumerate(names)},
        r,
        len(pieces),
    )


def _curves(pieces: Sequence[Notes], model: Model, progress: bool) -> list[np.ndarray]:
    return listen(pieces, model, progress).curves


def _filled(curve: np.ndarray, count: int) -> np.ndarray:
    """A curve of `count` values; a piece that ends early keeps its last one."""
    return np.concatenate([curve, np.repeat(curve[-1:], max(count - len(curve), 0), axis=0)])[
        :count
    ]


def _copying(pieces: Sequence[Notes], real: Sequence[Notes], material: Material) -> Copying:
    seen = [one.piece.notes for one in material.train]
    seen += [piece.notes for piece in material.unlabelled]
    runs = longest_shared_runs([*pieces, *real], seen)
    return Copying(runs[: len(pieces)], runs[len(pieces) :])


def measure_speed(generator: Generator, requests: int = 5, seconds: float = 30.0) -> Speed:
    """Time to the first note, and seconds of music a second, on this machine.

    Parameters
    ----------
    generator : Generator
    requests : int > 0
    seconds : float
    """
    first, written, taken = [], 0.0, 0.0
    for seed in range(requests):
        request = MusicRequest(EmotionCurve.constant(0.5, 0.5), seconds, seed)
        started = time.perf_counter()
        notes = generator.notes(request)
        next(notes)
        first.append(time.perf_counter() - started)
        for _ in notes:
            pass
        taken += time.perf_counter() - started
        written += seconds
    return Speed(1000 * float(np.median(first)), written / taken)
