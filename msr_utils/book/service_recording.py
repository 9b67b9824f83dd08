"""The service, asked for real: requests and answers as the book shows them.

The service is started as its users start it, and asked with curl, word for word as documented.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import requests
import soundfile as sf

from msr_utils.constants import SAMPLE_RATE, TARGETS
from msr_utils.corpora.synthetic.render import SyntheticTrack
from msr_utils.inference.content import CONTENT_VARIABLE
from msr_utils.metrics.correlation import pearson
from msr_utils.paths import PROJECT_ROOT

ADDRESS = "http://127.0.0.1:8000"
"""Where `make serve` listens; records name it in the place of the port that was free."""

LIVE = f"'{{service}}/v1/live?rate={SAMPLE_RATE}&channels=1&format=s16le"

REQUESTS = {
    "predict": "curl -F file=@song.mp3 {service}/v1/predict",
    "csv": "curl -F file=@song.mp3 -H 'Accept: text/csv' {service}/v1/predict",
    "one": "curl -F file=@song.mp3 '{service}/v1/predict?targets=arousal&smoothing=3'",
    "stream": ("curl -N -F file=@song.mp3 -H 'Accept: application/x-ndjson' {service}/v1/predict"),
    "live": f"curl -F chunk=@first.raw {LIVE}'",
    "live-next": f"curl -F chunk=@second.raw -F 'state=<state' {LIVE}'",
    "live-end": f"curl -F 'state=<state' {LIVE}&final=true'",
    "models": "curl {service}/v1/models",
    "health": "curl {service}/healthz",
    "ready": "curl {service}/readyz",
    "no-audio": "curl -F file=@letter.txt {service}/v1/predict",
    "bad-option": "curl -F file=@song.mp3 '{service}/v1/predict?smoothing=long'",
    "no-model": "curl {service}/v1/models/larger",
}
"""What is asked, in this order. `live-next` and `live-end` send the state of the answer before."""

CHUNK_SECONDS = 2.0
"""Length of each of the two chunks of live audio."""

KEPT_VALUES, KEPT_CHARACTERS, KEPT_LINES = 3, 60, 4
"""How much of a list, a text and a table stands in the book."""

BITRATE_KBPS = 40

JSON = ("application/json", "application/problem+json")


@dataclass(frozen=True)
class RecordedRequest:
    """A request to the service and its answer.

    Parameters
    ----------
    command : str
        That sent it.
    status : int
        Of HTTP; 0 if there is no answer.
    type : str
        Content type of the answer.
    characters : int
        Length of the whole answer.
    answer : str
        The answer in short; see `shortened`.
    """

    command: str
    status: int = 0
    type: str = ""
    characters: int = 0
    answer: str = ""


class RecordingError(RuntimeError):
    """The service did not start, or curl could not ask it."""


@contextmanager
def running(models_dir: Path) -> Iterator[str]:
    """Run the service on a free port.

    Yields
    ------
    str
        Its address.

    Raises
    ------
    RecordingError
        If it does not start; it says why.
    """
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "serve", "--port", "0", "--models", str(models_dir)],
            cwd=PROJECT_ROOT,
            env={
                name: value
                for name, value in os.environ.items()
                if name in ("MSR_WEIGHTS", "MSR_EARS") or not name.startswith("MSR_")
            }
            | {CONTENT_VARIABLE: "0"},  # The record is the same with and without YAMNet.
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert process.stdout is not None  # it is a pipe
        try:
            announced = re.search(r"http://\S+", process.stdout.readline())
            if not announced:
                process.wait(10)
                log.seek(0)
                raise RecordingError(f"the service did not start: {log.read().strip()}")
            yield announced[0]
        finally:
            process.terminate()
            process.wait(30)
            process.stdout.close()


def record(service: str, song: Path) -> dict[str, RecordedRequest]:
    """Send every request of `REQUESTS`.

    Parameters
    ----------
    service : str
        Address.
    song : Path
        MP3 file that is sent as ``song.mp3``; its first seconds are the live audio.

    Returns
    -------
    dict of str to RecordedRequest
        By the names of `REQUESTS`.

    Raises
    ------
    RecordingError
        If there is no curl, or it gets no answer.
    """
    if not shutil.which("curl"):
        raise RecordingError(
            "curl is needed to record the service; on Debian: apt-get install curl"
        )
    samples, _ = sf.read(song, dtype="int16", stop=2 * int(CHUNK_SECONDS * SAMPLE_RATE))
    first, second = np.split(samples, 2)
    records = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        shutil.copyfile(song, folder / "song.mp3")
        (folder / "first.raw").write_bytes(first.tobytes())
        (folder / "second.raw").write_bytes(second.tobytes())
        (folder / "letter.txt").write_text("Dear service, this is no music.\n")
        for name, command in REQUESTS.items():
            status, kind, answer = _curl(command.format(service=service), folder)
            records[name] = RecordedRequest(
                command=command.format(service=ADDRESS),
                status=status,
                type=kind,
                characters=len(answer),
                answer=shortened(answer, kind).replace(service, ADDRESS),
            )
            if name.startswith("live") and status == 200:
                (folder / "state").write_text(json.loads(answer)["state"] or "")
    return records


def _curl(command: str, folder: Path) -> tuple[int, str, str]:
    """Status, content type and text of an answer."""
    done = subprocess.run(
        [*shlex.split(command), "--silent", "--show-error", "--dump-header", "headers"],
        cwd=folder,
        capture_output=True,
        timeout=120,
    )
    if done.returncode:
        raise RecordingError(f"{command}: {done.stderr.decode().strip()}")
    # "100 Continue" may come before the answer's own headers.
    headers = (folder / "headers").read_text().strip().split("\n\n")[-1]
    kind = re.search(r"^content-type: *([^;\s]+)", headers, re.IGNORECASE | re.MULTILINE)
    return int(headers.split()[1]), kind[1] if kind else "", done.stdout.decode()


def shortened(answer: str, kind: str) -> str:
    """An answer with only the beginnings of its long parts; it says what is left out."""
    if kind in JSON:
        text = json.dumps(_short(json.loads(answer)), indent=2, ensure_ascii=False)
        # Lists of plain values on one line.
        return re.sub(r"\[\s+([^\[\]{}]+?)\s+\]", _one_line, text)
    lines = answer.splitlines()
    if len(lines) > KEPT_LINES + 2:
        left_out = len(lines) - KEPT_LINES - 1
        lines = [*lines[:KEPT_LINES], f"… {left_out} more lines …", lines[-1]]
    return "\n".join(lines)


def _one_line(found: re.Match) -> str:
    return "[" + re.sub(r"\s+", " ", found[1]) + "]"


def _short(value: object) -> object:
    if isinstance(value, dict):
        return {key: _short(own) for key, own in value.items()}
    if isinstance(value, list):
        kept = [_short(own) for own in value[:KEPT_VALUES]]
        simple = not any(isinstance(own, dict | list) for own in value)
        if simple and len(value) > KEPT_VALUES + 1:
            return [*kept, f"… {len(value) - KEPT_VALUES} more"]
        return [_short(own) for own in value]
    if isinstance(value, str) and len(value) > 4 * KEPT_CHARACTERS:
        return f"{value[:KEPT_CHARACTERS]}… {len(value):,} characters"
    return value


def write_audio(track: SyntheticTrack, folder: Path) -> Path:
    """Write a track of ours as an MP3 that every browser plays, ``<track_id>.mp3``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{track.track_id}.mp3"
    # libsndfile's scale from 0 to 1 spans MPEG-2's 160 to 8 kbit/s.
    level = (160 - BITRATE_KBPS) / (160 - 8)
    sf.write(
        path, track.audio, SAMPLE_RATE, format="MP3", subtype="MPEG_LAYER_III",
        bitrate_mode="CONSTANT", compression_level=level,
    )  # fmt: skip
    return path


@dataclass(frozen=True)
class ServedModel:
    """A model that the service offers.

    Parameters
    ----------
    title : str
        From its card.
    margins : dict of target to float
        Half-widths of its intervals; empty if it has none.
    """

    title: str
    margins: dict[str, float]


@dataclass(frozen=True)
class ArcScore:
    """How near a curve is to the arc that its piece was composed from.

    Parameters
    ----------
    r : float
        Pearson.
    covered : float, optional
        Share of the arc inside the model's interval, if the model has one.
    """

    r: float
    covered: float | None = None

    def to_json(self) -> dict[str, float]:
        """Without `covered` where there is no interval."""
        return {"r": self.r} | ({} if self.covered is None else {"covered": self.covered})


@dataclass(frozen=True)
class ExplorerPiece:
    """A piece and what every served model predicts for it.

    Parameters
    ----------
    title, file : str
    made_from : dict of target to list of float
        The arcs that the music was composed from.
    curves : dict of model to target to list of float
    scores : dict of model to target to ArcScore
    """

    title: str
    file: str
    made_from: dict[str, list[float]]
    curves: dict[str, dict[str, list[float]]]
    scores: dict[str, dict[str, ArcScore]]


@dataclass(frozen=True)
class ExplorerData:
    """What the book's explorer shows.

    Parameters
    ----------
    models : dict of name to ServedModel
        The default model first.
    tracks : list of ExplorerPiece
    """

    models: dict[str, ServedModel]
    tracks: list[ExplorerPiece]


def curves(service: str, tracks: Sequence[SyntheticTrack], files: Sequence[Path]) -> ExplorerData:
    """Predict every piece with every served model."""
    listed = requests.get(f"{service}/v1/models", timeout=30).json()["models"]
    listed.sort(key=lambda model: not model["default"])
    models = {}
    for model in listed:
        card = requests.get(service + model["card"], timeout=30).json()
        models[model["name"]] = ServedModel(card["title"], card.get("margins", {}))
    shown = []
    for track, file in zip(tracks, files, strict=True):
        made_from = dict(zip(TARGETS, track.truth.T, strict=True))
        answers = {name: _predicted(service, file, name) for name in models}
        shown.append(
            ExplorerPiece(
                title=track.title,
                file=file.name,
                made_from={target: arc.round(3).tolist() for target, arc in made_from.items()},
                curves=answers,
                scores={
                    name: {
                        t: _score(answer[t], made_from[t], models[name].margins.get(t))
                        for t in TARGETS
                    }
                    for name, answer in answers.items()
                },
            )
        )
    return ExplorerData(models, shown)


def _score(curve: Sequence[float], arc: np.ndarray, margin: float | None) -> ArcScore:
    r = round(float(pearson(np.array([curve]), arc)[0]), 3)
    if margin is None:
        return ArcScore(r)
    return ArcScore(r, round(float((np.abs(curve - arc) <= margin).mean()), 3))


def _predicted(service: str, file: Path, model: str) -> dict[str, list[float]]:
    with file.open("rb") as audio:
        response = requests.post(
            f"{service}/v1/predict", params={"model": model}, files={"file": audio}, timeout=120
        )
    response.raise_for_status()
    answer = response.json()
    return {target: np.round(answer[target], 3).tolist() for target in TARGETS}


def to_markdown(recorded: RecordedRequest) -> str:
    """A recorded request and its answer; the request alone, if there is no answer."""
    command = recorded.command.replace(f" '{ADDRESS}", f" \\\n  '{ADDRESS}")
    request = f"```bash\n{command}\n```\n"
    if not recorded.status:
        return request
    kind = recorded.type
    language = "json" if kind in JSON else "text"
    return (
        f"{request}\nStatus {recorded.status}, `{kind}`, "
        f"{recorded.characters:,} characters:\n\n"
        f"```{language}\n{recorded.answer}\n```\n"
    )
