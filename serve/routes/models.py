"""List the models, and show their cards."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from apiflask import APIBlueprint
from flask import Response, jsonify, url_for

from serve import schemas
from serve.openapi import CARD_EXAMPLE, MODELS_EXAMPLE, problem_responses, shell
from serve.service import current_service

models = APIBlueprint("models", __name__)


def card_url(name: str) -> str:
    """Address of a model's card."""
    return url_for("models.model_card", name=name)


@models.get("/v1/models")
@models.output(schemas.ModelList, example=MODELS_EXAMPLE)
@models.doc(tags=["Models"], operation_id="listModels", extensions=shell("curl {host}/v1/models"))
def list_models() -> dict[str, Any]:
    """List the models."""
    loaded = current_service().models
    return {
        "models": [
            {
                "name": name,
                "title": card.title,
                "kind": card.kind,
                "default": name == loaded.default,
                "card": card_url(name),
            }
            for name, card in loaded.cards.items()
        ]
    }


@models.get("/v1/models/<name>")
@models.output(schemas.Card, example=CARD_EXAMPLE)
@models.doc(tags=["Models"], operation_id="getModel", responses=problem_responses(404))
def model_card(name: str) -> Response:
    """Show a model's card: its training data, its scores and its limits."""
    # As a response it is not reduced to the schema: a card may have more members.
    return jsonify(current_service().models.choose(name, HTTPStatus.NOT_FOUND).to_json())
