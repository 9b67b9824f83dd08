"""Keras on TensorFlow, set up once: every module that needs Keras imports it from here."""

from __future__ import annotations

import os

# Before keras is imported: the study runs on TensorFlow, and on the CPU it must be reproducible.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

__all__ = ["keras", "tf"]
