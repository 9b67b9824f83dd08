"""A bundle on altered recordings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import soundfile as sf
from conftest import write_folder_corpus

from msr_utils.constants import SAMPLE_RATE, TARGETS
from msr_utils.corpora import load_corpus
from msr_utils.corpora.base import CorpusError
from msr_utils.dataset.augmentation import AugmentConfig
from msr_utils.experiments import robustness
from msr_utils.figures import errors
from msr_utils.inference import model as inference_model


@pytest.fixture(scope="module")
def model():
    return inference_model.load("lstm-tonal-vgmidi")


@pytest.fixture
def corpus(tmp_path):
    """Tones that get louder, so that tempo has something to move."""
    root = write_folder_corpus(tmp_path / "tones", tracks=4, seconds=12)
    for path in sorted((root / "audio").iterdir()):
        audio, _ = sf.read(path, dtype="float32")
        sf.write(path, audio * np.linspace(0.01, 1, len(audio)), SAMPLE_RATE)
    return load_corpus("folder", root)


def test_what_changes_nothing_changes_nothing(model, corpus, tmp_path):
    """A level of +0 dB, and a tempo of once the tempo, through the same way as the others."""
    same = {"gain 0": AugmentConfig("gain", gain_db=(0, 0))}
    rows = robustness.robustness(model, corpus, same, 10, cache_dir=tmp_path)
    assert [row.target for row in rows] == [*TARGETS]
    for row in rows:
        assert row.change == pytest.approx(0, abs=1e-6)
        assert row.r == pytest.approx(1)
        assert row.rmse_change.value == pytest.approx(0, abs=1e-6)
        assert row.rmse_before == pytest.approx(row.rmse_after)


def test_errors_are_those_of_the_served_curve(model, corpus, tmp_path):
    (_, arousal) = robustness.robustness(
        model, corpus, {"x": AugmentConfig("gain", gain_db=(6, 6))}, 10, cache_dir=tmp_path
    )
    squares = []
    for track in corpus.tracks:
        served = model.predict(track.audio_path)
        squares.append((served.arousal[: len(track.times_s)] - track.arousal) ** 2)
    assert arousal.rmse_before == pytest.approx(np.sqrt(np.concatenate(squares).mean()), abs=1e-4)
    assert arousal.change > 0
    assert arousal.rmse_change.low <= arousal.rmse_change.high


def test_a_faster_copy_is_compared_with_the_same_place(model, corpus, tmp_path):
    rows = robustness.robustness(
        model, corpus, {"faster": AugmentConfig("stretch", stretch_rate=(1.1, 1.1))}, 10,
        cache_dir=tmp_path,
    )  # fmt: skip
    # The tones only get louder: at the same place they are as loud, whatever the tempo.
    assert all(row.r > 0.7 for row in rows)


@pytest.mark.slow
def test_every_alteration_runs_and_is_shown(model, corpus, tmp_path):
    few = robustness.sample(corpus, 2)
    rows = robustness.robustness(model, few, n_boot=10, cache_dir=tmp_path)
    table = robustness.robustness_table(rows)
    assert list(table.loc["arousal"].index) == [*robustness.ALTERATIONS]
    assert all(np.isfinite(row.change) and row.songs == 2 for row in rows)
    assert len(errors.robustness(rows).axes) == 3
    # What was altered once is kept.
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "features").rglob("*.npy")}
    assert len(kept) == 2 * (1 + len(robustness.ALTERATIONS))
    robustness.robustness(model, few, n_boot=10, cache_dir=tmp_path)
    assert kept == {p: p.stat().st_mtime_ns for p in (tmp_path / "features").rglob("*.npy")}


def test_samples_are_drawn_once_for_a_seed(corpus):
    drawn = robustness.sample(corpus, 2, seed=1)
    assert [t.id for t in drawn.tracks] == [t.id for t in robustness.sample(corpus, 2, 1).tracks]
    assert len(drawn.tracks) == 2
    assert robustness.sample(corpus, 0) is corpus and robustness.sample(corpus, 9) is corpus
    with pytest.raises(ValueError, match="tracks: must be 0"):
        robustness.sample(corpus, -1)


def test_a_corpus_without_curves_is_refused(model, corpus):
    with pytest.raises(CorpusError, match="no curves to compare with"):
        robustness.robustness(model, replace(corpus, labels="quadrants"))
