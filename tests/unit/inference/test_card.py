"""Model cards: what is read, kept and refused."""

from __future__ import annotations

import pytest

from msr_utils.inference.card import CardError, ModelCard
from msr_utils.inference.model import available
from msr_utils.io import read_json
from msr_utils.paths import MODELS_DIR

FRAME = {"name": "a", "kind": "frame", "model_sha256": "01", "feature_hash": "23"}


@pytest.mark.parametrize("name", available())
def test_a_shipped_card_is_written_as_it_was_read(name):
    values = read_json(MODELS_DIR / name / "card.json")
    card = ModelCard.from_json(values)
    assert card.name == name
    assert set(card.metrics) == {"valence", "arousal"}
    assert card.to_json() == values


def test_unknown_fields_are_kept():
    card = ModelCard.from_json(FRAME | {"author": {"name": "A"}, "margins": {"valence": 0.25}})
    assert card.extra == {"author": {"name": "A"}}
    assert card.margins == {"valence": 0.25}
    assert ModelCard.from_json(card.to_json()) == card
    assert "state_shape" not in card.to_json()


@pytest.mark.parametrize(
    "change, field, words",
    [
        ({"name": 7}, "name", "must be a text, not 7"),
        ({"kind": "cubic"}, "kind", "'cubic' is unknown; known: recurrent, frame, window"),
        ({"kind": "recurrent"}, "state_shape", "'recurrent' needs it"),
        ({"kind": "recurrent", "state_shape": [2, 0]}, "state_shape", "positive whole numbers"),
        ({"kind": "window"}, "max_frames", "'window' needs it"),
        ({"kind": "window", "max_frames": None}, "max_frames", "a positive whole number, not None"),
        ({"max_frames": True}, "max_frames", "a positive whole number"),
        ({"margins": {"valence": "wide"}}, "margins", "an object of numbers"),
        ({"metrics": []}, "metrics", "an object"),
        ({"limits": "none"}, "limits", "a list of texts"),
        ({"parity_max_difference": "small"}, "parity_max_difference", "a number"),
    ],
)
def test_wrong_fields_are_named(change, field, words):
    with pytest.raises(CardError, match=words) as error:
        ModelCard.from_json(FRAME | change)
    assert error.value.field == field


@pytest.mark.parametrize("field", FRAME)
def test_missing_fields_are_named(field):
    with pytest.raises(CardError, match=f"the field '{field}' is missing") as error:
        ModelCard.from_json({name: value for name, value in FRAME.items() if name != field})
    assert error.value.field == field


@pytest.mark.parametrize("values", [None, [], "card", 3])
def test_a_card_is_an_object(values):
    with pytest.raises(CardError, match="must be an object"):
        ModelCard.from_json(values)
