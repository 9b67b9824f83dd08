"""What feature blocks hear, on tones whose rule is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import write_folder_corpus

from msr_utils.constants import TARGETS
from msr_utils.corpora import load_corpus
from msr_utils.corpora.base import CorpusError
from msr_utils.dataset.sequences import sequences_of
from msr_utils.dataset.splits import Split
from msr_utils.evaluation import runs, tables
from msr_utils.evaluation.comparison import Comparison
from msr_utils.experiments import ablation_results, feature_blocks
from msr_utils.features.config import FeatureConfig
from msr_utils.figures import evaluation, experiments
from msr_utils.figures import training as figures_training
from msr_utils.io import write_json
from msr_utils.metrics.estimate import Estimate, Spread
from msr_utils.metrics.reliability import Reliability
from msr_utils.metrics.scores import METRICS, Scores


@pytest.mark.slow
def test_blocks_hear_what_is_in_them(tmp_path):
    """Of tones whose level follows valence and whose pitch follows arousal."""
    corpus = load_corpus("folder", write_folder_corpus(tmp_path / "tones", tracks=24))
    ids = [t.id for t in corpus.tracks]
    splits = [Split(tuple(ids[:12]), tuple(ids[12:16]), tuple(ids[16:]))]
    choices = ["loudness", "logmel,loudness", "tempogram"]
    scores = feature_blocks.block_scores(corpus, choices, splits, n_boot=20, cache_dir=tmp_path)
    r = scores[scores.metric == "r"].set_index(["model", "target"]).value
    assert r["loudness", "valence"] > 0.8
    assert r["logmel,loudness", "arousal"] > r["loudness", "arousal"] + 0.3
    # One reading of all blocks gives what each gives alone.
    alone = feature_blocks.block_scores(corpus, choices[:1], splits, n_boot=20, cache_dir=tmp_path)
    np.testing.assert_allclose(alone.value, scores[scores.model == "loudness"].value, atol=1e-4)
    table = feature_blocks.block_score_table(scores)
    assert list(table.index.get_level_values("blocks")) == choices
    assert list(table.index.get_level_values("features")) == [2, 130, 13]


def test_a_corpus_without_curves_is_refused(tmp_path):
    root = write_folder_corpus(tmp_path / "clips", tracks=3)
    for name in ("annotations.csv", "ratings.csv"):
        (root / name).unlink()
    rows = (root / "tracks.csv").read_text().splitlines()
    (root / "tracks.csv").write_text(
        "\n".join([rows[0] + ",quadrant", *(f"{row},Q1" for row in rows[1:])])
    )
    corpus = load_corpus("folder", root)
    assert corpus.labels == "quadrants"
    with pytest.raises(CorpusError, match="clips has quadrants, no curves to learn from"):
        sequences_of(corpus, FeatureConfig(), tmp_path)


def test_learning_curves_are_of_what_is_trained_and_tested(tmp_path):
    """A linear model has no epochs, and fold 0 is the training for export."""
    epochs = pd.DataFrame({"epoch": [1, 2], "loss": [0.4, 0.2], "val_loss": [0.5, 0.3]})
    trained = pd.concat([epochs.assign(fold=f, network=1) for f in (0, 1, 2)])
    solved = pd.DataFrame({"fold": [1], "network": [1], "alpha": [10.0], "val_loss": [0.3]})
    for prefix, history in {"lstm": trained, "linear": solved}.items():
        for target in TARGETS:
            (tmp_path / f"{prefix}-{target}").mkdir()
            history.to_csv(tmp_path / f"{prefix}-{target}" / "history.csv", index=False)
    histories = runs.load_histories(tmp_path, {"LSTM": "lstm", "linear": "linear"})
    assert set(histories.model) == {"LSTM"} and len(histories) == 2 * 2 * 2
    validation, training = figures_training.learning_curves(histories).axes[0].lines[:2]
    np.testing.assert_allclose(validation.get_ydata(), [0.5, 0.3])
    np.testing.assert_allclose(training.get_ydata(), [0.4, 0.2])


def test_the_ablations_that_were_run_are_shown_side_by_side(tmp_path):
    assert ablation_results.load_results(tmp_path) == []
    value = {"value": 0.02, "low": 0.01, "high": 0.03}
    base = {"group": "base", "name": "base", "settings": {}}
    for target in TARGETS:
        variant = base | {
            "group": "size",
            "name": target,
            "difference": {"r": value, "rmse": value},
        }
        wild = base | {"group": "activation", "name": "linear", "diverged": "the loss is nan"}
        found = {"target": target, "base": {}, "variants": [base, wild, variant], "baselines": {}}
        write_json(tmp_path / f"ablation-{target}" / "metrics.json", found)
    axes = experiments.ablation(ablation_results.load_results(tmp_path)).axes
    assert [len(ax.lines) for ax in axes] == [2 + 1, 2 + 1]  # a variant each, and the base
    names = [t.get_text() for t in axes[0].get_yticklabels()]
    assert names == ["activation: linear", *(f"size: {t}" for t in TARGETS)]
    assert all("diverged" in [text.get_text() for text in ax.texts] for ax in axes)


def test_names_of_models_keep_their_commas():
    """In lists of blocks a comma means a sum, in a model's name it is a comma."""
    row = {"metric": "r", "value": 0.5, "low": 0.4, "high": 0.6}
    table = pd.DataFrame(
        {"target": target, "model": model, **row}
        for target in TARGETS
        for model in ("LSTM (tonal, MusiCNN)", "logmel,tonal")
    )
    axes = evaluation.score_intervals(table, "r", "Pearson r").axes
    names = [t.get_text() for t in axes[0].get_yticklabels()]
    assert names == ["LSTM (tonal, MusiCNN)", "logmel + tonal"]


def test_the_headline_table_says_what_each_model_was_given(tmp_path):
    score, song = Estimate(0.5, 0.4, 0.6), Spread(0.5, 0.1, 3)
    result = Scores(3, 60, dict.fromkeys(METRICS, score), dict.fromkeys(METRICS, song))
    rows = {t: dict.fromkeys(("constant", "LSTM", "linear"), result) for t in TARGETS}
    for target in TARGETS:
        for prefix, cost in {"lstm": {"epochs": 3.5}, "linear": {}}.items():
            facts = {"seeds": 5 if cost else 1, "training": {"epochs": 25}, "cost": cost}
            write_json(tmp_path / f"{prefix}-{target}" / "metrics.json", facts)
    ceiling = Reliability(0.9, 0.95, 0.07, 0.5)
    table = tables.headline_table(
        Comparison(rows, dict.fromkeys(TARGETS, ceiling)),
        tmp_path,
        {"LSTM": "lstm", "linear": "linear"},
    )
    given = table.loc["arousal", ["networks", "epochs at most"]].to_dict("index")
    assert given["LSTM"] == {"networks": 5, "epochs at most": 25}
    assert given["linear"] == {"networks": 1, "epochs at most": "solved"}
    assert given["constant"] == {"networks": "–", "epochs at most": "–"}
    assert table.loc[("valence", "LSTM"), "r"] == "0.500 [0.400, 0.600]"


def test_the_first_model_and_the_best_of_each_target_are_shown():
    errors = {"valence": (0.2, 0.3, 0.1), "arousal": (0.1, 0.3, 0.2)}
    models = {t: {name: {} for name in "abc"} for t in errors}
    rows = {
        t: {n: Scores(1, 1, {"rmse": Estimate(e)}, {}) for n, e in zip("abc", own, strict=True)}
        for t, own in errors.items()
    }
    shown = runs.first_and_best(models, Comparison(rows, {}))
    assert {t: list(own) for t, own in shown.items()} == {"valence": ["a", "c"], "arousal": ["a"]}
