"""Figures of the chapter on generation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from msr_utils.figures.marks import mark_estimate
from msr_utils.metrics.estimate import Estimate
from msr_utils.style import COLOURS, GREY

if TYPE_CHECKING:
    from msr_utils.experiments.generation.evaluation import Arcs, Copying

DIMENSIONS = ("valence", "arousal")


def generation_accuracy(
    rows: Mapping[str, Mapping[str, Estimate]], targets: Mapping[str, float]
) -> Figure:
    """Accuracy of each kind of pieces with 95 % intervals, and what was asked for as a line.

    Parameters
    ----------
    rows : mapping of pieces to target to Estimate
    targets : mapping of target to float
    """
    figure, axes = plt.subplots(1, len(targets), figsize=(10, 0.4 * len(rows) + 1.2), sharey=True)
    for ax, (target, goal) in zip(axes, targets.items(), strict=True):
        for y, row in enumerate(rows.values()):
            mark_estimate(ax, row[target], y, COLOURS.get(target, GREY), line_width=2.5, ms=5)
        ax.axvline(goal, color=GREY, ls="--", lw=1)
        ax.set(xlabel=f"accuracy of {target}", xlim=(0, 1))
    axes[0].set_yticks(range(len(rows)), list(rows), fontsize="small")
    axes[0].invert_yaxis()
    return figure


def asked_and_heard(asked: np.ndarray, heard: np.ndarray) -> Figure:
    """Heard against asked values of both dimensions.

    Parameters
    ----------
    asked, heard : np.ndarray [shape=(N, 2)]
        Valence and arousal.
    """
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True)
    for k, (ax, name) in enumerate(zip(axes, DIMENSIONS, strict=True)):
        levels = np.unique(asked[:, k].round(6))
        means = [heard[np.isclose(asked[:, k], level), k].mean() for level in levels]
        ax.plot(asked[:, k], heard[:, k], "o", color=COLOURS[name], alpha=0.35, ms=4)
        ax.plot(levels, means, "-", color=COLOURS[name], lw=2)
        ax.set(xlabel=f"asked {name}", xlim=(-1, 1), ylim=(-1, 1))
    axes[0].set_ylabel("heard")
    return figure


def generated_arcs(arcs: Arcs) -> Figure:
    """Asked and heard courses, one panel an arc."""
    columns = 3
    rows = -(-len(arcs.asked) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(10, 2.4 * rows), sharex=True, sharey=True, squeeze=False
    )
    for ax, (name, asked) in zip(axes.flat, arcs.asked.items(), strict=False):
        times = (np.arange(len(asked)) + 1) / 2
        for k, dimension in enumerate(DIMENSIONS):
            ax.plot(times, asked[:, k], "--", color=COLOURS[dimension], lw=1)
            ax.plot(times, arcs.heard[name][:, k], color=COLOURS[dimension], label=dimension)
        ax.set_title(name, fontsize="small")
    for ax in axes[-1]:
        ax.set_xlabel("seconds")
    axes[0, 0].legend(fontsize="small")
    return figure


def copied_runs(copying: Copying) -> Figure:
    """How many pieces share a run of so many notes, or a longer one, with a training piece."""
    figure, ax = plt.subplots(figsize=(6, 3))
    for name, runs, style in (
        ("generated", copying.generated, "-"),
        ("real, not trained on", copying.real, "--"),
    ):
        ordered = np.sort(runs)
        ax.step(ordered, 1 - np.arange(len(ordered)) / len(ordered), style, label=name)
    ax.set(xlabel="notes", ylabel="share of pieces", xscale="log", ylim=(0, 1))
    ax.legend()
    return figure


def generator_losses(histories: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Loss in each round of training, one line a training.

    Parameters
    ----------
    histories : mapping of name to sequence of mapping
        With ``loss`` and maybe ``validation_loss``.
    """
    figure, ax = plt.subplots(figsize=(6, 3))
    for name, history in histories.items():
        rounds = range(1, len(history) + 1)
        (line,) = ax.plot(rounds, [row["loss"] for row in history], "o-", ms=3, label=name)
        if history and "validation_loss" in history[0]:
            values = [row["validation_loss"] for row in history]
            ax.plot(rounds, values, "--", color=line.get_color(), label=f"{name}, validation")
    ax.set(xlabel="round", ylabel="loss (nats a note)")
    if histories:
        ax.legend(fontsize="small")
    return figure
