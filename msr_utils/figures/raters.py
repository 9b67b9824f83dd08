"""Figures of raters' profiles."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from msr_utils.experiments.rater_profiles import OWN_BIAS, OWN_MEAN
from msr_utils.style import COLOURS


def rater_shares(effects: Mapping[str, dict]) -> Figure:
    """Share of the variance of raters' deviations that each part explains, with intervals.

    The left axes enlarge the profile; the right axes show all parts.
    """
    names = list(next(iter(effects.values()))["rows"])
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 0.42 * len(names) + 1.4), sharey=True)
    small = [name for name in names if name not in (OWN_MEAN, OWN_BIAS)]
    for ax, shown in zip(axes, (small, names), strict=True):
        for shift, (target, effect) in zip((-0.15, 0.15), effects.items(), strict=True):
            for name in shown:
                row, y = effect["rows"][name], names.index(name) + shift
                span = 100 * np.array([row["low"], row["high"]])
                ax.plot(span, [y, y], color=COLOURS[target], lw=2.5, alpha=0.5)
                label = target if name == shown[0] else None
                ax.plot(100 * row["value"], y, "o", color=COLOURS[target], label=label)
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
