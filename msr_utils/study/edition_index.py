"""``reports/<edition>/runs.json``: the runs that an edition has, so that a lost one is noticed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock

from msr_utils.io import read_json, sha256_text, write_json
from msr_utils.paths import CACHE_DIR
from msr_utils.provenance import manifest

INDEX = "runs.json"


def listed(edition_dir: Path) -> list[str]:
    """Runs as ``corpus/run``, sorted; none where there is no index."""
    file = edition_dir / INDEX
    return read_json(file)["runs"] if file.is_file() else []


def add(edition_dir: Path, names: Iterable[str]) -> None:
    """List finished runs. Several processes may do so at once."""
    CACHE_DIR.mkdir(parents=True, exist_ok=True)
    lock = CACHE_DIR / f"index-{sha256_text(str(edition_dir.resolve()))[:16]}.lock"
    with FileLock(lock):
        known = listed(edition_dir)
        runs = sorted({*known, *names})
        if runs != known:
            write_json(edition_dir / INDEX, {"runs": runs})


def lost(edition_dir: Path) -> list[Path]:
    """Folders of runs that are listed and hold no results, and no run under way either."""
    signs = (manifest.MANIFEST, manifest.RESULTS, "failed.ipynb")
    folders = (edition_dir / name for name in listed(edition_dir))
    return [folder for folder in folders if not any((folder / s).is_file() for s in signs)]
