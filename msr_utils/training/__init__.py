"""Training: the loop, cross-validation, and what a run leaves."""
