"""`msr predict` on files and folders, with the bundle that is committed."""

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
from click.testing import CliRunner
from conftest import tone
from matplotlib.image import imread

from msr_utils.cli import main
from msr_utils.inference.model import load
from msr_utils.inference.prediction import Prediction


def run(*arguments):
    return CliRunner().invoke(main, ["predict", *map(str, arguments)])


def test_a_file_gives_a_curve_and_a_picture(tmp_path):
    sf.write(tmp_path / "song.mp3", tone(5.3, rate=44_100), 44_100)
    plain = run(tmp_path / "song.mp3")
    assert plain.exit_code == 0, plain.output
    # The model that answers when none is named gives intervals.
    header = "time_s,valence,arousal,valence_low,valence_high,arousal_low,arousal_high"
    assert plain.output.startswith(f"{header}\n0.5,")
    assert len(plain.output.splitlines()) == 11
    done = run(tmp_path / "song.mp3", "--csv", tmp_path / "c.csv", "--plot", tmp_path / "c.png")
    assert done.exit_code == 0, done.output
    assert "song.mp3: valence" in done.output
    assert (tmp_path / "c.csv").read_text() == plain.output
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    both = run(tmp_path / "song.mp3", "--plot", tmp_path / "c.png", "--csv")
    assert (both.exit_code, both.output) == (0, plain.output)
    wrong = run(tmp_path / "song.mp3", "--plot", tmp_path / "c.xyz")
    assert wrong.exit_code == 1 and "--plot: Format 'xyz' is not supported" in wrong.output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.csv", "c.png", "song.mp3"]


def test_a_folder_goes_on_where_it_was(tmp_path):
    music, out = tmp_path / "music", tmp_path / "out"
    (music / "more").mkdir(parents=True)
    sf.write(music / "a.WAV", tone(2), 22_050)
    sf.write(music / "more" / "a.ogg", tone(2), 22_050)
    (music / "more" / "b.mp3").write_text("no music")
    (music / "notes.txt").write_text("no audio either")
    done = run(music, "--csv", out)
    assert done.exit_code == 1
    assert "failed  more/b.mp3: b.mp3: not audio" in done.output
    curves = sorted(p.relative_to(out).as_posix() for p in out.rglob("*.csv"))
    assert curves == ["a.WAV.csv", "more/a.ogg.csv"]
    # What is there stays; what is missing is made.
    (out / "a.WAV.csv").write_text("mine")
    (out / "more/a.ogg.csv").unlink()
    (music / "more" / "b.mp3").unlink()
    assert run(music, "--csv", out).exit_code == 0
    assert (out / "a.WAV.csv").read_text() == "mine"
    assert (out / "more/a.ogg.csv").is_file()


def test_what_cannot_be_done_says_why(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no audio file in" in run(tmp_path / "empty", "--csv", tmp_path / "o").output
    assert "give --csv FOLDER" in run(tmp_path / "empty").output
    assert "give --csv FOLDER" in run(tmp_path / "empty", "--csv").output
    assert "not found" in run(tmp_path / "none.mp3").output
    (tmp_path / "short.mp3").write_text("hi")
    assert "not audio that can be decoded (unknown format)" in run(tmp_path / "short.mp3").output
    sf.write(tmp_path / "a.wav", tone(2), 22_050)
    blocked = run(tmp_path / "a.wav", "--csv", tmp_path / "a.wav" / "c.csv")
    assert blocked.exit_code == 1 and "cannot write" in blocked.output


# ------------------------------------------------------------------------------ in a notebook


@pytest.fixture
def curve(tmp_path) -> Prediction:
    sf.write(tmp_path / "song.mp3", tone(5.3, rate=44_100), 44_100)
    return load("light").predict(tmp_path / "song.mp3")


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
