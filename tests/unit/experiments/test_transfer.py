"""Cross-corpus evaluation: generated DEAM and MERP, a bundle, and no track on both sides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import papermill
import pytest
from conftest import write_folder_corpus
from test_deam import write_deam
from test_merp import write_merp

from msr_utils.constants import TARGETS
from msr_utils.corpora import load_corpus
from msr_utils.corpora.base import CorpusError
from msr_utils.evaluation.baselines import ORACLE
from msr_utils.experiments import transfer, transfer_scores
from msr_utils.features.config import FeatureConfig
from msr_utils.inference import model as inference_model
from msr_utils.inference.model import BundleError, Model
from msr_utils.io import read_json
from msr_utils.metrics.curves import Curve
from msr_utils.models.lstm import LSTMConfig
from msr_utils.paths import PROJECT_ROOT
from msr_utils.training.loop import FitConfig

FEATURES = FeatureConfig("loudness")


@pytest.fixture(scope="module")
def bundle() -> Model:
    return inference_model.load("lstm-tonal-vgmidi")


@pytest.fixture
def deam(tmp_path):
    """Three songs with audio, ids and artists of which MERP says that one is shared."""
    return load_corpus("deam", write_deam(tmp_path / "deam"))


@pytest.fixture
def merp(tmp_path):
    return load_corpus("merp", write_merp(tmp_path / "merp"))


def folder(tmp_path, name="tones", tracks=12):
    return load_corpus("folder", write_folder_corpus(tmp_path / name, tracks=tracks))


def sharing(corpus, first="115", artist="00_35"):
    """A corpus called DEAM whose first song MERP shares, and whose second has an artist of it."""
    one, two, *others = corpus.tracks
    tracks = [replace(one, id=first), replace(two, group=artist), *others]
    return replace(corpus, name="deam", tracks=tracks)


@pytest.mark.slow
def test_shared_tracks_and_artists_leave_training(tmp_path, merp):
    source = sharing(folder(tmp_path))
    assert transfer.shared_tracks(source, merp) == {"115"}
    assert transfer.shared_tracks(merp, source) == {"deam_115"}
    setup = transfer.prepare_transfer(source, merp, FEATURES, cache_dir=tmp_path / "cache")
    assert setup.split.test == ("00_35", "01_71", "deam_115")
    assert setup.left_out == ("115", source.tracks[1].id)
    used = {*setup.split.train, *setup.split.validation}
    assert used == {f"deam/{t.id}" for t in source.tracks[2:]}
    group = {s.id: s.group for s in setup.sequences}
    sides = [{group[i] for i in part} for part in (setup.split.train, setup.split.validation)]
    assert not sides[0] & sides[1]
    with pytest.raises(CorpusError, match="merp is the corpus of the test"):
        transfer.prepare_transfer(merp, merp, FEATURES)
    with pytest.raises(CorpusError, match="needs train_corpus"):
        transfer.train_and_test(None, merp, FEATURES, LSTMConfig((4,)), FitConfig(), 8)


def test_the_mean_label_counts_every_known_frame(deam):
    arousal = np.concatenate([t.arousal[t.mask] for t in deam.tracks])
    assert transfer_scores.label_means(deam)["arousal"] == pytest.approx(arousal.mean())
    assert transfer_scores.label_means(None) is None


@pytest.mark.slow
def test_trained_on_one_and_tested_on_another(tmp_path, merp):
    source = sharing(folder(tmp_path, tracks=18))
    fitting = FitConfig(epochs=2, batch_size=4)
    ((name, predictions),) = transfer.train_and_test(
        source, merp, FEATURES, LSTMConfig((4,)), fitting, 8, tmp_path / "cache",
        progress=False, trainings=tmp_path / "trainings",
    ).items()  # fmt: skip
    assert name == "LSTM trained on deam (2 shared tracks left out)"
    assert set(predictions) == set(TARGETS)
    for target in TARGETS:
        assert list(predictions[target]) == [t.id for t in merp.tracks]
        for track in merp.tracks:
            np.testing.assert_array_equal(
                predictions[target][track.id].true, getattr(track, target)[track.mask]
            )


def test_a_bundle_predicts_what_the_service_predicts(bundle, merp):
    found = transfer.bundle_predictions(bundle, merp.tracks, progress=False)
    track = merp.tracks[0]
    served = bundle.predict(track.audio_path)
    for target in TARGETS:
        curve = found[target][track.id]
        np.testing.assert_allclose(curve.predicted, getattr(served, target)[: len(curve.true)])
        np.testing.assert_allclose(curve.true, getattr(track, target))


def test_a_bundle_is_not_tested_on_its_training_corpus(bundle, merp, deam):
    title = deam.card.title
    deam_bundle = inference_model.load(bundle.name)
    deam_bundle.card = replace(bundle.card, trained_on=f"VGMIDI and {title}")
    with pytest.raises(CorpusError, match="was trained on DEAM"):
        transfer.tracks_not_trained_on(deam_bundle, deam)
    # The song of MERP that is in DEAM, too, is left out.
    assert [t.id for t in transfer.tracks_not_trained_on(deam_bundle, merp)] == ["00_35", "01_71"]
    assert len(transfer.tracks_not_trained_on(bundle, merp)) == 3


def test_zero_shot_skips_bundles_trained_on_the_corpus(bundle, merp):
    assert set(transfer.zero_shot(merp, progress=False)) == set(inference_model.usable())
    own = replace(merp, card=replace(merp.card, title=bundle.card.trained_on))
    assert bundle.name not in transfer.zero_shot(own, progress=False)
    with pytest.raises(CorpusError, match="test it on another corpus"):
        transfer.zero_shot(own, [bundle.name])
    with pytest.raises(BundleError, match="no bundle 'none'"):
        transfer.zero_shot(merp, ["none"])


def curves(means, offset=0.0, swing=0.0):
    """Curves of four frames about these means, predicted with an offset and another swing."""
    wave = np.array([-1, 1, -1, 1])
    return {
        str(i): Curve(np.arange(1, 5) / 2, m + 0.1 * wave, m + offset + swing * wave)
        for i, m in enumerate(means)
    }


def test_scores_worked_out_by_hand():
    means = [-0.5, 0.0, 0.5, 1.0]
    model = {target: curves(means, offset=0.3, swing=-0.1) for target in TARGETS}
    result = transfer_scores.compare({"m": model}, dict.fromkeys(TARGETS, 0.25), n_boot=50)
    assert result.songs == 4
    rows = result.rows["valence"]
    assert list(rows) == [transfer_scores.ZERO, transfer_scores.TRAINING_MEAN, "m", ORACLE]
    # The offset is constant and the swing opposite: perfect means, reversed dynamics.
    assert rows["m"].song_means.value == pytest.approx(1)
    assert rows["m"].per_song["r"].mean == pytest.approx(-1)
    assert rows["m"].pooled["rmse"].value == pytest.approx(np.sqrt(0.3**2 + 0.2**2))
    assert rows[ORACLE].pooled["rmse"].value == pytest.approx(0.1)
    spread = np.mean(np.square(means))
    assert rows[transfer_scores.ZERO].pooled["rmse"].value == pytest.approx(np.sqrt(spread + 0.01))
    assert rows[transfer_scores.TRAINING_MEAN].pooled["rmse"].value == pytest.approx(
        np.sqrt(spread - 0.0625 + 0.01)
    )
    table = transfer_scores.score_table(result)
    assert table.loc[("valence", "m"), "r of song means"] == "1.00 [1.00, 1.00]"
    assert table.loc[("valence", ORACLE), "r of song means"] == "–"
    long = transfer_scores.long_table(result)
    assert long.groupby("metric").size().to_dict() == {"rmse": 8, "song_r": 6}


def test_models_are_compared_on_their_common_songs():
    both = {target: curves([0.1, 0.2, 0.4]) for target in TARGETS}
    fewer = {t: {i: c for i, c in p.items() if i != "2"} for t, p in both.items()}
    assert transfer_scores.compare({"a": both, "b": fewer}, n_boot=5).songs == 2
    nothing = {target: {} for target in TARGETS}
    with pytest.raises(ValueError, match="no track is left"):
        transfer_scores.compare({"a": both, "b": nothing})
    with pytest.raises(ValueError, match="bundles: none is left"):
        transfer_scores.compare({})


@pytest.mark.slow
def test_the_interval_of_song_means_covers_what_it_should():
    """The means of songs correlate by 0.6. About 95 % of 200 intervals of 30 songs include it."""
    rng = np.random.default_rng(1)
    held = 0
    for draw in range(200):
        true, noise = rng.normal(size=(2, 30))
        predicted = 0.6 * true + 0.8 * noise
        songs = {
            str(i): Curve(np.array([0.5]), np.array([t]), np.array([p]))
            for i, (t, p) in enumerate(zip(true, predicted, strict=True))
        }
        found = transfer_scores.song_mean_r(songs, n_boot=200, seed=draw)
        held += found.low <= 0.6 <= found.high
    assert 0.88 <= held / 200 <= 0.98
    few = transfer_scores.song_mean_r(dict(list(songs.items())[:2]))
    assert np.isnan(few.value) and few.n == 2


@pytest.mark.extended
@pytest.mark.slow
def test_the_notebook_trains_on_one_corpus_and_tests_on_merp(tmp_path, merp):
    source = write_folder_corpus(tmp_path / "tones", tracks=12)
    papermill.execute_notebook(
        PROJECT_ROOT / "notebooks/05_transfer.ipynb",
        tmp_path / "done.ipynb",
        cwd=PROJECT_ROOT,
        kernel_name="python3",
        progress_bar=False,
        parameters={
            "corpus": "merp",
            "data_dir": str(merp.index_files[0].parent),
            "train_corpus": "folder",
            "train_data_dir": str(source),
            "train": True,
            "features": "loudness",
            "units": [4],
            "epochs": 1,
            "window_frames": 8,
            "bootstrap": 20,
            "output_dir": str(tmp_path / "run"),
        },
    )
    metrics = read_json(tmp_path / "run/metrics.json")
    assert (metrics["corpus"], metrics["train_corpus"], metrics["songs"]) == ("merp", "tones", 3)
    names = [transfer_scores.ZERO, transfer_scores.TRAINING_MEAN, *inference_model.usable()]
    for target in TARGETS:
        assert list(metrics["rows"][target]) == [*names, "LSTM trained on tones", ORACLE]
    assert {p.name for p in (tmp_path / "run/figures").iterdir()} == {"rmse.png", "song_r.png"}
