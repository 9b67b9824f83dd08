"""What a model is trained and tested on."""

from __future__ import annotations

from dataclasses import dataclass

from msr_utils.dataset.splits import Split
from msr_utils.models.families import ModelConfig
from msr_utils.models.linear import LinearConfig


@dataclass(frozen=True)
class CrossValidation:
    """What a model is trained and tested on.

    Parameters
    ----------
    splits : sequence of Split
        Every split gives one model, which is tested on its test tracks.
    target : str
        "valence" or "arousal".
    window_frames : int > 0
        Length of training excerpts.
    inner_folds : int >= 1
        1: the split's validation part stops each training early, as in the paper. More: training
        and validation tracks are divided by group into so many folds, and network k holds out
        inner fold k for early stopping. Where groups are few, a single part says little and a
        single network varies much [1]_.
    seeds : int >= 1
        Networks on each split; the model is their mean. At least `inner_folds`. A linear model is
        solved, not trained: one is enough, and this is ignored.
    to_export : bool
        With several splits, also train a model on all groups. The scores then estimate that model
        from models that were trained on less. Without it, the last split's model is given.

    References
    ----------
    .. [1] Krogh and Vedelsby (1995), "Neural network ensembles, cross validation, and active
       learning", NIPS 7.
    """

    splits: tuple[Split, ...]
    target: str
    window_frames: int
    inner_folds: int = 1
    seeds: int = 1
    to_export: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "splits", tuple(self.splits))
        if self.seeds < 1:
            raise ValueError(f"seeds: must be at least 1, not {self.seeds}")

    def check(self, config: ModelConfig) -> None:
        """Check that a model can be trained in this way.

        Raises
        ------
        ValueError
            If there are fewer networks than inner folds, or windows are shorter than the model's
            longest input.
        """
        if isinstance(config, LinearConfig):
            return
        if self.seeds < self.inner_folds:
            raise ValueError(
                f"seeds: {self.seeds} networks for {self.inner_folds} inner folds; make seeds at "
                "least inner_folds"
            )
        longest = longest_input(config)
        if longest and longest > self.window_frames:
            raise ValueError(
                f"max_frames: {longest} positions, but windows of {self.window_frames} frames "
                "train only the first of them; make window_frames as long"
            )


def longest_input(config: ModelConfig) -> int | None:
    """Longest input of a model in frames; None: any."""
    return getattr(config, "max_frames", None)
