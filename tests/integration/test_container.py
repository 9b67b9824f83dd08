"""The image of the service: what its file and its lock say. It is not built here."""

import re
import shlex

from test_project import tracked

from msr_utils.paths import LOCK, PROJECT_ROOT
from msr_utils.study.conda_file import pins

DOCKERFILE = PROJECT_ROOT / "serve" / "Dockerfile"
LIGHT = PROJECT_ROOT / "serve" / "requirements.lock"


def instructions() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile and their arguments, continued lines joined."""
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(maxsplit=1)) for line in lines]


def test_all_that_is_copied_is_there():
    files = tracked()
    copied = [shlex.split(rest) for name, rest in instructions() if name in ("COPY", "ADD")]
    assert copied
    for *sources, _ in copied:
        for source in sources:
            assert (PROJECT_ROOT / source).exists(), source
            assert any(name == source or name.startswith(source) for name in files), source


def test_it_names_no_host_and_runs_as_nobody():
    steps = instructions()
    settings = dict(steps)
    assert re.fullmatch(r"python:3\.\d+-slim", settings["FROM"])
    assert int(settings["USER"].split(":")[0]) >= 1000
    assert steps.index(("USER", settings["USER"])) > max(
        i for i, (name, _) in enumerate(steps) if name in ("RUN", "COPY")
    )
    urls = re.findall(r"\w+://[^/'\"\s]+", DOCKERFILE.read_text())
    assert urls == ["http://127.0.0.1:8000"]
    assert "index" not in DOCKERFILE.read_text()
    assert "/readyz" in settings["HEALTHCHECK"]
    assert "--require-hashes -r serve/requirements.lock" in DOCKERFILE.read_text()


def test_light_lock_has_the_pins_of_the_whole_one_and_no_training_library():
    light, whole = LIGHT.read_text(), LOCK.read_text()
    # Whether a pin needs a marker depends on what else is locked.
    bare = {pin.split(" ;")[0] for pin in pins(whole)}
    names = set()
    for pin in pins(light):
        assert pin.split(" ;")[0] in bare
        names.add(pin.split("==")[0])
    hashes = set(re.findall(r"sha256:\w+", light))
    assert len(hashes) > len(names)
    assert hashes <= set(re.findall(r"sha256:\w+", whole))
    assert {"apiflask", "uvicorn", "onnxruntime", "soundfile", "soxr", "numpy"} <= names
    assert not names & {"tensorflow", "keras", "librosa", "pandas", "matplotlib", "transformers"}
    assert "://" not in light
