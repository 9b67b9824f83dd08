"""Figures of the recognition on notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from msr_utils.figures.marks import mark_estimate
from msr_utils.metrics.estimate import Estimate
from msr_utils.style import COLOURS, GREY


def symbolic_scores(
    scores: Mapping[str, Mapping[str, Estimate]], published: Mapping[str, Sequence[float]]
) -> Figure:
    """Accuracy of every row with 95 % intervals, and published rows below.

    Parameters
    ----------
    scores : mapping of row to target to Estimate
    published : mapping of row to sequence of float
        In the order of `msr_utils.experiments.symbolic.scores.TARGETS`.
    """
    # Here, so that other figures do not wait for TensorFlow.
    from msr_utils.experiments.symbolic.scores import TARGETS

    names = [*scores, *(f"published: {name}" for name in published)]
    figure, axes = plt.subplots(1, len(TARGETS), figsize=(10, 0.32 * len(names) + 1.2), sharey=True)
    for k, (ax, target) in enumerate(zip(axes, TARGETS, strict=True)):
        for y, row in enumerate(scores.values()):
            mark_estimate(ax, row[target], y, COLOURS.get(target, GREY), line_width=2.5, ms=4.5)
        for y, values in enumerate(published.values(), len(scores)):
            mark_estimate(ax, Estimate(values[k]), y, GREY, "s", ms=4.5)
        ax.set(xlabel=f"accuracy of {target}")
    axes[0].set_yticks(range(len(names)), names, fontsize="small")
    axes[0].invert_yaxis()
    return figure


def pretraining_loss(losses: Mapping[str, Sequence[float]]) -> Figure:
    """Loss of pretraining over its steps, one line a network."""
    from msr_utils.training.note_training import ROUND

    figure, ax = plt.subplots(figsize=(6, 3))
    for name, values in losses.items():
        ax.plot([ROUND * (k + 1) for k in range(len(values))], values, "o-", ms=4, label=name)
    ax.set(xlabel="steps", ylabel="loss (nats a note)")
    ax.legend()
    return figure
