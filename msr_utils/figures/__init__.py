"""The study's figures, one module a part of the study: notebooks use them as ``figures.NAME``."""

from msr_utils.figures.corpora import (
    affect_plane,
    clip_labels,
    gems_shares,
    label_spread,
    quadrant_plane,
    rated_curves,
    static_against_dynamic,
)
from msr_utils.figures.errors import (
    context_length,
    curves_by_rank,
    error_components,
    error_over_time,
    hidden_parts,
    level_cues,
    movement,
    robustness,
    stratum_scores,
)
from msr_utils.figures.evaluation import (
    explorer,
    predicted_curves,
    score_intervals,
    track_title,
)
from msr_utils.figures.experiments import (
    ablation,
    clip_scores,
    cost_growth,
    fusion_scores,
    joint_differences,
    lyrics_scores,
    song_scores,
)
from msr_utils.figures.features import (
    audio_overview,
    augmentations,
    band_correlations,
    beside_librosa,
)
from msr_utils.figures.generation import (
    asked_and_heard,
    copied_runs,
    generated_arcs,
    generation_accuracy,
    generator_losses,
)
from msr_utils.figures.isolation import (
    isolated_scores,
    left_out_groups,
)
from msr_utils.figures.marks import (
    mark_estimate,
)
from msr_utils.figures.raters import (
    rater_shares,
)
from msr_utils.figures.retrieval import (
    arc_scores,
    mood_scores,
    path_scores,
    preference_curve,
    word_precision,
)
from msr_utils.figures.summary import (
    learned,
    learned_text,
)
from msr_utils.figures.symbolic import (
    pretraining_loss,
    symbolic_scores,
)
from msr_utils.figures.training import (
    learning_curves,
    penalties,
    search_importances,
    search_slices,
    training_history,
)

__all__ = [
    "ablation",
    "affect_plane",
    "arc_scores",
    "asked_and_heard",
    "audio_overview",
    "augmentations",
    "band_correlations",
    "beside_librosa",
    "clip_labels",
    "clip_scores",
    "context_length",
    "copied_runs",
    "cost_growth",
    "curves_by_rank",
    "error_components",
    "error_over_time",
    "explorer",
    "fusion_scores",
    "gems_shares",
    "generated_arcs",
    "generation_accuracy",
    "generator_losses",
    "hidden_parts",
    "isolated_scores",
    "label_spread",
    "joint_differences",
    "learned",
    "learned_text",
    "learning_curves",
    "left_out_groups",
    "level_cues",
    "mark_estimate",
    "mood_scores",
    "movement",
    "path_scores",
    "penalties",
    "predicted_curves",
    "preference_curve",
    "pretraining_loss",
    "quadrant_plane",
    "rated_curves",
    "rater_shares",
    "robustness",
    "score_intervals",
    "lyrics_scores",
    "song_scores",
    "search_importances",
    "search_slices",
    "static_against_dynamic",
    "stratum_scores",
    "symbolic_scores",
    "track_title",
    "training_history",
    "word_precision",
]
