"""A small library, and a service that serves it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import sqlalchemy as sa
from toy_library import drawn_library

from msr_utils.library import schema
from msr_utils.library.library import Library
from msr_utils.paths import MODELS_DIR
from serve.app import create_app
from serve.config import ServiceConfig

PROBLEM = "application/problem+json"
TOKEN = "a token of the tests"
HOLDER = {"Authorization": f"Bearer {TOKEN}"}
URL = "/v1/library"
MEANS = np.array([(v, a) for v in np.linspace(-0.6, 0.6, 6) for a in np.linspace(-0.6, 0.6, 4)])


def note_files(made: Library) -> None:
    """Note in a catalogue what size and time its files have."""
    with made.catalogue.connections.writing() as connection:
        for path in made.catalogue.known(made.catalogue.roots()[0]):
            found = os.stat(path)
            connection.execute(
                sa.update(schema.tracks)
                .where(schema.tracks.c.path == os.fsencode(path))
                .values(size=found.st_size, mtime_ns=found.st_mtime_ns)
            )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A library of 24 tracks with audio, and one long file."""
    folder = tmp_path_factory.mktemp("served")
    made = drawn_library(folder, MEANS)
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, 1_300_000).astype(np.float32)
    sf.write(folder / "music" / "album" / "tone 000.flac", noise, 44_100)
    note_files(made)
    made.close()
    return folder


def app_of(folder: Path | None, **settings: object):
    config = ServiceConfig(
        models_dir=MODELS_DIR,
        default_model="light",
        workers=0,
        library=None if folder is None else folder / "library",
        **settings,
    )
    return create_app(config)


@pytest.fixture(scope="module")
def client(folder):
    return app_of(folder, library_token=TOKEN).test_client()


def problem(response, status: int, field: str | None = None) -> str:
    """Detail of an answer that must be a problem."""
    assert (response.status_code, response.mimetype) == (status, PROBLEM), response.text
    assert response.json["status"] == status
    if field is not None:
        assert response.json["field"] == field
    return response.json["detail"]
