"""Where the parts of a checkout lie: every folder, once."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
"""The package itself."""

PROJECT_ROOT = PACKAGE.parent
"""The checkout that this package runs from."""

LOCK = PROJECT_ROOT / "requirements.lock"
ENVIRONMENT = PROJECT_ROOT / "environment.yml"
NOTEBOOKS = PROJECT_ROOT / "notebooks"
REPORTS = PROJECT_ROOT / "reports"
BOOK = PROJECT_ROOT / "book"

MODELS_DIR = PROJECT_ROOT / "serve" / "models"
"""Where the bundles of a checkout lie."""

BENCHMARK = REPORTS / "benchmarks" / "features.json"
REHEARSAL = REPORTS / "benchmarks" / "deam_rehearsal.json"

CACHE_DIR = PROJECT_ROOT / ".cache"
"""What can be computed again: features, rendered audio, trainings, searches."""

TRAININGS = CACHE_DIR / "trainings"
"""Trainings, under names made of all that they depend on. A killed training goes on from here,
and one that another experiment asks for again is read."""

WEIGHTS = CACHE_DIR / "weights"
"""Weights of pretrained networks, which ``msr weights fetch`` gets."""

SEARCHES = CACHE_DIR / "search"
"""Databases and unfinished trainings of hyperparameter searches."""
