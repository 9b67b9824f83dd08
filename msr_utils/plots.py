"""The study's figures, in one style: units on every axis, colours that colour-blind eyes tell apart."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.typing import ColorType
from matplotlib_inline.backend_inline import set_matplotlib_formats

from msr_utils.augmentation import MASK, AugmentConfig, augmented, drawn, masked
from msr_utils.constants import FRAME_RATE_HZ, N_MFCC, TARGETS
from msr_utils.corpora.base import Corpus, Track
from msr_utils.corpora.emotify import EMOTIONS
from msr_utils.features import FeatureConfig, FeatureExtractor, logmel_spectrogram
from msr_utils.metrics import Curve

COLOURS = {"valence": "#0072B2", "arousal": "#D55E00"}
"""Of the Okabe-Ito palette, distinguishable with any kind of colour vision."""

GREY = "#555555"

PITCH_CLASSES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")

UNITS = {
    "stretch": "× speed",
    "pitch": "semitones",
    "eq": "dB",
    "noise": "dB SNR",
    "codec": "kbit/s",
    "gain": "dB",
}
"""Of what augmentations draw."""

_IMAGE = {"origin": "lower", "aspect": "auto", "cmap": "magma", "interpolation": "nearest"}


def use_style() -> None:
    """Set the style of every figure after this call, sharp on dense screens in notebooks.

    Tables show their cells whole.
    """
    set_matplotlib_formats("retina")
    pd.set_option("display.max_colwidth", None)
    sns.set_theme(
        context="notebook",
        style="whitegrid",
        palette="colorblind",
        rc={
            "figure.dpi": 110,
            "savefig.dpi": 200,
            "figure.figsize": (8, 4),
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "savefig.facecolor": "white",
        },
    )


def save(figure: Figure, folder: Path, name: str) -> Figure:
    """Write a figure as ``figures/<name>.png`` in a run folder and hand it on for display."""
    path = Path(folder) / "figures" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)  # shown once, as the cell's value
    return figure


def affect_plane(corpus: Corpus) -> Figure:
    """Where a corpus lies in the valence-arousal plane: every frame, and each track's mean."""
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
    """Histograms of tracks' means and of their standard deviations over time."""
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.4), sharey=True)
    curves = {name: [getattr(t, name)[t.mask] for t in corpus.tracks] for name in TARGETS}
    largest = max(c.std() for own in curves.values() for c in own)
    bins = np.linspace(-1, 1, 33), np.linspace(0, max(largest, 0.01), 33)
    for target, own in curves.items():
        style = {"histtype": "step", "lw": 2, "color": COLOURS[target], "label": target}
        axes[0].hist([c.mean() for c in own], bins=bins[0], **style)
        axes[1].hist([c.std() for c in own], bins=bins[1], **style)
    axes[0].set(
        xlabel="mean of a track", ylabel="tracks", xlim=(-1, 1), xticks=(-1, -0.5, 0, 0.5, 1)
    )
    axes[1].set(xlabel="standard deviation within a track", xlim=(0, None))
    axes[0].legend()
    return figure


def clip_labels(corpus: Corpus) -> Figure:
    """How labels of whole clips are spread: quadrants, or emotions by genre."""
    return quadrant_plane(corpus) if corpus.labels == "quadrants" else gems_shares(corpus)


def quadrant_plane(corpus: Corpus) -> Figure:
    """Clips in each quadrant of the valence-arousal plane."""
    corner = {"Q1": (0.5, 0.5), "Q2": (-0.5, 0.5), "Q3": (-0.5, -0.5), "Q4": (0.5, -0.5)}
    counts = {q: sum(t.quadrant == q for t in corpus.tracks) for q in corner}
    figure, ax = plt.subplots(figsize=(5, 4.6))
    for quadrant, (x, y) in corner.items():
        share = counts[quadrant] / len(corpus.tracks)
        ax.add_patch(plt.Rectangle((x - 0.5, y - 0.5), 1, 1, color=COLOURS["valence"], alpha=share))
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
    """Song-level ratings as released against the means of the same songs' curves.

    Parameters
    ----------
    songs : pandas.DataFrame
        One row a song: ``part``, ``static_valence, static_arousal`` as the columns are named in
        the release, ``dynamic_valence, dynamic_arousal``; all in [-1, 1].
    """
    parts = list(dict.fromkeys(songs.part))
    figure, axes = plt.subplots(
        len(TARGETS), len(parts), figsize=(3.4 * len(parts), 6.4), sharex=True, sharey=True
    )
    for row, dynamic in zip(axes, TARGETS, strict=True):
        for ax, part in zip(row, parts, strict=True):
            own = songs[songs.part == part]
            for static, marker in zip(TARGETS, "o^", strict=True):
                x, y = own[f"dynamic_{dynamic}"], own[f"static_{static}"]
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
    """Annotated curves over time, with the raters' interquartile range where they are known."""
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
        ax.set(ylim=(-1, 1), xlim=(0, None), ylabel="rating", title=_title(track))
    axes[0, 0].legend(loc="upper right", ncols=2, fontsize="small")
    axes[-1, 0].set_xlabel("time (s)")
    return figure


def what_is_heard(tracks: Sequence[Track], samples: Sequence[np.ndarray]) -> Figure:
    """Waveform, log-mel, MFCC and chroma of tracks, and the curves, on one time axis each."""
    config = FeatureConfig()
    figure, axes = plt.subplots(
        5,
        len(tracks),
        figsize=(5 * len(tracks), 9.5),
        sharex="col",
        sharey="row",
        height_ratios=(1, 2, 1.3, 1.3, 1.6),
        squeeze=False,
    )
    for column, (track, audio) in enumerate(zip(tracks, samples, strict=True)):
        wave, mel, mfcc, chroma, curves = axes[:, column]
        mel_db = logmel_spectrogram(audio, config)
        end_s = len(mel_db) * config.hop_length / config.sample_rate
        peaks = (
            np.abs(audio[: len(mel_db) * config.hop_length]).reshape(len(mel_db), -1).max(axis=1)
        )
        time_s = np.arange(len(peaks)) * config.hop_length / config.sample_rate
        wave.fill_between(time_s, -peaks, peaks, color=GREY, lw=0)
        wave.set(title=_title(track))
        image = mel.imshow(
            mel_db.T, vmin=-60, vmax=40, extent=(0, end_s, 0, config.n_mels), **_IMAGE
        )
        cepstrum = FeatureExtractor(FeatureConfig("mfcc")).push(audio)[:, 1:]
        mfcc_image = mfcc.imshow(
            cepstrum.T,
            vmin=-60,
            vmax=60,
            extent=(0, end_s, 1, N_MFCC),
            **_IMAGE | {"cmap": "RdBu_r"},
        )
        classes = FeatureExtractor(FeatureConfig("chroma")).push(audio)
        chroma_image = chroma.imshow(classes.T, vmin=0, vmax=1, extent=(0, end_s, 0, 12), **_IMAGE)
        chroma.set_yticks(np.arange(12) + 0.5, PITCH_CLASSES, fontsize="xx-small")
        for ax in (mel, mfcc, chroma):
            ax.grid(False)
        for target in TARGETS:
            curves.plot(track.times_s, getattr(track, target), color=COLOURS[target], label=target)
        curves.axhline(0, color=GREY, lw=0.6)
        curves.set(ylim=(-1, 1), xlim=(0, end_s), xlabel="time (s)")
    labels = ("amplitude", "mel band", "MFCC", "pitch class", "rating")
    for ax, label in zip(axes[:, 0], labels, strict=True):
        ax.set_ylabel(label)
    axes[4, -1].legend(ncols=2, fontsize="small")
    figure.colorbar(image, ax=axes[1, :], label="power (dB)")
    figure.colorbar(mfcc_image, ax=axes[2, :], label="dB")
    figure.colorbar(chroma_image, ax=axes[3, :], label="strength")
    return figure


def augmentations(
    track: Track, samples: np.ndarray, config: AugmentConfig, seconds: float = 20.0
) -> Figure:
    """The log-mel spectrogram of one track, and of a copy through each transform by itself.

    White: its arousal, from -1 at the bottom to 1 at the top.
    """
    features = FeatureConfig()
    names = ["original", *config.names]
    figure, axes = plt.subplots(
        2, (len(names) + 1) // 2, figsize=(11, 4.8), sharex=True, sharey=True, squeeze=False
    )
    for ax, name in zip(axes.flat, names, strict=False):
        one = replace(config, names=() if name == "original" else (name,))
        audio, labels = augmented(track, samples, one, 1)
        mel_db = logmel_spectrogram(audio, features)
        if name == MASK:
            # Masks are drawn on frames of 500 ms: the picture repeats each.
            frames = FeatureExtractor(features).push(audio)
            mel_db = np.repeat(masked(frames, features, track.id, one, 1), features.steps, axis=0)
        end_s = len(mel_db) * features.hop_length / features.sample_rate
        image = ax.imshow(
            mel_db.T, vmin=-60, vmax=40, extent=(0, end_s, 0, features.n_mels), **_IMAGE
        )
        height = (labels.arousal + 1) / 2 * features.n_mels
        ax.plot(labels.times_s, height, color="white", lw=1.5)
        drawn_values = drawn(track.id, one, 1).get(name, [])
        values = ", ".join(f"{v:.2g}" for v in drawn_values)
        title = f"{name}: {values} {UNITS[name]}" if values else name
        ax.set(title=title, xlim=(0, min(seconds, end_s)))
        ax.title.set_fontsize("small")
        ax.grid(False)
    for ax in axes.flat[len(names) :]:
        ax.set_visible(False)
    for ax in axes[:, 0]:
        ax.set_ylabel("mel band")
    for ax in axes[-1]:
        ax.set_xlabel("time (s)")
    figure.colorbar(image, ax=axes, label="power (dB)", shrink=0.8)
    return figure


def band_correlations(correlations: Mapping[str, np.ndarray]) -> Figure:
    """Correlation of each mel band's level with the annotations."""
    figure, ax = plt.subplots(figsize=(8, 3.4))
    for target, values in correlations.items():
        ax.plot(np.arange(len(values)), values, color=COLOURS[target], label=target, marker=".")
    ax.axhline(0, color=GREY, lw=0.8)
    ax.set(xlabel="mel band (low to high)", ylabel="Pearson r over frames", ylim=(-1, 1))
    ax.legend(ncols=2)
    return figure


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
            mean = tested.groupby("epoch")[prefix + metric].agg(["mean", "count"])
            mean = mean[mean["count"] == trainings.ngroups]["mean"]
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
        From `msr_utils.evaluation.load_histories`.
    """
    names = list(dict.fromkeys(histories.model))
    rows = -(-len(names) // 3)
    figure, axes = plt.subplots(
        rows, 3, figsize=(9.5, 2.5 * rows + 0.6), sharey=True, squeeze=False
    )
    for ax, name in zip(axes.flat, names, strict=False):
        for target in TARGETS:
            own = histories[(histories.model == name) & (histories.target == target)]
            running = own.groupby("epoch").epoch.transform("size")
            epochs = own[2 * running >= running.max()].groupby("epoch")
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
        for row in rows[rows.target == target].itertuples():
            y = order.index(row.model)
            if np.isfinite(row.low):
                ax.plot([row.low, row.high], [y, y], color=COLOURS[target], lw=2.5, alpha=0.5)
            ax.plot(row.value, y, "o", color=COLOURS[target])
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
            ax.set_title(f"{_title(track)}: {target}", fontsize="small")
        row[0].set_ylabel("rating, -1 to 1")
    for ax in axes[-1]:
        ax.set_xlabel("time (s)")
    for ax in axes[0]:  # the best model of one target is not always the other's
        ax.legend(fontsize="x-small", ncols=2)
    return figure


def _title(track: Track) -> str:
    title = track.text.get("title") or f"track {track.id}"
    return title if len(title) <= 42 else title[:40] + "…"


def error_parts(found: Mapping[str, dict]) -> Figure:
    """What the squared error is made of, a bar a target; from `msr_utils.errors.analyse`."""
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
                if np.isfinite(value["low"]):
                    ax.plot([value["low"], value["high"]], [y, y], color=COLOURS[target], alpha=0.5)
                ax.plot(value["value"], y, ".", color=COLOURS[target], label=target)
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
                ax.plot([value["low"], value["high"]], [height] * 2, color=colour, alpha=alpha / 2)
                label = None if y else f"{what} level" if what != "error" else "level error"
                style = {"color": colour, "alpha": alpha, "ms": 6, "ls": "", "label": label}
                ax.plot(value["value"], height, marker, **style)
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
            np.array([r["rmse"][n] for r in rows]) for n in ("value", "low", "high")
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
    intact = {row["target"]: row["r"]["value"] for row in losses if row["part"] == "nothing"}
    for k, target in enumerate(TARGETS):
        style = {"height": 0.38, "color": COLOURS[target], "label": target}
        own = {row["part"]: row["change"] for row in changes if row["target"] == target}
        lost = {
            r["part"]: intact[target] - r["r"]["value"] for r in losses if r["target"] == target
        }
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


def clip_scores(results: Mapping, ceiling: Mapping[str, float] | None) -> Figure:
    """Scores of models of whole clips with 95 % intervals.

    Parameters
    ----------
    results : mapping
        From `msr_utils.clips.evaluate`: a panel for r of every emotion with all models in it,
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
            label = "listeners' ceiling" if y == 0 else None
            labelled.plot([best, best], [y - 0.4, y + 0.4], color="black", lw=2, label=label)
        labelled.set(xlabel="Pearson r over clips", xlim=(None, 1))
        labelled.legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))
    labelled.set_yticks(range(len(rows)), list(rows.values()))
    labelled.invert_yaxis()
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
            own = table.state == state
            colour = COLOURS[target] if state == "complete" else GREY
            ax.scatter(values[own], table.loss[own], s=22, marker=marker, color=colour, alpha=0.7)
        ax.set_xlabel(name.replace("_", " "))
    for ax in axes[:, 0]:
        ax.set(ylabel="validation MSE", yscale="log")  # one bad trial would hide the others
    for ax in axes.flat[len(names) :]:
        ax.set_visible(False)
    return figure


def _interval(
    ax: Axes, found: Mapping, y: float, colour: ColorType, label: str | None = None
) -> None:
    """One score as a dot, its interval as a line."""
    if np.isfinite(found["low"]):
        ax.plot([found["low"], found["high"]], [y, y], color=colour, lw=2.5, alpha=0.5)
    ax.plot(found["value"], y, "o", ms=4.5, color=colour, label=label)


def ablation(
    results: Sequence[Mapping], columns: Sequence[tuple[str, str]] = (("r", "Pearson r"),)
) -> Figure:
    """Differences of each variant from the base, with 95 % intervals; grey where 0 is inside.

    What diverged has none, and is named.

    Parameters
    ----------
    results : sequence of mapping
        As `msr_utils.ablation.run` gives them, one or a few targets.
    columns : sequence of (metric, label)
        A panel each, for each target.
    """
    differences = [
        {
            f"{row['group']}: {row['name']}": row.get("difference")
            for row in result["variants"]
            if row["group"] != "base"
        }
        for result in results
    ]
    names = list(dict.fromkeys(name for found in differences for name in found))
    panels = [
        (r["target"], d, *c) for r, d in zip(results, differences, strict=True) for c in columns
    ]
    figure, axes = plt.subplots(
        1, len(panels), figsize=(9.5, 0.27 * len(names) + 1.2), sharey=True, squeeze=False
    )
    for ax, (target, found, metric, label) in zip(axes[0], panels, strict=True):
        for y, name in enumerate(names):
            if name not in found:
                continue
            if found[name] is None:
                ax.annotate(
                    "diverged", (0.02, y), xycoords=("axes fraction", "data"), va="center",
                    fontsize="x-small", color=GREY,
                )  # fmt: skip
                continue
            d = found[name][metric]
            clear = d["low"] > 0 or d["high"] < 0
            colour = COLOURS[target] if clear else GREY
            ax.plot([d["low"], d["high"]], [y, y], color=colour, lw=1.6)
            ax.plot(d["value"], y, "o", color=colour, ms=5)
        ax.axvline(0, color=GREY, lw=0.8)
        ax.set(xlabel=f"{label} of {target} − base")
    axes[0, 0].set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5))
    return figure


def penalties(history: pd.DataFrame, target: str) -> Figure:
    """Validation error of a linear model against its penalty, a line a split."""
    figure, ax = plt.subplots(figsize=(6, 3.4))
    for _, one in history[history.fold > 0].groupby("fold"):
        ax.semilogx(one.alpha, one.val_loss, "o-", color=COLOURS[target], ms=3, lw=1, alpha=0.7)
    ax.set(xlabel="penalty", ylabel=f"mean squared error of {target}")
    return figure


def cost_growth(table: pd.DataFrame) -> Figure:
    """Time and memory against length on logarithmic axes, inference and training.

    Grey: what would grow linearly and with the square, from the networks' mean at the start.

    Parameters
    ----------
    table : pandas.DataFrame
        As `msr_utils.cost.long_table` gives it.
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
        As `msr_utils.text.compare` gives it.
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
