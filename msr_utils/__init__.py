"""Music Sentiment Recognition: how music feels, as valence and arousal every 500 ms."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("msr-utils")
except PackageNotFoundError:  # run from a checkout that was not installed
    __version__ = "0+unknown"
