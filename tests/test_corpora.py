"""Loaders on small corpora in their real layouts, and on damaged ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from conftest import tone, write_folder_corpus

from msr_utils.corpora import CorpusError, load_corpus
from msr_utils.corpora.base import frame_index


def test_folder_corpus_as_written(folder_corpus):
    corpus = load_corpus("folder", folder_corpus)
    assert corpus.name == "tones"
    assert [t.id for t in corpus.tracks] == [f"t{i:02d}" for i in range(6)]
    track = corpus.tracks[0]
    assert (track.group, track.text["title"]) == ("g0", "Tone 0")
    np.testing.assert_allclose(track.times_s, np.arange(1, 9) / 2)
    assert track.ratings.shape == (2, 8, 2)
    np.testing.assert_allclose(track.ratings[..., 1].mean(axis=0), track.arousal, atol=1e-6)
    assert track.mask.all()


def test_ratings_hold_until_their_time(folder_corpus):
    rows = [("t00", "a", 1.0, 0.1, 0.2), ("t00", "a", 2.6, 0.5, 0.6)]
    columns = ["track_id", "rater", "time_s", "arousal", "valence"]
    pd.DataFrame(rows, columns=columns).to_csv(folder_corpus / "ratings.csv", index=False)
    held = load_corpus("folder", folder_corpus).tracks[0].ratings[0, :, 1]
    # Middles .25 .75 | 1.25 1.75 2.25 | 2.75 ...: the window that ends at 3 lies mostly past 2.6.
    np.testing.assert_allclose(held, [0.1, 0.1, 0.5, 0.5, 0.5, np.nan, np.nan, np.nan])


def edit(path, change):
    table = pd.read_csv(path)
    change(table).to_csv(path, index=False)


@pytest.mark.parametrize(
    "file, change, words",
    [
        ("tracks.csv", lambda t: t.drop(columns="group"), r"tracks.csv: column 'group'"),
        ("tracks.csv", lambda t: pd.concat([t, t[:1]]), r"track_id 't00' is repeated"),
        ("tracks.csv", lambda t: t[1:], r"annotations.csv: track_id 't00' is not in tracks.csv"),
        ("tracks.csv", lambda t: t[:0], r"tracks.csv: holds no rows"),
        ("tracks.csv", lambda t: t.assign(file="no.wav"), r"'no.wav' of track_id 't00' not found"),
        ("annotations.csv", lambda t: t[8:], r"no rows for track_id 't00'"),
        ("annotations.csv", lambda t: t.assign(arousal="high"), r"line 2: arousal is 'high'"),
        ("annotations.csv", lambda t: t.assign(valence=5.0), r"'t00', valence: 5 lies outside"),
        ("annotations.csv", lambda t: t.assign(valence=np.inf), r"valence: inf"),
        ("annotations.csv", lambda t: t.assign(time_s=t.time_s + 0.2), r"not a multiple of 0.5"),
        ("annotations.csv", lambda t: t.assign(time_s=t.time_s - 0.5), r"before the first window"),
        ("annotations.csv", lambda t: pd.concat([t[:1], t]), r"time_s 0.5 is repeated"),
        ("ratings.csv", lambda t: t.assign(arousal=-3.0), r"rater 'a', arousal: -3"),
        ("ratings.csv", lambda t: t.drop(columns="rater"), r"ratings.csv: column 'rater'"),
    ],
)
def test_damaged_folder_corpora_say_what_is_wrong(folder_corpus, file, change, words):
    edit(folder_corpus / file, change)
    with pytest.raises(CorpusError, match=words):
        load_corpus("folder", folder_corpus)


def test_files_that_are_no_tables(folder_corpus):
    (folder_corpus / "annotations.csv").write_bytes(b"\xff\xfe\x00bad")
    with pytest.raises(CorpusError, match="annotations.csv: not UTF-8"):
        load_corpus("folder", folder_corpus)
    (folder_corpus / "annotations.csv").write_text("")
    with pytest.raises(CorpusError, match="annotations.csv: not a CSV"):
        load_corpus("folder", folder_corpus)
    (folder_corpus / "annotations.csv").unlink()
    with pytest.raises(CorpusError, match="annotations.csv not found"):
        load_corpus("folder", folder_corpus)


def test_missing_values_are_kept_as_gaps(folder_corpus):
    edit(
        folder_corpus / "annotations.csv", lambda t: t.assign(arousal=t.arousal.where(t.index > 1))
    )
    track = load_corpus("folder", folder_corpus).tracks[0]
    np.testing.assert_array_equal(track.mask, [False, False] + [True] * 6)


def test_content_hash_follows_audio_and_labels(folder_corpus, tmp_path):
    def digest():
        return load_corpus("folder", folder_corpus).content_hash()

    first = digest()
    assert first == digest()
    edit(folder_corpus / "annotations.csv", lambda t: t.assign(valence=0.0))
    second = digest()
    sf.write(folder_corpus / "audio" / "t00.wav", tone(4.0, 100), 22_050)
    assert len({first, second, digest()}) == 3


@pytest.mark.parametrize(
    "name, data, words",
    [
        ("demo", "", "unknown name 'demo'"),
        ("folder", "", "needs the folder"),
        ("deam", "/nowhere/at/all", "no folder"),
    ],
)
def test_unknown_corpora(name, data, words):
    with pytest.raises(CorpusError, match=words):
        load_corpus(name, data)


def test_times_count_frames_from_their_ends():
    np.testing.assert_array_equal(frame_index(np.array([0.5, 1.0, 2.001]), "x"), [0, 1, 3])


def write_deam(root):
    """The official archives' layout, unpacked side by side, with audio of three of five songs."""
    dynamic = root / "annotations/annotations averaged per song/dynamic (per second annotations)"
    dynamic.mkdir(parents=True)
    header = "song_id," + ",".join(f"sample_{ms}ms" for ms in range(15_000, 17_500, 500))
    for target, base in (("arousal", 0.1), ("valence", -0.1)):
        rows = [f"{i},{base},{base},{base + 0.1}," for i in (2, 3, 4)]  # no fifth sample
        rows += [f"{i},{base},,{base},{base},{base}" for i in (2001, 2002)]
        (dynamic / f"{target}.csv").write_text("\n".join([header, *rows]) + "\n")
    (root / "metadata").mkdir()
    (root / "metadata/metadata_2013.csv").write_text(
        'song_id,album,artist,title,Genre\n2,"\t2.mp3","The Band\t","\tOne","\tBlues "\n'
        '3,"\t3.mp3","the band","Two","Blues"\n'
    )
    (root / "metadata/metadata_2015.csv").write_text(
        "song_id,title,artist,album,Genre,,\n2001,Old Tree,Someone,n/a,Rock,,\n"
    )
    (root / "MEMD_audio").mkdir()
    for song in (2, 3, 2001):
        sf.write(root / f"MEMD_audio/{song}.mp3", tone(18.0, 300, 44_100), 44_100)
    return root


def test_deam_in_the_official_layout(tmp_path):
    corpus = load_corpus("deam", write_deam(tmp_path))
    assert [t.id for t in corpus.tracks] == ["2", "3", "2001"]
    assert corpus.without_audio == 2
    first, second, last = corpus.tracks
    assert first.group == second.group == "the band"
    assert (first.split, last.split, last.text["artist"]) == ("train", "test", "Someone")
    np.testing.assert_allclose(first.times_s, [15.0, 15.5, 16.0])
    np.testing.assert_allclose(first.arousal, [0.1, 0.1, 0.2])
    np.testing.assert_array_equal(last.mask, [True, False, True, True, True])


def test_damaged_deam(tmp_path):
    root = write_deam(tmp_path / "a")
    arousal = next(root.rglob("arousal.csv"))
    arousal.write_text(arousal.read_text().replace("2,0.1", "2,7.5", 1))
    with pytest.raises(CorpusError, match="arousal.csv, song 2: 7.5 lies outside"):
        load_corpus("deam", root)
    arousal.unlink()
    with pytest.raises(CorpusError, match=r"no dynamic annotations arousal\.csv"):
        load_corpus("deam", root)
    root = write_deam(tmp_path / "b")
    for path in (root / "MEMD_audio").iterdir():
        path.unlink()
    with pytest.raises(CorpusError, match="no audio such as"):
        load_corpus("deam", root)


def test_synthetic_corpus_is_called_synthetic(tmp_path):
    corpus = load_corpus("synthetic", cache_dir=tmp_path, synthetic_tracks=6)
    assert corpus.name == "synthetic"
    assert len(corpus.tracks) == 6
    assert len({t.group for t in corpus.tracks}) == 3
    assert all("ynthetic" in t.text["title"] for t in corpus.tracks)
    with pytest.raises(CorpusError, match="synthetic_tracks"):
        load_corpus("synthetic", cache_dir=tmp_path, synthetic_tracks=3)


def test_audio_path_may_be_named_by_any_suffix(tmp_path):
    root = write_folder_corpus(tmp_path / "c", tracks=3)
    wav = root / "audio" / "t00.wav"
    sf.write(root / "audio" / "t00.ogg", tone(4.0), 22_050)
    wav.unlink()
    edit(root / "tracks.csv", lambda t: t.assign(file=t.file.str.replace("t00.wav", "t00.ogg")))
    assert load_corpus("folder", root).tracks[0].audio_path.suffix == ".ogg"
