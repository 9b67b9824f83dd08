"""Ablation: variants are compared with the base on the same tracks, and divergence is handled."""

from dataclasses import replace

import pytest

from msr_utils.corpora import load_corpus
from msr_utils.dataset.splits import splits_of
from msr_utils.evaluation import ceiling
from msr_utils.experiments import ablation, ablation_results
from msr_utils.features.config import FeatureConfig
from msr_utils.figures import experiments
from msr_utils.io import plain, write_json
from msr_utils.metrics.reliability import CEILING, Reliability
from msr_utils.models.lstm import LSTMConfig
from msr_utils.training import cross_validation
from msr_utils.training.loop import FitConfig
from msr_utils.training.settings import CrossValidation


def ablated(root, names):
    corpus = load_corpus("folder", root)
    base = ablation.Base(
        LSTMConfig((4,)),
        FitConfig(2, 4, 2, 0.9, 1),
        FeatureConfig("logmel_sd"),
        CrossValidation(splits_of(corpus, 1, 7), "arousal", 8, seeds=2),
    )
    return corpus, ablation.run(
        corpus, ablation.select_variants(names), base, n_boot=20, cache_dir=root / "cache",
        trainings=root / "trainings",
    )  # fmt: skip


@pytest.mark.slow
def test_variants_beside_the_base_and_the_baselines(folder_corpus, tmp_path) -> None:
    names = ["size: 1 x 64", "features: chroma", "excerpt"]
    corpus, result = ablated(folder_corpus, names)
    assert [row.name for row in result.variants] == ["base", "1 x 64", "15 s", "chroma"]
    base, one, excerpt, chroma = result.variants
    assert base.difference is None and excerpt.settings["window_frames"] == 30
    assert one.settings["units"] == (64,) and chroma.settings["features"] == "chroma"
    for row in (one, chroma):
        for metric in ("rmse", "r"):
            wanted = row.test.pooled[metric].value - base.test.pooled[metric].value
            assert row.difference[metric].value == pytest.approx(wanted, nan_ok=True)
        assert len(row.singles["rmse"]) == 2
    assert set(result.baselines) == {"constant", "mean trajectory", "ridge", "song-mean oracle"}
    table = ablation_results.ablation_table(result, ceiling.ceiling(corpus, "arousal"))
    assert ("raters", CEILING) in table.index and ("size", "1 x 64") in table.index
    assert len(experiments.ablation([result]).axes[0].lines) == 3 * 2 + 1
    # What is written and read again is the same.
    write_json(tmp_path / "ablation-arousal" / "metrics.json", result)
    (again,) = ablation_results.load_results(tmp_path)
    assert plain(again) == plain(result)


@pytest.mark.extended
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_variant_that_diverges_says_so_and_the_others_continue(
    folder_corpus, monkeypatch
) -> None:
    real = cross_validation.cross_validate

    def fragile(config, *args, **options):
        if config.activation == "linear":
            config = LSTMConfig((4,), "linear", learning_rate=1e9)
        trained = real(config, *args, **options)
        if config.activation == "relu":  # as one that runs away on whole tracks
            far = {
                k: replace(c, predicted=1e9 + c.predicted) for k, c in trained.predictions.items()
            }
            trained = replace(trained, predictions=far)
        return trained

    monkeypatch.setattr(ablation, "cross_validate", fragile)
    corpus, result = ablated(folder_corpus, ["activation"])
    by_name = {row.name: row for row in result.variants}
    assert "loss is" in by_name["linear"].diverged
    assert by_name["relu"].diverged.startswith("predicts 1e+09 on tracks")
    assert by_name["base"].test is not None
    assert "test" not in plain(by_name["relu"])
    table = ablation_results.ablation_table(result, Reliability())
    assert table.loc[("activation", "linear"), "RMSE"] == "diverged"


def test_an_unknown_variant_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="unknown 'size: 9'.*size: 1 x 64"):
        ablation.select_variants(["size: 9"])
    assert len(ablation.select_variants([])) == len(ablation.VARIANTS)
