"""What models depend on, where it is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import write_folder_corpus

from msr_utils.constants import TARGETS
from msr_utils.corpora import load_corpus
from msr_utils.dataset.sequences import Sequence2Hz, sequences_of
from msr_utils.dataset.splits import Split
from msr_utils.experiments import occlusion
from msr_utils.experiments.occlusion import PartChange
from msr_utils.features.config import FeatureConfig
from msr_utils.figures import errors
from msr_utils.inference import model as inference_model


@pytest.fixture(scope="module")
def model():
    """The bundle that is shipped: any recurrent one does."""
    return inference_model.load("lstm-tonal-vgmidi")


def noise(model, n=6, frames=160):
    """Sequences of random features whose spectrum has the levels and the spread of music."""
    rng = np.random.default_rng(0)
    features = rng.normal(0, 1, (n, frames, model.features.dim)).astype(np.float32)
    spectrum = model.features.columns(["logmel"])
    features[..., spectrum] = 15 * features[..., spectrum] - 30
    return [
        Sequence2Hz(str(i), "g", "", f, np.zeros((frames, 2)), np.ones(frames, bool))
        for i, f in enumerate(features)
    ]


def test_parts_are_blocks_and_ranges_of_the_spectrum():
    config = FeatureConfig("tonal,logmel,logmel_sd")
    found = occlusion.input_parts(config)
    whole = [columns for name, columns in found.items() if "whole" in name]
    assert sorted(np.concatenate(whole)) == list(range(config.dim))
    ranges = {name: columns for name, columns in found.items() if "Hz" in name}
    assert len(ranges) == occlusion.BAND_GROUPS
    spectrum = config.columns(["logmel", "logmel_sd"])
    assert sorted(np.concatenate([*ranges.values()])) == sorted(spectrum)
    assert list(occlusion.input_parts(FeatureConfig("loudness"))) == ["loudness (whole block)"]


def test_hiding_takes_the_fill_and_leaves_the_rest():
    features = np.arange(12, dtype=np.float32).reshape(3, 4)
    fill = np.full(4, -1, np.float32)
    result = occlusion.occluded(features, np.array([1, 3]), fill)
    assert (result[:, [1, 3]] == -1).all()
    assert (result[:, [0, 2]] == features[:, [0, 2]]).all()
    assert features[0, 1] == 1


@pytest.mark.slow
def test_what_is_constant_anyway_can_be_hidden(model):
    sequences = noise(model)
    tonal = model.features.columns(["tonal"])
    for s in sequences:
        s.features[:, tonal] = 0.1
    rows = {(r.part, r.target): r for r in occlusion.output_change(model, sequences)}
    for target in TARGETS:
        assert rows["tonal (whole block)", target].change < 1e-5
        assert rows["tonal (whole block)", target].r == pytest.approx(1, abs=1e-5)
        assert rows["logmel (whole block)", target].change > 1e-3
    table = occlusion.change_table([*rows.values()])
    assert table.index[0] == ("logmel (whole block)", 128)


def test_the_context_is_finite(model):
    sequences = noise(model)
    rows = occlusion.context_changes(model, sequences, points=2, seconds=(0.5, 4, 60))
    for target in TARGETS:
        changes = [r.change for r in rows if r.target == target]
        assert changes[0] > changes[1] > changes[2]
        assert changes[2] < 0.1 * changes[0]
    assert rows[0].points == 12
    errors.context_length(rows)
    with pytest.raises(ValueError, match="no track is longer than 90 s"):
        occlusion.context_changes(model, sequences, seconds=(90,))
    kept = occlusion.context_changes(model, sequences, points=1, seconds=(4, 90))
    assert {row.seconds for row in kept} == {4}


def test_with_the_whole_past_nothing_changes(model):
    """The last frame of a track of n frames, from n frames: only the start differs, not the end."""
    (sequence,) = noise(model, 1, 121)
    (row, _) = occlusion.context_changes(model, [sequence], points=1, seconds=(60,))
    assert row.change < 1e-3


@pytest.mark.slow
def test_ridge_loses_the_part_that_it_depends_on(tmp_path):
    """Of tones whose level follows valence and whose pitch follows arousal."""
    corpus = load_corpus("folder", write_folder_corpus(tmp_path / "tones", tracks=24))
    config = FeatureConfig("loudness,tempogram")
    sequences = sequences_of(corpus, config, tmp_path)
    ids = [t.id for t in corpus.tracks]
    splits = [Split(tuple(ids[:12]), tuple(ids[12:16]), tuple(ids[16:]))]
    rows = {
        r.part: r
        for r in occlusion.ridge_loss(sequences, config, splits, "valence", n_boot=20)
    }  # fmt: skip
    r = {name: row.r.value for name, row in rows.items()}
    assert r["nothing"] > 0.8
    assert not r["loudness (whole block)"] > 0.5
    # A steady tone has no beat: its tempogram can go.
    assert r["tempogram (whole block)"] > 0.8
    both = [*rows.values(), *(replace(row, target="arousal") for row in rows.values())]
    table = occlusion.loss_table(both)
    assert list(table.index) == [*r]
    changes = [
        PartChange(name, 1, target, 0.1, 0.0, 0.9) for name in [*r][1:] for target in TARGETS
    ]
    assert len(errors.hidden_parts(changes, both).axes) == 2
