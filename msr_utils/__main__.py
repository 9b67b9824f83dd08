"""``python -m msr_utils`` is ``msr``."""

import os
import sys

# Python puts the working folder first on the path. Files there, such as a numpy.py, must not
# replace modules, unless this package itself comes from there.
_HOME = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
if not sys.flags.safe_path and os.path.realpath(sys.path[0]) != _HOME:
    del sys.path[0]

from msr_utils.cli import main  # noqa: E402

main()
