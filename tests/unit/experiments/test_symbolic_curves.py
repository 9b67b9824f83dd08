"""Curves from notes beside curves from audio."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import soundfile
from note_files import piece

from msr_utils.corpora import load_corpus
from msr_utils.corpora.base import CorpusError
from msr_utils.dataset.sequences import Sequence2Hz
from msr_utils.dataset.splits import inner_parts, make_splits
from msr_utils.experiments.symbolic import curves, sound
from msr_utils.features import weights
from msr_utils.features.weights import WEIGHTS_VARIABLE
from msr_utils.models.ridge import solve_ridge
from msr_utils.notes import Notes, write_midi
from msr_utils.symbolic import synthesizer


@pytest.fixture(autouse=True)
def trainings(tmp_path, monkeypatch):
    monkeypatch.setattr(curves, "TRAININGS", tmp_path / "trainings")


def random_sequences(tracks=12, groups=6, dim=5, seed=0):
    rng = np.random.default_rng(seed)
    slope, made = rng.normal(size=(dim, 2)), []
    for k in range(tracks):
        x = (3 + 2 * rng.normal(size=(30 + k, dim))).astype(np.float32)
        labels = (x @ slope + 3 * rng.normal(size=(len(x), 2))).astype(np.float32)
        mask = rng.random(len(x)) > 0.2
        made.append(Sequence2Hz(f"t{k}", f"g{k % groups}", "", x, labels, mask))
    return made


def test_sums_of_groups_give_the_ridge_of_all_frames():
    sequences = random_sequences()
    splits = make_splits(sequences, 3, seed=1)
    columns = {"all": np.arange(5), "some": np.array([0, 3])}
    found = curves._cross_validate(sequences, columns, splits, 2, progress=False)
    by_id, group = {s.id: s for s in sequences}, {s.id: s.group for s in sequences}
    for target in ("valence", "arousal"):
        assert list(found["all"][target]) == [s.id for s in sequences]
        for split in splits:
            parts = [
                ([by_id[i] for i in train], [by_id[i] for i in held])
                for train, held in inner_parts(split, group, 2)
            ]
            fit = solve_ridge(parts, target, curves.ALPHAS)
            for i in split.test:
                expected = (by_id[i].features @ fit.slope + fit.level)[by_id[i].mask]
                assert found["all"][target][i].predicted == pytest.approx(expected, abs=2e-3)
    assert found["some"]["valence"]["t0"].predicted != pytest.approx(
        found["all"]["valence"]["t0"].predicted, abs=0.1
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Pieces whose loudness is arousal and whose mode is valence, as sound and as notes."""
    root, rng = tmp_path_factory.mktemp("curves"), np.random.default_rng(5)
    rows, tracks = [], []
    for k in range(14):
        valence = -0.5 if k % 2 else 0.5
        arousal = np.sin(np.arange(20) / 3 + k)  # every 500 ms
        plain = piece(48 + k, "major" if valence > 0 else "minor", 10.0)
        velocity = (64 + 50 * arousal[(2 * plain.start_s).astype(int)]).astype(int)
        notes = Notes(plain.start_s, plain.length_s, plain.pitch, velocity)
        write_midi(notes, root / "midi" / f"t{k}.mid")
        soundfile.write(root / f"t{k}.flac", synthesizer.render(notes, 22_050), 22_050)
        tracks.append((f"t{k}", f"t{k}.flac", f"g{k // 2}"))
        noise = 0.05 * rng.normal(size=20)
        rows += [(f"t{k}", (i + 1) / 2, 0.8 * arousal[i], valence + noise[i]) for i in range(20)]
    pd.DataFrame(tracks, columns=["track_id", "file", "group"]).to_csv(
        root / "tracks.csv", index=False
    )
    pd.DataFrame(rows, columns=["track_id", "time_s", "arousal", "valence"]).to_csv(
        root / "annotations.csv", index=False
    )
    pd.DataFrame({"track_id": [t[0] for t in tracks], "file": [f"midi/{t[0]}.mid" for t in tracks]}
                 ).to_csv(root / "midi.csv", index=False)  # fmt: skip
    return root


@pytest.mark.slow
def test_notes_and_audio_are_scored_on_the_same_frames(corpus, tmp_path, monkeypatch):
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path / "no weights"))
    weights.session.cache_clear()  # an earlier test may have loaded some
    data = load_corpus("folder", corpus)
    found = curves.compare(data, "loudness", 3, 2, 30, 7, tmp_path, progress=False)
    # Without the weights of a network the rest runs, and what is missing is said.
    assert found.audio_row == curves.AUDIO and list(found.missing) == ["musicnn"]
    assert "msr weights fetch" in found.remark()
    assert len({s.frames for row in found.scores.values() for s in row.values()}) == 1
    for row in (curves.NOTES, curves.AUDIO, curves.BOTH_LATE):
        assert found.scores[row]["arousal"].pooled["r"].value > 0.5, row
    assert found.scores[curves.BOTH_EARLY]["arousal"].pooled["r"].low > 0.2
    assert found.scores[curves.NOTES]["valence"].pooled["r"].value > 0.5
    gain = found.differences[f"{curves.NOTES} – {curves.AUDIO}"]["arousal"]["r"]
    assert gain.low <= gain.value <= gain.high
    shown = curves.pieces_by_disagreement(found, data)
    assert len({track.id for track in shown}) == 3
    assert "predictions" not in found.to_json()
    assert len(curves.curve_table(found)) == len(found.scores)
    (corpus / "midi.csv").unlink()
    with pytest.raises(CorpusError, match="14 of 14 tracks have none"):
        curves.compare(
            load_corpus("folder", corpus), "loudness", 3, 2, 0, 7, tmp_path, progress=False
        )


def test_sound_of_clips_is_kept_by_content(tmp_path, monkeypatch):
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path / "no weights"))
    weights.session.cache_clear()  # an earlier test may have loaded some
    clips = [piece(60, seconds=2.0), piece(64, seconds=2.0)]
    first = sound.clip_vectors(clips, cache_dir=tmp_path, progress=False)
    assert list(first) == [sound.HAND_MADE] and len(first[sound.HAND_MADE]) == 2
    monkeypatch.setattr(sound.FeatureExtractor, "push", lambda *_: pytest.fail("computed again"))
    again = sound.clip_vectors(clips[::-1], cache_dir=tmp_path, progress=False)
    assert np.array_equal(again[sound.HAND_MADE], first[sound.HAND_MADE][::-1])


def test_sums_that_are_not_positive_still_have_a_solution():
    """Sums of nearly constant features in single precision: one eigenvalue is below zero."""
    vectors = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    moment = np.ones((3, 2))
    for values in ([4.0, 2.0, 1.0], [4.0, 2.0, -1.5]):
        gram = vectors @ np.diag(values) @ vectors.T
        wanted = vectors @ np.diag(1 / (np.clip(values, 0, None) + 1.0)) @ vectors.T @ moment
        np.testing.assert_allclose(curves._solved(gram, 1.0, moment), wanted, rtol=1e-9)
