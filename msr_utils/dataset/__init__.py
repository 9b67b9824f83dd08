"""From a corpus to sequences, splits and windows."""
