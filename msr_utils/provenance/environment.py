"""Where the project lies, and on what kind of machine it computes."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

REPORTED_PACKAGES = (
    "tensorflow",
    "keras",
    "keras-hub",
    "transformers",
    "librosa",
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
    "soundfile",
    "soxr",
    "onnxruntime",
)

THREAD_SETTINGS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
)  # fmt: skip
"""Where numerical libraries look for their number of threads."""


def threads() -> dict[str, int]:
    """Threads that numerical libraries take, by their settings; all cores where nothing is set."""
    cores = os.cpu_count() or 1
    return {name: int(os.environ.get(name) or cores) for name in THREAD_SETTINGS}


def processor() -> dict[str, object]:
    """The processor, and what of it decides the last bits of a sum.

    Returns
    -------
    dict
        ``model``; ``instructions``, the vector extensions that numpy finds; ``blas``, each linear
        algebra library with the ``kernel`` that it chose for this processor.
    """
    # Loaded before they are asked for: both bring a library of their own.
    import numpy as np
    import scipy.linalg  # noqa: F401
    from threadpoolctl import threadpool_info

    found = np.show_config(mode="dicts")["SIMD Extensions"]
    blas = {
        f"{info['internal_api']} {info.get('version', '')}".strip(): info.get("architecture", "")
        for info in threadpool_info()
        if info["user_api"] == "blas"
    }
    return {
        "model": _model(),
        "instructions": [*found.get("baseline", []), *found.get("found", [])],
        "blas": [{"library": library, "kernel": kernel} for library, kernel in blas.items()],
    }


def _model() -> str:
    """Name of the processor as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text("utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def environment() -> dict:
    """Versions, threads and the kind of machine, for a manifest."""
    versions = {}
    for name in REPORTED_PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "processor": processor(),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "packages": versions,
    }
