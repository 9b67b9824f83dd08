"""The style of every figure: colours that colour-blind eyes tell apart, and how figures are saved."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib_inline.backend_inline import set_matplotlib_formats

COLOURS = {"valence": "#0072B2", "arousal": "#D55E00"}
"""Of the Okabe-Ito palette, distinguishable with any kind of colour vision."""

GREY = "#555555"


def use_style() -> None:
    """Set the style of every figure after this call, sharp on dense screens in notebooks.

    Tables show their cells whole.
    """
    set_matplotlib_formats("retina")
    pd.set_option("display.max_colwidth", None)
    sns.set_theme(
        context="notebook",
        style="whitegrid",
        palette="colorblind",
        rc={
            "figure.dpi": 110,
            "savefig.dpi": 200,
            "figure.figsize": (8, 4),
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "savefig.facecolor": "white",
        },
    )


def save(figure: Figure, folder: Path, name: str) -> Figure:
    """Write a figure as ``figures/<name>.png`` in a run folder and hand it on for display."""
    path = Path(folder) / "figures" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)  # shown once, as the cell's value
    return figure
