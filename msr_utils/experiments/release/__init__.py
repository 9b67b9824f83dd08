"""The models that the service ships: training, scores, bundles and their cards."""

from msr_utils.experiments.release.card import alteration_limits, export, unseen_limits
from msr_utils.experiments.release.large import (
    LARGE,
    gain_over_linear,
    gain_table,
    large_features,
    part_results,
    report_large,
    setting_table,
)
from msr_utils.experiments.release.large import train as train_large
from msr_utils.experiments.release.large_card import export_large
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
    "LARGE",
    "Trainer",
    "alteration_limits",
    "export",
    "export_large",
    "gain_over_linear",
    "gain_table",
    "large_features",
    "part_results",
    "peer_limits",
    "peer_scores",
    "realtime_factor",
    "report",
    "report_large",
    "score_table",
    "score_unseen_corpus",
    "setting_table",
    "train",
    "train_large",
    "unseen_limits",
]
