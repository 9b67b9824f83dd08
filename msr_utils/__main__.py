"""``python -m msr_utils`` is ``msr``."""

from msr_utils.cli import main

main()
