"""Figures of the chapter that adds harmony and the past one at a time."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from msr_utils.constants import TARGETS
from msr_utils.experiments.isolation import (
    INPUT_STEPS,
    PAST_STEPS,
    Isolation,
    Setting,
    Uncertain,
)
from msr_utils.figures.marks import mark_estimate
from msr_utils.metrics.scores import metric_title
from msr_utils.style import COLOURS, GREY


def isolated_scores(found: Isolation) -> Figure:
    """Pearson r of growing features and of a growing past, with both kinds of intervals."""
    series: list[tuple[str, Sequence[Setting], list[str]]] = [
        ("features grow", INPUT_STEPS, [setting.inputs for setting in INPUT_STEPS]),
        ("the past grows", PAST_STEPS, [setting.past for setting in PAST_STEPS]),
    ]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharex=True)
    for ax, (title, settings, names) in zip(axes, series, strict=True):
        for offset, target in zip((-0.13, 0.13), TARGETS, strict=True):
            for y, setting in enumerate(settings):
                _both_intervals(ax, found.scores[target][str(setting)], y + offset, target)
        ax.set(xlabel="Pearson r", title=title)
        ax.set_yticks(range(len(names)), names)
        ax.invert_yaxis()
    for target in TARGETS:
        axes[0].plot([], [], "o", ms=4.5, color=COLOURS[target], label=target)
    axes[0].legend(fontsize="small", loc="lower left")
    return figure


def _both_intervals(ax: Axes, scores: Uncertain, y: float, target: str) -> None:
    by_song, by_group = scores.songs.pooled["r"], scores.groups["r"]
    mark_estimate(ax, by_song, y, COLOURS[target], ms=4.5, line_width=3.5)
    if np.isfinite(by_group.low):
        ax.plot([by_group.low, by_group.high], [y, y], color=COLOURS[target], lw=0.9)


def left_out_groups(found: Isolation) -> Figure:
    """RMSE and Pearson r in each group that was left out, largest groups first."""
    order = sorted(found.group_songs, key=lambda name: -found.group_songs[name])
    place = list(found.group_songs)
    figure, axes = plt.subplots(1, 2, figsize=(9, 0.3 * len(order) + 1.2), sharey=True)
    for ax, metric in zip(axes, ("rmse", "r"), strict=True):
        for target in TARGETS:
            scores = found.left_out[target]
            values = [scores.folds[place.index(name)][metric] for name in order]
            ax.plot(values, range(len(order)), "o", ms=4.5, color=COLOURS[target], label=target)
            pooled = scores.songs.pooled[metric].value
            ax.axvline(pooled, color=COLOURS[target], lw=1, alpha=0.6)
        ax.set(xlabel=metric_title(metric) if metric != "r" else "Pearson r")
    axes[1].axvline(0, color=GREY, lw=0.6)
    axes[0].set_yticks(range(len(order)), [f"{n} ({found.group_songs[n]})" for n in order])
    axes[0].invert_yaxis()
    axes[0].legend(fontsize="small")
    return figure
