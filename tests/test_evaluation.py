"""What feature blocks hear, on tones whose rule is known."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import write_folder_corpus

from msr_utils import evaluation
from msr_utils.corpora import CorpusError, load_corpus
from msr_utils.dataset import Split, sequences_of
from msr_utils.features import FeatureConfig


def test_blocks_hear_what_is_in_them(tmp_path):
    """Of tones whose level follows valence and whose pitch follows arousal."""
    corpus = load_corpus("folder", write_folder_corpus(tmp_path / "tones", tracks=24))
    ids = [t.id for t in corpus.tracks]
    splits = [Split(tuple(ids[:12]), tuple(ids[12:16]), tuple(ids[16:]))]
    choices = ["loudness", "logmel,loudness", "tempogram"]
    scores = evaluation.block_scores(corpus, choices, splits, n_boot=20, cache_dir=tmp_path)
    r = scores[scores.metric == "r"].set_index(["model", "target"]).value
    assert r["loudness", "valence"] > 0.8
    assert r["logmel,loudness", "arousal"] > r["loudness", "arousal"] + 0.3
    # One reading of all blocks gives what each gives alone.
    alone = evaluation.block_scores(corpus, choices[:1], splits, n_boot=20, cache_dir=tmp_path)
    np.testing.assert_allclose(alone.value, scores[scores.model == "loudness"].value, atol=1e-4)
    table = evaluation.block_score_table(scores)
    assert list(table.index.get_level_values("blocks")) == choices
    assert list(table.index.get_level_values("features")) == [2, 130, 13]


def test_a_corpus_without_curves_is_refused(tmp_path):
    root = write_folder_corpus(tmp_path / "clips", tracks=3)
    for name in ("annotations.csv", "ratings.csv"):
        (root / name).unlink()
    rows = (root / "tracks.csv").read_text().splitlines()
    (root / "tracks.csv").write_text(
        "\n".join([rows[0] + ",quadrant", *(f"{row},Q1" for row in rows[1:])])
    )
    corpus = load_corpus("folder", root)
    assert corpus.labels == "quadrants"
    with pytest.raises(CorpusError, match="clips has quadrants, no curves to learn from"):
        sequences_of(corpus, FeatureConfig(), tmp_path)
