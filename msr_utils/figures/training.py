"""Figures of trainings and searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from msr_utils.constants import TARGETS
from msr_utils.style import COLOURS, GREY


def training_history(history: pd.DataFrame, target: str) -> Figure:
    """Loss and mean absolute error per epoch: the paper's figures 1 and 2.

    Thin lines are single trainings, thick ones their mean while all of them run.
    """
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.6))
    tested = history[history.fold > 0]
    trainings = tested.groupby(["fold", "network"])
    for ax, metric, label in zip(
        axes, ("loss", "mae"), ("mean squared error", "mean absolute error"), strict=True
    ):
        for prefix, name, style in (("", "training", "-"), ("val_", "validation", "--")):
            colour = COLOURS[target] if prefix else GREY
            for _, one in trainings:
                ax.plot(one.epoch, one[prefix + metric], style, color=colour, lw=0.7, alpha=0.35)
            by_epoch = tested.groupby("epoch")[prefix + metric].agg(["mean", "count"])
            mean = by_epoch[by_epoch["count"] == trainings.ngroups]["mean"]
            ax.plot(mean.index, mean, style, color=colour, lw=2.2, label=name)
        ax.set(xlabel="epoch", ylabel=f"{label} of {target}", ylim=(0, None))
        ax.xaxis.get_major_locator().set_params(integer=True)
    axes[0].legend()
    return figure


def learning_curves(histories: pd.DataFrame) -> Figure:
    """Loss per epoch of every model, a panel each: training (dotted) and validation.

    Lines are medians over folds and networks while at least half of them train, bands their
    quartiles.

    Parameters
    ----------
    histories : pandas.DataFrame
        From `msr_utils.evaluation.runs.load_histories`.
    """
    names = list(dict.fromkeys(histories.model))
    rows = -(-len(names) // 3)
    figure, axes = plt.subplots(
        rows, 3, figsize=(9.5, 2.5 * rows + 0.6), sharey=True, squeeze=False
    )
    for ax, name in zip(axes.flat, names, strict=False):
        for target in TARGETS:
            trainings = histories[(histories.model == name) & (histories.target == target)]
            running = trainings.groupby("epoch").epoch.transform("size")
            epochs = trainings[2 * running >= running.max()].groupby("epoch")
            colour = COLOURS[target]
            low, middle, high = (epochs.val_loss.quantile(q) for q in (0.25, 0.5, 0.75))
            ax.fill_between(middle.index, low, high, color=colour, alpha=0.2, lw=0)
            ax.plot(middle.index, middle, color=colour, label=f"{target}, validation")
            ax.plot(epochs.loss.median(), ":", color=colour, label=f"{target}, training")
        ax.set(title=name, yscale="log")
        ax.xaxis.get_major_locator().set_params(integer=True)
    for ax in axes.flat[len(names) :]:
        ax.set_axis_off()
    for ax in axes[:, 0]:
        ax.set_ylabel("mean squared error")
    for ax in axes.flat[: len(names)]:
        ax.set_xlabel("epoch")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def search_importances(importances: Mapping[str, float]) -> Figure:
    """Share of each hyperparameter in the variance of the loss, from `search.importances`."""
    names = list(importances)
    figure, ax = plt.subplots(figsize=(6.5, 0.36 * len(names) + 1.2))
    ax.barh([name.replace("_", " ") for name in names], list(importances.values()), color=GREY)
    ax.set(xlabel="share of the variance of the log loss", xlim=(0, 1))
    ax.invert_yaxis()
    return figure


def search_slices(table: pd.DataFrame, names: Sequence[str], target: str) -> Figure:
    """Validation loss of every trial against each hyperparameter; crosses are pruned trials.

    Parameters
    ----------
    table : pandas.DataFrame
        From `search.trial_table`.
    names : sequence of str
        Its columns to draw.
    target : str
        For the colour.
    """
    columns = 4
    rows = -(-len(names) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(11, 2.7 * rows), sharey=True, squeeze=False)
    table = table[table.loss.notna()]
    for ax, name in zip(axes.flat, names, strict=False):
        values = table[name]
        if name == "learning_rate":
            ax.set_xscale("log")
        elif not pd.api.types.is_float_dtype(values):  # choices stand at equal distances
            choices = sorted(set(values))
            values = values.map(choices.index)
            texts = [str(c) for c in choices]
            long = max(map(len, texts)) > 8
            ax.set_xticks(
                range(len(choices)),
                [t.replace(",", "\n") for t in texts],
                fontsize="x-small" if long else "small",
            )
            ax.set_xlim(-0.5, len(choices) - 0.5)
        for state, marker in (("pruned", "x"), ("complete", "o")):
            in_state = table.state == state
            colour = COLOURS[target] if state == "complete" else GREY
            ax.scatter(
                values[in_state], table.loss[in_state], s=22, marker=marker, color=colour, alpha=0.7
            )
        ax.set_xlabel(name.replace("_", " "))
    for ax in axes[:, 0]:
        ax.set(ylabel="validation MSE", yscale="log")  # one bad trial would hide the others
    for ax in axes.flat[len(names) :]:
        ax.set_visible(False)
    return figure


def penalties(history: pd.DataFrame, target: str) -> Figure:
    """Validation error of a linear model against its penalty, a line a split."""
    figure, ax = plt.subplots(figsize=(6, 3.4))
    for _, one in history[history.fold > 0].groupby("fold"):
        ax.semilogx(one.alpha, one.val_loss, "o-", color=COLOURS[target], ms=3, lw=1, alpha=0.7)
    ax.set(xlabel="penalty", ylabel=f"mean squared error of {target}")
    return figure
