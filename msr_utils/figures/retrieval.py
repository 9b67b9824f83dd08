"""Figures of searches by mood and by arc, of playlists and of preferences."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from msr_utils.affect import quadrant
from msr_utils.experiments.retrieval.arcs import ArcRetrieval
from msr_utils.experiments.retrieval.listeners import PreferenceScores
from msr_utils.experiments.retrieval.moods import METRICS, QUADRANT, WORD, MoodRetrieval
from msr_utils.experiments.retrieval.paths import PathScores
from msr_utils.figures.marks import mark_estimate
from msr_utils.library.words import ANGLES, place
from msr_utils.metrics.estimate import Estimate
from msr_utils.style import COLOURS, GREY

LOWER, HIGHER = "lower is better", "higher is better"

PALETTE = {"Q1": "#E69F00", "Q2": "#D55E00", "Q3": "#0072B2", "Q4": "#009E73"}
"""Colour of each quadrant, of the Okabe-Ito palette."""


def _rows(panels: Mapping[str, Mapping[str, Estimate]], model: str) -> Figure:
    """A panel for each metric, a row for each method; the model is coloured."""
    names = list(next(iter(panels.values())))
    figure, axes = plt.subplots(
        1, len(panels), figsize=(10, 0.42 * len(names) + 1.3), sharey=True, squeeze=False
    )
    for ax, (label, rows) in zip(axes[0], panels.items(), strict=True):
        for y, (name, estimate) in enumerate(rows.items()):
            colour = COLOURS["arousal"] if name == model else GREY
            mark_estimate(ax, estimate, y, colour, line_width=2.5)
        ax.set(xlabel=label)
    axes[0, 0].set_yticks(range(len(names)), names)
    axes[0, 0].invert_yaxis()
    return figure


def mood_scores(result: MoodRetrieval) -> Figure:
    """Both metrics of every method, for quadrants and for words, with 95 % intervals."""
    order = [result.model, *result.above[QUADRANT]]
    return _rows(
        {
            f"{metric}, {kind}s": {name: result.scores[kind][name][metric] for name in order}
            for kind in (QUADRANT, WORD)
            for metric in METRICS
        },
        result.model,
    )


def word_precision(result: MoodRetrieval) -> Figure:
    """P@10 of each mood word with its 95 % interval, in the order of their angles.

    Black bars: a random order.
    """
    words = [word for word in ANGLES if word in result.precision]
    figure, ax = plt.subplots(figsize=(9, 0.26 * len(words) + 1.3))
    shown: set[str] = set()
    for y, word in enumerate(words):
        name = quadrant(*place(word)).name
        label = None if name in shown else name
        shown.add(name)
        mark_estimate(ax, result.precision[word], y, PALETTE[name], line_width=2, label=label)
        chance = result.by_chance[word]
        ax.plot([chance, chance], [y - 0.4, y + 0.4], color="black", lw=1.5)
    ax.set(xlabel="P@10", xlim=(0, 1.02), yticks=range(len(words)), yticklabels=words)
    ax.legend(
        title="place of the word", fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5)
    )
    ax.set_ylim(len(words) - 0.5, -0.5)
    return figure


def arc_scores(result: ArcRetrieval) -> Figure:
    """Metrics of every method with 95 % intervals."""
    order = [result.model, *result.above]
    labels = {
        "MRR": f"mean reciprocal rank\n({HIGHER})",
        "recall@10": f"share among the first 10\n({HIGHER})",
        "offset error": f"offset error (s)\n({LOWER})",
    }
    return _rows(
        {
            label: {name: result.scores[name][metric] for name in order}
            for metric, label in labels.items()
        },
        result.model,
    )


def path_scores(result: PathScores) -> Figure:
    """Distance and gap of the playlists of every method with 95 % intervals."""
    order = [result.model, *result.above]
    labels = {
        "distance": f"distance from the request\n({LOWER})",
        "gap": f"gap between tracks\n({LOWER})",
    }
    return _rows(
        {
            label: {name: result.scores[name][metric] for name in order}
            for metric, label in labels.items()
        },
        result.model,
    )


def preference_curve(result: PreferenceScores) -> Figure:
    """Concordance by the number of known ratings, with 95 % intervals."""
    figure, ax = plt.subplots(figsize=(9, 3.6))
    colours = [COLOURS["arousal"], GREY, COLOURS["valence"]]
    for shift, colour, (name, rows) in zip(
        (-0.08, 0.0, 0.08), colours, result.concordance.items(), strict=True
    ):
        at = [place + shift for place in range(len(rows))]
        ax.plot(at, [e.value for e in rows.values()], "o-", color=colour, label=name)
        for x, estimate in zip(at, rows.values(), strict=True):
            ax.plot([x, x], [estimate.low, estimate.high], color=colour, lw=2, alpha=0.5)
    ax.axhline(0.5, color="black", lw=0.8)
    ax.set(xlabel="known ratings of the listener", ylabel="concordance")
    ax.set_xticks(range(len(result.known)), [str(n) for n in result.known])
    ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
