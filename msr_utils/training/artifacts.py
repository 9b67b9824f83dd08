"""What a training run leaves: model, predictions, history and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from msr_utils.corpora.base import Corpus
from msr_utils.dataset.augmentation import AugmentConfig
from msr_utils.features.config import FeatureConfig
from msr_utils.io import atomic_path, write_json, write_text
from msr_utils.metrics.curves import Curve, save_predictions
from msr_utils.metrics.scores import METRICS, Scores, evaluate
from msr_utils.models.backend import keras
from msr_utils.training.cross_validation import Trained

MODEL = "this model"
"""Name of the trained model among the rows of its own run."""


def save_results(
    folder: Path,
    trained: Trained,
    corpus: Corpus,
    features: FeatureConfig,
    rows: Mapping[str, Scores],
    augment: AugmentConfig | None = None,
) -> None:
    """Write what a training run leaves: model, predictions, history, then ``metrics.json``.

    Parameters
    ----------
    folder : Path
        Of the run.
    trained : Trained
    corpus : Corpus
        What it was trained on.
    features : FeatureConfig
        What the model reads.
    rows : mapping of name to Scores
        Of the model, named `MODEL`, and of the baselines.
    augment : AugmentConfig, optional
        How copies of the tracks were altered.
    """
    folder, settings = Path(folder), trained.settings
    save_model(trained.model, folder / "models" / "model.keras")
    save_predictions(folder / "predictions.npz", trained.predictions)
    write_text(folder / "history.csv", trained.history.to_csv(index=False))
    write_json(
        folder / "metrics.json",
        {
            "corpus": corpus.name,
            "data_hash": corpus.content_hash(),
            "target": settings.target,
            "folds": len(settings.splits),
            "inner_folds": settings.inner_folds,
            "seeds": len(trained.singles),
            "model": asdict(trained.config),
            "training": asdict(trained.fit_config),
            "features": features.to_json(),
            "augmentation": asdict(augment) if augment and augment.names else None,
            "test": rows[MODEL],
            "baselines": {name: row for name, row in rows.items() if name != MODEL},
            "singles": single_scores(trained.singles),
            "cost": trained.cost.to_json(),
        },
    )


def single_scores(singles: Sequence[Mapping[str, Curve]]) -> dict[str, list[float]]:
    """Pooled scores of each network alone, by metric: how much the seed matters."""
    pooled = [evaluate(curves, 0).pooled for curves in singles]
    return {metric: [one[metric].value for one in pooled] for metric in METRICS}


def save_model(model: keras.Model, path: Path) -> None:
    """Save a trained model with its architecture, atomically."""
    with atomic_path(path) as temporary:
        model.save(temporary)


def load_model(path: Path) -> keras.Model:
    """Load what `save_model` wrote.

    Raises
    ------
    FileNotFoundError
        If the run that trains it has not finished.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no trained model {path}: run its training notebook first")
    return keras.models.load_model(path, compile=False)
