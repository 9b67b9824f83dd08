"""A prediction as a picture."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from msr_utils.constants import SCALE, TARGETS
from msr_utils.inference.prediction import Prediction
from msr_utils.io import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(prediction: Prediction, title: str) -> Figure:
    """Draw a curve; no setting of matplotlib is changed."""
    from matplotlib.figure import Figure

    from msr_utils.style import COLOURS, GREY

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    ax = figure.subplots()
    for target in TARGETS:
        ax.plot(
            prediction.times_s, getattr(prediction, target), color=COLOURS[target], label=target
        )
    ax.axhline(0, color=GREY, lw=0.6)
    ax.set(title=title, xlabel="time (s)", ylabel="predicted", ylim=SCALE, xlim=(0, None))
    ax.legend(ncols=2)
    return figure


def plot(prediction: Prediction, path: Path, title: str) -> None:
    """Draw a curve as PNG, PDF or SVG, by the suffix of `path`.

    Raises
    ------
    ValueError
        If the suffix is no picture's.
    """
    from msr_utils.style import use_style

    use_style()
    with atomic_path(path) as temporary:
        draw(prediction, title).savefig(temporary)


def to_html(prediction: Prediction) -> str:
    """The picture of a curve and a line that says what it comes to, as HTML for a notebook.

    Where matplotlib or what its style needs is not installed, there is the line alone.
    """
    name, words = prediction.quadrant
    means = ", ".join(f"mean {target} {prediction.mean[target]:+.2f}" for target in TARGETS)
    line = f"{prediction.model}: {prediction.times_s[-1]:g} s, {means}, {name} ({words})"
    caption = "<br>".join(escape(text) for text in (line, *prediction.warnings))
    try:
        figure = draw(prediction, "")
    except ImportError:
        return f"<p>{caption}</p>"
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=150, facecolor="white")
    source = base64.b64encode(file.getvalue()).decode()
    return (
        f'<figure><img width="900" style="max-width: 100%" alt="Curves over time. {escape(line)}" '
        f'src="data:image/png;base64,{source}"><figcaption>{caption}</figcaption></figure>'
    )
