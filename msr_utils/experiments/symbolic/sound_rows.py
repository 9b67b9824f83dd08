"""Rows on the sound of the clips, and on sound and notes together.

The notes are played by our own piano. Audio features of the sound, and statistics of the notes, are
read by one kernel machine: kernel ridge regression with a Gaussian kernel on the signs of valence,
arousal and their product, as in `msr_utils.experiments.joint_models`. A set of several parts has
one kernel of all parts (early fusion). So the rows differ in what they read, and not in how.

The constants were set on folds by song of the training and validation parts of EMOPIA.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.linalg import solve
from sklearn.decomposition import PCA
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from msr_utils.affect import QUADRANT_NAMES, SIGNS
from msr_utils.experiments.symbolic import sound
from msr_utils.experiments.symbolic.clips import NoteClips
from msr_utils.experiments.symbolic.statistics_models import (
    INNER_FOLDS,
    LOGISTIC,
    SVM,
    kept_fit_predict,
)
from msr_utils.io import atomic_path, plain, sha256_text
from msr_utils.paths import TRAININGS
from msr_utils.provenance.cache_keys import computed_by, computed_on

GAMMAS = (0.25, 0.5)
"""Inverse squared widths of the kernel that are tried. Squared distances are averaged over the
features of a part, and then over the parts, so that each part counts the same."""

PENALTIES = (0.1, 0.3, 1.0, 3.0)
"""Penalties of the kernel machine that are tried."""

N_COMPONENTS = 128
"""Principal components that the logistic regression and the support vector machine read."""

STATISTICS = "kernel ridge on statistics"
ALL_AUDIO = "audio, all features"
BOTH = "audio and statistics of notes"
TITLES = {
    sound.HAND_MADE: "audio, hand-made features",
    "musicnn": "audio, MusiCNN",
    "jamendo_fcn": "audio, Jamendo FCN",
}
"""Groups of features -> rows."""

COMPARED = ((BOTH, STATISTICS), (BOTH, ALL_AUDIO), (ALL_AUDIO, STATISTICS))
"""Rows whose paired differences are reported."""

_SIGNS = np.array([(v, a, v * a) for v, a in (SIGNS[name] for name in QUADRANT_NAMES)])

Parts = Sequence[np.ndarray]
"""What a row reads: tables of all clips, (N, D) each."""

Predicted = dict[str, tuple[np.ndarray, np.ndarray]]
"""Row -> probabilities of the validation and of the test part, (1, n, 4) each."""


def row_sets(vectors: Mapping[str, np.ndarray], statistics: np.ndarray) -> dict[str, Parts]:
    """Rows and what each reads.

    Parameters
    ----------
    vectors : mapping of group to np.ndarray [shape=(N, D)]
        From `msr_utils.experiments.symbolic.sound.clip_vectors`; a network may be missing.
    statistics : np.ndarray [shape=(N, D)]
        Of the notes.
    """
    every = list(vectors.values())
    sets: dict[str, Parts] = {STATISTICS: [statistics]}
    sets |= {TITLES[name]: [x] for name, x in vectors.items()}
    return sets | {ALL_AUDIO: every, BOTH: [*every, statistics]}


def held_out_rows(sets: Mapping[str, Parts], clips: NoteClips, seed: int) -> Predicted:
    """Every row on the validation part (fitted on the training part) and on the test part (fitted
    on both). All audio is read by logistic regression and a support vector machine as well.
    """
    parts = clips.parts
    both = np.concatenate([parts.train, parts.validation])
    steps = ((parts.train, parts.validation), (both, parts.test))
    found: Predicted = {}
    for row, read in sets.items():
        first, second = (kernel_ridge(read, clips, known, asked)[None] for known, asked in steps)
        found[row] = (first, second)
    for name in (LOGISTIC, SVM):
        first, second = (
            _on_components(name, sets[ALL_AUDIO], clips, known, asked, seed)[None]
            for known, asked in steps
        )
        found[f"{ALL_AUDIO}: {name}"] = (first, second)
    return found


def cross_validated_rows(
    sets: Mapping[str, Parts], clips: NoteClips, folds: int
) -> dict[str, np.ndarray]:
    """Probabilities of all clips by models that were fitted on no clip of their song, (N, 4)."""
    found = {row: np.zeros((len(clips), len(QUADRANT_NAMES))) for row in sets}
    folds = min(folds, len(set(clips.groups)))
    for known, asked in GroupKFold(folds).split(clips.labels, groups=clips.groups):
        for row, read in sets.items():
            found[row][asked] = kernel_ridge(read, clips, known, asked)
    return found


def kernel_ridge(read: Parts, clips: NoteClips, known: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Fit on some clips and predict others; what has been computed once is read.

    Parameters
    ----------
    read : Parts
    clips : NoteClips
    known, asked : np.ndarray [shape=(n,), dtype=int], [shape=(m,), dtype=int]

    Returns
    -------
    np.ndarray [shape=(m, 4)]
        Estimated probabilities of the quadrants. They add up to 1, and may lie a little outside of
        0 to 1.
    """
    digest = hashlib.sha256()
    for array in (*read, clips.labels, clips.groups.astype(str), known, asked):
        digest.update(f"{array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    inputs = [digest.hexdigest(), computed_by(fit_predict), computed_on()]
    key = sha256_text(json.dumps(plain(inputs), sort_keys=True))[:16]
    file = TRAININGS / "notes" / f"kernel-{key}.npz"
    if not file.is_file():
        with threadpool_limits(1, user_api="blas"):
            found = fit_predict(
                mean_distances(read, known), clips.labels, clips.groups, known, asked
            )
        with atomic_path(file) as temporary:
            np.savez(temporary, probabilities=found)
    with np.load(file) as stored:
        return np.array(stored["probabilities"])


def mean_distances(read: Parts, known: np.ndarray) -> np.ndarray:
    """Mean squared distances of all clips, standardised by the known ones, (N, N)."""
    total = np.zeros((len(read[0]), len(read[0])))
    for x in read:
        scaled = StandardScaler().fit(x[known]).transform(x)
        square = (scaled**2).mean(axis=1)
        products = scaled @ scaled.T / scaled.shape[1]
        total += np.maximum(square[:, None] + square - 2 * products, 0)
    return total / len(read)


def fit_predict(
    distances: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    known: np.ndarray,
    asked: np.ndarray,
) -> np.ndarray:
    """Choose width and penalty on inner folds by song, fit all known clips, and predict others."""
    signs = _SIGNS[labels]
    inner = list(
        GroupKFold(min(INNER_FOLDS, len(set(groups[known])))).split(known, groups=groups[known])
    )
    best, lowest = (GAMMAS[0], PENALTIES[0]), np.inf
    for gamma in GAMMAS:
        kernel = np.exp(-gamma * distances)
        for penalty in PENALTIES:
            error = sum(
                float(((_solved(kernel, signs, known[a], known[b], penalty) - signs[known[b]]) ** 2)
                      .sum())
                for a, b in inner
            )  # fmt: skip
            if error < lowest:
                best, lowest = (gamma, penalty), error
    gamma, penalty = best
    scores = _solved(np.exp(-gamma * distances), signs, known, asked, penalty)
    return (1 + scores @ _SIGNS.T) / 4


def _solved(
    kernel: np.ndarray, signs: np.ndarray, known: np.ndarray, asked: np.ndarray, penalty: float
) -> np.ndarray:
    """Predicted signs of the asked clips, (m, 3)."""
    level = signs[known].mean(axis=0)
    gram = kernel[np.ix_(known, known)] + penalty * np.eye(len(known))
    dual = solve(gram, signs[known] - level, assume_a="pos", overwrite_a=True)
    return kernel[np.ix_(asked, known)] @ dual + level


def _on_components(
    name: str, read: Parts, clips: NoteClips, known: np.ndarray, asked: np.ndarray, seed: int
) -> np.ndarray:
    """A classifier of principal components of all parts."""
    with threadpool_limits(1, user_api="blas"):
        scaled = np.concatenate(
            [StandardScaler().fit(x[known]).transform(x) / np.sqrt(x.shape[1]) for x in read],
            axis=1,
        )
        count = min(N_COMPONENTS, len(known), scaled.shape[1])
        pca = PCA(count, svd_solver="randomized", random_state=seed).fit(scaled[known])
        x = pca.transform(scaled)
    labels, groups = clips.labels[known], clips.groups[known]
    return kept_fit_predict(name, x[known], labels, groups, x[asked], seed)
