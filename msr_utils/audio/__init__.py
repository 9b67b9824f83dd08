"""Audio files: decoding to mono samples, and what a container says of itself."""
