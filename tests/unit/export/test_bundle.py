"""Bundles: parity over batch and length, the gate, damage, streams."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile as sf
from conftest import tone

from msr_utils.audio.source import AudioError
from msr_utils.constants import SAMPLE_RATE, TARGETS
from msr_utils.export import bundle as export_bundle
from msr_utils.export.bundle import ExportError
from msr_utils.export.card import render_card
from msr_utils.features.config import FeatureConfig
from msr_utils.inference import model
from msr_utils.inference.card import ModelCard, ModelDescription
from msr_utils.inference.model import BundleError, Model, Stream
from msr_utils.metrics.estimate import Estimate
from msr_utils.models.ensemble import average
from msr_utils.models.lstm import LSTMConfig, build_lstm
from msr_utils.models.transformer import TransformerConfig, build_transformer
from msr_utils.paths import MODELS_DIR
from msr_utils.training.loop import set_seed

pytestmark = pytest.mark.slow

INTERVAL = Estimate(0.1, 0.05, 0.2)
CARD = ModelDescription(
    name="tiny",
    title="Tiny",
    summary="Untrained, for tests.",
    protocol="None.",
    trained_on="nothing",
    licence="MIT",
    corpus_hash="0" * 64,
    metrics={t: {"rmse": INTERVAL} for t in TARGETS},
    limits=("It knows nothing.",),
)


def networks(family):
    set_seed(1)
    features = FeatureConfig(blocks=("patch",) if family == "transformer" else ("logmel",))
    mean, sd = np.full(features.dim, -30.0, np.float32), np.full(features.dim, 12.0, np.float32)
    if family == "lstm":
        return features, {t: build_lstm(LSTMConfig((8, 8)), mean, sd) for t in TARGETS}, None
    if family == "lstm-mean":
        each = {t: [build_lstm(LSTMConfig((8, 8)), mean, sd) for _ in range(2)] for t in TARGETS}
        return features, {t: average(networks) for t, networks in each.items()}, None
    config = TransformerConfig(layers=2, hidden=16, heads=2, max_frames=40)
    return features, {t: build_transformer(config, mean, sd) for t in TARGETS}, 40


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The networks of a family and the folder of their bundle. An export takes seconds."""

    @functools.cache
    def export(family):
        features, models, longest = networks(family)
        folder = tmp_path_factory.mktemp("bundles") / "tiny"
        export_bundle.export_bundle(models, features, CARD, folder, longest)
        return models, folder

    return export


@pytest.fixture(
    params=["lstm", pytest.param("lstm-mean", marks=pytest.mark.extended), "transformer"]
)
def bundle(request, exported):
    models, folder = exported(request.param)
    return models, model.load(folder)


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("length", [1, 2, 17, 40])
def test_onnx_gives_what_keras_gives(bundle, batch, length):
    models, loaded = bundle
    rng = np.random.default_rng(length)
    x = rng.normal(-30, 12, (batch, length, loaded.features.dim)).astype(np.float32)
    wanted = np.concatenate([np.asarray(m(x)) for m in models.values()], axis=-1)
    got, _ = loaded.run(x)
    assert got.shape == (batch, length, 2)
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_card_says_what_was_measured(bundle):
    _, loaded = bundle
    assert 0 <= loaded.card.parity_max_difference <= export_bundle.PARITY_TOLERANCE
    assert loaded.card.feature_hash == loaded.features.hash
    assert loaded.card.targets == ("valence", "arousal")


def test_predict_gives_a_frame_for_each_half_second(bundle, tmp_path):
    _, loaded = bundle
    path = tmp_path / "tone.mp3"
    sf.write(path, tone(30.25, rate=44_100), 44_100)
    got = loaded.predict(path)
    assert len(got.times_s) == len(got.valence) == len(got.arousal) == 60
    np.testing.assert_allclose(got.times_s[[0, -1]], [0.5, 30.0])
    assert np.abs(got.valence).max() <= 1
    signs = got.mean["valence"] >= 0, got.mean["arousal"] >= 0
    names = {(True, True): "Q1", (False, True): "Q2", (False, False): "Q3", (True, False): "Q4"}
    assert got.quadrant[0] == names[signs]
    assert got.to_csv().splitlines()[0] == "time_s,valence,arousal,model"
    assert len(got.to_csv().splitlines()) == 61


def test_stream_equals_file(bundle, tmp_path):
    _, loaded = bundle
    samples = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE * 26).astype(np.float32)
    path = tmp_path / "noise.wav"
    sf.write(path, samples, SAMPLE_RATE, subtype="FLOAT")
    stream = Stream(loaded)
    parts = [stream.push(samples[i : i + 4096]) for i in range(0, len(samples), 4096)]
    if loaded.is_recurrent:
        assert sum(map(len, parts)) == 52  # answers as it hears, not at the end
    values = np.concatenate([*parts, stream.finish()])
    whole = loaded.predict(path)
    np.testing.assert_allclose(values[:, 0], whole.valence, atol=1e-5)
    np.testing.assert_allclose(values[:, 1], whole.arousal, atol=1e-5)


def test_too_short_is_refused(bundle, tmp_path):
    _, loaded = bundle
    path = tmp_path / "blip.wav"
    sf.write(path, tone(0.2), SAMPLE_RATE)
    with pytest.raises(AudioError, match=r"blip\.wav: shorter than the 500 ms"):
        loaded.predict(path)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda curves: curves + 0.01, id="off by a little"),
        pytest.param(lambda curves: curves * np.nan, id="NaN", marks=pytest.mark.extended),
    ],
)
def test_the_gate_stops_a_graph_that_computes_something_else(
    exported, tmp_path, monkeypatch, change
):
    models, folder = exported("lstm")
    kept = tmp_path / "tiny"
    shutil.copytree(folder, kept)
    before = (kept / "model.onnx").read_bytes()
    real = Model.run

    def broken(self, *args):
        curves, state = real(self, *args)
        return change(curves), state

    monkeypatch.setattr(Model, "run", broken)
    with pytest.raises(ExportError, match="differs from Keras"):
        export_bundle.export_bundle(models, networks("lstm")[0], CARD, kept)
    assert (kept / "model.onnx").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["tiny"]


def test_damaged_bundles_are_refused(exported, tmp_path):
    folder = tmp_path / "tiny"
    shutil.copytree(exported("lstm")[1], folder)
    good = {p.name: p.read_bytes() for p in folder.iterdir()}

    def refused(words):
        with pytest.raises(BundleError, match=words):
            model.load("tiny", tmp_path)
        for name, content in good.items():
            (folder / name).write_bytes(content)

    (folder / "model.onnx").write_bytes(good["model.onnx"][:-1] + b"x")
    refused("model.onnx has SHA-256")
    (folder / "features.json").write_text(good["features.json"].decode().replace("128", "127", 1))
    refused("export again")
    other = FeatureConfig(n_mels=32).to_json()
    (folder / "features.json").write_text(json.dumps(other))
    refused("not the one of its card")
    (folder / "model.onnx").unlink()
    refused("model.onnx is missing")
    (folder / "card.json").write_text("{ not json")
    refused("card.json is damaged")
    (folder / "card.json").write_text('{"name": "tiny"}')
    refused("card.json is damaged.*'kind' is missing")
    assert model.load("tiny", tmp_path).name == "tiny"
    with pytest.raises(BundleError, match=r"no bundle 'other'.*found: tiny"):
        model.load("other", tmp_path)


@pytest.mark.parametrize(
    "folder", sorted(MODELS_DIR.glob("*/card.json")), ids=lambda f: f.parent.name
)
def test_shipped_cards_keep_every_field(folder):
    stored = json.loads(folder.read_text("utf-8"))
    card = ModelCard.from_json(stored)
    assert list(card.to_json().items()) == list(stored.items())
    assert render_card(card) == (folder.parent / "CARD.md").read_text("utf-8")


@pytest.mark.parametrize(
    "change, words",
    [
        ({"kind": "prose"}, "kind 'prose' is unknown"),
        ({"kind": "window"}, "'max_frames' is missing"),
        ({"metrics": [0.5]}, "'metrics' must be an object"),
    ],
)
def test_cards_that_cannot_be_right_are_refused(change, words):
    facts = {"kind": "frame", "parameters": 2, "feature_hash": "0", "model_sha256": "0"}
    stored = ModelCard(**vars(CARD), **facts).to_json()
    newer = stored | {"of a newer version": 1}
    assert ModelCard.from_json(newer).to_json() == newer
    with pytest.raises(ValueError, match=words):
        ModelCard.from_json(stored | change)


def test_models_of_two_shapes_do_not_make_a_bundle(tmp_path):
    features, models, _ = networks("lstm")
    mean, sd = np.zeros(features.dim), np.ones(features.dim)
    odd = {**models, "arousal": build_lstm(LSTMConfig((4, 4)), mean, sd)}
    with pytest.raises(ValueError, match="same LSTM layers"):
        export_bundle.export_bundle(odd, features, CARD, tmp_path / "tiny")
    with pytest.raises(ValueError, match="valence, arousal in this order"):
        export_bundle.export_bundle(
            dict(reversed(models.items())), features, CARD, tmp_path / "tiny"
        )
    assert not list(tmp_path.iterdir())


def test_inference_is_light():
    script = "import sys, msr_utils.inference.model; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    heavy = {"tensorflow", "keras", "librosa", "pandas", "sklearn", "matplotlib", "transformers"}
    assert not heavy & set(done.stdout.split())
