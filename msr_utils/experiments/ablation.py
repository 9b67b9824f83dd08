"""What matters in the LSTM: one thing changed at a time, everything else as in the base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from msr_utils.corpora.base import Corpus
from msr_utils.dataset.augmentation import AugmentConfig
from msr_utils.dataset.augmented import copies_of
from msr_utils.dataset.sequences import Sequence2Hz, build_sequences, select_columns
from msr_utils.evaluation.baselines import baseline_predictions
from msr_utils.experiments.ablation_results import BASE, AblationResult, VariantResult
from msr_utils.features.config import FeatureConfig
from msr_utils.metrics.bootstrap import N_BOOT
from msr_utils.metrics.curves import Predictions
from msr_utils.metrics.scores import evaluate, paired_difference
from msr_utils.models.lstm import LSTMConfig
from msr_utils.paths import CACHE_DIR, TRAININGS
from msr_utils.training.artifacts import single_scores
from msr_utils.training.cross_validation import Trained, cross_validate
from msr_utils.training.loop import FitConfig
from msr_utils.training.settings import CrossValidation

MAX_PLAUSIBLE = 10.0
"""Predictions beyond this count as diverged. The scale ends at 1. A network whose state is
unbounded may hold for an excerpt and diverge on a whole track."""


@dataclass(frozen=True)
class Variant:
    """One way to build and train the LSTM.

    Parameters
    ----------
    group, name : str
        What is changed, and to what.
    model : mapping
        Changes of the base's `LSTMConfig`.
    features : str
        Feature blocks; empty: the base's.
    window_frames : int
        Length of training excerpts; 0: the base's.
    augment : str
        Transforms of one altered copy of each training track; empty: none.
    """

    group: str
    name: str
    model: Mapping[str, Any] = field(default_factory=dict)
    features: str = ""
    window_frames: int = 0
    augment: str = ""


@dataclass(frozen=True)
class Base:
    """What every variant changes one thing of.

    Parameters
    ----------
    config : LSTMConfig
    fit_config : FitConfig
    features : FeatureConfig
    settings : CrossValidation
        No model is exported, whatever it says.
    """

    config: LSTMConfig
    fit_config: FitConfig
    features: FeatureConfig
    settings: CrossValidation


VARIANTS = (
    Variant(BASE, BASE),
    # The paper calls its activation linear; the default of Keras is tanh.
    Variant("activation", "linear", {"activation": "linear"}),
    Variant("activation", "relu", {"activation": "relu"}),
    # Neither bounds the state, so training diverges at a learning rate that suits tanh.
    Variant("activation", "linear, slow", {"activation": "linear", "learning_rate": 2e-4}),
    Variant("activation", "relu, slow", {"activation": "relu", "learning_rate": 2e-4}),
    Variant("dropout", "0.3", {"dropout": 0.3}),
    Variant("normalisation", "batch", {"norm": "batch"}),
    Variant("normalisation", "layer", {"norm": "layer"}),
    Variant("size", "1 x 64", {"units": (64,)}),
    Variant("size", "3 x 64", {"units": (64, 64, 64)}),
    Variant("size", "2 x 128", {"units": (128, 128)}),
    Variant("targets", "both in one model", {"joint": True}),
    Variant("direction", "bidirectional", {"bidirectional": True}),
    Variant("excerpt", "15 s", window_frames=30),
    Variant("features", "log-mel", features="logmel,logmel_sd"),
    Variant("features", "MFCC", features="mfcc,mfcc_delta"),
    Variant("features", "chroma", features="chroma"),
    Variant("features", "tonal", features="tonal"),
    Variant(
        "features",
        "all",
        features="logmel,logmel_sd,mfcc,mfcc_delta,chroma,tonal,contrast,onset,tempogram,loudness",
    ),
    Variant("augmentation", "gain, eq, noise", augment="gain,eq,noise"),
)
"""Changes that the paper names, and others that its choices suggest."""


def select_variants(names: Sequence[str]) -> list[Variant]:
    """Select variants by "group: name", or all of a group; the base is always among them.

    Parameters
    ----------
    names : sequence of str
        Empty: all.

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    known = {f"{v.group}: {v.name}": v for v in VARIANTS}
    groups = {v.group for v in VARIANTS}
    for name in names:
        if name not in known and name not in groups:
            raise ValueError(
                f"variants: unknown {name!r}; known: {', '.join([*sorted(groups), *known])}"
            )
    wanted = set(names) | {BASE}
    return [
        v for v in VARIANTS if not names or v.group in wanted or f"{v.group}: {v.name}" in wanted
    ]


def run(
    corpus: Corpus,
    variants: Sequence[Variant],
    base: Base,
    n_boot: int = N_BOOT,
    cache_dir: Path = CACHE_DIR,
    trainings: Path = TRAININGS,
) -> AblationResult:
    """Cross-validate every variant on the same splits, and the baselines with them.

    Parameters
    ----------
    corpus : Corpus
    variants : sequence of Variant
        The base first.
    base : Base
    n_boot : int >= 0
        Bootstrap samples of songs, for the 95 % intervals.
    cache_dir : Path
        For features.
    trainings : Path
        Where trainings are kept.
    """
    settings = base.settings
    # Features of all blocks are computed once, and each variant takes its columns.
    blocks = [b for v in variants for b in (v.features.split(",") if v.features else ())]
    everything = replace(
        base.features, blocks=tuple(dict.fromkeys([*base.features.blocks, *blocks]))
    )
    sequences = build_sequences(corpus, everything, cache_dir)
    ablation = _Ablation(corpus, base, everything, sequences, n_boot, cache_dir, trainings)
    reference: Predictions | None = None
    results = []
    for variant in tqdm(variants, desc=f"variants, {settings.target}", unit="variant"):
        result, predictions = ablation.cross_validate(variant, reference)
        results.append(result)
        if variant.group == BASE:
            reference = predictions
    baselines = baseline_predictions(
        ablation.with_blocks(base.features.blocks), settings.splits, settings.target,
        settings.inner_folds,
    )  # fmt: skip
    seed = base.fit_config.seed
    return AblationResult(
        target=settings.target,
        base={
            **asdict(base.config),
            **asdict(base.fit_config),
            "features": ",".join(base.features.blocks),
        },
        variants=results,
        baselines={n: evaluate(p, n_boot, seed) for n, p in baselines.items()},
    )


@dataclass(frozen=True)
class _Ablation:
    """What the trainings of all variants have in common, see `run`.

    Parameters
    ----------
    everything : FeatureConfig
        All blocks that some variant reads.
    sequences : sequence of Sequence2Hz
        With these.
    """

    corpus: Corpus
    base: Base
    everything: FeatureConfig
    sequences: Sequence[Sequence2Hz]
    n_boot: int
    cache_dir: Path
    trainings: Path

    def with_blocks(self, blocks: Sequence[str]) -> list[Sequence2Hz]:
        """The sequences with some of their feature blocks."""
        return select_columns(self.sequences, self.everything.columns(blocks))

    def cross_validate(
        self, variant: Variant, reference: Predictions | None
    ) -> tuple[VariantResult, Predictions | None]:
        """Scores and predictions of a variant. `reference` are the base's predictions.

        No predictions are returned if the variant diverged.
        """
        config = replace(self.base.config, **variant.model)
        features = replace(self.base.features, blocks=variant.features or self.base.features.blocks)
        window_frames = variant.window_frames or self.base.settings.window_frames
        result = VariantResult(
            group=variant.group,
            name=variant.name,
            settings={
                **asdict(config),
                "features": ",".join(features.blocks),
                "window_frames": window_frames,
                "augment": variant.augment,
            },
        )
        try:
            trained = self._train(variant, config, features, window_frames)
        except FloatingPointError as error:
            return replace(result, diverged=str(error)), None
        predictions = trained.predictions
        largest = max(float(abs(c.predicted).max()) for c in predictions.values())
        if largest > MAX_PLAUSIBLE:
            message = f"predicts {largest:.1g} on tracks as long as they are"
            return replace(result, diverged=message), None
        seed = self.base.fit_config.seed
        difference = None
        if reference is not None:
            difference = paired_difference(predictions, reference, self.n_boot, seed)
        result = replace(
            result,
            test=evaluate(predictions, self.n_boot, seed),
            singles=single_scores(trained.singles),
            cost=trained.cost,
            difference=difference,
        )
        return result, predictions

    def _train(
        self, variant: Variant, config: LSTMConfig, features: FeatureConfig, window_frames: int
    ) -> Trained:
        fit_config = self.base.fit_config
        settings = replace(self.base.settings, window_frames=window_frames, to_export=False)
        altered = AugmentConfig(variant.augment, 1, fit_config.seed)
        return cross_validate(
            config, fit_config, self.with_blocks(features.blocks), settings,
            copies=copies_of(self.corpus, features, altered, self.cache_dir),
            trainings=self.trainings, label=f"{variant.group} {variant.name}",
        )  # fmt: skip
