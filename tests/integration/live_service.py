"""Two services that follow live audio, and chunks to send to them."""

import json
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from environment import without_settings

from msr_utils.io import read_json, write_json
from msr_utils.paths import MODELS_DIR

ROOT = Path(__file__).resolve().parents[2]
KEY = "a key for the tests only"


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory) -> Path:
    """A recurrent bundle, and one whose past is in its features."""
    folder = tmp_path_factory.mktemp("models")
    for name, source in (("one", "lstm-tonal-vgmidi"), ("two", "light")):
        shutil.copytree(MODELS_DIR / source, folder / name)
        write_json(
            folder / name / "card.json", read_json(folder / name / "card.json") | {"name": name}
        )
    return folder


@contextmanager
def service(models_dir: Path, log: Path, **values: object):
    """Run the service; give its process and URL."""
    environment = without_settings()
    environment |= {f"MSR_{name.upper()}": str(value) for name, value in values.items()}
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "serve", "--port", "0", "--models", str(models_dir)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
    try:
        announced = re.search(r"http://\S+", process.stdout.readline())
        assert announced, log.read_text()
        yield process, announced[0]
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()
    for line in log.read_text().splitlines():
        assert "traceback" not in json.loads(line)


def assert_problem(
    response: requests.Response, status: int, field: str | None = None, *words: str
) -> None:
    """The answer is a problem with this status, about this field, with these words in it."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json().get("field") == field
    detail = response.json()["detail"]
    assert field is None or detail.startswith(f"{field}: ")
    for word in words:
        assert word in detail
    for secret in ("Traceback", str(ROOT), "/tmp", KEY):
        assert secret not in response.text
