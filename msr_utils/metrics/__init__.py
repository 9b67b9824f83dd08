"""Scores of predicted curves, intervals, and how far raters agree."""
