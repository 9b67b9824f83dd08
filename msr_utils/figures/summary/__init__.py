"""What a chapter taught in this edition, as sentences made from its ``metrics.json``.

Each notebook ends with one of these. The book makes the sentences again from the kept results, so
that a change of wording executes nothing.
"""

from __future__ import annotations

from pathlib import Path

from IPython.display import Markdown

from msr_utils.figures.summary.chapters import CHAPTERS
from msr_utils.figures.summary.notes import NOTES
from msr_utils.figures.summary.retrieval import RETRIEVAL
from msr_utils.figures.summary.wording import Metrics
from msr_utils.io import read_json

SENTENCES = {**CHAPTERS, **NOTES, **RETRIEVAL}
"""Notebook -> what makes its sentences."""


def learned(notebook: str, folder: Path) -> Markdown:
    """What the run in `folder` taught, to display at the end of its notebook.

    Parameters
    ----------
    notebook : str
        Name of the notebook, such as ``03_lstm``.
    folder : Path
        Run folder with ``metrics.json``.
    """
    return Markdown(learned_text(notebook, read_json(Path(folder) / "metrics.json")))


def learned_text(notebook: str, metrics: Metrics) -> str:
    """As `learned`, as Markdown text.

    Raises
    ------
    KeyError
        If there are no sentences for this notebook, or a result is missing.
    """
    return f"**Learned.** {' '.join(SENTENCES[notebook](metrics))}"
