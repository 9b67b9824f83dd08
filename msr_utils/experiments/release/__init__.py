"""The models that the service ships: training, scores, bundles and their cards."""

from msr_utils.experiments.release.card import alteration_limits, export, unseen_limits
from msr_utils.experiments.release.peers import peer_limits, peer_scores
from msr_utils.experiments.release.scores import (
    realtime_factor,
    report,
    score_table,
    score_unseen_corpus,
)
from msr_utils.experiments.release.trainer import Trainer, train
from msr_utils.experiments.release.training_data import BUNDLES

__all__ = [
    "BUNDLES",
    "Trainer",
    "alteration_limits",
    "export",
    "peer_limits",
    "peer_scores",
    "realtime_factor",
    "report",
    "score_table",
    "score_unseen_corpus",
    "train",
    "unseen_limits",
]
