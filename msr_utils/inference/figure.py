"""Predicted curves as a figure."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from msr_utils.constants import SCALE
from msr_utils.io import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(times_s: np.ndarray, curves: Mapping[str, np.ndarray], title: str = "") -> Figure:
    """Draw curves over time. Settings of matplotlib do not change.

    Parameters
    ----------
    times_s : np.ndarray [shape=(T,)]
    curves : mapping of str to np.ndarray [shape=(T,)]
        Values in [-1, 1] by target.
    title : str
    """
    from matplotlib.figure import Figure

    from msr_utils.style import COLOURS, GREY

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    ax = figure.subplots()
    for target, values in curves.items():
        ax.plot(times_s, values, color=COLOURS[target], label=target)
    ax.axhline(0, color=GREY, lw=0.6)
    ax.grid(color="#cccccc")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set(title=title, xlabel="time (s)", ylabel="predicted", ylim=SCALE, xlim=(0, None))
    ax.legend(ncols=2)
    return figure


def plot(
    path: Path, times_s: np.ndarray, curves: Mapping[str, np.ndarray], title: str = ""
) -> None:
    """Draw curves into a file: PNG, PDF or SVG, by the suffix of `path`.

    Parameters
    ----------
    path : Path
    times_s, curves, title
        As for `draw`.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If matplotlib does not know the suffix.
    OSError
        If the file cannot be written.
    """
    figure = draw(times_s, curves, title)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=200, facecolor="white")


def to_html(
    times_s: np.ndarray,
    curves: Mapping[str, np.ndarray],
    summary: str,
    warnings: Sequence[str] = (),
) -> str:
    """Figure of curves with its caption, as HTML for a notebook.

    If matplotlib is not installed, the caption alone is given.

    Parameters
    ----------
    times_s, curves
        As for `draw`.
    summary : str
        Caption, also read aloud by screen readers.
    warnings : sequence of str
        Further lines of the caption.
    """
    caption = "<br>".join(escape(text) for text in (summary, *warnings))
    try:
        figure = draw(times_s, curves)
    except ImportError:
        return f"<p>{caption}</p>"
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=150, facecolor="white")
    source = base64.b64encode(file.getvalue()).decode()
    return (
        f'<figure><img width="900" style="max-width: 100%" '
        f'alt="Curves over time. {escape(summary)}" '
        f'src="data:image/png;base64,{source}"><figcaption>{caption}</figcaption></figure>'
    )
