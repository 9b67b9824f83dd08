"""Choose how notes are drawn, with a judge that is not among those that are reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from msr_utils.experiments.generation.material import Labelled
from msr_utils.experiments.generation.music import differences_from
from msr_utils.experiments.generation.writing import quadrant_requests, write_pieces
from msr_utils.experiments.symbolic.scores import QUADRANT, hits
from msr_utils.experiments.symbolic.statistics_models import LOGISTIC, kept_fit_predict
from msr_utils.generation.card import Decoding
from msr_utils.generation.generator import Generator
from msr_utils.notes import Notes
from msr_utils.symbolic.statistics import statistics_table

TRIED: Mapping[str, tuple[Any, ...]] = {
    "guidance": (1.0, 1.5, 2.5),
    "gain": (0.7, 1.0, 1.5),
    "spread": (0.3, 0.6, 1.0),
}
"""Values that are tried, one setting after the other."""

START = Decoding(guidance=1.5, gain=1.0, spread=0.6)

STRANGENESS = 0.1
"""What one standard deviation of distance from real music costs, in accuracy."""

CHOICE_SEED = 1_000_000
"""First seed of the pieces by which is chosen. Others are judged."""


@dataclass(frozen=True)
class Trial:
    """One way to draw notes.

    Parameters
    ----------
    guidance, gain, spread : float
        See `msr_utils.generation.card.Decoding`.
    accuracy : float
        Of the quadrants, by a probe on notes of the generator's own half.
    strangeness : float
        Mean distance of musical statistics from real clips of the same quadrant, in standard
        deviations.
    """

    guidance: float
    gain: float
    spread: float
    accuracy: float
    strangeness: float

    @property
    def score(self) -> float:
        """What is maximised."""
        return self.accuracy - STRANGENESS * self.strangeness


def choose_decoding(
    generator: Generator,
    clips: Sequence[Labelled],
    per_quadrant: int,
    seconds: float,
    seed: int,
    progress: bool = True,
) -> tuple[Decoding, list[Trial]]:
    """Try ways to draw notes.

    Parameters
    ----------
    generator : Generator
    clips : sequence of Labelled
        Of the generator's half: the judge of the choice learns from them.
    per_quadrant : int > 0
        Pieces a trial.
    seconds : float
    seed : int
    progress : bool
    """
    requests = quadrant_requests(per_quadrant, seconds, seed + CHOICE_SEED)
    labels = np.arange(len(requests)) % 4
    known, real = statistics_table([c.piece.notes for c in clips])[0], [c.label for c in clips]
    groups = np.array([c.group for c in clips])
    clips_of = [[c.piece.notes for c in clips if c.label == k] for k in range(4)]
    done: dict[Decoding, Trial] = {}

    def trial(decoding: Decoding) -> Trial:
        if decoding not in done:
            notes = write_pieces(generator.with_decoding(decoding), requests, progress)
            playable, indices = _playable(notes)
            asked = statistics_table(playable)[0]
            found = kept_fit_predict(LOGISTIC, known, np.array(real), groups, asked, seed)
            right = hits(found, labels[indices])[QUADRANT]
            strangeness = [
                np.abs(differences_from(real_ones, ours)).mean()
                for k, real_ones in enumerate(clips_of)
                if real_ones
                and (ours := [n for n, i in zip(playable, indices, strict=True) if i % 4 == k])
            ]
            done[decoding] = Trial(
                decoding.guidance,
                decoding.gain,
                decoding.spread,
                float(right.sum() / len(requests)),
                float(np.mean(strangeness)),
            )
        return done[decoding]

    best = START
    for name, values in TRIED.items():
        candidates = [replace(best, **{name: value}) for value in values]
        best = max(candidates, key=lambda d: trial(d).score)
    return best, list(done.values())


def _playable(notes: Sequence[Notes]) -> tuple[list[Notes], np.ndarray]:
    """Pieces with at least two notes, and their places. Others count as not recognised."""
    indices = [i for i, piece in enumerate(notes) if len(piece) > 1]
    return [notes[i] for i in indices], np.array(indices, int)
