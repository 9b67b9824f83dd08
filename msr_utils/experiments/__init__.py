"""The study's experiments, one module each."""
