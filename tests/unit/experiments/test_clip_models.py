"""Models of whole clips: tones through the whole chain, scores checked by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from conftest import tone
from sklearn.metrics import roc_auc_score

from msr_utils.affect import SIGNS
from msr_utils.constants import SAMPLE_RATE
from msr_utils.corpora import load_corpus
from msr_utils.corpora.base import CorpusError
from msr_utils.corpora.emotify import EMOTIONS
from msr_utils.dataset import splits
from msr_utils.experiments import clip_models, clip_scores, pretrained_blocks
from msr_utils.experiments.clip_models import ClipPredictions
from msr_utils.features.config import FeatureConfig
from msr_utils.figures import experiments
from msr_utils.io import read_json, write_json
from msr_utils.metrics.correlation import weighted_auc, weighted_pearson
from msr_utils.metrics.estimate import Estimate
from msr_utils.metrics.reliability import CEILING
from msr_utils.study import runner
from msr_utils.study.plan import Run

FEATURES = "logmel,loudness"


@pytest.fixture(scope="module", autouse=True)
def few_settings():
    """Fewer trees and fewer settings to choose from: the same code in less time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(clip_models.EXTRA_TREES, "n_estimators", 100)
        patch.setattr(clip_models, "RIDGE_ALPHAS", (10.0, 1000.0))
        patch.setattr(clip_models, "KERNEL_ALPHAS", (0.1, 1.0))
        patch.setattr(clip_models, "KERNEL_GAMMAS", (0.1, 0.6))
        yield


def write_clips(root, quadrants, hz, level, groups):
    """A folder corpus of one-second tones with a quadrant each."""
    (root / "audio").mkdir(parents=True)
    rows = []
    for i, (quadrant, f, a, group) in enumerate(zip(quadrants, hz, level, groups, strict=True)):
        sf.write(root / "audio" / f"c{i:02d}.wav", tone(1.0, f, level=a), SAMPLE_RATE)
        rows.append((f"c{i:02d}", f"audio/c{i:02d}.wav", group, quadrant))
    columns = ["track_id", "file", "group", "quadrant"]
    pd.DataFrame(rows, columns=columns).to_csv(root / "tracks.csv", index=False)
    return root


def quadrant_of(valence, arousal):
    return next(q for q, s in SIGNS.items() if s == (np.sign(valence), np.sign(arousal)))


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """48 clips of 16 artists: higher is more aroused, louder more pleasant."""
    rng = np.random.default_rng(0)
    plane = rng.uniform(-1, 1, (48, 2))
    root = write_clips(
        tmp_path_factory.mktemp("clips") / "tones",
        [quadrant_of(*point) for point in plane],
        1000 + 700 * plane[:, 1],
        0.3 + 0.25 * plane[:, 0],
        [f"artist {i % 16}" for i in range(48)],
    )
    return load_corpus("folder", root)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def relabelled(corpus, quadrants):
    tracks = [replace(t, quadrant=q) for t, q in zip(corpus.tracks, quadrants, strict=True)]
    return replace(corpus, tracks=tracks)


def auc(corpus, cache, **more):
    predicted = clip_models.cross_validate(
        corpus, FEATURES, 4, cache_dir=cache, progress=False, **more
    )
    return clip_scores.evaluate(predicted, n_boot=0).scores[clip_models.MEAN]["auc"]


@pytest.mark.slow
def test_audible_differences_are_learned(tones, cache):
    predicted = clip_models.cross_validate(tones, FEATURES, 4, cache_dir=cache, progress=False)
    results = clip_scores.evaluate(predicted, n_boot=100)
    assert (results.clips, results.groups) == (48, 16)
    scores = results.scores[clip_models.MEAN]
    assert scores["auc"]["arousal"].value > 0.95 and scores["auc"]["valence"].value > 0.9
    assert scores["accuracy"]["quadrant"].value > 0.75
    for estimate in scores["auc"].values():
        assert estimate.low <= estimate.value <= estimate.high
    constant = results.scores[clip_models.CONSTANT]
    assert np.isnan(constant["auc"]["valence"].value)
    assert constant["accuracy"]["quadrant"].value < 0.5
    assert clip_models.GENRE not in results.scores
    assert len(predicted.hyperparameters) == 4
    assert predicted.hyperparameters[0]["ridge"]["alpha"] in clip_models.RIDGE_ALPHAS
    table = clip_scores.score_table(results)
    assert table.loc[("auc", "valence"), clip_models.CONSTANT] == "–"
    assert len(clip_scores.difference_table(results)) == 3
    assert len(experiments.clip_scores(results, None).axes) == 3


@pytest.mark.slow
def test_shuffled_labels_fall_to_chance(tones, cache):
    order = np.random.default_rng(1).permutation(48)
    shuffled = relabelled(tones, [tones.tracks[i].quadrant for i in order])
    scores = auc(shuffled, cache)
    assert 0.25 < np.mean([scores[t].value for t in ("valence", "arousal")]) < 0.65


@pytest.mark.slow
def test_no_artist_crosses_a_fold(tmp_path, cache):
    # Clips of an artist sound alike and labels are random, so only a leak of artists can score.
    rng = np.random.default_rng(2)
    of = rng.permutation(np.tile(list(SIGNS), 4))
    hz, level = rng.uniform(300, 3000, 16), rng.uniform(0.1, 0.5, 16)
    artist = np.repeat(np.arange(16), 3)
    corpus = load_corpus(
        "folder",
        write_clips(
            tmp_path / "artists",
            of[artist],
            hz[artist] * (1 + 1e-4 * np.arange(48)),
            level[artist],
            [f"artist {a}" for a in artist],
        ),
    )
    assert max(estimate.value for estimate in auc(corpus, cache).values()) < 0.7
    apart = replace(corpus, tracks=[replace(t, group=t.id) for t in corpus.tracks])
    assert min(estimate.value for estimate in auc(apart, cache).values()) > 0.9


def as_emotions(corpus):
    """The same tones with shares of listeners instead: all emotions follow pitch or level."""
    plane = clip_models.label_matrix(corpus)[:, :2] * 0.25 + 0.5
    rng = np.random.default_rng(3)
    tracks = []
    for i, (track, point) in enumerate(zip(corpus.tracks, plane, strict=True)):
        felt = (rng.random((40, len(EMOTIONS))) < point[np.arange(9) % 2]).astype(np.float32)
        more = {"gems": felt.mean(axis=0), "gems_ratings": felt, "group": track.id}
        tracks.append(replace(track, text={"genre": "high" if i % 3 else "low"}, **more))
    return replace(corpus, tracks=tracks, labels="gems")


@pytest.mark.extended
@pytest.mark.slow
def test_emotions_stand_between_their_baselines_and_the_ceiling(tones, cache):
    corpus = as_emotions(tones)
    predicted = clip_models.cross_validate(corpus, FEATURES, 4, cache_dir=cache, progress=False)
    results, best = clip_scores.evaluate(predicted, n_boot=50), clip_scores.ceiling(corpus)
    r = {name: metrics["r"]["mean"].value for name, metrics in results.scores.items()}
    assert np.isnan(r[clip_models.CONSTANT]) and abs(r[clip_models.GENRE]) < 0.4
    assert 0.6 < r[clip_models.MEAN] < best["mean"] <= 1
    rmse = {name: metrics["rmse"]["mean"].value for name, metrics in results.scores.items()}
    assert rmse[clip_models.MEAN] < rmse[clip_models.CONSTANT]
    split = splits.splits_of(corpus, 4, 7)[0]
    known = [t for t in corpus.tracks if t.id in split.train + split.validation]
    tested = next(t for t in corpus.tracks if t.id == split.test[0])
    alike = [t.gems for t in known if t.text == tested.text]
    np.testing.assert_allclose(
        predicted.scores[clip_models.GENRE][0], np.mean(alike, axis=0), rtol=1e-6
    )
    np.testing.assert_allclose(
        predicted.scores[clip_models.CONSTANT][0],
        np.mean([t.gems for t in known], axis=0),
        rtol=1e-6,
    )
    table = clip_scores.score_table(results, best)
    assert table.loc[("r", "joyful activation"), CEILING].startswith("0.")
    assert table.loc[("rmse", "mean"), CEILING] == "–"
    assert len(experiments.clip_scores(results, best).axes) == 1


@pytest.mark.extended
@pytest.mark.slow
def test_a_killed_run_continues(tones, cache, tmp_path):
    first = clip_models.cross_validate(
        tones, FEATURES, 4, work_dir=tmp_path, cache_dir=cache, progress=False
    )
    (folder,) = tmp_path.iterdir()
    marked = read_json(folder / "fold-2.json")
    marked["scores"][clip_models.MEAN] = (
        np.array(marked["scores"][clip_models.MEAN]) + 100
    ).tolist()
    write_json(folder / "fold-2.json", marked)
    (folder / "fold-3.json").unlink()
    again = clip_models.cross_validate(
        tones, FEATURES, 4, work_dir=tmp_path, cache_dir=cache, progress=False
    )
    moved = again.scores[clip_models.MEAN] - first.scores[clip_models.MEAN]
    size = len(marked["scores"][clip_models.MEAN])
    assert (moved > 99).all(axis=1).sum() == size and (moved == 0).all(axis=1).sum() == 48 - size
    # With other labels, no finished fold is reused.
    other = relabelled(tones, [t.quadrant for t in tones.tracks][::-1])
    kept = clip_models.cross_validate(
        other, FEATURES, 4, work_dir=tmp_path, cache_dir=cache, progress=False
    )
    assert len(list(tmp_path.iterdir())) == 2 and np.abs(kept.scores[clip_models.MEAN]).max() < 50


def test_scores_by_hand():
    corners = np.array([(v, a, v * a) for v, a in SIGNS.values()], float)
    scores = corners.copy()
    scores[0, 0] = -3  # Q1 is predicted as Q2: one of four is wrong
    predicted = ClipPredictions(
        "quadrants", np.array(list("abcc")), corners, dict.fromkeys(
            (clip_models.CONSTANT, clip_models.LOGMEL, clip_models.MEAN), corners) | {clip_models.MEAN: scores}, [],
    )  # fmt: skip
    results = clip_scores.evaluate(predicted, n_boot=200)
    own = results.scores[clip_models.MEAN]
    assert (results.clips, results.groups) == (4, 3)
    assert own["accuracy"]["quadrant"] == Estimate(0.75, 0, 1)
    # Q1 lies below both negatives, Q4 above: two of four pairs.
    assert own["auc"]["valence"].value == 0.5 and own["auc"]["arousal"].value == 1
    assert results.above_logmel["accuracy"]["quadrant"].value == -0.25
    assert np.isnan(results.scores[clip_models.CONSTANT]["auc"]["arousal"].value)


def test_weighted_scores_are_those_of_repeated_clips():
    rng = np.random.default_rng(4)
    counts = rng.integers(0, 4, (5, 30))
    y, p = rng.normal(0.3, 0.1, (2, 30, 3))
    positive, scores = rng.random(30) < 0.4, rng.integers(0, 9, 30).astype(float)
    r, area = (
        weighted_pearson(counts, y, p),
        weighted_auc(counts, positive, scores),
    )
    for row, count in enumerate(counts):
        again = np.repeat(np.arange(30), count)
        for k in range(3):
            expected = np.corrcoef(y[again, k], p[again, k])[0, 1]
            assert r[row, k] == pytest.approx(expected)
        assert area[row] == pytest.approx(roc_auc_score(positive[again], scores[again]))
    assert np.isnan(weighted_pearson(np.ones((1, 30)), y, np.full_like(p, 0.2))).all()
    assert np.isnan(weighted_auc(np.ones((1, 30)), np.ones(30, bool), scores)).all()


@pytest.mark.slow
def test_a_clip_is_mean_spread_and_step(tones, cache):
    frames = np.array([[1.0, 0], [3, 0], [1, 3]])
    got = [of(frames) for of in clip_models.STATISTICS.values()]
    np.testing.assert_allclose(got, [[5 / 3, 1], [(8 / 9) ** 0.5, 2**0.5], [2, 1.5]])
    np.testing.assert_array_equal(clip_models.STATISTICS["step"](frames[:1]), [0, 0])
    config = clip_models.with_logmel("loudness,onset")
    assert config.blocks == ("loudness", "onset", "logmel", "logmel_sd")
    x = clip_models.clip_vectors(tones, config, cache, progress=False)
    assert x.shape == (48, 3 * config.dim) and np.isfinite(x).all()
    loudness = x[:, clip_models.vector_columns(config, ("loudness",))]
    alone = clip_models.clip_vectors(tones, FeatureConfig("loudness"), cache, progress=False)
    np.testing.assert_array_equal(loudness, alone)


def test_corpora_without_usable_clips_are_refused(tones, folder_corpus, cache, tmp_path):
    with pytest.raises(CorpusError, match="has curves, not one label a clip"):
        clip_models.cross_validate(
            load_corpus("folder", folder_corpus), FEATURES, 3, cache_dir=cache
        )
    with pytest.raises(CorpusError, match="track 'c00': no label of kind quadrants"):
        clip_models.label_matrix(relabelled(tones, ["", *["Q1"] * 47]))
    with pytest.raises(ValueError, match="unknown block 'mfccs'"):
        clip_models.cross_validate(tones, "logmel,mfccs", 4, cache_dir=cache)
    with pytest.raises(ValueError, match="folds: 16 folds"):
        clip_models.cross_validate(tones, FEATURES, 16, cache_dir=cache)
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no audio")
    tracks = [replace(tones.tracks[0], audio_path=broken), *tones.tracks[1:]]
    with pytest.raises(CorpusError, match="track 'c00': .*broken.wav"):
        clip_models.cross_validate(
            replace(tones, tracks=tracks), FEATURES, 4, cache_dir=cache, progress=False
        )


@pytest.mark.extended
@pytest.mark.slow
def test_the_notebook_runs(tones, tmp_path):
    folder = tones.index_files[0].parent
    parameters = {"corpus": "folder", "data_dir": str(folder), "features": FEATURES}
    run = Run("clip-models", "05_clips", {**parameters, "folds": 3, "bootstrap": 20})
    runner.execute([run], "test", tones.content_hash(), reports=tmp_path)
    made = tmp_path / "test" / "tones" / "clip-models"
    metrics = read_json(made / "metrics.json")
    assert metrics["scores"][clip_models.MEAN]["auc"]["arousal"]["value"] > 0.9
    assert (made / "figures" / "scores.png").is_file() and not (made / "work").exists()


@pytest.mark.slow
def test_sets_of_blocks_are_compared_on_the_same_clips(tones, cache):
    """Loudness alone cannot tell arousal, which is the pitch here."""
    found = pretrained_blocks.compare(
        tones, "logmel", ["loudness"], 2, n_boot=20, cache_dir=cache, progress=False
    )
    assert list(found.scores) == [
        clip_models.LOGMEL, "hand-made", "loudness", "hand-made + loudness",
        "mean of hand-made, loudness",
    ]  # fmt: skip
    together = found.scores["hand-made + loudness"]["auc"]
    predicted = clip_models.cross_validate(tones, FEATURES, 2, cache_dir=cache, progress=False)
    alone = clip_scores.evaluate(predicted, n_boot=0).scores[clip_models.MEAN]["auc"]
    for target, estimate in alone.items():
        assert together[target].value == pytest.approx(estimate.value)
    parts = [
        clip_models.cross_validate(tones, blocks, 2, cache_dir=cache, progress=False)
        for blocks in FEATURES.split(",")
    ]
    late = np.mean([part.scores[clip_models.MEAN] for part in parts], axis=0)
    once = np.ones((1, len(late)))
    by_hand = clip_scores.metric_samples("quadrants", once, parts[0].true, late)["auc"]
    early_above_late = found.early_above_late["hand-made + loudness"]["auc"]
    for target, estimate in found.scores["mean of hand-made, loudness"]["auc"].items():
        assert estimate.value == pytest.approx(by_hand[target][0])
        difference = together[target].value - estimate.value
        assert early_above_late[target].value == pytest.approx(difference)
    difference = found.above["loudness"]["auc"]["arousal"]
    by_hand = [found.scores[name]["auc"]["arousal"].value for name in ("loudness", "hand-made")]
    assert difference.value == pytest.approx(by_hand[0] - by_hand[1])
    assert difference.high < 0
    with pytest.raises(ValueError, match="networks: name at least one"):
        pretrained_blocks.compare(tones, "loudness", [], 4, cache_dir=cache, progress=False)


def test_cost_grows_with_the_work(tones):
    few, many = pretrained_blocks.costs(
        ["loudness", "logmel,contrast,tonal"], tones.tracks[0].audio_path
    ).values()
    assert 0 < few < many
