"""Files as people own them: decoded whole, or refused with the reason.

Each input is made in the test, by a line of ffmpeg or by Python. Where it can be decoded,
Debian's ffmpeg is the reference: the same length to one frame, the same samples to 1e-3.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from audio_cases import CASES, FORMATS, WITHOUT_REFERENCE
from audio_makers import FRAME, Case, music_file, run
from click.testing import CliRunner
from needs import needs_program

from msr_utils.audio.decode import AudioFile
from msr_utils.audio.formats import AUDIO_SUFFIXES
from msr_utils.cli import main

__all__ = ["music_file"]  # a fixture

pytestmark = [pytest.mark.slow, needs_program("ffmpeg")]


def make(case: Case, music_file: Path, folder: Path) -> Path:
    """Make the file of a case."""
    path = folder / case.file
    if callable(case.make):
        case.make(music_file, path)
    else:
        names = {"in": music_file, "out": path, "dir": folder}
        run(re.sub(r"\{(in|out|dir)\}", lambda found: str(names[found[1]]), case.make))
    return path


def reference(path: Path) -> tuple[np.ndarray, int]:
    """Mono samples at the file's own rate, decoded by Debian's ffmpeg."""
    probe = "ffprobe -v error -select_streams a:0 -show_entries stream=sample_rate,channels"
    done = subprocess.run(
        [*probe.split(), "-of", "csv=p=0", path], capture_output=True, text=True, check=True
    )
    rate, channels = map(int, done.stdout.split("\n")[0].rstrip(",").split(",")[:2])
    done = subprocess.run(
        ["ffmpeg", "-v", "quiet", "-i", path, "-map", "a:0", "-f", "f32le", "-"],
        capture_output=True,
    )
    samples = np.frombuffer(done.stdout, np.float32)
    return samples[: len(samples) // channels * channels].reshape(-1, channels).mean(axis=1), rate


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.file)
def test_it_is_decoded_whole_or_refused(case, music_file, tmp_path):
    path = make(case, music_file, tmp_path)
    if case.seconds:
        assert_decoded_whole(case, path)
    assert_command_line_says_what_is_wrong(case, path)


def assert_decoded_whole(case: Case, path: Path) -> None:
    audio = AudioFile(path, sample_rate=None)
    samples = np.concatenate(list(audio))
    assert audio.facts.seconds == pytest.approx(case.seconds, abs=0.1)
    compared = case.file not in WITHOUT_REFERENCE
    expected, rate = reference(path) if compared or case.exact else (samples, 0)
    if compared:
        assert len(samples) == pytest.approx(len(expected), abs=FRAME)
        assert audio.facts.rate == rate
    if case.exact:
        assert_same(samples, expected)


def assert_same(samples: np.ndarray, expected: np.ndarray) -> None:
    """The same samples to 1e-3, after a shift of at most one frame."""
    part = expected[len(expected) // 3 :][: 1 << 15]
    start = len(expected) // 3
    window = samples[max(start - FRAME, 0) : start + len(part) + FRAME]
    size = len(window) + len(part)
    product = np.fft.irfft(np.fft.rfft(window, size) * np.conj(np.fft.rfft(part, size)), size)
    at = int(np.argmax(product[: len(window) - len(part) + 1]))
    shift = at + max(start - FRAME, 0) - start
    assert abs(shift) <= FRAME
    a, b = (samples[shift:], expected) if shift >= 0 else (samples, expected[-shift:])
    length = min(len(a), len(b))
    edge = FRAME if length > 4 * FRAME else 0
    np.testing.assert_allclose(a[edge : length - edge], b[edge : length - edge], atol=1e-3)


def assert_command_line_says_what_is_wrong(case: Case, path: Path) -> None:
    done = CliRunner().invoke(main, ["predict", str(path), "--model", "light", "--csv"])
    assert done.exit_code == (0 if case.seconds else 1), done.output
    assert "Traceback" not in done.output
    if case.seconds:
        rows = [line for line in done.stdout.splitlines() if re.match(r"\d+\.[05],", line)]
        assert len(rows) == pytest.approx(2 * case.seconds, abs=1)
    if case.says:
        assert re.search(case.says, done.stderr), done.stderr
        assert path.name in done.stderr
    else:
        assert done.stderr == ""


def test_every_suffix_has_a_case():
    covered = {Path(case.file).suffix for case in FORMATS}
    # Other names of the same containers, and what no free program writes (Monkey's Audio, AMR-WB).
    others = {
        ".ape", ".awb", ".rf64", ".bwf", ".m4v", ".3g2", ".qt", ".weba", ".adts", ".asf", ".wmv", ".mpga",
        ".mpeg", ".m2ts", ".mts", ".snd", ".ogv", ".fla", ".m4r", ".m4p", ".f4v", ".mk3d", ".latm",
        ".loas", ".mp1", ".vob", ".tp", ".trp", ".divx",
    }  # fmt: skip
    assert covered | others == set(AUDIO_SUFFIXES)
    assert len(CASES) >= 60
