"""Recognise the quadrant of a clip from its notes.

The protocol is that of EMOPIA (Hung and others 2021): four quadrants, and high or low arousal and
valence, on the authors' split by song. Every choice is made on the training and validation parts.
The test part is scored once.
"""

from msr_utils.experiments.symbolic.clips import NoteClips, clip_table, clips_of
from msr_utils.experiments.symbolic.rows import (
    Settings,
    SymbolicResults,
    pretraining_notes,
    run,
)
from msr_utils.experiments.symbolic.scores import (
    PUBLISHED,
    cross_validation_table,
    gain_table,
    score_table,
)

__all__ = [
    "PUBLISHED",
    "NoteClips",
    "Settings",
    "SymbolicResults",
    "clip_table",
    "clips_of",
    "cross_validation_table",
    "gain_table",
    "pretraining_notes",
    "run",
    "score_table",
]
