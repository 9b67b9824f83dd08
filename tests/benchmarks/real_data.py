"""Where the real corpora lie. No test and no benchmark looks anywhere else."""

from __future__ import annotations

import os
from pathlib import Path

from msr_utils.paths import PROJECT_ROOT

DATA = Path(os.environ.get("MSR_DATA") or PROJECT_ROOT.parent / "shared" / "data")
"""A folder with one folder for each corpus: ``deam``, ``emotify``, ``vgmidi``, ..."""
