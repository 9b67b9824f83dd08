"""Networks that read notes: LSTMs on tokens, and a small BERT and GPT on words of notes.

A classifier gives the logits of the four quadrants of a clip. Words are described in
`msr_utils.symbolic.words`, where code 0 is padding.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras_hub
from transformers import BertConfig

from msr_utils.affect import QUADRANTS
from msr_utils.models.backend import keras
from msr_utils.models.transformer import bert_encoder, gelu_tanh
from msr_utils.symbolic.words import ATTRIBUTES, N_SPECIAL, PADDING, SIZES

KINDS = ("bert", "gpt")
"""BERT reads a clip in both directions; GPT only what came before each note."""


@dataclass(frozen=True)
class NoteTransformerConfig:
    """Shape of a Transformer on notes.

    Parameters
    ----------
    kind : str
        "bert" or "gpt".
    layers, hidden, heads : int > 0
        Depth, width and attention heads. The feed-forward part is four times as wide.
    dropout : float in [0, 1)
    length : int > 0
        Longest sequence in notes.
    """

    kind: str = "bert"
    layers: int = 2
    hidden: int = 64
    heads: int = 4
    dropout: float = 0.1
    length: int = 64

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind: must be one of {', '.join(KINDS)}, not {self.kind!r}")


@dataclass(frozen=True)
class NoteLSTMConfig:
    """Shape of an LSTM on tokens.

    Parameters
    ----------
    tokens : str
        Tokenizer, see `msr_utils.symbolic.tokens.TOKENIZERS`.
    vocabulary : int > 0
        Number of tokens.
    units : tuple of int
        Width of each layer; the paper has (64, 64).
    attention : bool
        False: the quadrant follows from the last state. True: from a weighted mean of all
        states, and the layers read the clip in both directions.
    embedding : int > 0
    dropout : float in [0, 1)
        Before the last layer.
    length : int > 0
        Tokens of a training excerpt.
    """

    tokens: str = "midi-like"
    vocabulary: int = 1
    units: tuple[int, ...] = (64, 64)
    attention: bool = False
    embedding: int = 64
    dropout: float = 0.3
    length: int = 256


def transformer_backbone(config: NoteTransformerConfig) -> keras.Model:
    """Build the part that pretraining and classification share.

    Returns
    -------
    keras.Model
        Words (N, length, 4) -> hidden states (N, length, hidden).
    """
    words = keras.Input((config.length, len(ATTRIBUTES)), dtype="int32", name="words")
    real = keras.ops.not_equal(words[..., 0], PADDING)
    columns = {name: (words[..., k], SIZES[k]) for k, name in enumerate(ATTRIBUTES)}
    # Octaves of a pitch share a part of their embedding: key and mode depend on it.
    pitch_class = keras.ops.where(
        words[..., 0] < N_SPECIAL, words[..., 0], words[..., 0] % 12 + N_SPECIAL
    )
    columns["pitch_class"] = (pitch_class, N_SPECIAL + 12)
    tokens = keras.layers.Add(name="note")(
        [
            keras.layers.Embedding(size, config.hidden, name=f"{name}_embedding")(codes)
            for name, (codes, size) in columns.items()
        ]
    )
    layers = _bert if config.kind == "bert" else _gpt
    return keras.Model(words, layers(tokens, config, real), name=config.kind)


def _bert(
    tokens: keras.KerasTensor, config: NoteTransformerConfig, real: keras.KerasTensor
) -> keras.KerasTensor:
    """The encoder of `msr_utils.models.transformer`."""
    bert = BertConfig(
        hidden_size=config.hidden,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=4 * config.hidden,
        hidden_dropout_prob=config.dropout,
        attention_probs_dropout_prob=config.dropout,
        max_position_embeddings=config.length,
        hidden_act="gelu_new",
    )
    return bert_encoder(tokens, bert, real)


def _gpt(
    tokens: keras.KerasTensor, config: NoteTransformerConfig, real: keras.KerasTensor
) -> keras.KerasTensor:
    """The decoder of GPT-2: normalisation before each part and once at the end.

    Radford, Wu, Child, Luan, Amodei and Sutskever (2019), "Language models are unsupervised
    multitask learners".
    """
    positions = keras_hub.layers.PositionEmbedding(config.length, name="positions")
    hidden = keras.layers.Add(name="embeddings")([tokens, positions(tokens)])
    hidden = keras.layers.Dropout(config.dropout, name="embeddings_dropout")(hidden)
    for i in range(config.layers):
        hidden = keras_hub.layers.TransformerDecoder(
            intermediate_dim=4 * config.hidden,
            num_heads=config.heads,
            dropout=config.dropout,
            activation=gelu_tanh,
            normalize_first=True,
            name=f"decoder_{i + 1}",
        )(hidden, decoder_padding_mask=real)
    return keras.layers.LayerNormalization(name="final_norm")(hidden)


def pretraining_model(backbone: keras.Model) -> keras.Model:
    """A network that predicts every attribute of notes: logits (N, length, codes), one output each.

    BERT is trained on notes that are masked, GPT on the next note.
    """
    outputs = [
        keras.layers.Dense(size, name=name)(backbone.output)
        for name, size in zip(ATTRIBUTES, SIZES, strict=True)
    ]
    return keras.Model(backbone.input, outputs, name=f"{backbone.name}_pretraining")


def transformer_classifier(backbone: keras.Model, dropout: float = 0.1) -> keras.Model:
    """Words (N, length, 4) -> logits of the quadrants (N, 4)."""
    real = keras.ops.not_equal(backbone.input[..., 0], PADDING)
    pooled = _attended(backbone.output, real)
    return keras.Model(backbone.input, _logits(pooled, dropout), name=f"{backbone.name}_classifier")


def lstm_classifier(config: NoteLSTMConfig) -> keras.Model:
    """Tokens (N, length) -> logits of the quadrants (N, 4)."""
    tokens = keras.Input((config.length,), dtype="int32", name="tokens")
    hidden = keras.layers.Embedding(config.vocabulary, config.embedding, mask_zero=True)(tokens)
    for i, units in enumerate(config.units, 1):
        last = i == len(config.units) and not config.attention
        layer = keras.layers.LSTM(units, return_sequences=not last, name=f"lstm_{i}")
        hidden = (keras.layers.Bidirectional(layer) if config.attention else layer)(hidden)
    if config.attention:
        hidden = _attended(hidden, keras.ops.not_equal(tokens, PADDING))
    return keras.Model(tokens, _logits(hidden, config.dropout), name="lstm_classifier")


def _attended(hidden: keras.KerasTensor, real: keras.KerasTensor) -> keras.KerasTensor:
    """Mean of states (N, T, H), weighted by a learned score of each (N, H).

    Lin and others (2017), "A structured self-attentive sentence embedding", ICLR.
    """
    score = keras.layers.Dense(hidden.shape[-1] // 2, activation="tanh", name="attention")(hidden)
    score = keras.layers.Dense(1, use_bias=False, name="attention_score")(score)[..., 0]
    score = keras.ops.where(real, score, -1e9)
    weights = keras.layers.Softmax(name="attention_weights")(score)
    return keras.ops.einsum("nt,nth->nh", weights, hidden)


def _logits(hidden: keras.KerasTensor, dropout: float) -> keras.KerasTensor:
    hidden = keras.layers.Dropout(dropout, name="pooled_dropout")(hidden)
    return keras.layers.Dense(len(QUADRANTS), name="quadrants")(hidden)
