"""``python -m msr_utils.cli`` is ``msr``."""

from msr_utils.cli import main

if __name__ == "__main__":
    main()
