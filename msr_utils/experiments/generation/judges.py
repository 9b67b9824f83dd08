"""Judges of generated pieces: which quadrant do they find, and how certain are they?

The two probes were trained on no piece of the generator's half. The release model was, as sound.
Two judges hear the sound and one reads the notes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from msr_utils.affect import QUADRANTS
from msr_utils.experiments.generation.listening import Heard
from msr_utils.experiments.generation.material import CLIPS, Labelled
from msr_utils.experiments.symbolic.statistics_models import LOGISTIC, kept_fit_predict
from msr_utils.notes import Notes
from msr_utils.symbolic.statistics import statistics_table

SOUND = "probe on sound"
"""The judge that was declared in advance: logistic regression on the features of rendered clips."""

RELEASE = "release model"
"""Means of the curves of the service's default model. It was trained on curves of VGMIDI pieces
that the generator may have seen, in other sound, and on no clip of EMOPIA."""

STATISTICS = "probe on notes"
"""Logistic regression on statistics of notes, some of which are like those that steer the
generator."""

JUDGES = (SOUND, RELEASE, STATISTICS)

SIGNS = np.array([q.signs for q in QUADRANTS], float)
"""Signs of valence and arousal of each quadrant, (4, 2)."""


@dataclass(frozen=True, eq=False)
class Judgement:
    """What a judge finds in pieces.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(N, 4)]
        Of the quadrants.
    emotion : np.ndarray [shape=(N, 2)]
        Valence and arousal in [-1, 1]: of a probe, the probability of a high value minus that of a
        low one.
    """

    probabilities: np.ndarray
    emotion: np.ndarray


def clips_only(pieces: Sequence[Labelled], seconds: float) -> list[Labelled]:
    """Pieces that judges are trained and tested on, in the generator's own style.

    Where there are clips with a quadrant, other pieces are left out: they sound different. Pieces
    are cut to their first seconds, so that they are as long as generated ones. Pedals are left out,
    because generators use none.
    """
    clips = [p for p in pieces if p.piece.style == CLIPS] or list(pieces)
    short = [replace(p, piece=p.piece.first(seconds)) for p in clips]
    return [p for p in short if len(p.piece.notes) > 1]


@dataclass(frozen=True, eq=False)
class Judges:
    """What the judges learned from: the pieces of their half, as sound and as notes.

    Parameters
    ----------
    heard : Heard
    notes : sequence of Notes
    labels : np.ndarray [shape=(N,), dtype=int]
    groups : np.ndarray [shape=(N,)]
    seed : int
    """

    heard: Heard
    notes: Sequence[Notes]
    labels: np.ndarray
    groups: np.ndarray
    seed: int

    def judge(self, heard: Heard, notes: Sequence[Notes]) -> dict[str, Judgement]:
        """Judge pieces.

        Parameters
        ----------
        heard : Heard
        notes : sequence of Notes
            The same pieces.
        """
        return {
            SOUND: self._probe(self.heard.statistics, heard.statistics),
            RELEASE: self._release(heard),
            STATISTICS: self._probe(statistics_table(self.notes)[0], statistics_table(notes)[0]),
        }

    def _probe(self, known: np.ndarray, asked: np.ndarray) -> Judgement:
        probabilities = kept_fit_predict(
            LOGISTIC,
            known.astype(np.float64),
            self.labels,
            self.groups,
            asked.astype(np.float64),
            self.seed,
        )
        return Judgement(probabilities, probabilities @ SIGNS)

    def _release(self, heard: Heard) -> Judgement:
        """High is what lies above the middle of the low and the high clips of the judges' half."""
        known, emotion = self.heard.mean_emotion, heard.mean_emotion
        high = SIGNS[self.labels] > 0
        middle = [(known[high[:, k], k].mean() + known[~high[:, k], k].mean()) / 2 for k in (0, 1)]
        share = 1 / (1 + np.exp(-(emotion - middle) / np.maximum(known.std(axis=0), 1e-6) * 2))
        products = np.where(SIGNS[None] > 0, share[:, None], 1 - share[:, None])
        return Judgement(products.prod(axis=-1), emotion)
