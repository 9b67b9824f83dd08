"""Figures of scores and predicted curves."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from msr_utils.constants import FRAME_RATE_HZ, TARGETS
from msr_utils.corpora.base import Track
from msr_utils.metrics.curves import Curve
from msr_utils.style import COLOURS, GREY


def score_intervals(table: pd.DataFrame, metric: str, label: str) -> Figure:
    """Pooled scores with 95 % intervals, a panel a target, models from top to bottom.

    Parameters
    ----------
    table : pandas.DataFrame
        ``target, model, metric, value, low, high``.
    """
    rows = table[(table.metric == metric) & table.value.notna()]
    order = list(dict.fromkeys(rows.model))
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 0.42 * len(order) + 1.4), sharey=True)
    for ax, target in zip(axes, TARGETS, strict=True):
        for row in rows[rows.target == target].to_dict("records"):
            y = order.index(row["model"])
            if np.isfinite(row["low"]):
                ends = [row["low"], row["high"]]
                ax.plot(ends, [y, y], color=COLOURS[target], lw=2.5, alpha=0.5)
            ax.plot(row["value"], y, "o", color=COLOURS[target])
        ax.set(title=target, xlabel=label)
        ax.xaxis.set_major_locator(MaxNLocator(5))
        # Names of models have ", " in them, lists of feature blocks "," alone.
        ax.set_yticks(range(len(order)), [re.sub(",(?! )", " + ", name) for name in order])
    axes[0].invert_yaxis()
    return figure


def predicted_curves(
    tracks: Sequence[Track], predictions: Mapping[str, Mapping[str, Mapping[str, Curve]]]
) -> Figure:
    """Predicted curves over the annotated ones, a row a track and a column a target.

    Parameters
    ----------
    tracks : sequence of Track
    predictions : mapping of target to model name to track id to Curve
        At most four models.

    Band: half of the raters, where their curves are known.
    """
    figure, axes = plt.subplots(
        len(tracks), 2, figsize=(10, 2.1 * len(tracks)), sharey=True, squeeze=False
    )
    palette = ["#000000", "#009E73", "#CC79A7", "#E69F00"]
    for row, track in zip(axes, tracks, strict=True):
        for column, target in enumerate(TARGETS):
            ax = row[column]
            if track.ratings is not None:
                low, high = np.nanquantile(track.ratings[..., column], [0.25, 0.75], axis=0)
                ax.fill_between(
                    track.times_s, low, high, color=COLOURS[target], alpha=0.18, lw=0,
                    label="half of the raters",
                )  # fmt: skip
            ax.plot(
                track.times_s, getattr(track, target), color=COLOURS[target], lw=2,
                label="mean rating",
            )  # fmt: skip
            for colour, (model, curves) in zip(palette, predictions[target].items(), strict=False):
                curve = curves[track.id]
                ax.plot(curve.times_s, curve.predicted, color=colour, lw=1.1, label=model)
            ax.set(ylim=(-1, 1), xlim=(0, None))
            ax.set_title(f"{track_title(track)}: {target}", fontsize="small")
        row[0].set_ylabel("rating, -1 to 1")
    for ax in axes[-1]:
        ax.set_xlabel("time (s)")
    for ax in axes[0]:  # the best model of one target is not always the other's
        ax.legend(fontsize="x-small", ncols=2)
    return figure


def track_title(track: Track) -> str:
    """Title of a track, shortened to fit over a panel."""
    title = track.text.get("title") or f"track {track.id}"
    return title if len(title) <= 42 else title[:40] + "…"


class Piece(Protocol):
    """A piece as the explorer shows it, see `msr_utils.book.service_recording.ExplorerPiece`."""

    @property
    def title(self) -> str:
        """Of the piece."""

    @property
    def made_from(self) -> Mapping[str, Sequence[float]]:
        """Target to the arc that the music was composed from."""

    @property
    def curves(self) -> Mapping[str, Mapping[str, Sequence[float]]]:
        """Model to target to its curve."""


def explorer(rows: Sequence[Piece], model: str, margins: Mapping[str, float]) -> Figure:
    """A model's curves over the arcs that pieces were composed from.

    A row a piece and a column a target; the band is the model's interval where it has one.

    Parameters
    ----------
    rows : sequence of Piece
    model : str
        A key of their curves.
    margins : mapping of target to float
        Half-widths of the model's intervals.
    """
    figure, axes = plt.subplots(
        len(rows), 2, figsize=(10, 2 * len(rows)), sharex=True, sharey=True, squeeze=False
    )
    for row, track in zip(axes, rows, strict=True):
        for ax, target in zip(row, TARGETS, strict=True):
            curve = np.array(track.curves[model][target])
            times_s = np.arange(1, len(curve) + 1) / FRAME_RATE_HZ
            if target in margins:
                low, high = curve - margins[target], curve + margins[target]
                ax.fill_between(times_s, low, high, color=COLOURS[target], alpha=0.15, lw=0)
            ax.plot(
                times_s,
                track.made_from[target],
                color=GREY,
                lw=1.5,
                ls="--",
                label="made from",
            )
            ax.plot(times_s, curve, color=COLOURS[target], lw=1.8, label=f"{target}, predicted")
            ax.set(ylim=(-1, 1), xlim=(0, times_s[-1]))
        row[0].set_title(track.title, fontsize="small", loc="left")
        row[0].set_ylabel("value")
    for ax in axes[0]:
        ax.legend(fontsize="x-small", ncols=2, loc="lower right")
    for ax in axes[-1]:
        ax.set_xlabel("time (s)")
    return figure
