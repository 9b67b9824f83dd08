"""Where the parts of a checkout or of an installation lie: every folder, once."""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_cache_path, user_data_path

PACKAGE = Path(__file__).resolve().parent
"""The package itself."""

PROJECT_ROOT = PACKAGE.parent
"""The checkout that this package runs from; of an installed package, the folder of packages."""

IS_CHECKOUT = (PROJECT_ROOT / "notebooks" / "study.yml").is_file()
"""False for a package that was installed from a wheel. It has no notebooks and no reports."""

LOCK = PROJECT_ROOT / "requirements.lock"
ENVIRONMENT = PROJECT_ROOT / "environment.yml"
NOTEBOOKS = PROJECT_ROOT / "notebooks"
REPORTS = PROJECT_ROOT / "reports"
SCRATCH = REPORTS / "scratch"
"""Results of notebooks that were run on their own: nothing vouches for them."""

BOOK = PROJECT_ROOT / "book"

MODELS_DIR = PROJECT_ROOT / "serve" / "models"
"""Where the bundles lie. A wheel brings them."""

GENERATORS_DIR = PROJECT_ROOT / "serve" / "generators"
"""Where the bundles of generators of music lie."""

BENCHMARK = REPORTS / "benchmarks" / "features.json"
FILE_SPEED = REPORTS / "benchmarks" / "files.json"
SERVICE_SPEED = REPORTS / "benchmarks" / "service.json"
REHEARSAL = REPORTS / "benchmarks" / "deam_rehearsal.json"
CONTENT_ERRORS = REPORTS / "benchmarks" / "content.json"
PROCESSORS = REPORTS / "benchmarks" / "processors.json"

CACHE_DIR = PROJECT_ROOT / ".cache" if IS_CHECKOUT else user_cache_path("msr-utils", False)
"""What can be computed again: features, rendered audio, trainings, searches. An installed package
keeps it in the user's folder of caches."""

TRAININGS = CACHE_DIR / "trainings"
"""Trainings, under names made of all that they depend on. A killed training goes on from here,
and one that another experiment asks for again is read."""

WEIGHTS = CACHE_DIR / "weights"
"""Weights of pretrained networks, which ``msr weights fetch`` gets."""

SEARCHES = CACHE_DIR / "search"
"""Databases and unfinished trainings of hyperparameter searches."""

LIBRARY = user_data_path("msr-utils", False) / "library"
"""The listener's own library, unless another folder is named. It holds ratings that cannot be
computed again, so it is no cache."""
