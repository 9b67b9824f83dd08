"""The environment in which tests start programs."""

from __future__ import annotations

import os


def without_settings() -> dict[str, str]:
    """This process's environment without msr's settings.

    The detector of content stays off: whether YAMNet is installed must not matter.
    """
    found = {k: v for k, v in os.environ.items() if not k.startswith("MSR_")}
    return found | {"MSR_CONTENT": "0"}
