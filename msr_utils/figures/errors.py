"""Figures of the error analysis, of occlusion and of robustness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Track
from msr_utils.experiments.error_analysis.analysis import ErrorAnalysis
from msr_utils.experiments.error_analysis.decomposition import WITHIN_PIECE, Decomposition
from msr_utils.experiments.occlusion import NO_PART, ContextChange, PartChange, PartLoss
from msr_utils.experiments.robustness import AlterationEffect
from msr_utils.figures.marks import mark_estimate
from msr_utils.metrics.curves import Curve
from msr_utils.style import COLOURS, GREY

COMPONENT_ALPHA = {"corpus": 0.25, "series": 0.5, "piece": 1.0, WITHIN_PIECE: 0.35}
"""Opacity of each component's bar."""

MIN_LABELLED_SHARE = 0.045
"""Narrower bars have no room for a label."""


def error_components(analyses: Mapping[str, ErrorAnalysis]) -> Figure:
    """Components of the squared error, a bar a target, with rater noise hatched."""
    figure, ax = plt.subplots(figsize=(9.5, 2.6))
    for y, (target, analysis) in enumerate(analyses.items()):
        _component_bar(ax, analysis.decomposition, y, COLOURS[target])
    ax.set_yticks(range(len(analyses)), list(analyses))
    ax.set(xlim=(0, 1), xlabel="share of the mean squared error")
    ax.grid(False)
    handles, labels = ax.get_legend_handles_labels()
    if handles:
        ax.legend(
            handles[:1],
            labels[:1],
            loc="upper left",
            bbox_to_anchor=(0, 1.25),
            fontsize="small",
            facecolor=GREY,
            labelcolor="white",
        )
    return figure


def _component_bar(ax: Axes, parts: Decomposition, y: float, colour: str) -> None:
    left = 0.0
    for name, part in parts.components.items():
        share, alpha = part.share.value, COMPONENT_ALPHA[name]
        ax.barh(y, share, left=left, color=colour, alpha=alpha, height=0.6)
        if share > MIN_LABELLED_SHARE:
            text_colour = "white" if alpha == 1 else "black"
            x = left + share / 2
            ax.text(x, y, name, ha="center", va="center", fontsize="small", color=text_colour)
        left += share
    # Noise is drawn at the right end of what it is a part of: the levels, then the movement.
    levels_end = left - parts.components[WITHIN_PIECE].share.value
    for mse, end in ((parts.noise.level, levels_end), (parts.noise.within_piece, left)):
        share = mse / parts.mse
        if np.isfinite(share):
            ax.barh(
                y, share, left=end - share, height=0.6, color="none", hatch="///",
                edgecolor="white", lw=0, label="rater noise",
            )  # fmt: skip


def stratum_scores(analyses: Mapping[str, ErrorAnalysis]) -> Figure:
    """RMSE, r and level error of each stratum with 95 % intervals, both targets in each panel."""
    first = next(iter(analyses.values())).strata
    order = [(row.by, row.stratum) for row in first]
    # A free line before each new way of sorting.
    breaks = np.cumsum([0] + [a[0] != b[0] for a, b in zip(order[1:], order[:-1], strict=True)])
    height = dict(zip(order, np.arange(len(order)) + breaks, strict=True))
    figure, axes = plt.subplots(
        1, 3, figsize=(11, 0.24 * (max(height.values()) + 1) + 1.2), sharey=True
    )
    labels = ("RMSE", "Pearson r", "level error (predicted - true)")
    for ax, metric, label in zip(axes, ("rmse", "r", "level"), labels, strict=True):
        for k, (target, analysis) in enumerate(analyses.items()):
            for row in analysis.strata:
                y = height[row.by, row.stratum] + 0.3 * (k - 0.5)
                mark_estimate(ax, getattr(row, metric), y, COLOURS[target], ".", label=target)
        ax.set_xlabel(label)
        ax.xaxis.set_major_locator(MaxNLocator(5))
    axes[2].axvline(0, color=GREY, lw=0.8)
    axes[0].set_yticks(
        list(height.values()),
        [f"{r.stratum} ({r.songs})" if r.by == "series" else f"{r.by}: {r.stratum} ({r.songs})"
         for r in first],
        fontsize="x-small",
    )  # fmt: skip
    axes[0].invert_yaxis()
    handles, names = axes[1].get_legend_handles_labels()
    unique = dict(zip(names, handles, strict=True))
    axes[0].margins(y=0.02)
    figure.legend(
        unique.values(), unique.keys(), fontsize="small", ncols=2, loc="outside upper right"
    )
    return figure


def level_cues(analyses: Mapping[str, ErrorAnalysis]) -> Figure:
    """Correlation of descriptors with rated level, predicted level and level error."""
    styles = {"rated": ("o", 1.0), "predicted": ("D", 0.5), "error": ("X", 1.0)}
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), sharey=True)
    for ax, (target, analysis) in zip(axes, analyses.items(), strict=True):
        rows = analysis.level_correlations
        for k, (what, (marker, alpha)) in enumerate(styles.items()):
            colour = "black" if what == "error" else COLOURS[target]
            for y, row in enumerate(rows):
                label = None if y else f"{what} level" if what != "error" else "level error"
                mark_estimate(
                    ax, getattr(row, what), y + 0.22 * (k - 1), colour, marker,
                    line_alpha=alpha / 2, alpha=alpha, ms=6, ls="", label=label,
                )  # fmt: skip
        ax.axvline(0, color=GREY, lw=0.8)
        ax.set(
            title=target, xlabel="Pearson r over pieces", xlim=(-1, 1), xticks=(-1, -0.5, 0, 0.5, 1)
        )
        ax.set_yticks(range(len(rows)), [row.descriptor for row in rows])
        ax.legend(fontsize="x-small")
    axes[0].invert_yaxis()
    return figure


def curves_by_rank(
    tracks: Sequence[Track], predictions: Mapping[str, Curve], target: str
) -> Figure:
    """Rated and predicted curves of one target, the first first. Ranks stand for names."""
    column = TARGETS.index(target)
    rows = (len(tracks) + 1) // 2
    figure, axes = plt.subplots(rows, 2, figsize=(10, 2.1 * rows), sharey=True, squeeze=False)
    for rank, (ax, track) in enumerate(zip(axes.flat, tracks, strict=False), 1):
        if track.ratings is not None:
            low, high = np.nanquantile(track.ratings[..., column], [0.25, 0.75], axis=0)
            ax.fill_between(track.times_s, low, high, color=COLOURS[target], alpha=0.18, lw=0)
        curve = predictions[track.id]
        ax.plot(curve.times_s, curve.true, color=COLOURS[target], lw=2, label="ratings")
        ax.plot(curve.times_s, curve.predicted, color="black", lw=1.1, label="predicted")
        ax.set(ylim=(-1, 1), xlim=(0, None))
        ax.set_title(f"rank {rank}", fontsize="small")
    for ax in axes.flat[len(tracks) :]:
        ax.set_visible(False)
    for ax in axes[:, 0]:
        ax.set_ylabel(target)
    for ax in axes[-1]:
        ax.set_xlabel("time (s)")
    axes[0, 0].legend(fontsize="x-small", ncols=2)
    return figure


def error_over_time(analyses: Mapping[str, ErrorAnalysis]) -> Figure:
    """RMSE by time since the start, and of the last seconds, beside the best constant's."""
    figure, ax = plt.subplots(figsize=(9, 3.6))
    for k, (target, analysis) in enumerate(analyses.items()):
        rows = analysis.over_time
        x = np.arange(len(rows)) + 0.1 * (k - 0.5)
        value, low, high = np.array([(r.rmse.value, r.rmse.low, r.rmse.high) for r in rows]).T
        ax.errorbar(
            x, value, [value - low, high - value], fmt="o", color=COLOURS[target], label=target
        )
        ax.plot(
            x, [r.constant_rmse for r in rows], "_", ms=14, color=COLOURS[target],
            label=f"{target}: best constant",
        )  # fmt: skip
    ax.set_xticks(range(len(rows)), [f"{r.when}\n({r.songs})" for r in rows], fontsize="small")
    ax.set(ylabel="RMSE", xlabel="time in the piece (pieces)", ylim=(0, None))
    ax.legend(fontsize="small", ncols=2)
    return figure


def movement(analyses: Mapping[str, ErrorAnalysis]) -> Figure:
    """r within pieces against delay, and pooled r against causal smoothing."""
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.4))
    for target, analysis in analyses.items():
        lags, smoothed = analysis.within.lags, analysis.smoothing
        style = {"color": COLOURS[target], "label": target}
        axes[0].plot([x.lag_s for x in lags], [x.r for x in lags], ".-", **style)
        if np.isfinite(analysis.within.half_r):
            axes[0].axhline(analysis.within.half_r, color=COLOURS[target], ls=":", lw=1)
        axes[1].plot([x.seconds for x in smoothed], [x.r for x in smoothed], ".-", **style)
    axes[0].axvline(0, color=GREY, lw=0.8)
    axes[0].set(xlabel="delay of the prediction (s)", ylabel="mean Pearson r within pieces")
    axes[1].set(xlabel="time constant of a causal average (s)", ylabel="Pearson r, pooled frames")
    axes[1].set_xscale("symlog", linthresh=2)
    axes[1].set_xticks([x.seconds for x in smoothed], [f"{x.seconds:g}" for x in smoothed])
    axes[1].legend(fontsize="small")
    return figure


def hidden_parts(
    changes: Sequence[PartChange], losses: Sequence[PartLoss], model_label: str = "network"
) -> Figure:
    """How far the curve moves when a part of the input is hidden, and what ridge loses by it."""
    order = list(dict.fromkeys(row.part for row in changes))
    figure, axes = plt.subplots(1, 2, figsize=(10, 0.34 * len(order) + 1.4), sharey=True)
    r = {(row.part, row.target): row.r.value for row in losses}
    change = {(row.part, row.target): row.change for row in changes}
    for k, target in enumerate(TARGETS):
        style = {"height": 0.38, "color": COLOURS[target], "label": target}
        y = np.arange(len(order)) + 0.4 * (k - 0.5)
        axes[0].barh(y, [change[part, target] for part in order], **style)
        axes[1].barh(y, [r[NO_PART, target] - r[part, target] for part in order], **style)
    axes[0].set_yticks(range(len(order)), order)
    axes[0].invert_yaxis()
    axes[0].set(xlabel="mean change of the curve", title=model_label)
    axes[1].set(xlabel="loss of Pearson r on test tracks", title="ridge regression")
    axes[0].legend(fontsize="small")
    return figure


def context_length(rows: Sequence[ContextChange]) -> Figure:
    """How far a curve changes when only the last seconds of the past are left."""
    figure, ax = plt.subplots(figsize=(7.5, 3.4))
    for target in TARGETS:
        shown = [row for row in rows if row.target == target]
        seconds = [row.seconds for row in shown]
        ax.plot(seconds, [row.change for row in shown], ".-", color=COLOURS[target], label=target)
    ax.set_xscale("log", base=2)
    ax.set_xticks(seconds, [f"{s:g}" for s in seconds])
    ax.set(xlabel="past that is left (s)", ylabel="mean change of the curve", ylim=(0, None))
    ax.legend()
    return figure


def robustness(rows: Sequence[AlterationEffect]) -> Figure:
    """How far each alteration of a recording moves its curve, and how the error changes."""
    order = list(dict.fromkeys(row.alteration for row in rows))
    figure, axes = plt.subplots(1, 3, figsize=(11, 0.36 * len(order) + 1.4), sharey=True)
    for k, target in enumerate(TARGETS):
        shown = [row for row in rows if row.target == target]
        y = np.arange(len(shown)) + 0.3 * (k - 0.5)
        style = {"color": COLOURS[target], "label": target}
        axes[0].plot([row.change for row in shown], y, "o", **style)
        axes[1].plot([row.shift for row in shown], y, "o", **style)
        for height, row in zip(y, shown, strict=True):
            mark_estimate(axes[2], row.rmse_change, height, COLOURS[target])
    labels = ("mean absolute change", "shift of the mean", "change of RMSE to the labels")
    for ax, label in zip(axes, labels, strict=True):
        ax.set_xlabel(label)
        ax.axvline(0, color=GREY, lw=0.8)
        ax.xaxis.set_major_locator(MaxNLocator(5))
    axes[0].set_yticks(range(len(order)), order)
    axes[0].invert_yaxis()
    axes[0].legend(fontsize="small")
    return figure
