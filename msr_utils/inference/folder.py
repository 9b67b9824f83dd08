"""Predictions of a whole folder. An interrupted run continues where it stopped."""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from msr_utils.audio.formats import AUDIO_SUFFIXES
from msr_utils.audio.source import AudioError
from msr_utils.inference.model import Model
from msr_utils.io import write_text


def predict_folder(
    model: Model, folder: Path, output: Path, progress: bool = True
) -> dict[Path, str]:
    """Predict every audio file under a folder and write a CSV file for each.

    Parameters
    ----------
    model : Model
    folder : Path
    output : Path
        ``a/b.mp3`` becomes ``a/b.mp3.csv`` under it. Existing CSV files are not written again.
    progress : bool
        Show a progress bar.

    Returns
    -------
    dict of Path to str
        Files that failed, relative to `folder`, with the reason. All others are done.

    Raises
    ------
    FileNotFoundError
        If the folder holds no audio file.
    """
    folder = Path(folder)
    files = sorted(
        p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES and p.is_file()
    )
    if not files:
        raise FileNotFoundError(f"no audio file in {folder}; known: {', '.join(AUDIO_SUFFIXES)}")
    failed: dict[Path, str] = {}
    for path in tqdm(files, desc="predicting", unit="file", disable=not progress):
        name = path.relative_to(folder)
        curve = Path(output) / f"{name}.csv"
        if curve.is_file():
            continue
        try:
            write_text(curve, model.predict(path).to_csv())
        except (AudioError, OSError) as error:
            failed[name] = str(error)
    return failed
