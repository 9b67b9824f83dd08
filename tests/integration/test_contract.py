"""The API keeps to its OpenAPI document, whatever is sent; and the document to what readers need."""

import re
import tempfile
from pathlib import Path
from urllib.parse import urljoin

import jsonschema
import numpy as np
import pytest
import schemathesis
from hypothesis import strategies as st
from served import FORMATS, GOOD, PROBLEM
from test_bad_uploads import BAD_FILES, ODD_UPLOADS
from toy_library import drawn_library

from msr_utils.generation.untrained import untrained_generator
from msr_utils.paths import MODELS_DIR
from serve.app import create_app
from serve.config import ServiceConfig

MAX_PAGE_BYTES = 2_000_000

AUDIO = st.one_of(
    st.just(GOOD),
    st.sampled_from([FORMATS["song.mp3"], FORMATS["song.ogg"]]),
    st.sampled_from([content for content, *_ in BAD_FILES.values()]),
    st.sampled_from([*ODD_UPLOADS.values()]),
    st.binary(max_size=300),
)


generators = tempfile.TemporaryDirectory(prefix="contract-generators-")
untrained_generator(Path(generators.name) / "untrained")
# `light` runs everywhere; the default model depends on whether pretrained weights are at hand.
app = create_app(
    ServiceConfig(
        models_dir=MODELS_DIR,
        default_model="light",
        generators_dir=Path(generators.name),
        max_piece_seconds=1.0,
        max_upload_bytes=3_000_000,
        max_seconds=30,
        workers=0,
    )
)


@pytest.fixture(scope="module")
def document() -> dict:
    return app.test_client().get("/openapi.json").json


# ------------------------------------------------------------------------------ whatever is sent


schemathesis.openapi.format("binary", AUDIO)
for kind in ("audio/*", "application/octet-stream"):
    schemathesis.openapi.media_type(kind, AUDIO.filter(len))  # no body is no upload
api = schemathesis.openapi.from_wsgi("/openapi.json", app).exclude(path_regex="^/v1/library")
api.config.generation.update(max_examples=100, deterministic=True)
# Bytes are valid by the schema, and most are no audio.
api.config.checks.positive_data_acceptance.expected_statuses = ["2xx", "413", "422"]


@api.parametrize()
def test_every_answer_is_as_documented(case):
    # Whether a chunk may be missing depends on `final`: a schema cannot say that.
    # Neither can it say that a piece needs valence and arousal, or a curve.
    known = []
    if case.path in ("/v1/live", "/v1/generate"):
        known = [schemathesis.checks.positive_data_acceptance]
    if isinstance(case.body, dict) and set(case.body) - {"file", "chunk", "state"}:
        # schemathesis does not send all that it adds to a form; test_bad_uploads does.
        known.append(schemathesis.checks.negative_data_rejection)
    case.call_and_validate(excluded_checks=known)


# The same for the library, with a small one. Its files are not asked for: each is a call of its own
# in test_library_service.
folder = tempfile.TemporaryDirectory(prefix="contract-")
drawn_library(Path(folder.name), np.random.default_rng(0).uniform(-0.6, 0.6, (12, 2))).close()
library_app = create_app(
    ServiceConfig(
        models_dir=MODELS_DIR, default_model="light", workers=0,
        library=Path(folder.name) / "library", library_token="a token of the tests",
    )
)  # fmt: skip
library_api = schemathesis.openapi.from_wsgi("/openapi.json", library_app).include(
    path_regex="^/v1/library"
)
library_api.config.generation.update(max_examples=10, deterministic=True)


@pytest.mark.slow
@pytest.mark.extended
@library_api.parametrize()
def test_every_answer_of_the_library_is_as_documented(case):
    # A schema cannot say: either a word or a point, no control characters, words that are known.
    # And text such as "0.5" is taken for a number.
    left_out = [
        schemathesis.checks.positive_data_acceptance,
        schemathesis.checks.negative_data_rejection,
    ]
    case.call_and_validate(excluded_checks=left_out)


# ------------------------------------------------------------------------------ document


def operations(document: dict):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_every_operation_has_examples_that_fit_their_schemas(document):
    for _, path, operation in operations(document):
        assert operation["x-codeSamples"][0]["source"].startswith("curl ")
        for response in operation["responses"].values():
            for kind, content in response["content"].items():
                schema = {**content["schema"], "components": document["components"]}
                jsonschema.validate(content["example"], schema)
                assert kind or path


def test_every_error_is_documented_as_a_problem(document):
    statuses = set()
    for method, _, operation in operations(document):
        wanted = {"400", "408", "413", "422", "429", "503"} if method == "post" else set()
        # Questions to the library and requests for music are small: they stay in memory.
        is_small = {"Library", "Composition"} & {*operation["tags"]}
        wanted |= {"507"} if method == "post" and not is_small else set()
        assert wanted <= set(operation["responses"])
        for status, response in operation["responses"].items():
            if status not in ("200", "206"):
                statuses.add(status)
                assert set(response["content"]) == {PROBLEM}
                assert response["content"][PROBLEM]["example"]["status"] == int(status)
            assert ("Retry-After" in response.get("headers", {})) is (
                status in {"429", "503", "507"}
            )
    assert statuses == {
        "400", "401", "403", "404", "408", "413", "415", "416", "422", "429", "503", "507"
    }  # fmt: skip


# ------------------------------------------------------------------------------ page


def test_docs_page_shows_the_whole_document_and_brings_everything_itself(document):
    client = app.test_client()
    page = client.get("/docs")
    assert page.mimetype == "text/html"
    csp = page.headers["Content-Security-Policy"]
    assert "default-src 'self'" in csp and "unsafe" not in csp
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page.text)
    text = re.sub(r"<[^>]+>", "", page.text)
    for method, path, operation in operations(document):
        assert f"{method.upper()} {path}" in text
        assert f'id="{operation["operationId"]}"' in page.text
        for response in operation["responses"].values():
            assert response["description"] in text
        for parameter in operation.get("parameters", []):
            assert parameter["name"] in text
    for name, schema in document["components"]["schemas"].items():
        assert f'id="schema-{name}"' in page.text
        assert all(f"<code>{field}</code>" in page.text for field in schema["properties"])
    links = set(re.findall(r'(?:src|href)="([^"]+)"', page.text))
    ids = set(re.findall(r'\bid="([^"]+)"', page.text))
    assert {link[1:] for link in links if link.startswith("#")} <= ids
    size = len(page.data)
    for link in links:
        if not link.startswith("#"):
            assert not link.startswith("/")  # It would be wrong behind a path prefix.
            answer = client.get(urljoin("/docs", link))
            assert answer.status_code == 200, link
            size += len(answer.data)
    assert size < MAX_PAGE_BYTES
    for url in re.findall(r"https?://[^\s'\"<]+", text):
        assert url.startswith("http://localhost"), url  # The address it was asked for by.
