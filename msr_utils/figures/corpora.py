"""Figures of corpora and their labels."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from msr_utils.affect import SIGNS
from msr_utils.constants import TARGETS
from msr_utils.corpora.base import Corpus, Track
from msr_utils.corpora.emotify import EMOTIONS
from msr_utils.figures.evaluation import track_title
from msr_utils.style import COLOURS, GREY


def affect_plane(corpus: Corpus) -> Figure:
    """The valence-arousal plane of a corpus: density of its frames, and the mean of each track."""
    valence = np.concatenate([t.valence[t.mask] for t in corpus.tracks])
    arousal = np.concatenate([t.arousal[t.mask] for t in corpus.tracks])
    means = np.array([[t.valence[t.mask].mean(), t.arousal[t.mask].mean()] for t in corpus.tracks])
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 4.4), sharex=True, sharey=True)
    density = axes[0].hexbin(
        valence, arousal, gridsize=32, extent=(-1, 1, -1, 1), cmap="cividis", mincnt=1, bins="log"
    )
    figure.colorbar(density, ax=axes[0], label="frames (log scale)")
    axes[1].scatter(*means.T, s=18, alpha=0.7, color=COLOURS["valence"], edgecolor="white", lw=0.4)
    for ax, title in zip(axes, ("frames of 500 ms", "means of tracks"), strict=True):
        ax.axhline(0, color=GREY, lw=0.8)
        ax.axvline(0, color=GREY, lw=0.8)
        ax.set(xlim=(-1, 1), ylim=(-1, 1), xlabel="valence", title=title, aspect="equal")
    axes[0].set_ylabel("arousal")
    return figure


def label_spread(corpus: Corpus) -> Figure:
    """Histograms of the mean and of the standard deviation of each track's curve."""
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.4), sharey=True)
    curves = {name: [getattr(t, name)[t.mask] for t in corpus.tracks] for name in TARGETS}
    largest_sd = max(c.std() for of_target in curves.values() for c in of_target)
    mean_bins, sd_bins = np.linspace(-1, 1, 33), np.linspace(0, max(largest_sd, 0.01), 33)
    for target, of_target in curves.items():
        style = {"histtype": "step", "lw": 2, "color": COLOURS[target], "label": target}
        axes[0].hist([c.mean() for c in of_target], bins=mean_bins, **style)
        axes[1].hist([c.std() for c in of_target], bins=sd_bins, **style)
    axes[0].set(
        xlabel="mean of a track", ylabel="tracks", xlim=(-1, 1), xticks=(-1, -0.5, 0, 0.5, 1)
    )
    axes[1].set(xlabel="standard deviation within a track", xlim=(0, None))
    axes[0].legend()
    return figure


def clip_labels(corpus: Corpus) -> Figure:
    """Distribution of the labels of whole clips: quadrants, or emotions by genre."""
    return quadrant_plane(corpus) if corpus.labels == "quadrants" else gems_shares(corpus)


def quadrant_plane(corpus: Corpus) -> Figure:
    """Number of clips in each quadrant of the valence-arousal plane."""
    counts = {q: sum(t.quadrant == q for t in corpus.tracks) for q in SIGNS}
    figure, ax = plt.subplots(figsize=(5, 4.6))
    for quadrant, (valence_sign, arousal_sign) in SIGNS.items():
        x, y = valence_sign / 2, arousal_sign / 2
        share = counts[quadrant] / len(corpus.tracks)
        ax.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, color=COLOURS["valence"], alpha=share))
        ax.text(x, y, f"{quadrant}\n{counts[quadrant]} clips", ha="center", va="center")
    ax.axhline(0, color=GREY, lw=0.8)
    ax.axvline(0, color=GREY, lw=0.8)
    ax.set(xlim=(-1, 1), ylim=(-1, 1), xlabel="valence", ylabel="arousal", aspect="equal")
    ax.set(xticks=(-1, 0, 1), yticks=(-1, 0, 1))
    ax.grid(False)
    return figure


def gems_shares(corpus: Corpus) -> Figure:
    """Share of listeners who felt each emotion, averaged over the tracks of each genre."""
    shares = pd.DataFrame([t.gems for t in corpus.tracks], columns=list(EMOTIONS))
    genre = pd.Series([t.text["genre"] for t in corpus.tracks], name="genre")
    figure, ax = plt.subplots(figsize=(9.5, 3.4))
    sns.heatmap(
        shares.groupby(genre).mean(),
        ax=ax,
        cmap="cividis",
        annot=True,
        fmt=".2f",
        vmin=0,
        cbar_kws={"label": "share of listeners"},
    )
    ax.set(xlabel="", ylabel="")
    ax.tick_params(axis="y", rotation=0)
    ax.set_xticklabels([name.replace("_", " ") for name in shares.columns], rotation=30, ha="right")
    return figure


def static_against_dynamic(songs: pd.DataFrame) -> Figure:
    """Song-level ratings as released, against the means of the same songs' curves.

    Parameters
    ----------
    songs : pandas.DataFrame
        One row a song: ``part``; ``static_valence`` and ``static_arousal``, named as the columns
        of the release; ``dynamic_valence`` and ``dynamic_arousal``. All values are in [-1, 1].
    """
    parts = list(dict.fromkeys(songs.part))
    figure, axes = plt.subplots(
        len(TARGETS), len(parts), figsize=(3.4 * len(parts), 6.4), sharex=True, sharey=True
    )
    for row, dynamic in zip(axes, TARGETS, strict=True):
        for ax, part in zip(row, parts, strict=True):
            of_part = songs[songs.part == part]
            for static, marker in zip(TARGETS, "o^", strict=True):
                x, y = of_part[f"dynamic_{dynamic}"], of_part[f"static_{static}"]
                ax.scatter(
                    x,
                    y,
                    s=9,
                    alpha=0.45,
                    lw=0,
                    marker=marker,
                    color=COLOURS[static],
                    label=f'column "{static}", r = {x.corr(y):.3f}',
                )
            ax.legend(fontsize="x-small", loc="upper left", handletextpad=0.1)
            ax.set(xlim=(-1, 1), ylim=(-1, 1.35), xlabel=f"mean of the {dynamic} curve")
        row[0].set_ylabel("song-level rating as released")
    for ax, part in zip(axes[0], parts, strict=True):
        ax.set_title(part)
    return figure


def rated_curves(tracks: Sequence[Track]) -> Figure:
    """Annotated curves over time, with the interquartile range of the raters where it is known."""
    figure, axes = plt.subplots(
        len(tracks), 1, figsize=(9, 2.3 * len(tracks)), sharey=True, squeeze=False
    )
    for ax, track in zip(axes[:, 0], tracks, strict=True):
        for column, target in enumerate(TARGETS):
            if track.ratings is not None:
                low, high = np.nanquantile(track.ratings[..., column], [0.25, 0.75], axis=0)
                ax.fill_between(track.times_s, low, high, color=COLOURS[target], alpha=0.18, lw=0)
            ax.plot(track.times_s, getattr(track, target), color=COLOURS[target], label=target)
        ax.axhline(0, color=GREY, lw=0.6)
        ax.set(ylim=(-1, 1), xlim=(0, None), ylabel="rating", title=track_title(track))
    axes[0, 0].legend(loc="upper right", ncols=2, fontsize="small")
    axes[-1, 0].set_xlabel("time (s)")
    return figure
