"""Music Sentiment Recognition: how music feels, as valence and arousal every 500 ms."""

import os
from importlib.metadata import PackageNotFoundError, version

# Before ONNX Runtime is loaded: from 1.29 on its builds report what they run to their maker.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

try:
    __version__ = version("msr-utils")
except PackageNotFoundError:  # run from a checkout that was not installed
    __version__ = "0+unknown"
