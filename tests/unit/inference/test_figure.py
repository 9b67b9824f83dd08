"""A prediction shows its curve in a notebook."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
import soundfile as sf
from conftest import tone
from matplotlib.image import imread

from msr_utils.inference.model import load
from msr_utils.inference.prediction import Prediction


@pytest.fixture
def curve(tmp_path) -> Prediction:
    sf.write(tmp_path / "song.mp3", tone(5.3, rate=44_100), 44_100)
    return load("light").predict(tmp_path / "song.mp3")


@pytest.mark.slow
def test_a_notebook_shows_the_curve(curve):
    settings = dict(mpl.rcParams)
    html = curve._repr_html_()
    assert dict(mpl.rcParams) == settings
    (source,) = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    picture = imread(io.BytesIO(base64.b64decode(source)))
    assert picture.shape[1] > 1000
    # More than a frame: both curves are drawn.
    assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 100
    words = f"{curve.model}: 5 s, mean valence {curve.mean['valence']:+.2f}, "
    assert html.count(words) == 2  # Read and seen.
    assert curve.quadrant[1] in html


def test_a_warning_is_shown_as_text(curve):
    warned = Prediction(curve.model, curve.times_s, curve.valence, curve.arousal, ("<b>: cut",))
    assert "&lt;b&gt;: cut" in warned._repr_html_()


def test_without_matplotlib_there_is_the_line(curve, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    html = curve._repr_html_()
    assert html.startswith(f"<p>{curve.model}: 5 s, mean valence ")
    assert "<img" not in html


def test_predicting_loads_no_plotting_library():
    code = (
        "import sys; from msr_utils.inference.model import load; import msr_utils.inference.folder; "
        "print([n for n in ('matplotlib', 'seaborn', 'pandas', 'IPython') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_silence_has_no_quadrant(tmp_path):
    sf.write(tmp_path / "silence.wav", np.zeros(22_050), 22_050)
    sf.write(tmp_path / "music.wav", tone(1), 22_050)
    silence, music = (
        load("light").predict(tmp_path / f"{name}.wav") for name in ("silence", "music")
    )
    assert silence.silent and not music.silent
    assert "quadrant" in music.to_json() and "quadrant" not in silence.to_json()
    assert silence.summary.endswith("nothing to hear")
