"""Figures of clips, ablation, cost and text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import ColorType

from msr_utils.constants import FRAME_RATE_HZ
from msr_utils.experiments.ablation import BASE, AblationResult
from msr_utils.figures.marks import mark_estimate
from msr_utils.metrics.reliability import CEILING
from msr_utils.style import COLOURS, GREY


def clip_scores(results: Mapping, ceiling: Mapping[str, float] | None) -> Figure:
    """Scores of models of whole clips with 95 % intervals.

    Parameters
    ----------
    results : mapping
        From `msr_utils.experiments.clip_scores.evaluate`: a panel for r of every emotion with all models in it,
        or one for each score of the quadrants with a row a model.
    ceiling : mapping of emotion to r, optional
        Drawn as a black bar.
    """
    scores = results["scores"]
    if ceiling is None:
        panels = {
            f"{metric.upper() if metric == 'auc' else metric} of {target}": (metric, target)
            for metric, targets in next(iter(scores.values())).items()
            for target in targets
        }
        rows = {model: model for model in scores}
        figure, axes = plt.subplots(
            1, len(panels), figsize=(10, 0.42 * len(rows) + 1.2), sharey=True
        )
        for ax, (label, (metric, target)) in zip(axes, panels.items(), strict=True):
            for y, model in enumerate(rows):
                _interval(ax, scores[model][metric][target], y, COLOURS.get(target, GREY))
            ax.set(xlabel=label)
        labelled = axes[0]
    else:
        rows = {name: name.replace("_", " ") for name in ceiling}
        figure, labelled = plt.subplots(figsize=(9, 0.75 * len(rows) + 1.2))
        drawn_models = [m for m in scores if np.isfinite(scores[m]["r"]["mean"]["value"])]
        for offset, model, colour in zip(
            np.linspace(-0.33, 0.33, len(drawn_models)),
            drawn_models,
            sns.color_palette("colorblind", len(drawn_models)),
            strict=True,
        ):
            for y, name in enumerate(rows):
                label = model if y == 0 else None
                _interval(labelled, scores[model]["r"][name], y + offset, colour, label)
        for y, best in enumerate(ceiling.values()):
            label = CEILING if y == 0 else None
            labelled.plot([best, best], [y - 0.4, y + 0.4], color="black", lw=2, label=label)
        labelled.set(xlabel="Pearson r over clips", xlim=(None, 1))
        labelled.legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))
    labelled.set_yticks(range(len(rows)), list(rows.values()))
    labelled.invert_yaxis()
    return figure


def _interval(
    ax: Axes, found: Mapping, y: float, colour: ColorType, label: str | None = None
) -> None:
    """One score as a dot, its interval as a line."""
    if np.isfinite(found["low"]):
        ax.plot([found["low"], found["high"]], [y, y], color=colour, lw=2.5, alpha=0.5)
    ax.plot(found["value"], y, "o", ms=4.5, color=colour, label=label)


def ablation(
    results: Sequence[AblationResult], columns: Sequence[tuple[str, str]] = (("r", "Pearson r"),)
) -> Figure:
    """Differences of each variant from the base, with 95 % intervals; grey where 0 is inside.

    A variant that diverged has no difference, and its row says so.

    Parameters
    ----------
    results : sequence of AblationResult
        One for each target.
    columns : sequence of (metric, label)
        A panel each, for each target.
    """
    differences = [
        {f"{v.group}: {v.name}": v.difference for v in result.variants if v.group != BASE}
        for result in results
    ]
    names = list(dict.fromkeys(name for of_target in differences for name in of_target))
    panels = [(r.target, d, *c) for r, d in zip(results, differences, strict=True) for c in columns]
    figure, axes = plt.subplots(
        1, len(panels), figsize=(9.5, 0.27 * len(names) + 1.2), sharey=True, squeeze=False
    )
    for ax, (target, of_target, metric, label) in zip(axes[0], panels, strict=True):
        for name, difference in of_target.items():
            y = names.index(name)
            if difference is None:
                ax.annotate(
                    "diverged", (0.02, y), xycoords=("axes fraction", "data"), va="center",
                    fontsize="x-small", color=GREY,
                )  # fmt: skip
                continue
            d = difference[metric]
            colour = COLOURS[target] if d.low > 0 or d.high < 0 else GREY
            mark_estimate(ax, d, y, colour, line_width=1.6, line_alpha=None, ms=5)
        ax.axvline(0, color=GREY, lw=0.8)
        ax.set(xlabel=f"{label} of {target} − base")
    axes[0, 0].set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5))
    return figure


def cost_growth(table: pd.DataFrame) -> Figure:
    """Time and memory against length on logarithmic axes, inference and training.

    Grey: what would grow linearly and with the square, from the networks' mean at the start.

    Parameters
    ----------
    table : pandas.DataFrame
        As `msr_utils.experiments.network_cost.long_table` gives it.
    """
    kinds = list(dict.fromkeys(table.work))
    quantities = {"seconds": (1000, "time (ms)"), "peak_mb": (1, "memory taken (MB)")}
    figure, axes = plt.subplots(2, len(kinds), figsize=(9.5, 7), sharex=True, sharey="row")
    palette = list(COLOURS.values()) + ["#009E73", "#CC79A7"]
    for row, (quantity, (factor, label)) in zip(axes, quantities.items(), strict=True):
        for ax, work in zip(row, kinds, strict=True):
            own = table[table.work == work]
            for colour, (name, part) in zip(
                palette, own.groupby("network", sort=False), strict=False
            ):
                ax.plot(
                    part.frames / FRAME_RATE_HZ,
                    factor * part[quantity],
                    "o-",
                    color=colour,
                    label=name,
                )
            if quantity == "seconds":
                length = np.sort(own.frames.unique())
                start = factor * own[own.frames == length[0]].seconds.mean()
                for power, style, slope in ((1, ":", "linear"), (2, "-.", "quadratic")):
                    curve = start * (length / length[0]) ** power
                    ax.plot(length / FRAME_RATE_HZ, curve, style, color=GREY, lw=1, label=slope)
            ax.set(xscale="log", yscale="log", title=work if quantity == "seconds" else "")
            ticks = own.frames.unique() / FRAME_RATE_HZ
            ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            ax.minorticks_off()
        row[0].set_ylabel(label)
    for ax in axes[-1]:
        ax.set_xlabel("length of the audio (s)")
    axes[0, 0].legend(fontsize="x-small")
    return figure


def fusion_scores(result: Mapping) -> Figure:
    """Scores of audio, text and both with 95 % intervals, a panel a label; ceilings dashed.

    Parameters
    ----------
    result : mapping
        As `msr_utils.experiments.text_fusion.compare` gives it.
    """
    scores = result["scores"]
    # The table has the constant, whose correlation tells the folds apart and nothing else.
    order = [name for name in next(iter(scores.values())) if name != "constant"]
    columns = min(3, len(scores))
    rows = -(-len(scores) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(10, rows * (0.3 * len(order) + 1.2)), sharey=True, squeeze=False
    )
    for ax, (target, own) in zip(axes.flat, scores.items(), strict=False):
        for y, name in enumerate(order):
            colour = (
                GREY if name == "audio" else COLOURS["arousal" if "audio" in name else "valence"]
            )
            ax.plot([own[name]["low"], own[name]["high"]], [y, y], color=colour, lw=2.5, alpha=0.5)
            ax.plot(own[name]["value"], y, "o", color=colour)
        if "audio" in own:
            ax.axvline(own["audio"]["value"], color=GREY, lw=1, ls=":")
        if target in result["ceiling"]:
            ax.axvline(result["ceiling"][target], color=GREY, lw=1, ls="--")
        ax.set(title=target.replace("_", " "), yticks=range(len(order)))
        ax.set_yticklabels(order, fontsize="small")
        ax.set_xlabel({"auc": "area under the ROC curve", "r": "Pearson r"}[result["metric"]])
    for ax in axes.flat[len(scores) :]:
        ax.set_visible(False)
    axes[0, 0].invert_yaxis()
    return figure
