"""Where the project lies, and on what kind of machine it computes."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Blas:
    """A linear algebra library.

    Parameters
    ----------
    library : str
        Name and version.
    kernel : str
        What it chose for this processor.
    """

    library: str
    kernel: str


@dataclass(frozen=True)
class Processor:
    """The processor, and what of it decides the last bits of a sum.

    Parameters
    ----------
    model : str
    instructions : list of str
        Vector extensions that NumPy finds.
    blas : list of Blas
    """

    model: str
    instructions: list[str]
    blas: list[Blas]


@dataclass(frozen=True)
class Environment:
    """Versions, threads and the kind of machine, for a manifest.

    Parameters
    ----------
    python : str
    machine : str
        System, architecture and number of cores.
    processor : Processor
    threads : str
        Their number, or "all".
    packages : dict of str to str
        Versions of `REPORTED_PACKAGES`.
    """

    python: str
    machine: str
    processor: Processor
    threads: str
    packages: dict[str, str]


def processor() -> Processor:
    """The processor of this machine."""
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
    return Processor(
        _model(),
        [*found.get("baseline", []), *found.get("found", [])],
        [Blas(library, kernel) for library, kernel in blas.items()],
    )


def _model() -> str:
    """Name of the processor as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text("utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def environment() -> Environment:
    """This machine, with what is installed."""
    versions = {}
    for name in REPORTED_PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return Environment(
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        processor=processor(),
        threads=os.environ.get("OMP_NUM_THREADS", "all"),
        packages=versions,
    )
