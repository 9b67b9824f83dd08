"""The page, and the documentation of the API as a page."""

from __future__ import annotations

import posixpath
from typing import Any, cast

from apiflask import APIBlueprint, APIFlask
from flask import current_app, render_template, request, url_for
from markupsafe import escape

from msr_utils.affect import AXIS_ENDS, QUADRANTS
from msr_utils.audio.formats import AUDIO_SUFFIXES, FORMAT_NAMES
from msr_utils.library.limits import FPS_RANGE
from serve.openapi import EXAMPLE_HOST
from serve.service import current_service

RENDERED = "msr-pages"
"""Key of the rendered pages in ``app.extensions``."""

ANY_HOST = "http://host.invalid"
"""Stands in a rendered page for the address under which the service was asked."""

pages = APIBlueprint("pages", __name__, enable_openapi=False)


@pages.app_template_global()
def relative_url(endpoint: str, **values: Any) -> str:
    """Address of a route, relative to the page that is answered.

    It is right behind a proxy that adds a prefix to the path, although the service does not know
    the prefix.
    """
    target = url_for(endpoint, **values)
    here = posixpath.dirname(request.script_root + request.path)
    return posixpath.relpath(target, here) + ("/" if target.endswith("/") else "")


@pages.get("/")
def index() -> str:
    """The page."""
    service = current_service()
    affect = {
        "quadrants": [{"name": q.name, "signs": q.signs, "words": q.words} for q in QUADRANTS],
        "axis_ends": AXIS_ENDS,
    }
    return render_template(
        "index.html",
        models=service.models,
        library=service.library is not None,
        generators=service.generators,
        tabs=service.library is not None or bool(service.generators.names),
        config=service.config,
        affect=affect,
        fps_range=FPS_RANGE,
        # A browser that does not know a suffix would not offer the file.
        accepted=",".join(("audio/*", "video/*", *AUDIO_SUFFIXES)),
        formats=FORMAT_NAMES,
    )


@pages.get("/docs")
def docs() -> str:
    """The OpenAPI document as a page. It is rendered once; only the address is put in each time."""
    pages_by_name: dict[str, str] = current_app.extensions.setdefault(RENDERED, {})
    if "docs" not in pages_by_name:
        spec = cast(APIFlask, current_app).spec
        pages_by_name["docs"] = render_template(
            "docs.html", spec=spec, example_host=EXAMPLE_HOST, host=ANY_HOST
        )
    return pages_by_name["docs"].replace(ANY_HOST, escape(request.host_url[:-1]))
