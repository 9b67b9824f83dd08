"""The synthetic corpus: its files, its determinism, and cues that follow the arcs."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from scipy.signal import find_peaks, stft

from msr_utils.constants import FRAME_SAMPLES, FRAME_SECONDS, SAMPLE_RATE
from msr_utils.corpora.midi import read_midi
from msr_utils.corpora.synthetic import composition, render, synthesis
from msr_utils.corpora.synthetic.composition import Note
from msr_utils.corpora.synthetic.config import SyntheticConfig
from msr_utils.corpora.synthetic.raters import draw_rater, simulate_ratings
from msr_utils.corpora.synthetic.render import cached_corpus, render_corpus, render_track

CONFIG = SyntheticConfig(n_tracks=4, duration_s=10.0, n_groups=2, n_raters=3, seed=1)
TINY = SyntheticConfig(n_tracks=2, duration_s=5.0, n_groups=2, n_raters=2)
KEY = 2
# Krumhansl and Kessler (1982): how well each pitch class fits a key.
MAJOR_PROFILE = [6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88]
MINOR_PROFILE = [6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return render_corpus(CONFIG, tmp_path_factory.mktemp("corpora") / "synthetic", progress=False)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def score(valence: float, arousal: float, composer: int, n_frames: int = 80):
    """Notes of one composer for constant arcs, and the length of an eighth note in seconds."""
    habits = composition.draw_composer(SyntheticConfig(), composer)
    truth = np.tile((valence, arousal), (n_frames, 1))
    notes, hits = composition.compose(truth, habits, KEY, np.random.default_rng(composer))
    return notes, np.diff(np.unique([start_s for start_s, *_ in hits])).min()


def clashes(notes: list[Note]) -> int:
    """Number of semitones struck together."""
    starts, pitches = (np.array([getattr(n, f) for n in notes]) for f in ("start_s", "pitch"))
    together = np.abs(starts[:, None] - starts) < 0.02
    return np.sum(together & np.isclose(pitches[:, None] - pitches, 1))


def sound(valence, arousal, composer: int, n_frames: int = 24) -> np.ndarray:
    """Music of one composer for constant arcs, or for one value a frame."""
    truth = np.empty((n_frames, 2))
    truth[:, 0], truth[:, 1] = valence, arousal
    habits = composition.draw_composer(SyntheticConfig(), composer)
    rng = np.random.default_rng(composer)
    return synthesis.synthesise(
        *composition.compose(truth, habits, KEY, rng), habits, n_frames, rng
    )


def spectrum(audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies (F,) and magnitudes (F, frames)."""
    frequencies, _, values = stft(audio, SAMPLE_RATE, nperseg=4096, noverlap=4096 - 512)
    return frequencies, np.abs(values)


def loudness(audio: np.ndarray) -> float:
    return np.sqrt(np.mean(audio**2))


def centroid(audio: np.ndarray) -> float:
    frequencies, magnitude = spectrum(audio)
    power = (magnitude**2).sum(axis=1)
    return (frequencies * power).sum() / power.sum()


def onset_density(audio: np.ndarray) -> float:
    """Onsets per second: peaks of the mean rise in dB, over the loudest 40 dB of the music."""
    _, _, values = stft(audio, SAMPLE_RATE, nperseg=1024, noverlap=512)
    decibels = 20 * np.log10(np.abs(values) + 1e-9)
    rises = np.diff(decibels.clip(min=decibels.max() - 40), axis=1).clip(min=0).mean(axis=0)
    peaks, _ = find_peaks(rises, prominence=0.5)
    return len(peaks) * SAMPLE_RATE / len(audio)


def majorness(audio: np.ndarray) -> float:
    """How much better the pitch classes fit D major than D minor."""
    frequencies, magnitude = spectrum(audio)
    audible = (frequencies > 100) & (frequencies < 1500)
    pitch_class = np.rint(69 + 12 * np.log2(frequencies[audible] / 440)).astype(int) % 12
    chroma = np.bincount(pitch_class, magnitude[audible].sum(axis=1), minlength=12)
    chroma = np.roll(chroma, -KEY)
    major, minor = (np.corrcoef(chroma, p)[0, 1] for p in (MAJOR_PROFILE, MINOR_PROFILE))
    return major - minor


def pitch_height(audio: np.ndarray) -> float:
    """Median frequency of the strongest partial above the bass."""
    frequencies, magnitude = spectrum(audio)
    melodic = frequencies > 200
    return np.median(frequencies[melodic][magnitude[melodic].argmax(axis=0)])


# ------------------------------------------------------------------------------ files and tables


def test_two_renders_have_the_same_bytes(corpus, tmp_path):
    again = render_corpus(CONFIG, tmp_path / "again", progress=False)
    assert contents(again) == contents(corpus)


def test_seeds_give_different_tracks():
    one, other = (render_track(SyntheticConfig(seed=seed), 0) for seed in (1, 2))
    assert not np.array_equal(one.truth, other.truth)
    assert not np.array_equal(one.ratings, other.ratings)
    assert np.corrcoef(one.audio, other.audio)[0, 1] < 0.5


def test_folder_holds_the_files_and_columns(corpus):
    audio = {f"audio/syn{number:03d}.flac" for number in range(1, 5)}
    notes = {f"midi/syn{number:03d}.mid" for number in range(1, 5)}
    names = ("tracks", "annotations", "ratings", "raters", "truth", "midi")
    tables = {f"{name}.csv" for name in names}
    assert set(contents(corpus)) == audio | notes | tables | {"corpus.json"}

    tracks = pd.read_csv(corpus / "tracks.csv")
    assert list(tracks) == ["track_id", "file", "group", "title", "duration_s"]
    assert list(tracks["track_id"]) == ["syn001", "syn002", "syn003", "syn004"]
    assert set(tracks["file"]) == audio
    assert tracks["group"].nunique() == CONFIG.n_groups
    assert tracks["title"].str.contains("Synthetic").all()
    assert (tracks["duration_s"] == CONFIG.duration_s).all()
    for file in tracks["file"]:
        info = sf.info(corpus / file)
        assert (info.samplerate, info.channels, info.subtype) == (SAMPLE_RATE, 1, "PCM_16")
        assert info.frames == CONFIG.n_frames * FRAME_SAMPLES

    raters = pd.read_csv(corpus / "raters.csv")
    assert list(raters)[:3] == ["rater", "track_id", "lag_s"]
    assert len(raters) == len(raters.drop_duplicates(["rater", "track_id"])) == 3 * 4
    assert raters["lag_s"].between(1, 3).all()


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("annotations", ["track_id"]),
        ("truth", ["track_id"]),
        ("ratings", ["track_id", "rater"]),
    ],
)
def test_label_grids_are_complete_and_in_range(corpus, name, keys):
    table = pd.read_csv(corpus / f"{name}.csv")
    assert list(table) == [*keys, "time_s", "arousal", "valence"]
    n_series = CONFIG.n_tracks * (CONFIG.n_raters if "rater" in keys else 1)
    grid = np.arange(1, CONFIG.n_frames + 1) * FRAME_SECONDS
    series = [times.to_numpy() for _, times in table.groupby(keys)["time_s"]]
    assert len(series) == n_series
    assert all(np.array_equal(times, grid) for times in series)
    values = table[["arousal", "valence"]].to_numpy()
    assert np.isfinite(values).all()
    assert np.abs(values).max() <= 1
    assert values.std() > 0.05


def test_annotation_is_the_mean_of_the_raters(corpus):
    keys, affect = ["track_id", "time_s"], ["arousal", "valence"]
    ratings = pd.read_csv(corpus / "ratings.csv")
    mean = ratings.groupby(keys)[affect].mean()
    annotation = pd.read_csv(corpus / "annotations.csv").set_index(keys)[affect]
    pd.testing.assert_frame_equal(annotation.sort_index(), mean, atol=1e-4, rtol=0)


def test_written_track_is_the_rendered_track(corpus):
    track = render_track(CONFIG, 2)
    audio, _ = sf.read(corpus / "audio" / "syn003.flac", dtype="float32")
    assert track.audio.dtype == np.float32
    np.testing.assert_allclose(audio, track.audio, atol=1 / 2**15)
    truth = pd.read_csv(corpus / "truth.csv").query("track_id == 'syn003'")
    np.testing.assert_allclose(truth[["valence", "arousal"]], track.truth, atol=1e-4)


@pytest.mark.parametrize("index", [-1, 4])
def test_unknown_track_is_refused(index):
    with pytest.raises(IndexError, match="index"):
        render_track(CONFIG, index)


# ------------------------------------------------------------------------- atomic, cached, racing


def test_failure_midway_leaves_nothing_behind(tmp_path, monkeypatch):
    written = []

    def fail_on_second(*args, **kwargs):
        if written:
            raise OSError("disk full")
        written.append(args[0])

    monkeypatch.setattr(render.sf, "write", fail_on_second)
    with pytest.raises(OSError, match="disk full"):
        render_corpus(TINY, tmp_path / "corpus", progress=False)
    assert written
    assert list(tmp_path.iterdir()) == []


def test_complete_corpus_returns_at_once(corpus, monkeypatch):
    monkeypatch.setattr(render, "render_track", lambda *_: pytest.fail("rendered again"))
    assert render_corpus(CONFIG, corpus) == corpus


def test_other_content_is_refused_and_kept(corpus, tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="not this synthetic corpus"):
        render_corpus(CONFIG, tmp_path, progress=False)
    assert contents(tmp_path) == {"mine.txt": b"precious"}
    with pytest.raises(FileExistsError, match="not this synthetic corpus"):
        render_corpus(TINY, corpus, progress=False)


def test_loser_of_a_race_discards_its_copy(tmp_path, monkeypatch):
    destination = tmp_path / "corpus"
    rename = Path.rename

    def rename_after_another(built, target):
        destination.mkdir()
        (destination / "winner").touch()
        (destination / "corpus.json").write_bytes((built / "corpus.json").read_bytes())
        return rename(built, target)

    monkeypatch.setattr(Path, "rename", rename_after_another)
    assert render_corpus(TINY, destination, progress=False) == destination
    assert (destination / "winner").exists()
    assert list(tmp_path.iterdir()) == [destination]


def test_cache_folder_follows_config_and_renderer(tmp_path, monkeypatch):
    first = cached_corpus(TINY, tmp_path)
    assert first.parent == tmp_path
    assert first.name.startswith("synthetic-")
    assert json.loads((first / "corpus.json").read_text())["config"]["duration_s"] == 5.0
    same = SyntheticConfig(n_tracks=2, duration_s=5, n_groups=2, n_raters=2)
    assert cached_corpus(same, tmp_path) == first
    other = SyntheticConfig(n_tracks=2, duration_s=5.0, n_groups=2, n_raters=2, seed=8)
    assert cached_corpus(other, tmp_path) != first
    monkeypatch.setattr(render, "computed_by", lambda *roots: {"code": "another renderer"})
    assert cached_corpus(TINY, tmp_path) != first


# -------------------------------------------------------------------------------- music and arcs


@pytest.mark.parametrize("composer", range(4))
@pytest.mark.parametrize("measure", [loudness, onset_density, centroid])
def test_arousal_cues_follow_arousal(measure, composer):
    assert measure(sound(0.0, 0.8, composer)) > 1.5 * measure(sound(0.0, -0.8, composer))


@pytest.mark.parametrize("composer", range(4))
def test_valence_cues_follow_valence(composer):
    bright, dark = sound(0.8, 0.0, composer), sound(-0.8, 0.0, composer)
    assert majorness(bright) > 0 > majorness(dark)
    assert pitch_height(bright) > 1.1 * pitch_height(dark)


@pytest.mark.parametrize("composer", range(4))
def test_score_follows_arousal(composer):
    (lively, short_step), (calm, long_step) = score(0.0, 0.8, composer), score(0.0, -0.8, composer)
    assert short_step < long_step / 1.5
    assert len(lively) * short_step > 1.5 * len(calm) * long_step  # denser beyond the faster tempo
    assert lively[0].attack_s < calm[0].attack_s / 1.5


@pytest.mark.parametrize("composer", range(4))
def test_score_follows_valence(composer):
    (happy, step), (sad, same_step) = score(0.8, 0.0, composer), score(-0.8, 0.0, composer)
    assert step == pytest.approx(same_step)
    lengths = [np.mean([note.length_s for note in notes]) for notes in (happy, sad)]
    assert lengths[0] < 0.9 * lengths[1]
    assert clashes(happy) < clashes(sad)


def test_cues_move_in_the_frame_that_the_label_describes():
    arousal = np.repeat([-0.8, 0.8, -0.8], 12)
    levels = []
    for composer in range(8):
        frames = sound(0.0, arousal, composer, n_frames=36).reshape(36, FRAME_SAMPLES)
        levels.append(20 * np.log10(np.sqrt((frames**2).mean(axis=1))))
    rise = np.corrcoef(np.mean(levels, axis=0), arousal)[0, 1]
    shifted = [np.corrcoef(np.mean(levels, axis=0), np.roll(arousal, k))[0, 1] for k in (-2, 2)]
    assert rise > 0.9
    assert rise > max(shifted)


def test_audio_is_neither_clipped_nor_cut():
    loud = sound(0.0, 1.0, 0)
    assert 0.3 < np.abs(loud).max() <= synthesis.PEAK
    assert loud[0] == loud[-1] == 0
    note = Note(0.0, 60.0, 0.3, 0.0, 1.0, 0.001)
    wave = synthesis.sound_note(note, composition.draw_composer(CONFIG, 0))
    assert np.abs(wave).max() > 0.5
    assert np.abs(wave[[0, -1]]).max() < 1e-6


def test_arcs_cover_the_plane_and_every_composer_sees_all_of_it():
    config = SyntheticConfig()
    arcs = np.stack(
        [
            composition.draw_arcs(config, index, np.random.default_rng([config.seed, index]))
            for index in range(config.n_tracks)
        ]
    )
    assert np.abs(arcs).max() <= 1
    quadrant = (arcs[..., 0] > 0) * 2 + (arcs[..., 1] > 0)
    assert np.bincount(quadrant.ravel(), minlength=4).min() > 0.15 * quadrant.size
    assert np.median(arcs.std(axis=1)) > 0.2
    assert np.abs(np.diff(arcs, axis=1)).max() < 0.3
    for composer in range(config.n_groups):
        assert len(np.unique(quadrant[composer :: config.n_groups])) == 4


def test_raters_are_late_and_agree_well_but_not_fully():
    config = SyntheticConfig()
    raters = [draw_rater(config, number) for number in range(config.n_raters)]
    truth, ratings = [], []
    for index in range(config.n_tracks):
        rng = np.random.default_rng(index)
        truth.append(composition.draw_arcs(config, index, rng))
        ratings.append(simulate_ratings(truth[-1], raters, rng))
    truth, ratings = np.stack(truth), np.stack(ratings, axis=1)  # (N, T, 2), (R, N, T, 2)

    n = config.n_frames
    mean = ratings.mean(axis=0)
    agreement = [
        np.corrcoef(mean[:, 10:].ravel(), truth[:, 10 - lag : n - lag].ravel())[0, 1]
        for lag in range(10)
    ]
    assert 1.0 <= np.argmax(agreement) * FRAME_SECONDS <= 3.0

    halves = (ratings[::2].mean(axis=0), ratings[1::2].mean(axis=0))
    correlation = np.corrcoef(*(half.ravel() for half in halves))[0, 1]
    assert 0.85 < 2 * correlation / (1 + correlation) < 0.96


# --------------------------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n_tracks", 1),
        ("n_groups", 1),
        ("n_groups", 65),
        ("n_raters", 1),
        ("seed", -1),
        ("duration_s", 4.5),
        ("duration_s", 10.25),
        ("duration_s", -10.0),
        ("duration_s", float("nan")),
        ("duration_s", float("inf")),
    ],
)
def test_invalid_config_names_the_field(field, value):
    with pytest.raises(ValueError, match=f"^{field} must"):
        SyntheticConfig(**{field: value})


def test_notes_are_those_that_sound(corpus):
    track = render_track(CONFIG, 2)
    notes = read_midi(corpus / "midi" / "syn003.mid")
    np.testing.assert_allclose(notes.start_s, track.notes.start_s, atol=1e-3)
    # Notes within a millisecond may change places.
    assert sorted(notes.pitch.tolist()) == sorted(track.notes.pitch.tolist())
    assert 0 < notes.velocity.min() < notes.velocity.max() <= 127
    # Where many notes start, the audio is louder than where none do.
    seconds = int(CONFIG.duration_s)
    struck = np.bincount(notes.start_s.astype(int), notes.velocity**2, seconds)[:seconds]
    level = np.sqrt((track.audio.reshape(seconds, -1) ** 2).mean(axis=1))
    assert np.corrcoef(struck, level)[0, 1] > 0.5
