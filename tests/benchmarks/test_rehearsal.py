"""The rehearsal of DEAM: music in the official layout, and what its report says."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile as sf
from test_deam import write_songs

from benchmarks import rehearse_deam as rehearsal
from msr_utils.io import sha256_file
from msr_utils.paths import CACHE_DIR

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Twelve of 66 songs, whose labels and metadata are elsewhere."""
    folder = tmp_path_factory.mktemp("deam")
    data = write_songs(folder / "official")
    for part in ("annotations", "metadata"):
        assert (data / part).is_dir()
    corpus = rehearsal.write_corpus(folder / "work", data, songs=12, pieces=4)
    assert (len(corpus.tracks), corpus.without_audio) == (12, 54)
    assert {t.split for t in corpus.tracks} == {"train", "test"}
    return folder


def test_every_song_sounds_and_sounds_different(root):
    files = sorted((root / "work/MEMD_audio").iterdir())
    assert len({sha256_file(file) for file in files}) == len(files) == 12
    for file in files:
        if int(file.stem) <= 2000:
            samples, rate = sf.read(file)
            assert rate == 44_100 and 45 <= len(samples) / rate < 46
            # No gap where segments meet.
            level = np.sqrt(np.mean(samples[: 45 * rate].reshape(45, -1) ** 2, axis=1))
            assert (level > 1e-3).all()


def test_music_that_is_there_is_kept_and_what_is_not_wanted_goes(root):
    kept = root / "work/MEMD_audio/2.mp3"
    before = kept.stat().st_mtime_ns
    (root / "work/MEMD_audio/3.mp3").write_bytes(b"x")
    rehearsal.write_corpus(root / "work", root / "official", songs=12, pieces=4)
    assert kept.stat().st_mtime_ns == before
    assert not (root / "work/MEMD_audio/3.mp3").exists()


def test_no_two_songs_of_deam_begin_alike():
    of = 3 * rehearsal.PIECES
    ids = [*range(2, 2059)]
    assert len({tuple(rehearsal.segments_of(i, 3, of)) for i in ids}) == len(ids)
    assert len(rehearsal.segments_of(2001, 40, of)) == 40
    assert max(rehearsal.segments_of(2001, 40, of)) < of


def test_a_chapter_is_run_and_measured(root):
    results = rehearsal.rehearse(root / "work", ("data",), None, root / "reports")
    assert (root / "reports/local-rehearsal/deam/data/notebook.ipynb").is_file()
    assert [row["stage"] for row in results["stages"]] == ["load and hash", "data"]
    chapter = results["stages"][1]
    assert chapter["cpu_s"] > 0 and 0 < chapter["wall_s"] / 60 < results["wall_minutes"]
    # The notebook's process, with the packages that it loads, counts.
    assert chapter["peak_mb"] > results["stages"][0]["peak_mb"] + 100
    assert results["songs"] == 12 and "only a part was run" in rehearsal.render(results)
    kept = {sha256_file(file) for file in (root / "work/MEMD_audio").iterdir()}
    assert not [f for f in (CACHE_DIR / "features").glob("*/*") if f.stem.split("-")[0] in kept]


def test_totals_and_verdicts():
    rows = [
        *({"stage": name, "wall_s": 0, "cpu_s": 0, "peak_mb": 1} for name in rehearsal.RUNS),
        {"stage": "a", "wall_s": 60, "cpu_s": 30, "peak_mb": 500},
        {"stage": "b", "wall_s": 120, "cpu_s": 90, "peak_mb": 6500, "epochs": 10,
         "epochs_at_most": 40, "seconds_per_epoch": 4},
    ]  # fmt: skip
    totals = rehearsal.totals(rows)
    assert totals == {
        "wall_minutes": 3, "wall_minutes_at_most": 5, "cpu_minutes": 2, "peak_gb": 6.5
    }  # fmt: skip
    results = {
        "songs": rehearsal.ALL_SONGS, "most_epochs": None, "audio_hours": 26, "audio_gb": 1, "features_gb": 1,
        "cores": 2, "environment": {"machine": "m", "threads": "1"}, "stages": rows, **totals,
    }  # fmt: skip
    report = rehearsal.render(results)
    assert "3.0 minutes | met" in report and "6.5 GB | missed" in report
    for part in ({"songs": 180}, {"most_epochs": 1}, {"stages": rows[1:]}):
        assert "3.0 minutes | only a part was run" in rehearsal.render(results | part)
    assert "5 minutes" in report and "| b | 120 | 90 | 6500 | 10 | 4.0 |" in report
