"""No room for temporary files during an upload: an answer with status 507, and service goes on.

The errors are those of the system: a small file system that is full, or a limit on file sizes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from environment import without_settings
from needs import needs_mounts, needs_posix
from served import GOOD, PROBLEM, encoded, sound
from test_bad_uploads import Stream

from msr_utils.paths import MODELS_DIR, PROJECT_ROOT
from serve.app import create_app
from serve.config import ServiceConfig

if os.name == "posix":
    import resource

MAX_FILE_BYTES = 700_000
"""Limit on file sizes. A body of more than 1 MB goes to a file."""

FOLDER_BYTES = 3_000_000
"""Size of the small file system."""

WAYS: dict[str, Callable[[bytes], dict]] = {
    "raw": lambda body: {"data": body},
    "chunked": lambda body: {"data": iter([body[:100_000], body[100_000:]])},
    "form": lambda body: {"files": {"file": body}},
}
"""Ways to upload a file, as arguments of ``requests.post``."""


def song(n_bytes: int) -> bytes:
    """A WAV file of about this size."""
    return encoded(sound(n_bytes / 2 / 22_050))


def in_small_folder(folder: str, *command: str) -> list[str]:
    """A command that sees a small file system at a folder."""
    mount = f'mount -t tmpfs -o size={FOLDER_BYTES} none "$0" && exec "$@"'
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, folder, *command]


@contextmanager
def service(limit: str, folder: Path) -> Iterator[str]:
    """Address of the service with little room for temporary files."""
    environment = without_settings()
    environment |= {"MSR_DEFAULT_MODEL": "light", "TMPDIR": str(folder)}
    command = [sys.executable, "-m", "serve", "--port", "0", "--models", str(MODELS_DIR)]
    if limit == "full folder":
        command = in_small_folder(str(folder), *command)

    def limit_files() -> None:
        if limit == "size of files":
            resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))

    with subprocess.Popen(
        command, cwd=PROJECT_ROOT, env=environment, text=True, preexec_fn=limit_files,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            announced = re.search(r"http://\S+", process.stdout.readline())
            assert announced, process.stderr.read()
            yield announced[0]
        finally:
            process.terminate()
            lines = [json.loads(line) for line in process.stderr.read().splitlines()]
    refused = [line for line in lines if line["message"] == "an upload cannot be stored"]
    assert refused and {line["folder"] for line in refused} == {str(folder)}
    assert not [line for line in lines if "traceback" in line or "exception" in line["message"]]


def assert_no_room(response: requests.Response) -> None:
    assert response.status_code == 507, response.text
    assert response.headers["Content-Type"] == PROBLEM
    problem = response.json()
    assert problem["title"] == "Insufficient Storage"
    assert "no room to store this upload" in problem["detail"]
    assert "try again later, or send a smaller file" in problem["detail"]
    assert problem["request_id"] == response.headers["X-Request-ID"]


@pytest.mark.slow
@needs_posix
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("limit", "n_bytes"),
    [
        ("size of files", 2_000_000),
        pytest.param("full folder", 4_000_000, marks=needs_mounts),
    ],
)
def test_upload_without_room_is_answered(limit, n_bytes, way, tmp_path):
    with service(limit, tmp_path) as url:
        for _ in range(2):
            upload = WAYS[way](song(n_bytes))
            assert_no_room(requests.post(f"{url}/v1/predict", timeout=60, **upload))
        # The room was given back, small files need none, and an upload is stored only once.
        for body in (GOOD, song(950_000), *([song(2_000_000)] if limit == "full folder" else [])):
            response = requests.post(f"{url}/v1/predict", timeout=60, **WAYS[way](body))
            assert response.status_code == 200, response.text
        assert requests.get(f"{url}/healthz", timeout=10).status_code == 200


@pytest.fixture(scope="module")
def client():
    config = ServiceConfig(
        models_dir=MODELS_DIR, default_model="light", secret_key="k" * 16, workers=0
    )
    return create_app(config).test_client()


@contextmanager
def small_files() -> Iterator[None]:
    """A limit on the size of files that this process writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("path", ["/v1/predict", "/v1/live?rate=22050", "raw"])
def test_the_application_answers_when_a_stream_has_no_room(client, path):
    """Another WSGI server gives a stream, which the application copies."""
    upload = {"chunk" if "live" in path else "file": song(2_000_000)}
    sent = requests.Request("POST", "http://host", files=upload).prepare()
    environ = {
        "wsgi.input": Stream(sent.body),
        "CONTENT_LENGTH": str(len(sent.body)),
        "CONTENT_TYPE": "" if path == "raw" else sent.headers["Content-Type"],
    }
    path = "/v1/predict" if path == "raw" else path
    with small_files():
        assert_no_room(_as_of_requests(client.post(path, environ_overrides=environ)))
    assert client.post("/v1/predict", data=GOOD).status_code == 200


def _as_of_requests(response) -> requests.Response:
    made = requests.Response()
    made.status_code, made._content = response.status_code, response.data
    made.headers.update(response.headers)
    return made
