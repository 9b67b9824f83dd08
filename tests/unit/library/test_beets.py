"""The plugin of beets, run by beets itself in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from needs import needs_package
from toy_library import write_music

from msr_utils.inference.model import load
from msr_utils.library import beetsplug, indexing
from msr_utils.library.library import Library, model_key
from msr_utils.library.tags import Tags
from msr_utils.library.words import ANGLES

pytestmark = [needs_package("beets"), pytest.mark.slow]

PLUGINS = Path(next(iter(beetsplug.__path__)))

CONFIG = """
directory: {home}/beets
library: {home}/beets.db
plugins: msr
pluginpath: {plugins}
import: {{copy: yes, autotag: no, quiet: yes}}
msr: {{library: {home}/{library}, model: {model}, auto: {auto}}}
"""


def beet(home: Path, *arguments: object) -> str:
    """Run beets; what it prints, also its log."""
    env = os.environ | {"BEETSDIR": str(home), "HOME": str(home)}
    command = [sys.executable, "-m", "beets", "-c", str(home / "config.yaml"), *map(str, arguments)]
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, cwd=Path.cwd(), timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "error loading plugin" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def configure(home, library="library", model="light", auto="no"):
    text = CONFIG.format(home=home, plugins=PLUGINS, library=library, model=model, auto=auto)
    (home / "config.yaml").write_text(text)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Four tracks that beets imported with the plugin on; there is no index yet."""
    folder = tmp_path_factory.mktemp("beets")
    configure(folder, auto="yes")
    music = write_music(folder / "music")
    (music / "bad.mp3").unlink()
    beet(folder, "import", music)
    return folder


def test_an_import_sets_fields_that_can_be_searched(home):
    fields = ("msr_valence", "msr_valence_low", "msr_arousal_high", "msr_mood", "msr_model")
    form = "\t".join(["$path", *(f"${name}" for name in fields)])
    # Numbers, not texts: they are searched by ranges.
    lines = beet(home, "ls", "-f", form, "msr_valence:-1..1").strip("\n").splitlines()
    assert len(lines) == 4
    light = load("light")
    for line in lines:
        path, valence, low, high, mood, model = line.split("\t")
        predicted = light.predict(path)
        assert float(valence) == pytest.approx(predicted.mean["valence"], abs=0.01)
        wanted = max(float(valence) - light.margins["valence"], -1)
        assert float(low) == pytest.approx(wanted, abs=0.01)
        assert float(high) > predicted.mean["arousal"]
        assert mood in ("", *ANGLES) and model == model_key(light)


def test_the_command_uses_the_index_and_no_file_stops_it(home):
    configure(home)
    stored = sorted((home / "beets").rglob("*.flac"))
    library = Library(home / "library", create=True)
    indexing.add(library, load("light"), [stored[0].parent], progress=False)
    known = library.catalogue.known_file(str(stored[0]))
    arrays = library.arrays(known.shard, known.row, known.id).with_numbers({"mean_valence": 0.125})
    library.catalogue.put({"id": known.id}, Tags(), arrays)  # what no model would say
    library.close()
    stored[1].unlink()
    assert "set: 0, had them: 4, failed: 0" in beet(home, "msr")
    said = beet(home, "msr", "--force")
    assert "set: 3, had them: 0, failed: 1" in said and "No such file" in said
    assert beet(home, "ls", "-p", "msr_valence:0.125").strip() == str(stored[0])


def test_a_model_that_is_not_there_is_named(home):
    configure(home, library="none", model="no-such-model")
    assert "no bundle 'no-such-model'" in beet(home, "msr")
