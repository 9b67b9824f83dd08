"""Retrieval: scores against plain counting, perfect and blind models, no leak between folds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import papermill
import pytest
from conftest import write_folder_corpus
from test_clip_models import write_clips

from msr_utils import figures, io
from msr_utils.affect import SIGNS
from msr_utils.constants import FRAME_SECONDS
from msr_utils.corpora import load_corpus
from msr_utils.corpora.base import Card, Corpus, CorpusError, Track
from msr_utils.experiments import release
from msr_utils.experiments.retrieval import arcs, listeners, moods, paths, ranking
from msr_utils.experiments.retrieval.held_out import HeldOutTrack, held_out_tracks
from msr_utils.experiments.retrieval.index import row_of, view_of
from msr_utils.features.config import FeatureConfig
from msr_utils.io import plain
from msr_utils.library.playlists import End, wanted_path
from msr_utils.library.search import Query, find
from msr_utils.library.words import place, word_region
from msr_utils.paths import PROJECT_ROOT

HALF_WIDTHS = {"valence": 0.1, "arousal": 0.1}


def held_out(number, curve, fold=0, loudness=None, embedding=(0.0, 1.0), **labels):
    """A track with a given prediction."""
    curve = np.asarray(curve, np.float32)
    known = {"times_s": np.zeros(0), "valence": np.zeros(0), "arousal": np.zeros(0), "group": ""}
    track = Track(id=f"t{number}", audio_path=Path("none"), **{**known, **labels})
    level = np.full(len(curve), -20.0) if loudness is None else loudness
    return HeldOutTrack(track, fold, curve, HALF_WIDTHS, np.array(embedding, np.float16), level, 3)


# ------------------------------------------------------------------------------ ranking


def test_the_first_ten_are_those_of_the_drawn_collection():
    rng = np.random.default_rng(0)
    counts = np.concatenate([np.ones((1, 40)), rng.poisson(1.0, (30, 40))])
    order, relevant = rng.permutation(40), rng.random(40) < 0.3
    precision, ndcg = ranking.first_k(counts, order, relevant, 10)
    discount = 1 / np.log2(np.arange(2, 12))
    for sample, p, n in zip(counts.astype(int), precision, ndcg, strict=True):
        copies = np.repeat(relevant[order], sample[order])[:10]
        ideal = discount[: int((sample * relevant).sum())].sum()
        assert p == pytest.approx(copies.mean())
        assert n == pytest.approx((copies * discount).sum() / ideal)


def test_places_that_are_not_filled_are_wrong_ones():
    precision, ndcg = ranking.first_k(np.ones((1, 5)), np.array([3]), np.arange(5) == 3, 10)
    assert precision == [0.1] and ndcg == [1.0]
    none, _ = ranking.first_k(np.ones((1, 5)), np.arange(5), np.zeros(5, bool), 10)
    assert np.isnan(none).all()


def test_chance_is_the_mean_over_random_orders():
    rng = np.random.default_rng(1)
    counts, relevant = np.ones((1, 30)), np.arange(30) < 9
    found = [ranking.first_k(counts, rng.permutation(30), relevant) for _ in range(800)]
    np.testing.assert_allclose(ranking.chance(counts, relevant), np.mean(found, axis=0), atol=0.02)


def test_variety_of_one_answer_and_of_all():
    artists = np.repeat(np.arange(10), 4)
    same = ranking.variety([np.arange(10)] * 8, artists)
    assert same.coverage == 0.25 and same.largest_share == 1 and same.hubness > 1
    even = ranking.variety([np.arange(40)[k::4] for k in range(4)], artists)
    assert even.coverage == 1 and even.hubness == 0 and even.largest_share == 0.25
    assert even.artist_entropy == pytest.approx(1)
    # Four tracks of each of two artists and two of a third.
    shares = np.array([0.4, 0.4, 0.2])
    assert same.artist_entropy == pytest.approx(-(shares * np.log(shares)).sum() / np.log(10))


# ------------------------------------------------------------------------------ index


def test_the_library_searches_a_view_in_memory():
    tracks = [
        held_out(n, np.tile(place(word), (30, 1)), group=word, text={"title": word}).indexed()
        for n, word in enumerate(("angry", "calm", "sad", "happy"))
    ]
    answer = find(view_of(tracks), Query(word_region("calm")))
    assert [row_of(found.track) for found in answer.results] == [1]
    assert answer.results[0].track.name == "calm - calm"
    assert answer.results[0].track.seconds == 15


# ------------------------------------------------------------------------------ moods


def clips(level=0.4, seed=0):
    """Eighty clips of 20 artists, predicted at the level of their quadrant, with noise."""
    rng = np.random.default_rng(seed)
    found = []
    for n in range(80):
        name = [*SIGNS][n % 4]
        point = level * np.array(SIGNS[name]) + rng.normal(0, 0.05, 2)
        found.append(
            held_out(
                n, np.tile(point, (20, 1)), fold=n % 5, loudness=rng.normal(-20, 3, 20),
                embedding=rng.normal(size=4), group=f"artist {n // 4}", quadrant=name,
            )
        )  # fmt: skip
    return found


def test_a_word_near_an_axis_asks_for_one_sign():
    signs = {query.name: query.signs for query in moods.mood_queries()}
    assert signs["Q2"] == (-1, 1) and signs["angry"] == (0, 1)
    assert signs["happy"] == (1, 0) and signs["sad"] == (-1, -1)
    asked = next(query for query in moods.mood_queries() if query.name == "angry")
    assert asked.relevant(np.array([[1, 1], [-1, 1], [-1, -1]])).tolist() == [True, True, False]


def test_a_model_that_is_right_finds_what_is_wanted():
    peers = {"peer": np.array([SIGNS[c.track.quadrant] for c in clips()], float)}
    result = moods.evaluate_moods({"blind": clips(0), "good": clips()}, peers, 50, n_variety=40)
    good, random = (result.scores["quadrant"][name]["P@10"] for name in ("good", moods.RANDOM))
    assert good.value == good.low == 1 and random.value == 0.25
    assert result.scores["quadrant"]["peer"]["nDCG@10"].value == 1
    for name in (moods.RANDOM, moods.LOUDNESS_TEMPO, moods.CENTROID, moods.CENTROIDS, "blind"):
        above = result.above["quadrant"][name]["P@10"]
        assert above.low > 0 and above.value == pytest.approx(
            1 - result.scores["quadrant"][name]["P@10"].value
        )
    assert result.confident["Q3"].right.value == 1 and result.confident["Q3"].found == 20
    assert result.confident["Q3"].stated > 0.9
    assert result.precision["calm"].value == 1 and result.by_chance["angry"] == 0.5
    assert result.variety["by place"].queries == 40
    assert moods.score_table(result).shape == (7, 4)
    assert len(moods.difference_table(result)) == 6
    text = figures.learned_text("05_retrieval_moods", {"retrieval": plain(result)})
    assert "Of the first ten clips for a quadrant, 1.00 [1.00, 1.00] are right" in text
    assert "good is better than" in text


def test_embeddings_that_tell_the_quadrant_are_found_by_their_centroid():
    with_signs = [
        replace(clip, embedding=np.array(SIGNS[clip.track.quadrant], np.float16))
        for clip in clips()
    ]
    view = view_of([clip.indexed() for clip in with_signs])
    queries = moods.mood_queries()[:4]
    for less_others in (False, True):
        found = moods.centroid_rankings(view, queries, with_signs, less_others)
        for query, order in zip(queries, found, strict=True):
            first = moods.signs_of([with_signs[n] for n in order[:10]])
            assert query.relevant(first).all()


def test_what_learns_reads_no_label_of_the_tested_fold():
    before = clips()
    wrong = [
        replace(c, track=replace(c.track, quadrant="Q1")) if c.fold == 2 else c for c in before
    ]
    tested = [n for n, clip in enumerate(before) if clip.fold == 2]
    for target in ("mean_valence", "mean_arousal"):
        values = [moods.loudness_tempo_view(c).numbers(target)[tested] for c in (before, wrong)]
        np.testing.assert_array_equal(*values)
    view = view_of([clip.indexed() for clip in before])
    orders = [
        moods.centroid_rankings(view, moods.mood_queries()[:1], c, True)[0] for c in (before, wrong)
    ]
    in_fold = [[n for n in order if n in tested] for order in orders]
    assert in_fold[0] == in_fold[1]


# ------------------------------------------------------------------------------ arcs, playlists


def pieces(noise=0.0, raters=6, n=14, seed=0):
    """Pieces with a random course, whose raters agree but for some noise."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(n):
        frames = 90 + 10 * (number % 3)
        steps = rng.normal(0, 0.06, (frames, 2))
        true = np.clip(np.cumsum(steps, axis=0) + rng.normal(0, 0.3, 2), -0.9, 0.9)
        ratings = true + rng.normal(0, noise, (raters, frames, 2))
        found.append(
            held_out(
                number, true, fold=number % 3, loudness=rng.normal(-20, 3, frames),
                group=f"series {number % 7}", text={"title": f"piece {number}"},
                times_s=(np.arange(frames) + 1) * FRAME_SECONDS, valence=true[:, 0],
                arousal=true[:, 1], ratings=ratings.astype(np.float32),
                raters=tuple(f"r{k}" for k in range(raters)),
            )
        )  # fmt: skip
    return found


def test_a_right_curve_finds_its_piece_and_its_place():
    blind = [replace(p, curve=np.zeros_like(p.curve)) for p in pieces()]
    result = arcs.evaluate_arcs({"blind": blind, "good": pieces()}, 20, 2, 40)
    good = result.scores["good"]
    assert good["MRR"].value == 1 and good["offset error"].value == 0
    assert result.scores[arcs.OTHER_RATERS]["MRR"].value == 1
    ranks = np.arange(1, 15)
    assert result.scores[arcs.RANDOM]["MRR"].value == pytest.approx((1 / ranks).mean())
    assert result.scores[arcs.RANDOM]["recall@10"].value == pytest.approx(10 / 14)
    # Controls: another piece's arc finds a piece by chance, and no time has no place.
    exchanged = result.scores[arcs.EXCHANGED]["MRR"]
    assert exchanged.value < 0.4 and np.isnan(result.scores[arcs.EXCHANGED]["offset error"].value)
    assert result.scores[arcs.SHUFFLED]["offset error"].value > 3
    for name in ("blind", arcs.TRACK_MEAN, arcs.LOUDNESS, arcs.RANDOM, arcs.EXCHANGED):
        assert result.above[name]["MRR"].low > 0, name
    assert (result.pieces, result.too_short, result.queries) == (14, 0, 28)
    assert np.isnan(result.scores[arcs.TRACK_MEAN]["offset error"].value)
    assert len(arcs.score_table(result)) == 8


def test_pieces_that_are_shorter_than_an_arc_are_counted():
    result = arcs.evaluate_arcs({"good": pieces()}, 48, 1, 0)
    assert result.too_short == 5 and result.pieces == 9
    with pytest.raises(CorpusError, match="fewer than two pieces"):
        arcs.evaluate_arcs({"good": pieces()}, 500, 1, 0)
    unrated = [replace(p, track=replace(p.track, ratings=None)) for p in pieces()]
    with pytest.raises(CorpusError, match="no track has the ratings"):
        arcs.evaluate_arcs({"good": unrated}, 20, 1, 0)


def test_halves_of_the_raters_share_nobody():
    (piece,) = arcs.rated_pieces(pieces(n=1))
    values = 2.0 ** np.arange(6)
    ratings = np.broadcast_to(values[:, None, None], piece.ratings.shape)
    one, other = arcs.half_means(replace(piece, ratings=ratings), np.random.default_rng(3))
    assert 3 * (one[0, 0] + other[0, 0]) == pytest.approx(values.sum())
    nobody = np.full_like(piece.ratings, np.nan)
    one, _ = arcs.half_means(replace(piece, ratings=nobody), np.random.default_rng(3))
    np.testing.assert_array_equal(one, piece.mean)


def test_a_random_place_is_wrong_by_the_mean_distance():
    (piece,) = arcs.rated_pieces(pieces(n=1))
    expected = arcs.by_chance([piece], np.array([10]), len(piece) - 20)
    assert expected[0, 2] == pytest.approx(np.abs(np.arange(21) - 10).mean() * FRAME_SECONDS)


def test_a_playlist_is_scored_on_what_was_heard():
    curves = [np.linspace((0, 0), (0.4, 0), 200), np.full((100, 2), 0.5)]
    wanted = wanted_path("direct", End((0.0, 0.0), ""), End((1.0, 0.0), ""))
    distance, gap = paths.score_playlist([0, 1], np.array([100.0, 50.0]), curves, wanted, 150)
    begin, end = curves[0][:40].mean(axis=0), curves[0][-40:].mean(axis=0)
    first = max(np.hypot(*begin), np.hypot(*(end - (2 / 3, 0))))
    second = max(np.hypot(0.5 - 2 / 3, 0.5), np.hypot(0.5, 0.5))
    assert distance == pytest.approx((first + second) / 2)
    assert gap == pytest.approx(np.hypot(*(0.5 - end)))
    rows = paths.random_rows(np.full(9, 60.0), 200, np.random.default_rng(0))
    assert len(rows) == len(set(rows)) == 4


def test_right_curves_make_better_playlists_than_chance():
    many = pieces(n=40, seed=4)
    blind = [replace(p, curve=np.zeros_like(p.curve)) for p in many]
    result = paths.evaluate_paths({"blind": blind, "good": many}, 8, 4, 40)
    assert result.above[paths.RANDOM]["distance"].high < 0
    assert result.above[paths.RANDOM]["gap"].high < 0
    assert result.above["blind"]["distance"].high < 0
    assert result.above[paths.OTHER_RATERS]["distance"].value == pytest.approx(0, abs=1e-3)
    assert len(paths.score_table(result)) == 6


# ------------------------------------------------------------------------------ preferences


def liked_by_sound():
    """Forty tracks, and ten listeners who like one of two sides of how tracks sound."""
    rng = np.random.default_rng(0)
    sound = rng.choice([-1.0, 1.0], 40)
    tracks = [
        held_out(n, np.zeros((20, 2)), embedding=(s, 0.1 * rng.normal()))
        for n, s in enumerate(sound)
    ]
    rows = []
    for age in range(20, 30):
        for n in rng.choice(40, 16, replace=False):
            likes = sound[n] * (-1) ** age > 0
            rows.append((f"t{n}", int(likes), int(not likes), age, 0, "Dutch"))
    rows += [("t1", 1, 0, 40, 1, "English")] * 20  # one track twice: not one listener
    rows += [("t2", 1, 1, 50, 1, "German")]  # too few
    names = ["track_id", "liked", "disliked", "age", "gender", "mother_tongue"]
    raters = pd.DataFrame(rows, columns=names)
    corpus = Corpus("likes", [t.track for t in tracks], Card("", "", "", ""), [], 0, "gems", raters)
    return corpus, tracks


def test_own_ratings_tell_the_next_one_and_those_of_others_do_not():
    corpus, tracks = liked_by_sound()
    result = listeners.evaluate_preferences(corpus, tracks, (1, 10), 4, 40)
    assert (result.listeners, result.ratings, result.excluded) == (10, 160, 1)
    own, others = (result.concordance[name] for name in (listeners.OWN, listeners.OTHERS))
    assert own[10].value > 0.95 and own[10].value >= own[1].value
    assert others[10].value < 0.8 and result.gain[10].low > 0
    assert result.error["indifference"].value == 1
    assert result.error_gain["indifference"].high < 0
    assert listeners.score_table(result).shape == (4, 2)
    assert len(listeners.error_table(result)) == 3
    with pytest.raises(CorpusError, match="needs age"):
        listeners.listeners_of(replace(corpus, raters=None), tracks, 12)
    with pytest.raises(CorpusError, match="fewer than two listeners rated 30 tracks"):
        listeners.listeners_of(corpus, tracks, 30)


def test_a_track_is_liked_by_the_others_and_not_by_oneself():
    corpus, tracks = liked_by_sound()
    found, _ = listeners.listeners_of(corpus, tracks, 12)
    table = corpus.raters
    one = found[3]
    (other,) = {f"t{one.rows[0]}"}
    rows = table[(table.track_id == other) & (table.age != 23)]
    assert one.popularity[0] == pytest.approx((rows.liked - rows.disliked).mean())


def test_concordance_counts_pairs():
    values = np.array([1.0, 0, 0, -1])
    assert listeners.concordance(values, values) == 1
    assert listeners.concordance(values, -values) == 0
    assert listeners.concordance(values, np.zeros(4)) == 0.5
    # Of the five pairs with different values, one is wrong.
    assert listeners.concordance(values, np.array([1, 0, -3, -2.0])) == pytest.approx(0.8)
    assert np.isnan(listeners.concordance(np.ones(3), np.arange(3.0)))


def test_the_chapter_says_what_the_numbers_say():
    corpus, tracks = liked_by_sound()
    likes = listeners.evaluate_preferences(corpus, tracks, (1, 10), 2, 20)
    metrics = plain(
        {
            "arcs": arcs.evaluate_arcs({"good": pieces()}, 20, 1, 20),
            "paths": paths.evaluate_paths({"good": pieces(n=30)}, 4, 4, 20),
            "preferences": likes,
        }
    )
    text = figures.learned_text("05_retrieval_arcs", metrics)
    assert "find their piece with MRR 1.00 [1.00, 1.00] in the predicted curves" in text
    assert "By MRR: good is better than track mean" in text
    assert "After 10 ratings of a listener, the next ones are ordered with a concordance of" in text
    assert "own ratings help." in text
    without = figures.learned_text("05_retrieval_arcs", {**metrics, "preferences": None})
    assert "listener" not in without


# ------------------------------------------------------------------------------ held-out curves


@pytest.mark.slow
def test_a_track_is_predicted_as_in_the_release_and_without_its_own_labels(tmp_path):
    features = FeatureConfig(("loudness", "tempogram"), memory_s=(3.0, 10.0))
    curves = load_corpus("folder", write_folder_corpus(tmp_path / "tones", tracks=12, seconds=9))
    curves = replace(curves, tracks=[replace(t, group=t.id) for t in curves.tracks])
    card = replace(curves.card, title="clips")
    of_clip = [replace(t, quadrant=[*SIGNS][n % 4]) for n, t in enumerate(curves.tracks)]
    quadrants = replace(curves, tracks=of_clip, card=card, labels="quadrants")

    def predict(*corpora):
        trainer = release.Trainer(corpora, features, 3, 7, tmp_path, progress=False)
        return held_out_tracks(trainer), trainer

    found, trainer = predict(curves, quadrants)
    released = release.train(trainer).held_out
    for held in found[curves.card.title]:
        index, _ = arcs.rated_frames(held.track, len(held.curve))
        for k, target in enumerate(("valence", "arousal")):
            expected = released.curves[curves.card.title][target][held.track.id].predicted
            np.testing.assert_allclose(held.curve[index, k], expected, atol=1e-6)
    fold = {held.track.id: held.fold for held in found["clips"]}
    opposite = {"Q1": "Q3", "Q2": "Q4", "Q3": "Q1", "Q4": "Q2"}
    other = [replace(t, quadrant=opposite[t.quadrant]) if fold[t.id] == 0 else t for t in of_clip]
    moved = [
        replace(t, valence=-t.valence, arousal=-t.arousal) if fold[t.id] == 0 else t
        for t in curves.tracks
    ]
    again, _ = predict(replace(curves, tracks=moved), replace(quadrants, tracks=other))
    for title, tracks in found.items():
        for before, after in zip(tracks, again[title], strict=True):
            if before.fold == 0:
                np.testing.assert_array_equal(before.curve, after.curve)
                assert before.half_widths == after.half_widths
    widths = [held.half_widths for held in found["clips"]]
    assert any(w != widths[0] for w in widths) and all(w["arousal"] > 0 for w in widths)


def run(name, folder, **parameters):
    """Execute a notebook; its results."""
    papermill.execute_notebook(
        PROJECT_ROOT / f"notebooks/{name}.ipynb",
        folder / f"{name}.ipynb",
        cwd=PROJECT_ROOT,
        kernel_name="python3",
        progress_bar=False,
        parameters={
            "corpus": "folder", "bundles": ["light"], "folds": 3, "bootstrap": 20,
            "output_dir": str(folder / name), **parameters,
        },
    )  # fmt: skip
    return io.read_json(folder / name / "metrics.json")


@pytest.mark.extended
@pytest.mark.slow
def test_the_notebooks_run(tmp_path):
    """Their results have the fields that the book reads."""
    curves = write_folder_corpus(tmp_path / "curves", tracks=12)
    table = pd.read_csv(curves / "tracks.csv")
    table.assign(group=table.track_id).to_csv(curves / "tracks.csv", index=False)
    rng = np.random.default_rng(0)
    quadrants = write_clips(
        tmp_path / "clips",
        [*SIGNS] * 6,
        rng.uniform(400, 1500, 24),
        rng.uniform(0.1, 0.5, 24),
        [f"artist {i}" for i in range(24)],
    )
    published = PROJECT_ROOT / "reports/published"
    found = run(
        "05_retrieval_moods", tmp_path, data_dir=str(quadrants), curves_dir=str(curves),
        variety_queries=20,
    )  # fmt: skip
    kept = io.read_json(published / "quadrants/retrieval-moods/metrics.json")
    assert found.keys() == kept.keys() and found["retrieval"].keys() == kept["retrieval"].keys()
    found = run(
        "05_retrieval_arcs", tmp_path, data_dir=str(curves), quadrants_dir=str(quadrants),
        arc_seconds=1.0, minutes=0.2, requests=4,
    )  # fmt: skip
    kept = io.read_json(published / "vgmidi/retrieval-arcs/metrics.json")
    assert found.keys() == kept.keys() and found["arcs"].keys() == kept["arcs"].keys()
