"""The files of a bundle."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

from msr_utils.features.config import FeatureConfig
from msr_utils.inference.card import CardError, ModelCard
from msr_utils.inference.errors import BundleError
from msr_utils.io import read_json


def read_card(folder: Path) -> ModelCard:
    """Read the card of a bundle, or raise BundleError."""
    try:
        return ModelCard.from_json(read_json(folder / "card.json"))
    except CardError as error:
        raise BundleError(
            f"bundle {folder.name}: card.json is damaged ({error})", "card.json", error.field
        ) from error
    except ValueError as error:
        raise BundleError(
            f"bundle {folder.name}: card.json is damaged (no JSON: {error})", "card.json"
        ) from error


def read_features(folder: Path, card: ModelCard) -> FeatureConfig:
    """Read the features of a bundle, or raise BundleError."""
    try:
        values = read_json(folder / "features.json")
        features = FeatureConfig.from_json(values)
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"bundle {card.name}: {error}", "features.json", getattr(error, "field", "")
        ) from error
    # The hash in the file may contain a former name of a block, and so may the card's.
    if card.feature_hash not in (features.hash, values["hash"]):
        raise BundleError(
            f"bundle {card.name}: features.json is not the one of its card",
            "card.json",
            "feature_hash",
        )
    return features


def load_network(folder: Path, name: str, threads: int) -> ort.InferenceSession:
    """Load the network of a bundle, or raise BundleError."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    try:
        return ort.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's errors have no common class
        raise BundleError(
            f"bundle {name}: model.onnx cannot be loaded ({error})", "model.onnx"
        ) from error
