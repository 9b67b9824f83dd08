"""Errors of bundles that cannot be used."""

from __future__ import annotations


class BundleError(ValueError):
    """A bundle that is incomplete, was altered or does not fit this version.

    Parameters
    ----------
    message : str
    file : str
        Name of the bundle's file concerned; empty if it is not about one.
    field : str
        Key in this file; empty if it is not about one.
    """

    def __init__(self, message: str, file: str = "", field: str = "") -> None:
        super().__init__(message)
        self.file = file
        self.field = field


class PretrainedWeightsMissing(BundleError):
    """A complete bundle that needs pretrained weights, which were not fetched."""
