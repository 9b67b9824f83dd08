"""From a corpus to sequences, splits and windows: what notebooks use as ``dataset.NAME``."""

from msr_utils.dataset.augmented import copies_of
from msr_utils.dataset.sequences import Sequence2Hz, align, sequences_of
from msr_utils.dataset.splits import Split, folds_that_fit, make_splits, split_table, splits_of
from msr_utils.dataset.windows import Windows, make_windows

__all__ = [
    "Sequence2Hz",
    "Split",
    "Windows",
    "align",
    "copies_of",
    "folds_that_fit",
    "make_splits",
    "make_windows",
    "sequences_of",
    "split_table",
    "splits_of",
]
