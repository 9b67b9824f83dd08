"""Figures of raters' profiles."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from msr_utils.experiments.rater_profiles import OWN_BIAS, OWN_MEAN, ProfileEffect
from msr_utils.figures.marks import mark_estimate
from msr_utils.style import COLOURS


def rater_shares(effects: Mapping[str, ProfileEffect]) -> Figure:
    """Share of the variance of raters' deviations that each part explains, with intervals.

    The left axes enlarge the profile; the right axes show all parts.
    """
    names = list(next(iter(effects.values())).rows)
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 0.42 * len(names) + 1.4), sharey=True)
    small = [name for name in names if name not in (OWN_MEAN, OWN_BIAS)]
    for ax, shown in zip(axes, (small, names), strict=True):
        for shift, (target, effect) in zip((-0.15, 0.15), effects.items(), strict=True):
            for name in shown:
                label = target if name == shown[0] else None
                share, y = effect.rows[name].scaled(100), names.index(name) + shift
                mark_estimate(ax, share, y, COLOURS[target], line_width=2.5, label=label)
        ax.axvline(0, color="black", lw=0.8)
        ax.set_xlabel("variance explained (%)")
    axes[0].set(
        title="profile, enlarged",
        yticks=range(len(names)),
        yticklabels=[n.replace("_", " ") for n in names],
    )
    axes[1].set(title="all", xlim=(None, 100))
    axes[1].legend(loc="upper right", fontsize="small")
    axes[0].invert_yaxis()
    return figure
