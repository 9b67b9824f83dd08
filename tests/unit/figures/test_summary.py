"""Closing sentences: every chapter has some, and the published results fill them."""

from __future__ import annotations

import re

import pytest

from msr_utils.book.edition import notebook_of
from msr_utils.figures.summary import SENTENCES, learned_text
from msr_utils.figures.summary.wording import NO_VALUE, estimate, excludes_zero, join_words
from msr_utils.io import read_json
from msr_utils.paths import NOTEBOOKS, REPORTS

RUNS = sorted(file.parent for file in (REPORTS / "published").glob("*/*/metrics.json"))


def test_every_notebook_that_asks_for_sentences_has_some():
    asked = {
        name
        for path in NOTEBOOKS.glob("*.ipynb")
        for name in re.findall(r'figures\.learned\(\\"(\w+)\\"', path.read_text("utf-8"))
    }
    assert len(asked) > 20
    assert asked == set(SENTENCES)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: "/".join(run.parts[-2:]))
def test_published_results_fill_the_sentences(run):
    notebook = notebook_of(run)
    if notebook not in SENTENCES:
        pytest.fail(f"{notebook} has no closing sentences")
    text = learned_text(notebook, read_json(run / "metrics.json"))
    assert text.startswith("**Learned.** ") and text.endswith(".")
    assert "nan" not in text and "None" not in text and "  " not in text


def test_values_are_worded_as_estimates():
    assert estimate({"value": 0.5, "low": None, "high": None}, ".1f") == "0.5"
    assert estimate({"value": 0.5, "low": 0.25, "high": 0.75}) == "0.50 [0.25, 0.75]"
    assert estimate({"value": None}) == estimate(None) == NO_VALUE
    assert excludes_zero({"low": 0.1, "high": 0.2}) and not excludes_zero({"low": None})
    assert join_words(["a"]) == "a" and join_words(["a", "b", "c"]) == "a, b and c"
