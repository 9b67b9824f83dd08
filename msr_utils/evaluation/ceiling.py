"""The best score that the disagreement between raters allows."""

from __future__ import annotations

from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Corpus
from msr_utils.metrics.reliability import Reliability, rater_ceiling


def ceiling(corpus: Corpus, target: str) -> Reliability:
    """How well a perfect model could do on one target, see `rater_ceiling`."""
    column = TARGETS.index(target)
    return rater_ceiling([t.ratings[..., column] for t in corpus.tracks if t.ratings is not None])
