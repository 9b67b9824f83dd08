"""Figures of clip and song models, ablation, cost and text fusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import ColorType

from msr_utils.constants import FRAME_RATE_HZ, TARGETS
from msr_utils.experiments.ablation_results import BASE, AblationResult
from msr_utils.experiments.clip_scores import ClipScores, MetricEstimates
from msr_utils.experiments.joint_models import JointComparison
from msr_utils.experiments.lyrics_scores import LyricsComparison
from msr_utils.experiments.pretrained_blocks import BlockComparison
from msr_utils.experiments.song_models import SONG_RATING, SongComparison
from msr_utils.experiments.text_scores import AUDIO, CONSTANT, TextComparison
from msr_utils.figures.marks import mark_estimate
from msr_utils.metrics.estimate import Estimate
from msr_utils.metrics.reliability import CEILING
from msr_utils.metrics.scores import metric_title
from msr_utils.style import COLOURS, GREY


def clip_scores(
    results: ClipScores | BlockComparison, ceiling: Mapping[str, float] | None
) -> Figure:
    """Scores of models of whole clips with 95 % intervals.

    Parameters
    ----------
    results : ClipScores or BlockComparison
        Quadrants: a panel for each metric, with a row for each model or set of blocks. Emotions:
        one panel for r, with all models in the row of each emotion.
    ceiling : mapping of emotion to r, optional
        Drawn as black bars. None for quadrants.
    """
    if ceiling is None:
        return _quadrant_scores(results.scores)
    return _emotion_scores(results.scores, ceiling)


def _quadrant_scores(scores: Mapping[str, MetricEstimates]) -> Figure:
    panels = [
        (metric, target)
        for metric, targets in next(iter(scores.values())).items()
        for target in targets
    ]
    figure, axes = plt.subplots(1, len(panels), figsize=(10, 0.42 * len(scores) + 1.2), sharey=True)
    for ax, (metric, target) in zip(axes, panels, strict=True):
        for y, model in enumerate(scores):
            _interval(ax, scores[model][metric][target], y, COLOURS.get(target, GREY))
        ax.set(xlabel=f"{metric_title(metric)} of {target}")
    axes[0].set_yticks(range(len(scores)), list(scores))
    axes[0].invert_yaxis()
    return figure


def _emotion_scores(scores: Mapping[str, MetricEstimates], ceiling: Mapping[str, float]) -> Figure:
    figure, ax = plt.subplots(figsize=(9, 0.75 * len(ceiling) + 1.2))
    models = [model for model in scores if np.isfinite(scores[model]["r"]["mean"].value)]
    for offset, model, colour in zip(
        np.linspace(-0.33, 0.33, len(models)),
        models,
        sns.color_palette("colorblind", len(models)),
        strict=True,
    ):
        for y, emotion in enumerate(ceiling):
            label = model if y == 0 else None
            _interval(ax, scores[model]["r"][emotion], y + offset, colour, label)
    for y, best_r in enumerate(ceiling.values()):
        label = CEILING if y == 0 else None
        ax.plot([best_r, best_r], [y - 0.4, y + 0.4], color="black", lw=2, label=label)
    ax.set(xlabel="Pearson r over clips", xlim=(None, 1))
    ax.legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))
    ax.set_yticks(range(len(ceiling)), [emotion.replace("_", " ") for emotion in ceiling])
    ax.invert_yaxis()
    return figure


def song_scores(comparison: SongComparison) -> Figure:
    """R2 of models of songs with 95 % intervals, a panel for each kind of label.

    Dotted: R2 that others published.
    """
    labels = comparison.scores
    rows = list(next(iter(labels.values())))
    figure, axes = plt.subplots(
        1, len(labels), figsize=(10, 0.42 * len(rows) + 1.2), sharey=True, squeeze=False
    )
    for ax, (label, scores) in zip(axes[0], labels.items(), strict=True):
        for target, offset in (("valence", -0.15), ("arousal", 0.15)):
            for y, name in enumerate(rows):
                estimate = scores[name]["r2"][target]
                _interval(ax, estimate, y + offset, COLOURS[target], None if y else target)
            for r2 in comparison.published.values() if label == SONG_RATING else ():
                ax.axvline(r2[target], color=COLOURS[target], lw=1, ls=":")
        ax.set(title=label, xlabel="R2 over songs")
    axes[0, 0].set_yticks(range(len(rows)), rows)
    axes[0, 0].invert_yaxis()
    axes[0, 0].legend(fontsize="x-small", loc="lower left")
    return figure


def lyrics_scores(comparison: LyricsComparison) -> Figure:
    """Pearson r of each input with 95 % intervals, a panel for each target. Dotted: audio alone."""
    rows = [name for name in comparison.scores if name != CONSTANT]
    figure, axes = plt.subplots(1, len(TARGETS), figsize=(10, 0.42 * len(rows) + 1.2), sharey=True)
    for ax, target in zip(axes, TARGETS, strict=True):
        for y, name in enumerate(rows):
            _interval(ax, comparison.scores[name]["r"][target], y, COLOURS[target])
        ax.axvline(comparison.scores[AUDIO]["r"][target].value, color=GREY, lw=1, ls=":")
        ax.set(title=target, xlabel=metric_title("r"))
    axes[0].set_yticks(range(len(rows)), rows)
    axes[0].invert_yaxis()
    return figure


def joint_differences(comparison: JointComparison) -> Figure:
    """Each model minus the linear one with 95 % intervals, a panel for each metric of a corpus."""
    panels = [
        (corpus, metric)
        for corpus, models in comparison.above.items()
        for metric in next(iter(models.values()))
    ]
    figure, axes = plt.subplots(
        1, len(panels), figsize=(2.6 * len(panels), 2.4), sharey=True, squeeze=False
    )
    for ax, (corpus, metric) in zip(axes[0], panels, strict=True):
        models = comparison.above[corpus]
        for y, rows in enumerate(models.values()):
            for k, (target, estimate) in enumerate(rows[metric].items()):
                _interval(
                    ax, estimate, y + 0.2 * k, COLOURS.get(target, GREY), None if y else target
                )
        ax.axvline(0, color=GREY, lw=0.8)
        ax.set_xlabel(f"{metric_title(metric)} − linear\n{corpus[:24]}", fontsize="small")
        ax.locator_params(axis="x", nbins=4)
        ax.tick_params(axis="x", labelsize="small")
        ax.legend(fontsize="x-small")
    axes[0, 0].set_yticks(range(len(models)), list(models))
    axes[0, 0].invert_yaxis()
    return figure


def _interval(
    ax: Axes, estimate: Estimate, y: float, colour: ColorType, label: str | None = None
) -> None:
    """One score as a dot, its interval as a line."""
    if np.isfinite(estimate.low):
        ax.plot([estimate.low, estimate.high], [y, y], color=colour, lw=2.5, alpha=0.5)
    ax.plot(estimate.value, y, "o", ms=4.5, color=colour, label=label)


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

    Grey: linear and quadratic growth, from the mean of the networks at the shortest length.

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
            of_work = table[table.work == work]
            for colour, (name, part) in zip(
                palette, of_work.groupby("network", sort=False), strict=False
            ):
                ax.plot(
                    part.frames / FRAME_RATE_HZ,
                    factor * part[quantity],
                    "o-",
                    color=colour,
                    label=name,
                )
            if quantity == "seconds":
                length = np.sort(of_work.frames.unique())
                start = factor * of_work[of_work.frames == length[0]].seconds.mean()
                for power, style, slope in ((1, ":", "linear"), (2, "-.", "quadratic")):
                    curve = start * (length / length[0]) ** power
                    ax.plot(length / FRAME_RATE_HZ, curve, style, color=GREY, lw=1, label=slope)
            ax.set(xscale="log", yscale="log", title=work if quantity == "seconds" else "")
            ticks = of_work.frames.unique() / FRAME_RATE_HZ
            ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            ax.minorticks_off()
        row[0].set_ylabel(label)
    for ax in axes[-1]:
        ax.set_xlabel("length of the audio (s)")
    axes[0, 0].legend(fontsize="x-small")
    return figure


def fusion_scores(comparison: TextComparison) -> Figure:
    """Scores of audio, text and both with 95 % intervals, a panel for each target.

    Dotted: audio alone. Dashed: the ceiling, where it is known. The constant is left out: its
    correlation only tells the folds apart.
    """
    scores = comparison.scores
    inputs = [name for name in next(iter(scores.values())) if name != CONSTANT]
    columns = min(3, len(scores))
    rows = -(-len(scores) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(10, rows * (0.3 * len(inputs) + 1.2)), sharey=True, squeeze=False
    )
    for ax, (target, by_input) in zip(axes.flat, scores.items(), strict=False):
        for y, name in enumerate(inputs):
            colour = COLOURS["arousal" if AUDIO in name else "valence"]
            _interval(ax, by_input[name], y, GREY if name == AUDIO else colour)
        if AUDIO in by_input:
            ax.axvline(by_input[AUDIO].value, color=GREY, lw=1, ls=":")
        if target in comparison.ceiling:
            ax.axvline(comparison.ceiling[target], color=GREY, lw=1, ls="--")
        ax.set(title=target.replace("_", " "), yticks=range(len(inputs)))
        ax.set_yticklabels(inputs, fontsize="small")
        ax.set_xlabel({"auc": "area under the ROC curve", "r": "Pearson r"}[comparison.metric])
    for ax in axes.flat[len(scores) :]:
        ax.set_visible(False)
    axes[0, 0].invert_yaxis()
    return figure
