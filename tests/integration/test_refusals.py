"""What the system refuses: one line that names the path, and nothing of the working folder runs.

The commands run as users run them, in processes of their own and without root's right to open
every file.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile as sf
from conftest import tone, write_folder_corpus
from environment import without_settings
from needs import needs_posix, skip
from test_project import tracked

from msr_utils.constants import SAMPLE_RATE
from msr_utils.paths import PROJECT_ROOT
from msr_utils.study.plan import Run
from msr_utils.study.runner import execute_parallel

pytestmark = [
    pytest.mark.slow,
    needs_posix,
]

NO_OVERRIDE = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--"]
"""Runs a command of root without root's right to open every file."""

UNUSED = ("tests/", ".", "reports/")
"""Parts of a checkout that the commands here do not need."""


def msr(*arguments: str, cwd: Path, root: Path = PROJECT_ROOT, **settings: str):
    """Run the command for a user who has only ordinary rights."""
    command = [sys.executable, "-m", "msr_utils", *arguments]
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            skip("needs a user without root's rights, or setpriv", "apt-get install util-linux")
        command = [*NO_OVERRIDE, *command]
    kept = without_settings()
    environment = {**kept, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", **settings}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )


def assert_refused(done: subprocess.CompletedProcess, *words: str) -> None:
    """Exit code 1, and one line of error with these words."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1, done.stderr
    for word in words:
        assert word in errors[0]


@pytest.fixture
def locked(tmp_path):
    """A folder that may not be written, and that may be at the end."""
    (folder := tmp_path / "locked").mkdir()
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the checkout of which nothing may be written."""
    root = tmp_path_factory.mktemp("read-only") / "checkout"
    for name in tracked():
        if name.startswith("reports/published/vgmidi/") or not name.startswith(UNUSED):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT_ROOT / name, root / name)
    (root / "reports/local").mkdir(parents=True)
    folders = [Path(folder) for folder, _, _ in os.walk(root)]
    for folder in folders:
        folder.chmod(0o555)
    yield root
    for folder in folders:
        folder.chmod(0o755)


def test_run_in_a_read_only_checkout(checkout, tmp_path):
    done = msr("run", "--profile", "quick", "--only", "data", cwd=tmp_path, root=checkout)
    assert_refused(
        done, f"cannot write {checkout}/.cache", "in a checkout that this user may write"
    )


def test_run_where_the_results_may_not_be_written(checkout, tmp_path, folder_corpus):
    done = msr(
        "run", "--corpus", "folder", "--data", str(folder_corpus), "--only", "data",
        cwd=tmp_path, root=checkout,
    )  # fmt: skip
    assert_refused(done, f"cannot write {checkout}/reports/local/tones", "Permission denied")


def test_book_in_a_read_only_checkout(checkout, tmp_path):
    done = msr("book", cwd=tmp_path, root=checkout)
    assert_refused(done, str(checkout), "in a checkout that this user may write")


def test_weights_that_may_not_be_written(locked, tmp_path):
    done = msr("weights", "fetch", cwd=tmp_path, MSR_WEIGHTS=str(locked))
    # Nothing is downloaded first: no index answers here.
    assert_refused(done, f"cannot write {locked}:", "set MSR_WEIGHTS to another folder")


@pytest.mark.parametrize("cache", ["", "new"])
def test_features_cache_that_may_not_be_written(locked, tmp_path, cache):
    (music := tmp_path / "music").mkdir()
    sf.write(music / "a.wav", tone(1), SAMPLE_RATE)
    target = str(locked / cache)
    done = msr(
        "features", "--corpus", "audio", "--data", str(music), "--cache", target, cwd=tmp_path
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert str(locked) in done.stdout + done.stderr
    assert "Permission denied" in done.stdout + done.stderr


def test_features_of_a_folder_that_cannot_be_read_are_not_left_out(tmp_path):
    (hidden := tmp_path / "music" / "hidden").mkdir(parents=True)
    for folder in (hidden, hidden.parent):
        sf.write(folder / "a.wav", tone(1), SAMPLE_RATE)
    hidden.chmod(0)
    try:
        arguments = ("features", "--corpus", "audio", "--data", "music", "--cache", "cache")
        assert_refused(msr(*arguments, cwd=tmp_path), "cannot read music/hidden: Permission denied")
    finally:
        hidden.chmod(0o755)


@pytest.mark.parametrize("what", [".", "audio", "annotations.csv", "audio/t00.wav"])
def test_verify_names_what_cannot_be_read(tmp_path, what):
    corpus = write_folder_corpus(tmp_path / "tones", tracks=3)
    (path := corpus / what).chmod(0)
    try:
        done = msr("data", "verify", str(corpus), cwd=tmp_path)
    finally:
        path.chmod(0o755)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    lines = [x for x in (done.stdout + done.stderr).splitlines() if path.name in x and "rror" in x]
    assert lines, done.stdout + done.stderr


def test_fetch_to_a_folder_that_may_not_be_written(locked, tmp_path):
    target, mirror = str(locked / "deam"), "http://127.0.0.1:9/"
    arguments = ("data", "fetch", "deam", "--to", target, "--mirror", mirror, "--accept-licence")
    assert_refused(msr(*arguments, cwd=tmp_path), "cannot write", str(locked), "Permission denied")


# ------------------------------------------------------------------------------ foreign files


@pytest.mark.parametrize("foreign", ["serve.py", "serve/__init__.py", "numpy.py", "json.py"])
def test_files_of_the_working_folder_are_not_run(tmp_path, foreign):
    file = tmp_path / "work" / foreign
    file.parent.mkdir(parents=True)
    file.write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    # It starts as far as it listens, on a port that does not exist for it.
    done = msr("serve", "--host", "no.such.host.invalid", cwd=tmp_path / "work")
    assert done.returncode == 1
    assert "cannot listen on no.such.host.invalid" in done.stderr
    assert "usage: msr serve" in msr("serve", "--help", cwd=tmp_path / "work").stdout
    assert not (tmp_path / "ran").exists()


def test_the_service_starts_as_a_module_of_the_checkout():
    command = [sys.executable, "-m", "serve", "--help"]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=60)
    assert re.match(r"usage: python -m serve", done.stdout)


def test_runs_side_by_side_do_not_run_files_of_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "msr_utils.py").write_text("raise SystemExit('run')\n")
    code = "from msr_utils.paths import PROJECT_ROOT; print(PROJECT_ROOT)"
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    # It raises an error if a command fails.
    execute_parallel([Run("one", "01_data", {})], [sys.executable, "-P", "-c", code], ["one"], 1)
