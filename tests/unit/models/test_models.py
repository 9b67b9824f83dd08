"""The networks: the paper's shape, causality, what BERT computes, baselines."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from msr_utils import paths
from msr_utils.dataset.sequences import Sequence2Hz
from msr_utils.evaluation import baselines
from msr_utils.models import ridge
from msr_utils.models.backend import keras
from msr_utils.models.lstm import LSTMConfig, build_lstm, streaming_form
from msr_utils.models.transformer import TransformerConfig, build_transformer, gelu_tanh
from msr_utils.study import parameters, plan
from msr_utils.training.loop import set_seed

MEAN, SD = np.full(6, 2.0, np.float32), np.full(6, 3.0, np.float32)


def features(frames: int = 9, batch: int = 1) -> np.ndarray:
    return np.random.default_rng(0).normal(2, 3, (batch, frames, 6)).astype(np.float32)


def test_lstm_has_the_papers_layers():
    model = build_lstm(LSTMConfig(), np.zeros(128), np.ones(128))
    lstms = [layer for layer in model.layers if isinstance(layer, keras.layers.LSTM)]
    assert [layer.units for layer in lstms] == [64, 64]
    dense = model.layers[-1]
    assert (dense.units, dense.activation.__name__) == (1, "linear")
    gates = 4 * (64 * (128 + 64) + 64) + 4 * (64 * (64 + 64) + 64)
    assert model.count_params() == gates + 64 + 1
    assert model(np.zeros((2, 5, 128))).shape == (2, 5, 1)


def test_normalisation_is_inside():
    model = build_lstm(LSTMConfig((4,)), MEAN, SD)
    x = features()
    wanted = model.layers[-1](model.layers[2]((x - MEAN) / SD)[0])
    np.testing.assert_allclose(model(x), wanted, atol=1e-6)


def test_lstm_is_causal_and_the_transformer_is_not():
    set_seed(1)
    x = features()
    changed = x.copy()
    changed[:, 6:] += 5
    lstm = build_lstm(LSTMConfig((8, 8)), MEAN, SD)
    np.testing.assert_array_equal(lstm(x)[:, :6], lstm(changed)[:, :6])
    small = TransformerConfig(layers=1, hidden=8, heads=2, max_frames=16)
    transformer = build_transformer(small, MEAN, SD)
    # BERT starts near zero: what comes later moves what is before by little.
    assert np.abs(transformer(x)[:, :6] - transformer(changed)[:, :6]).max() > 1e-6


def test_padding_is_not_attended_to():
    set_seed(1)
    config = TransformerConfig(layers=2, hidden=16, heads=2, dropout=0.0, max_frames=40)
    model = build_transformer(config, MEAN, SD)
    x = features(20)
    padded = np.concatenate([x, np.zeros((1, 20, 6), np.float32)], axis=1)
    np.testing.assert_allclose(model(padded)[:, :20], model(x), atol=1e-6)
    loud = padded.copy()
    loud[:, 20:] = 9
    assert np.abs(model(loud)[:, :20] - model(x)).max() > 1e-5


def test_streaming_form_in_two_parts_is_the_whole():
    models = [build_lstm(LSTMConfig((8, 8)), MEAN, SD) for _ in range(2)]
    form = streaming_form(models)
    x, state = features(batch=2), np.zeros((2, 8, 8), np.float32)
    whole, _ = form([x, state])
    np.testing.assert_allclose(whole, np.concatenate([m(x) for m in models], axis=-1), atol=1e-6)
    first, carried = form([x[:, :4], state])
    second, _ = form([x[:, 4:], np.asarray(carried)])
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), whole, atol=1e-6)


KERASHUB_ORDER = [
    *(
        f"self_attention_layer/{part}/{kind}"
        for part in ("query", "key", "value", "attention_output")
        for kind in ("kernel", "bias")
    ),
    "self_attention_layer_norm/gamma",
    "self_attention_layer_norm/beta",
    "feedforward_layer_norm/gamma",
    "feedforward_layer_norm/beta",
    "feedforward_intermediate_dense/kernel",
    "feedforward_intermediate_dense/bias",
    "feedforward_output_dense/kernel",
    "feedforward_output_dense/bias",
]


def test_the_encoder_computes_what_bert_computes():
    """Values recorded from Hugging Face's BertModel (transformers 5.23, torch 2.13).

    There: BertConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
    intermediate_size=64, hidden_act="gelu_new", max_position_embeddings=12), no dropout,
    every parameter filled by `filled` under its name there, token types zero, and
    ``inputs_embeds=filled("tokens", (1, 5, 16))``.
    """

    def filled(name, shape):
        n = int(np.prod(shape))
        values = 0.4 * np.sin(0.7 * np.arange(n) + zlib.crc32(name.encode()) % 100)
        if name.endswith("LayerNorm.weight"):
            values = 1 + values / 2
        return values.reshape(shape).astype(np.float32)

    config = TransformerConfig(layers=2, hidden=16, heads=2, dropout=0.0, max_frames=12)
    model = build_transformer(config, np.zeros(16, np.float32), np.ones(16, np.float32))
    model.get_layer("tokens").set_weights([np.eye(16), np.zeros(16)])
    model.get_layer("positions").set_weights(
        [filled("embeddings.position_embeddings.weight", (12, 16))]
    )
    norm = "embeddings.LayerNorm"
    model.get_layer("embeddings_norm").set_weights(
        [filled(f"{norm}.weight", (16,)), filled(f"{norm}.bias", (16,))]
    )
    for i in range(2):
        there = f"encoder.layer.{i}"
        weights = []
        for part in ("self.query", "self.key", "self.value"):
            name = f"{there}.attention.{part}"
            # Torch keeps (out, in), Keras (in, heads, width of a head).
            weights.append(filled(f"{name}.weight", (16, 16)).T.reshape(16, 2, 8))
            weights.append(filled(f"{name}.bias", (16,)).reshape(2, 8))
        name = f"{there}.attention.output"
        weights.append(filled(f"{name}.dense.weight", (16, 16)).T.reshape(2, 8, 16))
        weights.append(filled(f"{name}.dense.bias", (16,)))
        weights += [filled(f"{name}.LayerNorm.{p}", (16,)) for p in ("weight", "bias")]
        feed_forward = []
        for name, shape in (("intermediate.dense", (64, 16)), ("output.dense", (16, 64))):
            feed_forward.append(filled(f"{there}.{name}.weight", shape).T)
            feed_forward.append(filled(f"{there}.{name}.bias", shape[:1]))
        norms = [filled(f"{there}.output.LayerNorm.{p}", (16,)) for p in ("weight", "bias")]
        layer = model.get_layer(f"encoder_{i + 1}")
        assert [v.path.split(f"encoder_{i + 1}/")[1] for v in layer.weights] == KERASHUB_ORDER
        layer.set_weights(weights + norms + feed_forward)
    encoder = keras.Model(model.input, model.get_layer("encoder_2").output)
    got = np.asarray(encoder(filled("tokens", (1, 5, 16))))[0]
    recorded = [
        [-2.023842, -0.940626, -0.036272, 0.617601],
        [-2.224782, -0.925516, 0.236647, 0.838478],
        [-1.885885, -1.037013, -0.155340, 0.554511],
        [-1.758558, -0.471437, 0.124570, 0.612778],
        [-1.994116, -0.806820, 0.051784, 0.640790],
    ]
    np.testing.assert_allclose(got[:, :4], recorded, atol=2e-5)
    sums = [-0.630198, -0.747586, -0.581239, -0.803907, -0.715181]
    np.testing.assert_allclose(got.sum(axis=1), sums, atol=5e-5)


def test_gelu_is_the_tanh_form():
    x = np.linspace(-3, 3, 13, dtype=np.float32)
    wanted = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    np.testing.assert_allclose(gelu_tanh(x), wanted, atol=1e-6)


@pytest.mark.parametrize(
    "config, change, words",
    [
        (LSTMConfig, {"units": ()}, "units"),
        (LSTMConfig, {"dropout": 1.0}, "dropout"),
        (LSTMConfig, {"learning_rate": 0.0}, "learning_rate"),
        (TransformerConfig, {"heads": 3}, "heads: 3 does not divide hidden 128"),
        (TransformerConfig, {"layers": 0}, "layers"),
    ],
)
def test_wrong_shapes_are_named(config, change, words):
    with pytest.raises(ValueError, match=words):
        config(**change)


def test_the_notebooks_defaults_are_the_papers():
    import papermill

    for notebook, preset in plan.read_study().presets["paper"].items():
        declared = papermill.inspect_notebook(str(paths.NOTEBOOKS / f"{notebook}.ipynb"))
        for name, value in preset.items():
            default = declared[name]["default"]
            assert (
                parameters.parse_value(
                    name, default.strip('"'), declared[name]["inferred_type_name"]
                )
                == value
            )


def test_a_seed_gives_the_same_network():
    def build():
        set_seed(3)
        return build_lstm(LSTMConfig((4,)), MEAN, SD).get_weights()

    for one, other in zip(build(), build(), strict=True):
        np.testing.assert_array_equal(one, other)


def sequence(name, labels, mask=None, dim=2):
    labels = np.asarray(labels, np.float32)
    mask = np.ones(len(labels), bool) if mask is None else np.array(mask, bool)
    rng = np.random.default_rng(len(name))
    x = rng.normal(size=(len(labels), dim)).astype(np.float32)
    x[:, 0] += labels
    return Sequence2Hz(name, name, "", x, np.stack([labels, -labels], axis=1), mask)


def test_constant_and_oracle_and_trajectory_by_hand():
    train = [sequence("a", [0, 1, 9], [1, 1, 0]), sequence("b", [1.0])]
    test = [sequence("c", [0.5, 0.7, 0.0, 0.0])]
    np.testing.assert_allclose(baselines.constant(train, test, "valence")["c"], 2 / 3, atol=1e-6)
    np.testing.assert_allclose(baselines.constant(train, test, "arousal")["c"], -2 / 3, atol=1e-6)
    np.testing.assert_allclose(baselines.song_mean_oracle(test, "valence")["c"], 0.3, atol=1e-6)
    # Second 0.5: mean of 0 and 1; second 1: 1; later nobody is known, the last goes on.
    trajectory = baselines.mean_trajectory(train, test, "valence")["c"]
    np.testing.assert_allclose(trajectory, [0.5, 1, 1, 1], atol=1e-6)


def test_causal_average_starts_at_the_first_value_and_forgets():
    x = np.array([[2.0], [2.0], [2.0], [8.0]])
    got = ridge.causal_average(x, seconds=1.0)[:, 0]
    np.testing.assert_allclose(got[:3], 2)
    keep = np.exp(-0.5)
    weights = keep ** np.array([3, 2, 1, 0])
    assert got[3] == pytest.approx((weights * x[:, 0]).sum() / weights.sum())


def test_ridge_finds_a_linear_rule():
    rng = np.random.default_rng(0)
    parts = [[sequence(f"{p}{i}", rng.normal(0, 5, 40)) for i in range(8)] for p in "tvx"]
    got = ridge.ridge([parts[:2]], parts[2], "valence")
    for s in parts[2]:
        assert np.corrcoef(got[s.id], s.target("valence"))[0, 1] > 0.95


def test_normal_equations_take_any_penalty():
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, (50, 4)), rng.normal(0, 1, (50, 2))
    gram, moment = x.T @ x, x.T @ y
    wanted = Ridge(3.0, fit_intercept=False).fit(x, y).coef_.T
    for penalty in (3.0, np.full(4, 3.0), 3 * np.eye(4)):
        np.testing.assert_allclose(ridge.solve_normal_equations(gram, moment, penalty), wanted)
    # An infinite penalty on one weight removes it.
    alone = ridge.solve_normal_equations(gram, moment[:, 0], np.array([0, 0, 0, 1e12]))
    np.testing.assert_allclose(alone[:3], np.linalg.lstsq(x[:, :3], y[:, 0], rcond=None)[0])
