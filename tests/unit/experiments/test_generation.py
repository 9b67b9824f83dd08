"""Generated music: the division of labelled pieces, copying, judges and how much is kept."""

from __future__ import annotations

import numpy as np
import pytest
from note_files import piece, write_emopia, write_pop909

from msr_utils.corpora import load_corpus
from msr_utils.experiments.generation import listening, material, writing
from msr_utils.experiments.generation.copying import longest_shared_runs
from msr_utils.experiments.generation.evaluation import (
    GENERATED,
    REAL,
    SHUFFLED,
    Size,
    evaluate,
    measure_speed,
)
from msr_utils.experiments.generation.judges import JUDGES, clips_only
from msr_utils.experiments.generation.music import COMPARED, compare
from msr_utils.experiments.generation.tables import (
    accuracy_table,
    confusion_table,
    examples,
    target_table,
    weakest_quadrant,
)
from msr_utils.experiments.symbolic import statistics_models
from msr_utils.generation import Generator, untrained_generator
from msr_utils.inference import load_default
from msr_utils.io import plain
from msr_utils.notes import Notes, write_midi


def clips(songs=24, each=2):
    parts = {0: "val", 1: "test"}  # the authors' split is not used
    return [
        (f"Q{1 + s % 4}_song{s}_{k}", parts.get(s, "train"))
        for s in range(songs)
        for k in range(each)
    ]


@pytest.fixture(scope="module")
def divided(tmp_path_factory):
    root = tmp_path_factory.mktemp("emopia")
    corpus = load_corpus("emopia", write_emopia(root, clips()))
    songs = load_corpus("pop909", write_pop909(tmp_path_factory.mktemp("pop909")))
    return material.divide([corpus], songs, 7)


def random_piece(rng, count):
    start = np.cumsum(rng.choice([0.0, 0.2, 0.4, 0.8], count))
    pitch = rng.integers(40, 80, count)
    return Notes(start, np.full(count, 0.3), pitch, np.full(count, 80))


def test_no_song_is_on_two_sides_and_quadrants_are_balanced(divided):
    parts = {name: getattr(divided, name) for name in ("train", "validation", "judging")}
    groups = {name: {one.group for one in part} for name, part in parts.items()}
    assert all(groups.values())
    assert not groups["train"] & groups["validation"]
    assert not (groups["train"] | groups["validation"]) & groups["judging"]
    assert sum(map(len, parts.values())) == 48 and divided.left_out == 0
    for count in np.bincount([one.label for one in parts["judging"]], minlength=4):
        assert count == 6
    assert len(divided.unlabelled) == 3
    first = parts["train"][0]
    sign = (1, 1) if first.label == 0 else None
    places = first.piece.emotion_at(np.array([0.0, 99.0]))
    assert sign is None or places[0].tolist() == [0.5, 0.5]
    assert np.isnan(divided.unlabelled[0].emotion_at(np.zeros(2))).all()


def test_curves_are_read_at_their_times(tmp_path):
    rows = ["track_id,time_s,arousal,valence"]
    for k in range(4):
        write_midi(piece(50 + k, seconds=12.0), tmp_path / "midi" / f"t{k}.mid")
        rows += [f"t{k},{t},{-0.4 if t <= 5 else 0.4},0.2" for t in np.arange(0.5, 10.5, 0.5)]
    names = [f"t{k}" for k in range(4)]
    (tmp_path / "annotations.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "tracks.csv").write_text(
        "track_id,file,group\n" + "".join(f"{n},audio/{n}.ogg,g{n}\n" for n in names)
    )
    (tmp_path / "midi.csv").write_text(
        "track_id,file\n" + "".join(f"{n},midi/{n}.mid\n" for n in names)
    )
    (tmp_path / "audio").mkdir()
    for n in names:
        (tmp_path / "audio" / f"{n}.ogg").write_bytes(f"{n}, never decoded".encode())
    found = material.divide([load_corpus("folder", tmp_path)], None, 7)
    one = (found.train + found.judging)[0].piece
    assert one.style == material.CURVES
    valence, arousal = one.emotion_at(np.array([2.0, 8.0]))
    assert valence == pytest.approx([0.2, 0.2]) and arousal == pytest.approx([-0.4, 0.4])
    faster = one.faster(2.0)
    assert faster.emotion_at(np.array([1.0, 4.0]))[1] == pytest.approx([-0.4, 0.4])
    assert faster.notes.end_s == pytest.approx(one.notes.end_s / 2)


def test_a_run_is_found_in_another_key_and_tempo():
    rng = np.random.default_rng(0)
    known, other = random_piece(rng, 400), random_piece(rng, 200)
    part = known.part(100, 37).altered(3, 1.02)
    runs = longest_shared_runs([part, other, known], [known])
    assert runs[0] == 37 and runs[1] < 8 and runs[2] == 400
    # Runs do not go on from one piece to the next.
    halves = [known.part(0, 100), known.part(100, 300)]
    assert longest_shared_runs([known.part(90, 20)], halves)[0] <= 11
    # A chord may be spread either way.
    spread = Notes(np.array([0.0, 0.01, 1.0]), np.ones(3), np.array([64, 60, 67]), np.full(3, 60))
    together = Notes(np.array([0.0, 0.0, 1.0]), np.ones(3), np.array([60, 64, 67]), np.full(3, 60))
    assert longest_shared_runs([spread], [together])[0] == 3


def test_music_like_itself_is_not_strange():
    pieces = [piece(60 + k, seconds=9.0) for k in range(6)]
    same = compare(pieces, pieces)
    assert list(same) == list(COMPARED)
    assert all(abs(one.difference) < 1e-9 for one in same.values())
    denser = [p.altered(0, 2.0) for p in pieces]
    assert compare(denser, pieces)["notes per second"].difference > 1


def test_requests_cover_quadrants_places_and_arcs():
    asked = [r.curve.at(0) for r in writing.quadrant_requests(2, 5.0, 1)]
    assert asked == 2 * [(0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5), (0.5, -0.5)]
    assert len({r.seed for r in writing.grid_requests(3, 2, 5.0, 1)}) == 18
    arcs = writing.arc_requests(2, 20.0, 1)
    assert len(arcs) == 2 * len(writing.ARCS)
    assert arcs[0].curve.at(0) == (0.5, -0.6) and arcs[0].curve.at(20) == (0.5, 0.6)


@pytest.mark.slow
def test_an_untrained_generator_is_found_out(divided, tmp_path, monkeypatch):
    """All of the evaluation, with one that cannot follow: judges must not find what was asked."""
    for module, name in ((listening, "CACHE_DIR"), (writing, "TRAININGS")):
        monkeypatch.setattr(module, name, tmp_path)
    monkeypatch.setattr(statistics_models, "TRAININGS", tmp_path)
    generator = Generator(untrained_generator(tmp_path / "piano-none"))
    size = Size(6, 5.0, 1, 2, 1, 1, 6.0, 12, 50)
    results = evaluate(generator, divided, load_default(), size, progress=False)
    assert set(results.accuracy) == set(JUDGES) == set(results.controls[SHUFFLED])
    assert results.accuracy[JUDGES[0]]["quadrant"].value < 0.6
    # Major and minor triads of one kind are told apart by every probe.
    assert results.held_out["probe on notes"]["valence"].value > 0.8
    assert results.confusion.sum() == 24 and results.confusion.sum(axis=1).tolist() == [6] * 4
    assert len(results.copying.generated) == 24 and results.speed.times_real_time > 5
    stored = plain(results)
    assert stored["copied"]["generated"] <= stored["copied"]["real"]
    assert "pieces" in stored and "probabilities" not in stored
    table = target_table(results)
    assert table.loc["quadrant found", "reached"] == "no"
    assert table.loc["speed", "reached"] == "yes"
    assert len(accuracy_table({GENERATED: results.accuracy, REAL: results.held_out})) == 6
    confusion = confusion_table(results)
    assert confusion.to_numpy().sum() == 24 and weakest_quadrant(results).startswith("Of 6 pieces")
    page = examples(results, each=1)
    assert page.count("<audio") == page.count("data:audio/mpeg;base64,") >= 4
    written = writing.write_pieces(generator, writing.quadrant_requests(1, 5.0, 7), progress=False)
    assert (written[0].pitch == results.pieces[0].pitch).all()
    assert len(clips_only(divided.judging, 5.0)) == len(divided.judging)
    assert measure_speed(generator, 1, 2.0).first_note_ms < 300
