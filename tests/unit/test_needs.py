"""What happens where something that a test needs is missing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import needs
import pytest

TESTS = Path(__file__).resolve().parents[1]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in another process, on tests of this folder."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MSR_", "PYTEST_"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=TESTS.parent,
        env=kept | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_skips_are_listed_by_reason_with_a_command(tmp_path):
    nodes = [
        f"{TESTS}/unit/corpora/test_verify.py::test_deam_itself",
        f"{TESTS}/unit/corpora/test_deam.py",
    ]
    nodes.append(f"{TESTS}/unit/corpora/test_folder.py::test_vgmidi_itself")
    done = run(*nodes, "-m", "data", MSR_DATA=str(tmp_path))
    assert done.returncode == 0, done.stdout
    title, *lines = done.stdout[done.stdout.index("= skipped tests") :].splitlines()
    assert title.strip("= ") == "skipped tests, and the commands that would run them"
    assert lines[:4] == [
        "4 in tests/unit/corpora/test_deam.py, tests/unit/corpora/test_verify.py: needs the corpus deam in the folder MSR_DATA",
        "    .venv/bin/msr data fetch deam --to FOLDER/deam && "
        "MSR_DATA=FOLDER .venv/bin/python -m pytest -m data",
        "1 in tests/unit/corpora/test_folder.py: needs the corpus vgmidi in the folder MSR_DATA",
        "    MSR_DATA=FOLDER .venv/bin/python -m pytest -m data",
    ]


@pytest.mark.slow
def test_a_missing_driver_is_a_skip_and_in_ci_a_failure(tmp_path):
    (tmp_path / "chromium").symlink_to(sys.executable)  # it is looked for, never started
    node, reason = f"{TESTS}/browser/test_page.py", "no chromedriver on the PATH, only chromium"
    optional = run(node, "--maxfail=1", PATH=str(tmp_path))
    assert optional.returncode == 0, optional.stdout
    assert f"needs a browser: {reason}\n    apt-get install chromium" in optional.stdout
    required = run(node, "--maxfail=1", PATH=str(tmp_path), MSR_REQUIRE="browser program")
    assert required.returncode == 1
    assert f"needs a browser: {reason}, and MSR_REQUIRE allows no skip" in required.stdout


@pytest.mark.parametrize(
    "chromium, driver, reason",
    [
        (None, None, "no chromium and no chromedriver on the PATH"),
        ("/c", None, "no chromedriver on the PATH, only chromium"),
        (None, "/d", "no chromium on the PATH, only chromedriver"),
    ],
)
def test_what_lacks_of_a_browser_is_named(monkeypatch, chromium, driver, reason):
    monkeypatch.setattr(needs, "CHROMIUM", chromium)
    monkeypatch.setattr(needs, "DRIVER", driver)
    assert needs.missing_browser().reason == f"needs a browser: {reason}"
    # To print a PDF takes no driver.
    assert (needs.missing_browser(driver=False) is None) == (chromium is not None)


def test_what_is_installed_is_not_missing():
    assert needs.missing_package("numpy") is None
    assert needs.missing_package("no_such_package").reason.endswith("no_such_package")
    assert needs.missing_program(Path(sys.executable).name) is None or os.name == "nt"
    assert needs.missing_program("no-such-program").command.startswith(
        "apt-get install no-such-program"
    )


def test_reasons_and_the_place_of_the_data_have_one_home():
    homes = {
        r"pytest\.skip\(|skipif\(|importorskip\(": {"needs.py"},
        r"environ.*MSR_DATA|\"shared\"|\.\./shared": {"real_data.py"},
    }
    for pattern, wanted in homes.items():
        files = [p for p in TESTS.rglob("*.py") if p.name != Path(__file__).name]
        assert len(files) > 50
        assert {p.name for p in files if re.search(pattern, p.read_text())} == wanted, pattern
