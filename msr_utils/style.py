"""Style of all figures: colours for any kind of colour vision, and how figures are saved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {"valence": "#0072B2", "arousal": "#D55E00"}
"""Colours of the Okabe-Ito palette. They are distinguishable with any kind of colour vision."""

GREY = "#555555"


def use_style() -> None:
    """Set the style of figures and tables in notebooks for the rest of the process.

    Figures are sharp on high-resolution screens. Cells of tables are not cut.
    """
    # Only notebooks need these: the colours are for all.
    import pandas as pd
    import seaborn as sns
    from matplotlib_inline.backend_inline import set_matplotlib_formats

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
    """Save a figure as ``figures/<name>.png`` in a run folder.

    Parameters
    ----------
    figure : Figure
    folder : Path
        Folder of the run.
    name : str

    Returns
    -------
    Figure
        The same figure, to be displayed as the value of a cell.
    """
    import matplotlib.pyplot as plt

    path = Path(folder) / "figures" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)  # else the notebook would show it twice
    return figure
