"""Tell whether the service is alive and ready, and show its metrics."""

from __future__ import annotations

from typing import Any

from apiflask import APIBlueprint
from flask import Response
from werkzeug.exceptions import ServiceUnavailable

from serve import schemas
from serve.metrics import CONTENT_TYPE
from serve.openapi import (
    HEALTH_EXAMPLE,
    METRICS_RESPONSES,
    READY_EXAMPLE,
    STOPPING_PROBLEM,
    problem_responses,
    shell,
)
from serve.service import current_service

health = APIBlueprint("health", __name__)


@health.get("/healthz")
@health.output(schemas.Health, example=HEALTH_EXAMPLE)
@health.doc(tags=["Service"], operation_id="health", extensions=shell("curl {host}/healthz"))
def healthz() -> dict[str, Any]:
    """Tell that the service is alive."""
    return {"status": "ok", "models": len(current_service().models.cards)}


@health.get("/readyz")
@health.output(schemas.Ready, example=READY_EXAMPLE)
@health.doc(
    tags=["Service"],
    operation_id="ready",
    responses=problem_responses(503, examples={503: STOPPING_PROBLEM}),
    extensions=shell("curl {host}/readyz"),
)
def readyz() -> dict[str, Any]:
    """Tell whether the service accepts requests.

    Before the service listens, it verifies every model and makes one prediction with it. After
    SIGTERM the service is no longer ready.
    """
    service = current_service()
    if service.stopping.is_set():
        raise ServiceUnavailable(STOPPING_PROBLEM.detail)
    hashes = {name: card.model_sha256 for name, card in service.models.cards.items()}
    return {"status": "ready", "models": hashes}


@health.get("/metrics")
@health.doc(
    tags=["Service"],
    operation_id="metrics",
    responses=METRICS_RESPONSES,
    extensions=shell("curl {host}/metrics"),
)
def metrics() -> Response:
    """Count requests, their latency and their audio."""
    return Response(current_service().metrics.text(), content_type=CONTENT_TYPE)
