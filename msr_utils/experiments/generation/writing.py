"""Pieces that a generator writes, kept so that a killed run goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from msr_utils.affect import SIGNS
from msr_utils.experiments.generation.material import QUADRANT_PLACE
from msr_utils.generation.codes import as_notes
from msr_utils.generation.generator import Generator
from msr_utils.generation.request import EmotionCurve, MusicRequest
from msr_utils.io import atomic_path, plain, sha256_text
from msr_utils.notes import Notes
from msr_utils.paths import TRAININGS
from msr_utils.provenance.cache_keys import computed_by


def quadrant_requests(per_quadrant: int, seconds: float, seed: int) -> list[MusicRequest]:
    """So many requests for every quadrant, in the order Q1, Q2, Q3, Q4, Q1 and so on."""
    places = [
        EmotionCurve.constant(QUADRANT_PLACE * v, QUADRANT_PLACE * a) for v, a in SIGNS.values()
    ]
    count = per_quadrant * len(places)
    return [MusicRequest(places[i % len(places)], seconds, seed + i) for i in range(count)]


def grid_requests(steps: int, repeats: int, seconds: float, seed: int) -> list[MusicRequest]:
    """Requests for places on a grid over the plane."""
    axis = np.linspace(-0.8, 0.8, steps)
    places = [(v, a) for _ in range(repeats) for v in axis for a in axis]
    return [
        MusicRequest(EmotionCurve.constant(v, a), seconds, seed + i)
        for i, (v, a) in enumerate(places)
    ]


ARCS = {
    "calm to excited": ((0.5, 0.5), (-0.6, 0.6)),
    "excited to calm": ((0.5, 0.5), (0.6, -0.6)),
    "sad to happy": ((-0.6, 0.6), (-0.4, 0.4)),
    "happy to sad": ((0.6, -0.6), (0.4, -0.4)),
    "tense to calm": ((-0.6, 0.6), (0.5, -0.5)),
    "rise and fall": ((0.3, -0.4, 0.3), (-0.6, 0.7, -0.6)),
}
"""Courses of valence and of arousal at evenly spaced times."""


def arc_requests(repeats: int, seconds: float, seed: int) -> list[MusicRequest]:
    """Requests for every one of `ARCS`."""
    requests = []
    for number in range(repeats):
        for k, (valence, arousal) in enumerate(ARCS.values()):
            # The last point leaves time for what follows it.
            times = np.linspace(0.1, 0.9, len(valence)) * seconds
            curve = EmotionCurve(times, valence, arousal)
            requests.append(MusicRequest(curve, seconds, seed + number * len(ARCS) + k))
    return requests


def write_pieces(
    generator: Generator, requests: Sequence[MusicRequest], progress: bool = True
) -> list[Notes]:
    """Write pieces, or read those that were written before.

    Parameters
    ----------
    generator : Generator
    requests : sequence of MusicRequest
    progress : bool
    """
    card = generator.card
    settings = [card.model_sha256, card.decoding, card.attributes.to_json(), card.context]
    common = json.dumps(plain([*settings, computed_by(Generator, as_notes)]), sort_keys=True)
    folder = TRAININGS / "generated" / sha256_text(common)[:16]
    written = []
    for request in tqdm(requests, "writing", disable=not progress):
        file = folder / f"{_name(request)}.npy"
        if not file.is_file():
            rows = np.array([tuple(note) for note in generator.notes(request)], np.float64)
            with atomic_path(file) as temporary, open(temporary, "wb") as stream:
                np.save(stream, rows.reshape(-1, 4))
        rows = np.load(file)
        written.append(
            Notes(rows[:, 0], rows[:, 1], rows[:, 2].astype(int), rows[:, 3].astype(int))
        )
    return written


def _name(request: MusicRequest) -> str:
    digest = hashlib.sha256(f"{request.seconds} {request.seed} {request.temperature}".encode())
    for values in (request.curve.times_s, request.curve.valence, request.curve.arousal):
        digest.update(np.asarray(values, np.float64).tobytes())
    return digest.hexdigest()[:24]
