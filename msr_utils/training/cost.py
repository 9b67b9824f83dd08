"""What a trained model costs."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class TrainingCost:
    """What a model costs.

    Parameters
    ----------
    parameters : int
        Trainable ones.
    inference_ms_per_minute : float
        Of the mean of all networks, for one minute of features.
    training_s : float, optional
        Of all networks together, whenever they were trained. A linear model has none.
    seconds_per_epoch, epochs : float, optional
        Of one network.
    """

    parameters: int
    inference_ms_per_minute: float
    training_s: float | None = None
    seconds_per_epoch: float | None = None
    epochs: float | None = None

    def to_json(self) -> dict[str, float]:
        """What was measured, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}
