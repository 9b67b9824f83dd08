"""Write ``environment.yml`` from ``requirements.lock``: conda users get the same pins.

``make lock`` runs this after the lock is made; a test keeps the two equal.
"""

from __future__ import annotations

import re

from msr_utils.io import write_text
from msr_utils.paths import ENVIRONMENT, LOCK

HEADER = """\
# The conda route to the packages of requirements.lock (written by `make lock`):
#   PIP_NO_DEPS=1 conda env create -f environment.yml
#   conda activate msr && pip install --no-deps -e .
# The list is complete; without PIP_NO_DEPS one package would bring torch for code we do not use.
name: msr
channels: [conda-forge]
dependencies:
  - python=3.11
  - pip
  - pip:
"""


def pins(lock: str) -> list[str]:
    """Every pin of a lock with its environment marker, in order, without hashes.

    Those that are for no platform are left out.
    """
    found = re.findall(r"^([A-Za-z0-9][^\s=]*==[^\\\n]*?)\s*\\?$", lock, flags=re.MULTILINE)
    return [" ".join(pin.split()) for pin in found if "== 'never'" not in pin]


def render(lock: str) -> str:
    """The text of ``environment.yml`` for a lock."""
    return HEADER + "".join(f'      - "{pin}"\n' for pin in pins(lock))


if __name__ == "__main__":
    write_text(ENVIRONMENT, render(LOCK.read_text("utf-8")))
