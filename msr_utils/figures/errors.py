"""Figures of the error analysis, of occlusion and of robustness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Track
from msr_utils.metrics.curves import Curve
from msr_utils.style import COLOURS, GREY


def error_parts(found: Mapping[str, dict]) -> Figure:
    """What the squared error is made of, a bar a target; from `msr_utils.experiments.error_analysis.analysis.analyse`."""
    figure, ax = plt.subplots(figsize=(9.5, 2.6))
    shades = {"corpus": 0.25, "series": 0.5, "piece": 1.0, "course": 0.35}
    for y, (target, own) in enumerate(found.items()):
        left, parts = 0.0, own["parts"]
        for name, part in parts["layers"].items():
            ax.barh(
                y, part["share"], left=left, color=COLOURS[target], alpha=shades[name], height=0.6
            )
            if part["share"] > 0.045:
                colour = "white" if shades[name] == 1 else "black"
                x = left + part["share"] / 2
                ax.text(x, y, name, ha="center", va="center", fontsize="small", color=colour)
            left += part["share"]
        # Noise lies at the right end of what it is a part of: levels, then the course.
        ends = {"level": left - parts["layers"]["course"]["share"], "course": left}
        for name, end in ends.items():
            noise = parts["noise"][name] / parts["mse"]
            if np.isfinite(noise):
                ax.barh(
                    y, noise, left=end - noise, height=0.6, color="none", hatch="///",
                    edgecolor="white", lw=0, label="raters' noise in it" if not y + (name == "course") else None,
                )  # fmt: skip
    ax.set_yticks(range(len(found)), list(found))
    ax.set(xlim=(0, 1), xlabel="share of the mean squared error")
    ax.grid(False)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(
            loc="upper left",
            bbox_to_anchor=(0, 1.25),
            fontsize="small",
            facecolor=GREY,
            labelcolor="white",
        )
    return figure


def stratum_scores(found: Mapping[str, dict]) -> Figure:
    """RMSE, r and level error of each stratum with 95 % intervals, both targets in each panel."""
    first = next(iter(found.values()))["strata"]
    order = [(row["by"], row["stratum"]) for row in first]
    # A line left free between what pieces are sorted by.
    breaks = np.cumsum([0] + [a[0] != b[0] for a, b in zip(order[1:], order[:-1], strict=True)])
    at = dict(zip(order, np.arange(len(order)) + breaks, strict=True))
    figure, axes = plt.subplots(
        1, 3, figsize=(11, 0.24 * (max(at.values()) + 1) + 1.2), sharey=True
    )
    labels = ("RMSE", "Pearson r", "level error (predicted - true)")
    for ax, metric, label in zip(axes, ("rmse", "r", "level"), labels, strict=True):
        for k, (target, own) in enumerate(found.items()):
            for row in own["strata"]:
                y = at[row["by"], row["stratum"]] + 0.3 * (k - 0.5)
                value = row[metric]
                if np.isfinite(value.low):
                    ax.plot([value.low, value.high], [y, y], color=COLOURS[target], alpha=0.5)
                ax.plot(value.value, y, ".", color=COLOURS[target], label=target)
        ax.set_xlabel(label)
        ax.xaxis.set_major_locator(MaxNLocator(5))
    axes[2].axvline(0, color=GREY, lw=0.8)
    axes[0].set_yticks(
        list(at.values()),
        [f"{name} ({row['songs']})" if by == "series" else f"{by}: {name} ({row['songs']})"
         for (by, name), row in zip(order, first, strict=True)],
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


def level_cues(found: Mapping[str, dict]) -> Figure:
    """What pieces' rated, predicted and wrong levels go along with, a panel a target."""
    styles = {"rated": ("o", 1.0), "predicted": ("D", 0.5), "error": ("X", 1.0)}
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), sharey=True)
    for ax, (target, own) in zip(axes, found.items(), strict=True):
        rows = own["levels"]
        for k, (what, (marker, alpha)) in enumerate(styles.items()):
            colour = "black" if what == "error" else COLOURS[target]
            for y, row in enumerate(rows):
                value, height = row[what], y + 0.22 * (k - 1)
                ax.plot([value.low, value.high], [height] * 2, color=colour, alpha=alpha / 2)
                label = None if y else f"{what} level" if what != "error" else "level error"
                style = {"color": colour, "alpha": alpha, "ms": 6, "ls": "", "label": label}
                ax.plot(value.value, height, marker, **style)
        ax.axvline(0, color=GREY, lw=0.8)
        ax.set(
            title=target, xlabel="Pearson r over pieces", xlim=(-1, 1), xticks=(-1, -0.5, 0, 0.5, 1)
        )
        ax.set_yticks(range(len(rows)), [row["descriptor"] for row in rows])
        ax.legend(fontsize="x-small")
    axes[0].invert_yaxis()
    return figure


def curves_by_rank(
    tracks: Sequence[Track], predictions: Mapping[str, Curve], target: str
) -> Figure:
    """Rated and predicted curves of one target, named by their rank alone, the first first."""
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


def error_over_time(found: Mapping[str, dict]) -> Figure:
    """RMSE by time since the start, and over the last seconds, beside the labels' own spread."""
    figure, ax = plt.subplots(figsize=(9, 3.6))
    for k, (target, own) in enumerate(found.items()):
        rows = own["time"]
        x = np.arange(len(rows)) + 0.1 * (k - 0.5)
        value, low, high = (
            np.array([getattr(r["rmse"], n) for r in rows]) for n in ("value", "low", "high")
        )
        ax.errorbar(
            x, value, [value - low, high - value], fmt="o", color=COLOURS[target], label=target
        )
        ax.plot(
            x, [r["constant_rmse"] for r in rows], "_", ms=14, color=COLOURS[target],
            label=f"{target}: best constant",
        )  # fmt: skip
    ax.set_xticks(
        range(len(rows)), [f"{r['when']}\n({r['songs']})" for r in rows], fontsize="small"
    )
    ax.set(ylabel="RMSE", xlabel="time in the piece (pieces)", ylim=(0, None))
    ax.legend(fontsize="small", ncols=2)
    return figure


def movement(found: Mapping[str, dict]) -> Figure:
    """Agreement in a piece against delay, and pooled agreement against causal smoothing."""
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.4))
    for target, own in found.items():
        within = own["within"]
        lags = pd.DataFrame(within["lags"])
        axes[0].plot(lags.lag_s, lags.r, ".-", color=COLOURS[target], label=target)
        if np.isfinite(within["half_r"]):
            axes[0].axhline(within["half_r"], color=COLOURS[target], ls=":", lw=1)
        smoothed = pd.DataFrame(own["smoothing"])
        axes[1].plot(smoothed.seconds, smoothed.r, ".-", color=COLOURS[target], label=target)
    axes[0].axvline(0, color=GREY, lw=0.8)
    axes[0].set(xlabel="delay of the prediction (s)", ylabel="mean Pearson r in a piece")
    axes[1].set(xlabel="time constant of a causal average (s)", ylabel="Pearson r, pooled frames")
    axes[1].set_xscale("symlog", linthresh=2)
    axes[1].set_xticks(smoothed.seconds, [f"{s:g}" for s in smoothed.seconds])
    axes[1].legend(fontsize="small")
    return figure


def hidden_parts(
    changes: Sequence[Mapping], losses: Sequence[Mapping], model_label: str = "network"
) -> Figure:
    """How far hiding a part of the input moves the curve, and what ridge loses by it."""
    order = list(dict.fromkeys(row["part"] for row in changes))
    figure, axes = plt.subplots(1, 2, figsize=(10, 0.34 * len(order) + 1.4), sharey=True)
    intact = {row["target"]: row["r"].value for row in losses if row["part"] == "nothing"}
    for k, target in enumerate(TARGETS):
        style = {"height": 0.38, "color": COLOURS[target], "label": target}
        own = {row["part"]: row["change"] for row in changes if row["target"] == target}
        lost = {r["part"]: intact[target] - r["r"].value for r in losses if r["target"] == target}
        y = np.arange(len(order)) + 0.4 * (k - 0.5)
        axes[0].barh(y, [own[name] for name in order], **style)
        axes[1].barh(y, [lost[name] for name in order], **style)
    axes[0].set_yticks(range(len(order)), order)
    axes[0].invert_yaxis()
    axes[0].set(xlabel="mean change of the curve", title=model_label)
    axes[1].set(xlabel="loss of Pearson r on test tracks", title="ridge regression")
    axes[0].legend(fontsize="small")
    return figure


def memory_curve(rows: Sequence[Mapping]) -> Figure:
    """How far a curve changes when only so many seconds of the past are left."""
    figure, ax = plt.subplots(figsize=(7.5, 3.4))
    for target in TARGETS:
        own = pd.DataFrame([row for row in rows if row["target"] == target])
        ax.plot(own.seconds, own.change, ".-", color=COLOURS[target], label=target)
    ax.set_xscale("log", base=2)
    ax.set_xticks(own.seconds, [f"{s:g}" for s in own.seconds])
    ax.set(xlabel="past that is left (s)", ylabel="mean change of the curve", ylim=(0, None))
    ax.legend()
    return figure


def robustness(rows: Sequence[Mapping]) -> Figure:
    """How far alterations of a recording move its curve, and what that costs, a row each."""
    order = list(dict.fromkeys(row["alteration"] for row in rows))
    figure, axes = plt.subplots(1, 3, figsize=(11, 0.36 * len(order) + 1.4), sharey=True)
    for k, target in enumerate(TARGETS):
        own = [row for row in rows if row["target"] == target]
        y = np.arange(len(own)) + 0.3 * (k - 0.5)
        style = {"color": COLOURS[target], "label": target}
        axes[0].plot([row["change"] for row in own], y, "o", **style)
        axes[1].plot([row["shift"] for row in own], y, "o", **style)
        for height, change in zip(y, [row["rmse_change"] for row in own], strict=True):
            axes[2].plot(
                [change["low"], change["high"]], [height] * 2, color=COLOURS[target], alpha=0.5
            )
            axes[2].plot(change["value"], height, "o", color=COLOURS[target])
    labels = ("mean absolute change", "shift of the mean", "change of RMSE to the labels")
    for ax, label in zip(axes, labels, strict=True):
        ax.set_xlabel(label)
        ax.axvline(0, color=GREY, lw=0.8)
        ax.xaxis.set_major_locator(MaxNLocator(5))
    axes[0].set_yticks(range(len(order)), order)
    axes[0].invert_yaxis()
    axes[0].legend(fontsize="small")
    return figure
