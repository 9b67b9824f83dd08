"""The models that the service ships: one linear map of remembered features, taught by many corpora.

Curves teach with their frames, clips of a known quadrant with the signs of their mean valence
and arousal, and listeners' emotions with where those emotions lie in the plane. How much each
kind of labels counts, if at all, is chosen by cross-validation. All of it is one weighted least-squares problem, solved in closed form: the past is in the features' memory
(`msr_utils.memory`), so the map itself needs none and follows a live stream.

Some tracks of every corpus are heard louder and softer too. The map is penalised for what it makes
of the difference, so that a louder copy is no more exciting.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from msr_utils.augmentation import AugmentConfig
from msr_utils.clips import SIGNS, weighted_auc
from msr_utils.constants import TARGETS
from msr_utils.corpora import CACHE_DIR
from msr_utils.corpora.base import Corpus, CorpusError, Track
from msr_utils.corpora.emotify import EMOTIONS
from msr_utils.dataset import (
    Sequence2Hz,
    align,
    cached_features,
    collect,
    copied_features,
    splits_of,
)
from msr_utils.export import export_bundle
from msr_utils.features import FeatureConfig
from msr_utils.inference import Model
from msr_utils.metrics import Curve, evaluate
from msr_utils.models.linear import LinearConfig, build_linear
from msr_utils.training import keras
from msr_utils.transfer import ZERO, bundle_predictions, scores, was_trained_on

OWN = (
    "logmel", "logmel_sd", "mfcc", "mfcc_delta", "chroma", "tonal", "contrast", "onset",
    "tempogram", "loudness",
)  # fmt: skip
MEMORY = {"memory_s": (3.0, 10.0, 40.0), "memory_sd_s": (10.0,)}
BUNDLES = {
    "full": FeatureConfig((*OWN, "ear"), **MEMORY),
    "light": FeatureConfig(OWN, **MEMORY),
}
"""What each model hears: `full` has a pretrained ear as well."""

EVERY = 8
"""One in so many frames of a curve is trained on, 4 s apart: neighbours are nearly alike."""

CLIP_LEVEL = 0.3
"""Mean valence and arousal that a clip's quadrant stands for: a round guess, not fitted."""

LEVEL_PENALTY = 30.0
"""Weight of the squared change of the curve with 1 dB of level, settled in trials at 12 dB. What
12 dB still do to music that no map saw is measured with every release."""

LEVEL_TRACKS = 24
"""So many tracks of each corpus, evenly spread, say what level does to the features."""

LOUDER, SOFTER = ((db, AugmentConfig("gain", gain_db=(db, db))) for db in (12.0, -12.0))
"""How much of it, in dB, and the copies that have it."""

DOMAIN_SHARE = 0.05
"""Weight of differences between corpora's means, against those within a corpus. They tell piano
from pop more than feelings, but without them a curve's level would be arbitrary in either."""

COVERAGE = 0.9
"""Share of frames that the intervals of a curve are meant to cover."""

VIBENET = """
import json, sys
from importlib.metadata import version
import vibenet
model = vibenet.load_model()
heard = [model.predict(path)[0] for path in json.load(sys.stdin)]
said = [[one.valence, one.energy] for one in heard]
json.dump({"version": version("vibenet"), "said": said}, sys.stdout)
"""
"""The peer's own program, run by an interpreter that has it."""

EMOTION_PLANE = {
    "amazement": (0.5, 0.3),
    "solemnity": (0.0, 0.0),
    "tenderness": (0.5, -0.6),
    "nostalgia": (0.0, -0.5),
    "calmness": (0.5, -1.0),
    "power": (0.0, 1.0),
    "joyful_activation": (1.0, 1.0),
    "tension": (-1.0, 0.7),
    "sadness": (-0.7, -0.7),
}
"""Valence and arousal of each emotion, by judgement, along the factors vitality and unease of
Zentner, Grandjean and Scherer (2008), "Emotions evoked by the sound of music", Emotion 8(4).
Written down once and not tuned."""


@dataclass(frozen=True)
class Setting:
    """What is chosen by cross-validation within the tracks that are not tested.

    Parameters
    ----------
    curves, quadrants, gems : float >= 0
        Share of each kind of labels in the loss; corpora of one kind share it evenly.
    alpha : float > 0
        Ridge penalty on standardised features.
    """

    curves: float
    quadrants: float
    gems: float
    alpha: float


SETTINGS = (
    Setting(0.6, 0.25, 0.15, 1.0),
    Setting(0.5, 0.3, 0.2, 1.0),
    Setting(0.6, 0.4, 0.0, 1.0),
)
"""What is tried. The last does without emotions."""

SEEN = 60
"""About so many configurations (features, memories, penalties, weights) had been scored on the
outer folds when the constants above and `BUNDLES` were settled. Only `SETTINGS` are chosen
without the tested fold, so that the scores are somewhat optimistic."""


@dataclass(frozen=True)
class Moments:
    """Sums over rows from which least squares follows; they add up over parts of a corpus.

    Parameters
    ----------
    n : int
    x, y : np.ndarray [shape=(D,)], [shape=(2,)]
    xx, xy : np.ndarray [shape=(D, D)], [shape=(D, 2)]
    """

    n: int
    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    xy: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray) -> Moments:
        """Sums of features (n, D) and labels (n, 2)."""
        # In single precision: rows are moved near zero first, see `Material`.
        return cls(
            len(x), x.sum(axis=0, dtype=np.float64), y.sum(axis=0), x.T @ x, x.T @ y.astype(x.dtype)
        )

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            *(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True))
        )

    def centred(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Means of x and y, covariance of x, and of x with y."""
        x, y = self.x / self.n, self.y / self.n
        return x, y, self.xx / self.n - np.outer(x, x), self.xy / self.n - np.outer(x, y)


@dataclass(frozen=True)
class Material:
    """What one corpus teaches.

    Parameters
    ----------
    corpus : Corpus
    part : np.ndarray [shape=(tracks,), dtype=int]
        Fold in which each track is tested; -1 where it never is, nor trained on.
    rows : list of np.ndarray [shape=(n, D), dtype=float32]
        By track, of what is trained on: frames of a curve, or the mean frame of a clip.
    labels : list of np.ndarray [shape=(n, 2)]
        Valence and arousal of the rows.
    louder : list of np.ndarray [shape=(m, D), dtype=float32]
        By track, what 1 dB more does to frames; none of most tracks.
    """

    corpus: Corpus
    part: np.ndarray
    rows: list[np.ndarray]
    labels: list[np.ndarray]
    louder: list[np.ndarray]

    def moments(self, origin: np.ndarray, folds: int) -> list[Moments]:
        """Of each fold's tracks, features seen from `origin`, (D,)."""
        return [
            Moments.of(
                np.concatenate([self.rows[i] for i in own]) - origin,
                np.concatenate([self.labels[i] for i in own]),
            )
            for own in (np.flatnonzero(self.part == k) for k in range(folds))
        ]

    def level(self, folds: int) -> list[tuple[np.ndarray, int]]:
        """Of each fold's tracks, what 1 dB does to features: products (D, D), number of frames."""
        parts = [
            np.concatenate([self.louder[i] for i in np.flatnonzero(self.part == k)])
            for k in range(folds)
        ]
        return [(x.T @ x, len(x)) for x in parts]


@dataclass(frozen=True)
class Map:
    """Frame features (D,) to (valence, arousal): ``x @ slope + level``."""

    slope: np.ndarray
    level: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return x @ self.slope + self.level


def clip_labels(corpus: Corpus) -> np.ndarray:
    """Valence and arousal that each clip's label stands for, (clips, 2)."""
    if corpus.labels == "quadrants":
        return CLIP_LEVEL * np.array([SIGNS[t.quadrant] for t in corpus.tracks], float)
    felt = np.array([t.gems for t in corpus.tracks], float)
    plane = (felt - felt.mean(axis=0)) / felt.std(axis=0) @ [EMOTION_PLANE[e] for e in EMOTIONS]
    return CLIP_LEVEL * plane / plane.std(axis=0)


def material(
    corpus: Corpus,
    features: FeatureConfig,
    folds: int,
    seed: int = 7,
    cache_dir: Path = CACHE_DIR,
    progress: bool = True,
) -> Material:
    """Read a corpus for training; features are cached.

    Raises
    ------
    CorpusError
        If audio cannot be decoded, or a track has no label.
    ValueError
        If there are fewer groups than folds need.
    """
    part = np.full(len(corpus.tracks), -1)
    at = {t.id: i for i, t in enumerate(corpus.tracks)}
    for k, split in enumerate(splits_of(corpus, folds, seed)):
        part[[at[i] for i in split.test]] = k
    clips = None if corpus.labels == "curves" else clip_labels(corpus)
    rows, labels, louder = [], [], []
    heard = np.linspace(0, len(corpus.tracks) - 1, LEVEL_TRACKS).astype(int)
    for i, track in enumerate(
        tqdm(corpus.tracks, desc=corpus.name, unit="track", disable=not progress)
    ):
        frames = cached_features(track.audio_path, features, cache_dir)
        if clips is None:
            sequence = align(track, frames)
            chosen = np.flatnonzero(sequence.mask)[::EVERY]
            rows.append(frames[chosen])
            labels.append(sequence.labels[chosen].astype(float))
        else:
            rows.append(frames.mean(axis=0, keepdims=True))
            labels.append(clips[[i]])
        louder.append(
            _louder(track, frames, features, cache_dir)
            if i in heard
            else np.empty((0, features.dim), np.float32)
        )
    return Material(corpus, part, rows, labels, louder)


def _louder(
    track: Track, frames: np.ndarray, features: FeatureConfig, cache_dir: Path
) -> np.ndarray:
    copies = (
        (copied_features(track, features, gain, cache_dir=cache_dir) - frames)[::EVERY]
        / np.float32(db)
        for db, gain in (LOUDER, SOFTER)
    )
    return np.concatenate(list(copies))


def solve(
    moments: Mapping[str, Moments],
    kinds: Mapping[str, str],
    setting: Setting,
    level: np.ndarray,
) -> Map:
    """Fit the map.

    Parameters
    ----------
    moments, kinds : mapping of str to Moments, and to a kind of labels
        By corpus.
    setting : Setting
    level : np.ndarray [shape=(D, D)]
        Mean products of what 1 dB does to the features.
    """
    share = {
        name: getattr(setting, kind) / list(kinds.values()).count(kind)
        for name, kind in kinds.items()
    }
    share = {name: value / sum(share.values()) for name, value in share.items() if value}
    centred = {name: moments[name].centred() for name in share}
    sd = np.sqrt(sum(share[n] * np.diag(c[2]) for n, c in centred.items()))
    sd[sd < 1e-6] = 1
    gram = sum(share[n] * c[2] for n, c in centred.items())
    moment = sum(share[n] * c[3] for n, c in centred.items())
    # Shares of emotions say which clip has more, not how much.
    known = {n: w for n, w in share.items() if kinds[n] != "gems"} or share
    # Each counts the same for the level: a share is about the slope.
    x, y = (np.mean([centred[n][k] for n in known], axis=0) for k in (0, 1))
    for name, weight in known.items():
        off = centred[name][0] - x
        gram = gram + DOMAIN_SHARE * weight * np.outer(off, off)
        moment = moment + DOMAIN_SHARE * weight * np.outer(off, centred[name][1] - y)
    gram = gram / np.outer(sd, sd) + setting.alpha * np.eye(len(sd))
    gram += LEVEL_PENALTY * level / np.outer(sd, sd)
    slope = np.linalg.solve(gram, moment / sd[:, None]) / sd[:, None]
    return Map(slope, y - x @ slope)


class Trainer:
    """Fits maps on any of the folds of some corpora.

    Parameters
    ----------
    corpora : sequence of Corpus
        With curves, quadrants or emotions.
    features : FeatureConfig
    folds : int >= 3
    seed : int
    cache_dir : Path
    progress : bool

    Raises
    ------
    CorpusError
        If two have one title, none has curves or none quadrants, or audio cannot be decoded.
    """

    def __init__(
        self,
        corpora: Sequence[Corpus],
        features: FeatureConfig,
        folds: int = 5,
        seed: int = 7,
        cache_dir: Path = CACHE_DIR,
        progress: bool = True,
    ) -> None:
        by_name = {c.card.title: c for c in corpora}
        self.kinds = {name: c.labels for name, c in by_name.items()}
        if len(by_name) < len(corpora) or not {"curves", "quadrants"} <= {*self.kinds.values()}:
            raise CorpusError(
                "corpora: need different ones, one with curves and one with quadrants at least, "
                f"not {', '.join(c.card.title for c in corpora)}"
            )
        self.features, self.folds, self.progress = features, folds, progress
        self.cache_dir = cache_dir
        self.materials = {
            name: material(c, features, folds, seed, cache_dir, progress)
            for name, c in by_name.items()
        }
        every = [r for m in self.materials.values() for r in m.rows]
        self._origin = np.mean([r.mean(axis=0) for r in every], axis=0, dtype=np.float32)
        with threadpool_limits(1, user_api="blas"):
            self._moments = {n: m.moments(self._origin, folds) for n, m in self.materials.items()}
            self._level = {n: m.level(folds) for n, m in self.materials.items()}

    def fit(self, setting: Setting, without: Sequence[int] = ()) -> Map:
        """The map of all folds but those."""
        used = [k for k in range(self.folds) if k not in without]
        moments = {
            name: reduce(Moments.__add__, [parts[k] for k in used])
            for name, parts in self._moments.items()
        }
        taught_by = [n for n, kind in self.kinds.items() if getattr(setting, kind)]
        known = [self._level[n][k] for n in taught_by for k in used]
        level = sum(products for products, _ in known) / sum(n for _, n in known)
        with threadpool_limits(1, user_api="blas"):
            found = solve(moments, self.kinds, setting, level)
        return Map(found.slope, found.level - self._origin @ found.slope)

    def choose(self, losses: Mapping[tuple, float], without: Sequence[int]) -> Setting:
        """The setting of the lowest mean loss over inner folds of what is left."""
        left = [k for k in range(self.folds) if k not in without]
        return min(
            SETTINGS,
            key=lambda s: np.mean([losses[s, frozenset((*without, k)), k] for k in left]),
        )

    def losses(self) -> dict[tuple, float]:
        """By setting, folds left out (one or two) and which of them was predicted: squared
        error over that of the fold's mean, averaged over targets and corpora of curves and
        quadrants."""
        pairs = [
            frozenset(p) for p in {frozenset((i, j)) for i in range(self.folds)
                                   for j in range(self.folds)}
        ]  # fmt: skip
        found = {}
        plans = list(product(SETTINGS, sorted(pairs, key=sorted)))
        for setting, pair in tqdm(plans, desc="settings", disable=not self.progress):
            fitted = self.fit(setting, tuple(pair))
            for k in pair:
                found[setting, pair, k] = self._loss(fitted, k)
        return found

    def _loss(self, fitted: Map, fold: int) -> float:
        errors = []
        for name, m in self.materials.items():
            if self.kinds[name] == "gems":
                continue
            own = np.flatnonzero(m.part == fold)
            said = fitted(np.concatenate([m.rows[i] for i in own]))
            true = np.concatenate([m.labels[i] for i in own])
            errors.append(np.mean(((true - said) ** 2).mean(axis=0) / true.var(axis=0)))
        return float(np.mean(errors))

    def test(self, maps: Sequence[Map]) -> dict[str, dict]:
        """What maps, one a fold, say of the tracks that they were not trained on.

        Returns
        -------
        dict
            By corpus: of curves, target to predictions; of clips, (N, 2) of mean frames.
        """
        found: dict[str, dict] = {}
        for name, m in self.materials.items():
            tested = [i for i in range(len(m.part)) if m.part[i] >= 0]
            if self.kinds[name] != "curves":
                found[name] = np.concatenate([maps[m.part[i]](m.rows[i]) for i in tested])
                continue
            said: list[Sequence2Hz] = []
            for i in tested:
                track = m.corpus.tracks[i]
                frames = cached_features(track.audio_path, self.features, self.cache_dir)
                said.append(align(track, np.clip(maps[m.part[i]](frames), -1, 1)))
            found[name] = {
                target: collect(said, {s.id: s.features[:, k] for s in said}, target)
                for k, target in enumerate(TARGETS)
            }
        return found


@dataclass(frozen=True)
class Released:
    """What `train` gives.

    Parameters
    ----------
    trainer : Trainer
    map : Map
        Of all folds.
    setting : Setting
        Of `map`.
    chosen : list of Setting
        Of each fold's map.
    tested : dict
        See `Trainer.test`.
    margins : dict of str to float
        Half-width of each target's interval.
    """

    trainer: Trainer
    map: Map
    setting: Setting
    chosen: list[Setting]
    tested: dict[str, dict]
    margins: dict[str, float]


def train(trainer: Trainer) -> Released:
    """Cross-validate over all corpora at once, then fit what is released on all of them.

    A track of fold k, whatever its corpus, is predicted by a map, with a setting, that saw no
    track of fold k.
    """
    losses = trainer.losses()
    chosen = [trainer.choose(losses, (k,)) for k in range(trainer.folds)]
    maps = [trainer.fit(setting, (k,)) for k, setting in enumerate(chosen)]
    tested = trainer.test(maps)
    setting = trainer.choose(losses, ())
    margins = {
        target: margin([p for n in _curves(trainer) for p in tested[n][target].values()])
        for target in TARGETS
    }
    return Released(trainer, trainer.fit(setting), setting, chosen, tested, margins)


def _curves(trainer: Trainer) -> list[str]:
    return [name for name, kind in trainer.kinds.items() if kind == "curves"]


def margin(curves: Sequence[Curve], share: float = COVERAGE) -> float:
    """Half-width of an interval that covers this share of the frames of the next track.

    Split-conformal with tracks as units, each of which counts the same: Dunn, Wasserman and
    Ramdas (2023), "Distribution-free prediction sets for two-layer hierarchical models",
    JASA 118(544). Too few tracks for `share` give the largest error.
    """
    errors = np.concatenate([abs(c.true - c.predicted) for c in curves])
    weight = np.concatenate([np.full(len(c.true), 1 / len(c.true)) for c in curves])
    order = np.argsort(errors)
    reached = np.cumsum(weight[order]) / len(curves)
    wanted = share * (1 + 1 / len(curves))
    return float(errors[order][min(np.searchsorted(reached, wanted), len(errors) - 1)])


def coverage(released: Released) -> dict[str, dict[str, float]]:
    """Share of a curve's frames within the interval, tracks weighing the same.

    Returns
    -------
    dict
        Target to corpus of curves to the share: intervals are made of the folds that are not
        tested.
    """
    found: dict[str, dict[str, float]] = {target: {} for target in TARGETS}
    for target in TARGETS:
        parts = [
            (name, fold, curve)
            for name in _curves(released.trainer)
            for fold, curve in _by_fold(released, name, target)
        ]
        widths = {
            k: margin([c for _, fold, c in parts if fold != k])
            for k in range(released.trainer.folds)
        }
        for name in _curves(released.trainer):
            found[target][name] = float(
                np.mean([covered(c, widths[k]) for own, k, c in parts if own == name])
            )
    return found


def _by_fold(released: Released, name: str, target: str) -> list[tuple[int, Curve]]:
    m = released.trainer.materials[name]
    fold = {t.id: int(k) for t, k in zip(m.corpus.tracks, m.part, strict=True)}
    return [(fold[i], curve) for i, curve in released.tested[name][target].items()]


def covered(curve: Curve, width: float) -> float:
    """Share of the frames whose true value lies within `width` of the predicted one."""
    return float((abs(curve.true - curve.predicted) <= width).mean())


def score_clips(
    groups: Sequence[str],
    true: np.ndarray,
    said: np.ndarray,
    n_boot: int = 2000,
    seed: int = 7,
) -> dict[str, dict[str, float]]:
    """AUC of valence and arousal and accuracy of the quadrant, with 95 % intervals by group.

    Parameters
    ----------
    groups : sequence of str
        Artists, drawn as a whole.
    true, said : np.ndarray [shape=(N, 2)]
        The signs of (valence, arousal) count.
    n_boot, seed : int

    Returns
    -------
    dict
        ``auc_valence, auc_arousal, accuracy`` to ``value, low, high``.
    """
    names, member = np.unique(list(groups), return_inverse=True)
    drawn = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=n_boot
    )
    counts = np.concatenate([np.ones((1, len(names))), drawn])[:, member]
    right = ((true > 0) == (said > 0)).all(axis=1)
    samples = {
        f"auc_{target}": weighted_auc(counts, true[:, k] > 0, said[:, k])
        for k, target in enumerate(TARGETS)
    } | {"accuracy": counts @ right / counts.sum(axis=1)}
    return {
        name: dict(
            zip(
                ("value", "low", "high"),
                [float(v[0]), *np.nanquantile(v[1:], [0.025, 0.975]).tolist()]
                if n_boot
                else [float(v[0]), np.nan, np.nan],
                strict=True,
            )
        )
        for name, v in samples.items()
    }


def report(released: Released, n_boot: int = 2000, seed: int = 7) -> dict:
    """Scores of every track by a map that did not see its group.

    Returns
    -------
    dict
        ``curves[corpus][target]`` as `msr_utils.metrics.evaluate`, ``quadrants[corpus]`` as
        `score_clips`; ``coverage``, ``margins``, ``setting``, ``chosen``, ``tried``.
    """
    trainer = released.trainer
    quadrants = {}
    for name, kind in trainer.kinds.items():
        if kind != "quadrants":
            continue
        m = trainer.materials[name]
        at = np.flatnonzero(m.part >= 0)
        groups = [m.corpus.tracks[i].group for i in at]
        true = np.concatenate([m.labels[i] for i in at])
        quadrants[name] = score_clips(groups, true, released.tested[name], n_boot, seed)
    return {
        "curves": {
            name: {t: evaluate(released.tested[name][t], n_boot, seed) for t in TARGETS}
            for name in _curves(trainer)
        },
        "quadrants": quadrants,
        "coverage": {"wanted": COVERAGE, "reached": coverage(released)},
        "margins": released.margins,
        "setting": vars(released.setting),
        "chosen": [vars(setting) for setting in released.chosen],
        "tried": len(SETTINGS),
    }


def networks(released: Released) -> dict[str, keras.Model]:
    """The map as one network a target, for `export_bundle`."""
    m = released.trainer.materials
    rows = np.concatenate([r for own in m.values() for r in own.rows])
    mean, sd = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    sd = np.where(sd > 1e-6, sd, 1)
    found = {}
    for k, target in enumerate(TARGETS):
        slope = released.map.slope[:, k]
        network = build_linear(LinearConfig(), mean.astype(np.float32), sd.astype(np.float32))
        level = released.map.level[k] + mean @ slope
        network.get_layer("curve").set_weights(
            [(slope * sd)[:, None].astype(np.float32), np.array([level], np.float32)]
        )
        found[target] = network
    return found


def export(
    name: str, released: Released, scored: dict, models_dir: Path, limits: Sequence[str] = ()
) -> dict:
    """Write the bundle `name`.

    Parameters
    ----------
    name : str
        Key of `BUNDLES`.
    released : Released
    scored : dict
        See `report`.
    models_dir : Path
    limits : sequence of str
        What measurements on other music say, as `unseen_limits` words it.

    Returns
    -------
    dict
        The card.

    Raises
    ------
    msr_utils.export.ExportError
        If the graph does not compute what the network computes.
    """
    trainer = released.trainer
    corpora = [
        m.corpus
        for m in trainer.materials.values()
        if getattr(released.setting, m.corpus.labels)  # a kind without a share teaches nothing
    ]
    first = _curves(trainer)[0]
    ear = "ear" in trainer.features.blocks
    inside = scored["coverage"]["reached"]
    clips = "; ".join(
        f"{metric.replace('_', ' of ')} {v['value']:.3f} [{v['low']:.3f}, {v['high']:.3f}]"
        for quadrants in scored["quadrants"].values()
        for metric, v in quadrants.items()
    )
    card = {
        "name": name,
        "title": f"Linear map of remembered features ({name})",
        "summary": "Valence and arousal every 500 ms; causal. One linear map of what was heard in "
        "the last 3, 10 and 40 s: spectrum, timbre, harmony, rhythm and loudness"
        + (", and what a network makes of it that learned to tag music." if ear else "."),
        "protocol": f"{trainer.folds}-fold cross-validation over all corpora at once, by artist "
        "or series. Only the shares of the kinds of labels were chosen within the folds that are "
        "not tested; features, memory and penalties were settled after the scores of about "
        f"{SEEN} configurations on the same folds had been seen, so these scores are somewhat "
        f"optimistic. The table is of {first}, frames pooled. Clips of a known quadrant: {clips}. The bundle itself was "
        "trained on all folds. Intervals of 95 % resample tracks or artists.",
        "trained_on": ", ".join(c.card.title for c in corpora),
        "licence": "weights for research, not for commercial use; training data: "
        + "; ".join(f"{c.card.title}: {c.card.licence}" for c in corpora),
        "corpus_hash": " ".join(c.content_hash()[:16] for c in corpora),
        "metrics": {
            t: {m: one["pooled"][m] for m in ("rmse", "mae", "r", "ccc")}
            for t, one in scored["curves"][first].items()
        },
        "margins": released.margins,
        "setting": scored["setting"],
        "quadrants": scored["quadrants"],
        "coverage": scored["coverage"],
        "limits": [
            f"Its intervals are as wide for every frame. They are meant to cover "
            f"{100 * COVERAGE:.0f} % of a track's frames and were fitted to curves of {first}: "
            + ", ".join(f"{100 * inside[t][first]:.0f} % of {t}" for t in TARGETS)
            + " there, out of fold. On other music they may cover fewer.",
            *limits,
            *(
                [
                    "Its ear learned to tag the Million Song Dataset, with words for moods among the "
                    "tags. Recordings of the clips may be in it, which was not checked: the scores on "
                    "clips may be too good."
                ]
                if ear
                else []
            ),
            "Of recordings with singing or a band it has heard only which quadrant a clip is in: "
            "that a curve rises there says more than its value does.",
            "It was never shown speech, noise, silence, music without Western harmony or pieces "
            "of more than some minutes.",
            "Ratings are means over listeners: they do not say what one person feels.",
        ],
    }
    return export_bundle(networks(released), trainer.features, card, Path(models_dir) / name)


def unseen(
    models: Sequence[Model], corpus: Corpus, n_boot: int = 2000, seed: int = 7
) -> dict[str, dict]:
    """Test bundles on a corpus with curves that none of them was trained on.

    Returns
    -------
    dict
        As `msr_utils.transfer.scores`, and ``coverage[model][target]``, the share of frames
        within the bundle's intervals.

    Raises
    ------
    CorpusError
        If a bundle was trained on it.
    """
    said = {}
    for model in models:
        if was_trained_on(model, corpus):
            raise CorpusError(f"bundle {model.name}: was trained on {corpus.card.title}")
        said[model.name] = bundle_predictions(model, corpus.tracks, progress=False)
    result = scores(said, None, n_boot, seed)
    result["coverage"] = {
        model.name: {
            target: float(
                np.mean(
                    [covered(c, model.margins[target]) for c in said[model.name][target].values()]
                )
            )
            for target in TARGETS
        }
        for model in models
        if model.margins
    }
    return result


def unseen_limits(name: str, heard: dict, title: str) -> list[str]:
    """What music that a bundle was not trained on says of its limits, for its card.

    Parameters
    ----------
    name : str
        Of the bundle.
    heard : dict
        See `unseen`.
    title : str
        Of the corpus.
    """

    def interval(v: Mapping[str, float], digits: int) -> str:
        return f"{v['value']:.{digits}f} [{v['low']:.{digits}f}, {v['high']:.{digits}f}]"

    def each(form: Callable[[str], str]) -> str:
        return " and ".join(f"{form(target)} of {target}" for target in TARGETS)

    def of(target: str, row: str) -> dict:
        return heard["rows"][target][row]

    limits = [
        "How high its curves lie is uncertain on music unlike its training music. On the "
        f"{heard['songs']} songs of {title}, which it was never trained on, RMSE is "
        + each(lambda t: interval(of(t, name)["pooled"]["rmse"], 3))
        + "; a constant zero has "
        + each(lambda t: f"{of(t, ZERO)['pooled']['rmse']['value']:.3f}")
        + ". Which song has more is told with r of song means "
        + each(lambda t: interval(of(t, name)["song_means"], 2))
        + "; an interval that holds zero shows nothing."
    ]
    inside = heard["coverage"].get(name)
    if inside:
        limits.append(
            f"There its intervals of {100 * COVERAGE:.0f} % cover "
            + each(lambda t: f"{100 * inside[t]:.0f} %")
            + "."
        )
    return limits


def peer_scores(
    corpora: Sequence[Corpus], python: str, n_boot: int = 2000, seed: int = 7
) -> dict[str, dict]:
    """What another program makes of the clips of a known quadrant, scored as our models are.

    vibenet gives one valence and one energy of a whole clip, on scales of its own: they are
    split at their medians over the clips.

    Parameters
    ----------
    corpora : sequence of Corpus
        Those without quadrants are left out.
    python : str
        Interpreter that has vibenet; empty: no peer.
    n_boot, seed : int

    Returns
    -------
    dict
        Name and version to ``quadrants`` as in `report`, and ``curves``, of which it has none.

    Raises
    ------
    ValueError
        If the interpreter is not there or the peer fails; its last words are told.
    """
    if not python:
        return {}
    clips = {c.card.title: c for c in corpora if c.labels == "quadrants"}
    found: dict[str, dict] = {}
    for title, corpus in clips.items():
        paths = json.dumps([str(t.audio_path.resolve()) for t in corpus.tracks])
        try:
            told = subprocess.run(
                [python, "-c", VIBENET], input=paths, capture_output=True, text=True, check=True
            ).stdout
        except OSError as error:
            raise ValueError(f"BENCH_PEERS_PYTHON={python}: {error.strerror}") from error
        except subprocess.CalledProcessError as error:
            why = (error.stderr.strip().splitlines() or ["no output"])[-1]
            raise ValueError(f"BENCH_PEERS_PYTHON={python}: vibenet: {why}") from error
        answer = json.loads(told)
        said = np.array(answer["said"])
        groups = [t.group for t in corpus.tracks]
        own = found.setdefault(f"vibenet {answer['version']}", {"quadrants": {}, "curves": {}})
        own["quadrants"][title] = score_clips(
            groups, clip_labels(corpus), said - np.median(said, axis=0), n_boot, seed
        )
    return found


def peer_limits(peers: Mapping[str, dict]) -> list[str]:
    """How the peers of `peer_scores` score, for the card."""
    return [
        f"For comparison, on the clips of {title} {name} (its energy for arousal, split at the "
        "medians) scores "
        + "; ".join(
            f"{metric.replace('_', ' of ')} {v['value']:.3f} [{v['low']:.3f}, {v['high']:.3f}]"
            for metric, v in scored.items()
        )
        + "."
        for name, peer in peers.items()
        for title, scored in peer["quadrants"].items()
    ]


def altered_limits(rows: Sequence[Mapping], title: str) -> list[str]:
    """What altering recordings does to the curves, for the card.

    Parameters
    ----------
    rows : sequence of mapping
        See `msr_utils.robustness.robustness`.
    title : str
        Of the corpus whose songs were altered.
    """
    names = dict.fromkeys(row["alteration"] for row in rows)
    moved = {(row["alteration"], row["target"]): row["shift"] for row in rows}
    return [
        f"Altered recordings of the songs of {title} move its mean valence and arousal by: "
        + "; ".join(
            f"{name} " + " and ".join(f"{moved[name, target]:+.3f}" for target in TARGETS)
            for name in names
        )
        + "."
    ]


def realtime_factor(model: Model, path: Path, repeats: int = 3) -> float:
    """Seconds of audio a second on one thread, decoding included; the best of some repeats."""
    seconds, length = [], 0.0
    with threadpool_limits(1, user_api="blas"):
        for _ in range(repeats):
            start = time.perf_counter()
            length = len(model.predict(path).times_s) / 2
            seconds.append(time.perf_counter() - start)
    return length / min(seconds)


def score_table(results: Mapping[str, dict]) -> pd.DataFrame:
    """Scores of `report` and `peer_scores` by bundle, for display."""
    rows = []
    for name, result in results.items():
        found = {
            ("quadrants", m): v for own in result["quadrants"].values() for m, v in own.items()
        } | {
            (corpus, f"{metric} of {target}"): one["pooled"][metric]
            for corpus, targets in result["curves"].items()
            for target, one in targets.items()
            for metric in ("rmse", "r")
        }
        rows += [
            {
                "corpus": corpus,
                "metric": metric.replace("_", " of "),
                "bundle": name,
                "score": f"{v['value']:.3f} [{v['low']:.3f}, {v['high']:.3f}]",
            }
            for (corpus, metric), v in found.items()
        ]
    table = pd.DataFrame(rows).pivot(index=["corpus", "metric"], columns="bundle", values="score")
    return table[list(results)].fillna("–")
