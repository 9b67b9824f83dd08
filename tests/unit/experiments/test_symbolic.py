"""Recognition on notes: clips, scores, the choice of an ensemble, and the cheap rows."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
from note_files import piece, write_emopia

from msr_utils.corpora import load_corpus
from msr_utils.corpora.base import CorpusError
from msr_utils.experiments.symbolic import (
    NoteClips,
    clip_table,
    clips_of,
    rows,
    sound_rows,
    statistics_models,
)
from msr_utils.experiments.symbolic.rows import choose_ensemble, pretraining_notes
from msr_utils.experiments.symbolic.scores import (
    PUBLISHED,
    accuracies,
    differences,
    hits,
    log_loss,
    score_table,
    spreads,
)
from msr_utils.experiments.symbolic.statistics_models import (
    BOOSTED,
    LOGISTIC,
    SVM,
    TREES,
    constant,
    cross_validate,
    fit_predict,
)
from msr_utils.io import plain
from msr_utils.metrics.bootstrap import draw_counts
from msr_utils.models.note_networks import NoteLSTMConfig, NoteTransformerConfig
from msr_utils.notes import write_midi
from msr_utils.training import note_training
from msr_utils.training.note_training import Parts


@pytest.fixture(autouse=True)
def trainings(tmp_path, monkeypatch):
    for module in (statistics_models, sound_rows):
        monkeypatch.setattr(module, "TRAININGS", tmp_path / "trainings")


def test_clips_of_emopia_keep_the_official_split(tmp_path):
    clips = clips_of(load_corpus("emopia", write_emopia(tmp_path)))
    assert clips.labels.tolist() == [0, 0, 1, 2, 3]
    assert [p.tolist() for p in vars(clips.parts).values()] == [[0, 1, 2], [3], [4]]
    table = clip_table(clips)
    assert table.loc["train", "Q1"] == 2 and table.loc["train", "songs"] == 2
    assert pretraining_notes(None, clips) == [clips.notes[i] for i in clips.parts.train]


def test_pieces_with_curves_are_cut_into_clips(tmp_path):
    rows = ["track_id,time_s,arousal,valence"]
    for k in range(6):
        write_midi(piece(50 + k, seconds=32.0), tmp_path / "midi" / f"t{k}.mid")
        rows += [
            f"t{k},{time_s},{0.5 if time_s <= 15 else -0.5},-0.2"
            for time_s in np.arange(0.5, 32.5, 0.5)
        ]
    import soundfile as sf
    from conftest import tone

    for k in range(6):
        sf.write(tmp_path / f"t{k}.wav", tone(1.0, 200 + 20 * k), 22_050)
    (tmp_path / "annotations.csv").write_text("\n".join(rows) + "\n")
    tracks = "".join(f"t{k},t{k}.wav,g{k}\n" for k in range(6))
    (tmp_path / "tracks.csv").write_text("track_id,file,group\n" + tracks)
    with pytest.raises(CorpusError, match="track 't0': has no notes"):
        clips_of(load_corpus("folder", tmp_path))
    midi = "".join(f"t{k},midi/t{k}.mid\n" for k in range(6))
    (tmp_path / "midi.csv").write_text("track_id,file\n" + midi)
    clips = clips_of(load_corpus("folder", tmp_path))
    # 32 s: two clips of 15 s each, loud and calm; the last 2 s are too short.
    assert len(clips) == 12 and clips.labels.tolist() == [1, 2] * 6
    parts = [set(clips.groups[part]) for part in vars(clips.parts).values()]
    assert all(parts) and not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])


def test_hits_sum_the_quadrants_of_a_side():
    labels = np.array([0, 1, 2, 3])
    # Q1 is most probable, but low arousal is in sum.
    found = hits(np.tile([0.4, 0.0, 0.3, 0.3], (4, 1)), labels)
    assert found["quadrant"].tolist() == [True, False, False, False]
    assert found["arousal"].tolist() == [False, False, True, True]
    assert found["valence"].tolist() == [True, False, False, True]
    perfect = hits(np.eye(4), labels)
    assert all(values.all() for values in perfect.values())


def test_accuracies_are_means_over_seeds_with_intervals_over_songs():
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=60)
    groups = np.repeat(np.arange(20), 3)
    counts = draw_counts(groups, 200, 1)
    good = np.eye(4)[labels] * 0.5 + rng.random((3, 60, 4)) * 0.3
    poor = rng.random((3, 60, 4))
    one, other = hits(good, labels), hits(poor, labels)
    row = accuracies(counts, one)["quadrant"]
    assert row.value == pytest.approx(one["quadrant"].mean())
    assert row.low <= row.value <= row.high
    gain = differences(counts, one, other)["quadrant"]
    assert gain.value == pytest.approx(one["quadrant"].mean() - other["quadrant"].mean())
    assert gain.low > 0
    assert spreads(one)["quadrant"].n == 3
    table = score_table({"good": accuracies(counts, one)}, {"good": spreads(one)}, PUBLISHED)
    assert len(table) == 1 + len(PUBLISHED) and table.loc["good", "quadrant"] == f"{row}"


def test_the_ensemble_is_what_validation_likes():
    labels = np.array([0, 1, 2, 3] * 5)
    sure = 0.9 * np.eye(4)[labels] + 0.025
    rows = {"bad": sure[:, ::-1][None], "one": sure[None], "two": sure[None] ** 0.5 / 2}
    assert choose_ensemble(rows, labels) == ["one", "two"]
    assert log_loss(sure[None], labels) == pytest.approx(-np.log(0.925))


def vectors(count: int = 60):
    """Clips whose first two numbers tell the quadrant, in songs of three."""
    rng = np.random.default_rng(3)
    labels = rng.integers(4, size=count)
    signs = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])[labels]
    x = np.concatenate([signs, np.zeros((count, 3))], axis=1) + 0.4 * rng.normal(size=(count, 5))
    return x, labels, np.repeat(np.arange(count // 3), 3)


@pytest.mark.parametrize("name", [LOGISTIC, SVM])
def test_models_of_vectors_learn_and_give_probabilities(name):
    x, labels, groups = vectors()
    found = fit_predict(name, x[:45], labels[:45], groups[:45], x[45:], 1)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert hits(found, labels[45:])["quadrant"].mean() > 0.7


@pytest.mark.slow
def test_rows_on_sound_learn_from_each_part_and_from_both():
    x, labels, groups = vectors()
    parts = Parts(np.arange(30), np.arange(30, 45), np.arange(45, 60))
    clips = NoteClips((None,) * 60, labels, groups, parts)
    noise = np.random.default_rng(1).normal(size=(60, 40))
    sets = sound_rows.row_sets({"hand-made": x, "musicnn": noise}, x[:, :1])
    assert list(sets) == [
        "kernel ridge on statistics", "audio, hand-made features", "audio, MusiCNN",
        "audio, all features", "audio and statistics of notes",
    ]  # fmt: skip
    found = sound_rows.held_out_rows(sets, clips, 1)
    assert len(found) == 7 and {p.shape for pair in found.values() for p in pair} == {(1, 15, 4)}
    test = {row: hits(p[1], labels[45:]) for row, p in found.items()}
    for row in ("audio, hand-made features", "audio and statistics of notes"):
        assert test[row]["quadrant"].mean() > 0.6, row
    # One number tells one dimension, and noise tells nothing.
    assert test["kernel ridge on statistics"]["valence"].mean() > 0.8
    assert test["audio, MusiCNN"]["quadrant"].mean() < 0.6
    np.testing.assert_allclose(found["audio, all features"][1].sum(axis=-1), 1)
    crossed = sound_rows.cross_validated_rows(sets, clips, 4)
    assert hits(crossed["audio, hand-made features"], labels)["quadrant"].mean() > 0.7


@pytest.mark.extended
@pytest.mark.parametrize("name", [TREES, BOOSTED])
def test_trees_learn_and_follow_their_seed(name):
    x, labels, groups = vectors()
    one, same, other = (
        fit_predict(name, x[:45], labels[:45], groups[:45], x[45:], seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    assert hits(one, labels[45:])["quadrant"].mean() > 0.6


def test_a_class_that_training_lacks_has_probability_zero():
    x, labels, groups = vectors()
    known = labels < 3
    found = fit_predict(LOGISTIC, x[known], labels[known], groups[known], x, 1)
    assert found.shape == (60, 4) and (found[:, 3] == 0).all()


@pytest.mark.extended
def test_cross_validation_learns_no_song_by_heart():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 3)
    # Noise that all clips of a song share, and a label per song that nothing tells.
    x = rng.normal(size=(20, 6))[groups]
    labels = rng.integers(4, size=20)[groups]
    found = cross_validate((LOGISTIC,), x, labels, groups, 3, 1)[LOGISTIC]
    assert hits(found, labels)["quadrant"].mean() < 0.5
    np.testing.assert_allclose(constant(labels, 2).sum(axis=1), 1)


@pytest.mark.slow
@pytest.mark.extended
def test_all_rows_on_small_networks(tmp_path, monkeypatch):
    names = (
        (f"Q{1 + k % 4}_s{k // 2}_{k}", ("train", "train", "val", "test")[k // 2 % 4])
        for k in range(48)
    )
    clips = clips_of(load_corpus("emopia", write_emopia(tmp_path, tuple(names))))
    monkeypatch.setattr(note_training, "TRAININGS", tmp_path / "trainings")
    lstm = NoteLSTMConfig("remi", units=(4,), attention=True, embedding=4, length=16)
    monkeypatch.setattr(rows, "LSTM_ROWS", {"LSTM": lstm})
    tiny = partial(NoteTransformerConfig, layers=1, hidden=8, heads=2, length=16)
    monkeypatch.setattr(rows, "NoteTransformerConfig", tiny)
    settings = rows.Settings(
        seeds=2, epochs=1, lstm_epochs=1, pretrain_steps=2, folds=3, bootstrap=20, sound=""
    )
    notes = pretraining_notes(None, clips)
    found = rows.run(clips, notes, settings, progress=False)
    # The constant, four models of statistics, the LSTM, BERT and GPT twice, embeddings, ensemble.
    assert len(found.scores) == len(found.over_seeds) == len(found.validation) == 12
    assert all(0 <= e.value <= 1 for row in found.scores.values() for e in row.values())
    assert len(found.ensemble) >= 2 and set(found.ensemble) <= set(found.scores)
    assert set(found.pretraining_gain) == {"BERT", "GPT"} and len(found.cross_validated) == 7
    again = rows.run(clips, notes, settings, progress=False)
    assert json.dumps(plain(again)) == json.dumps(plain(found))
