"""Audio files: formats, decoding to mono samples, and damage that a container shows."""
