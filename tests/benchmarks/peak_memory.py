"""Print the peak memory in MB of extracting features: ``peak_memory.py FILE BLOCK[,BLOCK...]``.

Run in a process of its own, because a peak never goes down again.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from msr_utils.features.config import FeatureConfig
from msr_utils.features.extractor import extract


def peak_mb() -> float:
    """Largest resident memory of this process so far, in MB (10^6 bytes)."""
    # Linux hands getrusage's peak down from the parent process; VmHWM starts at zero.
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


if __name__ == "__main__":
    extract(sys.argv[1], FeatureConfig(blocks=tuple(sys.argv[2].split(","))))
    print(f"{peak_mb():.1f}")
