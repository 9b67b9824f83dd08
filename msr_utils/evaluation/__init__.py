"""Trained models beside baselines and the raters' ceiling."""
