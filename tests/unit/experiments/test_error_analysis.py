"""What errors are made of, on curves whose errors are put there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import write_folder_corpus

from msr_utils import style
from msr_utils.corpora import load_corpus
from msr_utils.corpora.base import Card, Corpus, Track
from msr_utils.dataset.sequences import Sequence2Hz, sequences_of
from msr_utils.experiments.error_analysis import (
    analysis,
    decomposition,
    strata,
    tables,
)
from msr_utils.experiments.error_analysis import pieces as by_piece
from msr_utils.experiments.error_analysis.decomposition import WITHIN_PIECE
from msr_utils.features.config import FeatureConfig
from msr_utils.features.extractor import FeatureExtractor
from msr_utils.figures import errors
from msr_utils.metrics.curves import Curve
from msr_utils.metrics.scores import score


def made(n_songs=12, frames=80, raters=0, seed=0):
    """Tracks in three groups with true curves, and predictions with errors of every layer."""
    rng = np.random.default_rng(seed)
    tracks, predictions = [], {}
    for i in range(n_songs):
        n = frames + 7 * i
        times_s = np.arange(1, n + 1) / 2
        true = rng.uniform(-0.4, 0.4) + 0.1 * np.sin(times_s / 5)
        ratings = None
        if raters:
            ratings = true[None, :, None] + rng.normal(0, 0.3, (raters, n, 2))
            true = ratings[..., 1].mean(axis=0)
        wrong = rng.normal(0.05 * (i % 3), 0.1) + rng.normal(0, 0.05, n)
        tracks.append(
            Track(f"t{i}", Path("none.wav"), times_s, true, true, f"g{i % 3}", ratings=ratings)
        )
        predictions[f"t{i}"] = Curve(times_s, true, true + wrong)
    return Corpus("made", tracks, Card("made", "", "", ""), []), predictions


def test_the_components_add_up_and_each_error_is_found_in_its_component():
    corpus, predictions = made()
    parts = decomposition.decompose(predictions, corpus.tracks, "arousal", n_boot=50)
    pooled = np.concatenate([c.predicted - c.true for c in predictions.values()])
    assert parts.mse == pytest.approx(np.mean(pooled**2))
    assert sum(part.mse for part in parts.components.values()) == pytest.approx(parts.mse)
    shares = {name: part.share for name, part in parts.components.items()}
    assert all(s.low <= s.value <= s.high for name, s in shares.items() if name != "series")
    moves = {
        "corpus": lambda k, n: np.full(n, 0.2),
        "series": lambda k, n: np.full(n, (0.2, -0.2, 0.2, -0.2)[k]),
        "piece": lambda k, n: np.full(n, (0.2, -0.2, -0.2, 0.2)[k]),
        WITHIN_PIECE: lambda k, n: 0.2 * (-1.0) ** np.arange(n),
    }
    zeros, times_s = np.zeros(10), np.arange(1, 11) / 2
    four = [Track(f"t{k}", Path("n"), times_s, zeros, zeros, f"g{k % 2}") for k in range(4)]
    for name, move in moves.items():
        curves = {f"t{k}": Curve(times_s, zeros, move(k, 10)) for k in range(4)}
        share = decomposition.decompose(curves, four, "arousal", n_boot=0).components[name].share
        assert share.value == pytest.approx(1), name
        assert np.isnan(share.low)


def test_noise_of_raters_is_what_a_perfect_model_is_left_with():
    corpus, _ = made(n_songs=40, raters=8)
    # Independent noise of sd .3 on 8 raters: .09 / 8 in all, of which the piece's mean has 1 / n.
    noise = decomposition.decompose(
        {t.id: Curve(t.times_s, t.arousal, t.arousal + 0.1) for t in corpus.tracks},
        corpus.tracks, "arousal", n_boot=0,
    ).noise  # fmt: skip
    assert noise.level + noise.within_piece == pytest.approx(0.09 / 8, rel=0.05)
    assert noise.level < 0.03 * noise.within_piece


def test_raters_who_differ_in_level_leave_noise_in_the_level():
    corpus, predictions = made(n_songs=3)
    off = np.array([-0.2, 0.0, 0.2])[:, None, None]
    tracks = [
        Track(t.id, t.audio_path, t.times_s, t.valence, t.arousal, t.group,
              ratings=np.stack([t.valence, t.arousal], 1)[None] + off)
        for t in corpus.tracks
    ]  # fmt: skip
    noise = decomposition.decompose(predictions, tracks, "arousal", n_boot=0).noise
    assert noise.level == pytest.approx(0.04 / 3)
    assert noise.within_piece == pytest.approx(0, abs=1e-9)


def test_oracle_corrections_remove_the_component_that_they_name():
    corpus, predictions = made()
    corrected = decomposition.oracle_corrections(predictions, corpus.tracks, n_boot=0)
    parts = decomposition.decompose(predictions, corpus.tracks, "arousal", n_boot=0).components
    squared = {name: pooled["rmse"].value ** 2 for name, pooled in corrected.items()}
    total, within = squared["as predicted"], parts[WITHIN_PIECE].mse
    assert squared["level of the piece known"] == pytest.approx(within)
    assert squared["course in the piece known"] == pytest.approx(total - within)
    removed = parts["corpus"].mse + parts["series"].mse
    assert squared["level of the series known"] == pytest.approx(total - removed)


def test_pieces_are_described_from_their_audio(tmp_path):
    corpus = load_corpus("folder", write_folder_corpus(tmp_path / "tones", tracks=6))
    config = FeatureConfig(strata.DESCRIBED_BY)
    pieces = strata.describe_pieces(sequences_of(corpus, config, tmp_path), config)
    assert list(pieces.columns) == [*strata.DESCRIPTOR_UNITS][:5] + ["mode", "length"]
    arousal = np.array([t.arousal[0] for t in corpus.tracks])
    valence = np.array([t.valence[0] for t in corpus.tracks])
    # The tones' pitch is 600 + 400 * arousal, their level .3 + .2 * valence.
    np.testing.assert_allclose(pieces.register, 600 + 400 * arousal, rtol=0.1)
    # K-weighting lifts high tones by up to 4 dB.
    level = 20 * np.log10(0.3 + 0.2 * valence)
    assert np.ptp(pieces.loudness - level) < 3
    assert score(level, pieces.loudness.to_numpy())["r"] > 0.95
    assert (pieces.length == 4).all()
    with pytest.raises(ValueError, match="cannot be described without tonal, onset"):
        strata.describe_pieces([], FeatureConfig("logmel,tempogram,loudness"))


def test_mode_and_tempo_of_a_cadence_are_found():
    config = FeatureConfig(strata.DESCRIBED_BY)
    t = np.arange(20 * config.sample_rate) / config.sample_rate
    beats = np.exp(-8 * (t % 0.5))  # 120 a minute
    sequences = []
    # I IV V I and i iv V i, a second each.
    cadences = {
        "major": ((0, 4, 7), (5, 9, 12), (7, 11, 14), (0, 4, 7)),
        "minor": ((0, 3, 7), (5, 8, 12), (7, 11, 14), (0, 3, 7)),
    }
    for name, cadence in cadences.items():
        chords = [sum(np.sin(2 * np.pi * 220 * 2 ** (s / 12) * t) for s in c) for c in cadence]
        notes = np.choose(t.astype(int) % 4, chords)
        features = FeatureExtractor(config).push((0.1 * beats * notes).astype(np.float32))
        n = len(features)
        sequences.append(Sequence2Hz(name, "g", "", features, np.zeros((n, 2)), np.ones(n, bool)))
    pieces = strata.describe_pieces(sequences, config)
    assert pieces["mode"]["major"] > 0.03 > -0.03 > pieces["mode"]["minor"]
    # A band is 1.21 wide; 120 or its half or double.
    octaves = np.log2(pieces.tempo / 120)
    assert (np.abs(octaves - octaves.round()) < 0.15).all()


def test_strata_hold_every_piece_once_and_small_series_go_together():
    corpus, predictions = made(n_songs=13)
    pieces = pd.DataFrame(
        {"tempo": np.arange(13.0), "mode": np.arange(13) - 6.0},
        index=[t.id for t in corpus.tracks],
    )
    found = strata.assign_strata(pieces, corpus.tracks, smallest=5)
    assert set(found["series"].values()) == {"g0", "series of fewer than 5"}
    assert list(found["mode"].values()).count("minor") == 6
    assert len(set(found["tempo"].values())) == 3
    rows = strata.by_stratum(predictions, found, n_boot=20)
    for by in found:
        own = [row for row in rows if row.by == by]
        assert sum(row.songs for row in own) == 13
        assert sum(row.share for row in own) == pytest.approx(1)


def test_a_cue_that_the_model_misses_correlates_with_its_error():
    rng = np.random.default_rng(3)
    times_s = np.arange(1, 21) / 2
    used, missed = rng.normal(size=(2, 60))
    predictions = {
        str(i): Curve(times_s, np.full(20, used[i] + missed[i]), np.full(20, used[i]))
        for i in range(60)
    }
    pieces = pd.DataFrame({"used": used, "missed": missed}, index=[*predictions])
    rows = {r.descriptor: r for r in strata.level_correlations(predictions, pieces, 200)}
    assert rows["missed"].error.value == pytest.approx(-1)
    assert abs(rows["used"].error.value) < 0.3
    assert rows["used"].predicted.value == pytest.approx(1)
    assert rows["used"].rated.low < rows["used"].rated.value


def test_delay_and_movement_are_found():
    rng = np.random.default_rng(1)
    corpus, _ = made(n_songs=4, frames=120)
    predictions = {}
    for t in corpus.tracks:
        true = np.cumsum(rng.normal(size=len(t.times_s)))
        early = np.append(true[4:], np.zeros(4))  # two seconds before the ratings, twice the size
        predictions[t.id] = Curve(t.times_s, true, 2 * early)
    within = by_piece.within_pieces(predictions, corpus, "arousal", range(-3, 6))
    best = max(within.lags, key=lambda row: row.r)
    assert best.lag_s == 2 and best.r > 0.99 > within.r
    assert within.sd_ratio == pytest.approx(2, rel=0.3)
    assert np.isnan(within.ceiling_r)  # no single ratings


def test_jitter_is_smoothed_away():
    rng = np.random.default_rng(2)
    times_s = np.arange(1, 201) / 2
    predictions = {
        str(i): Curve(times_s, np.full(200, level), level + rng.normal(0, 0.3, 200))
        for i, level in enumerate(rng.uniform(-1, 1, 8))
    }
    rows = decomposition.smoothing(predictions, (0, 10))
    assert rows[0].rmse == pytest.approx(0.3, rel=0.1)
    assert rows[1].rmse < 0.1 and rows[1].r > rows[0].r


def test_time_in_the_piece():
    times_s = np.arange(1, 61) / 2  # 30 s
    wrong = np.where(times_s <= 5, 0.4, np.where(times_s > 25, 0.2, 0.0))
    curve = Curve(times_s, np.sin(times_s), np.sin(times_s) + wrong)
    rows = {r.when: r for r in by_piece.by_time({"a": curve, "b": curve}, n_boot=10)}
    assert list(rows) == ["0 to 5 s", "5 to 10 s", "10 to 20 s", "20 to 40 s", "last 5 s"]
    assert rows["0 to 5 s"].rmse.value == pytest.approx(0.4)
    assert rows["last 5 s"].bias == pytest.approx(0.2)
    assert rows["10 to 20 s"].rmse.value == pytest.approx(0)


@pytest.mark.slow
def test_the_whole_analysis_names_no_piece(tmp_path):
    corpus, predictions = made(n_songs=15, raters=6)
    rng = np.random.default_rng(0)
    pieces = pd.DataFrame(
        rng.normal(size=(15, 7)),
        columns=[*strata.DESCRIPTOR_UNITS],
        index=[t.id for t in corpus.tracks],
    )
    both = {target: predictions for target in ("valence", "arousal")}
    found = analysis.analyse(corpus, both, pieces, n_boot=20)
    assert not [i for i in predictions if f"'{i}'" in str(found)]
    worst = found["arousal"].worst
    assert worst.songs == 2 and 0 < worst.level_share < 1
    order = by_piece.rank_by_rmse(predictions)
    by_hand = [score(predictions[i].true, predictions[i].predicted)["rmse"] for i in order]
    assert by_hand == sorted(by_hand, reverse=True)
    for table in (
        tables.decomposition_table,
        tables.oracle_corrections_table,
        tables.worst_pieces_table,
        tables.within_pieces_table,
    ):
        assert len(table(found).columns) >= 2
    by_id = {t.id: t for t in corpus.tracks}
    figures = [
        draw(found)
        for draw in (
            errors.error_components,
            errors.stratum_scores,
            errors.level_cues,
            errors.error_over_time,
            errors.movement,
        )
    ]
    figures.append(errors.curves_by_rank([by_id[i] for i in order[:3]], predictions, "arousal"))
    for number, figure in enumerate(figures):
        style.save(figure, tmp_path, str(number))
        assert all(ax.get_xlabel() for ax in figure.axes[-1:])
    assert not any(t.id in ax.get_title() for t in corpus.tracks for ax in figures[-1].axes)
    with pytest.raises(ValueError, match="does not have"):
        analysis.analyse(corpus, {"arousal": {"x": predictions["t0"]}}, pieces)
