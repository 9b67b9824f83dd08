"""Search against plain scans of all tracks, and what each result says about itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import mutagen
import numpy as np
import pytest
import soundfile as sf
from scipy.stats import norm
from sklearn.linear_model import Ridge

from msr_utils.library import filters as hard
from msr_utils.library import indexing, preferences
from msr_utils.library.filters import Filters
from msr_utils.library.numbers import Z_COVERAGE
from msr_utils.library.records import Preference
from msr_utils.library.regions import Region, point_region, probability
from msr_utils.library.search import Query, closest_moment, find, row_of_file, top
from msr_utils.library.shards import LibraryError
from msr_utils.library.similarity import similarity_of
from msr_utils.library.words import ANGLES, NEAR, WORDS, place, word_region, words_region

pytest_plugins = ["toy_library"]

REGION = point_region(0.3, 0.2)


def rows_of(view, answer) -> list[int]:
    return [view.row_of(found.track.id) for found in answer.results]


def all_chances(view, region):
    return probability(view, region, np.arange(len(view)))


# ------------------------------------------------------------------------------ words


def test_every_word_has_a_place_in_its_region():
    assert len(WORDS) == len(set(WORDS)) >= 60
    assert set(NEAR.values()) <= set(ANGLES)
    for word in WORDS:
        region = word_region(word)
        assert region.contains(*(np.array([x]) for x in region.centre)).all(), word


@pytest.mark.parametrize(
    ("word", "signs"),
    [("happy", (1, 1)), ("angry", (-1, 1)), ("sad", (-1, -1)), ("calm", (1, -1)), ("party", (1, 1)),
     ("lonely", (-1, -1)), ("peaceful", (1, -1))],
)  # fmt: skip
def test_words_lie_in_their_quadrant(word, signs):
    assert tuple(np.sign(place(word))) == signs


def test_several_words_must_all_fit():
    both = words_region("calm, happy")
    assert both.valence == (0.15, 1.0) and both.arousal == (-0.28, 0.0)
    with pytest.raises(LibraryError, match="'angry' and 'calm' have no place in common"):
        words_region("angry,calm")
    with pytest.raises(LibraryError, match="'sadd' is unknown; known: afraid"):
        words_region("sadd")


# ------------------------------------------------------------------------------ probability


def test_probability_is_that_of_a_normal_moment(random_view):
    row = 17
    wanted = 1.0
    for target, (low, high) in (("valence", (0.1, 0.5)), ("arousal", (-0.2, 1.0))):
        mean, sd, half = (
            float(random_view.numbers(f"{n}_{target}")[row]) for n in ("mean", "sd", "half_width")
        )
        moment = norm(mean, np.hypot(sd, half / Z_COVERAGE))
        wanted *= (1.0 if high == 1.0 else moment.cdf(high)) - moment.cdf(low)
    region = Region((0.1, 0.5), (-0.2, 1.0), (0.3, 0.4))
    assert probability(random_view, region, np.array([row]))[0] == pytest.approx(wanted, abs=1e-6)


def test_a_value_that_is_not_asked_for_does_not_count(random_view):
    free = point_region(None, 0.2)
    both = probability(random_view, REGION, np.arange(50))
    arousal = probability(random_view, free, np.arange(50))
    valence = probability(random_view, point_region(0.3, None), np.arange(50))
    assert np.allclose(both, arousal * valence)


@pytest.mark.parametrize("confidence", [0.3, 0.5, 0.6])
def test_results_are_the_most_probable_tracks(random_view, confidence):
    chances = all_chances(random_view, REGION)
    answer = find(random_view, Query(REGION, confidence=confidence, limit=15))
    best = np.argsort(-chances, kind="stable")
    assert rows_of(random_view, answer) == [r for r in best[:15] if chances[r] >= confidence]
    assert answer.confident == (chances >= confidence).sum()
    assert [f.probability for f in answer.results] == sorted(
        (f.probability for f in answer.results), reverse=True
    )


def test_few_matches_are_not_filled_up(random_view):
    region = point_region(0.65, 0.6)
    chances = all_chances(random_view, region)
    confident = int((chances >= 0.5).sum())
    answer = find(random_view, Query(region))
    assert 0 < len(answer.results) == confident < 20
    assert answer.note.startswith(f"only {confident} confident match")
    assert answer.less_confident == ((chances >= 0.25) & (chances < 0.5)).sum()


def test_no_match_is_a_sentence(random_view):
    answer = find(random_view, Query(point_region(0.99, -0.99, 0.01), confidence=0.99))
    assert answer.results == () and answer.note == (
        "no track is a confident match (probability at least 99%)"
    )
    seconds = Filters(seconds=(1e6, None))
    assert (
        find(random_view, Query(like=(0,), filters=seconds)).note == "no track passes the filters"
    )
    unrated = find(random_view, Query(REGION, listener="nobody", limit=1)).note
    assert unrated.startswith("no track of this library has a rating by 'nobody', so preferences")


def test_a_result_explains_itself(random_view):
    found = find(random_view, Query(REGION, limit=1)).results[0]
    row = random_view.row_of(found.track.id)
    curve = random_view.curve(row)
    assert found.predicted["valence"] == pytest.approx(curve[:, 0].mean(), abs=1e-5)
    low, high = found.interval["arousal"]
    assert high - low == pytest.approx(2 * 0.299, abs=1e-5)
    parts = [curve[k : k + 20].mean(axis=0) for k in range(0, len(curve), 20)]
    distances = [np.hypot(*(p - (0.3, 0.2))) for p in parts]
    assert found.closest.start_s == 10 * int(np.argmin(distances))
    assert np.allclose(
        (found.closest.valence, found.closest.arousal), parts[np.argmin(distances)], atol=0.01
    )


def test_the_closest_moment_ignores_what_is_not_asked_for(random_view):
    moment = closest_moment(random_view, 3, point_region(None, 0.4))
    segments = random_view.segments(3)
    assert moment.arousal == segments[np.abs(segments[:, 1] - 0.4).argmin(), 1]


def test_top_is_a_stable_sort():
    score = np.array([1.0, 3.0, 2.0, 3.0, 1.0, 1.0])
    for count in range(8):
        assert top(score, count).tolist() == [1, 3, 2, 0, 4, 5][:count]


# ------------------------------------------------------------------------------ filters


def test_filters_are_those_of_the_tags(random_view):
    filters = Filters(
        genre=("genre 3", "Genre 4"),
        not_artist=("Artist 7",),
        year=(1980, None),
        seconds=(130, 200),
    )
    mask, removed = hard.apply(random_view, filters)
    infos = random_view.infos(np.arange(len(random_view)))
    years, seconds = random_view.numbers("year"), random_view.numbers("seconds")
    wanted = [
        info.genre in ("Genre 3", "Genre 4")
        and info.artist != "Artist 7"
        and year >= 1980
        and 130 <= length <= 200
        for info, year, length in zip(infos, years, seconds, strict=True)
    ]
    assert mask.tolist() == wanted
    assert sum(r.tracks for r in removed) == len(mask) - mask.sum()
    assert [r.filter for r in removed] == [
        "not artist Artist 7", "genre genre 3 or Genre 4", "year 1980-", "seconds 130-200",
    ]  # fmt: skip
    answer = find(random_view, Query(REGION, filters=filters, confidence=0.01, limit=3000))
    assert all(mask[row] for row in rows_of(random_view, answer))


def test_one_of_several_genres_is_enough(added):
    view = added.view()
    mask, _ = hard.apply(view, Filters(genre=("drone",)))
    assert sorted(i.title for i in view.infos(np.flatnonzero(mask))) == ["Tone 0", "Tone 2"]
    mask, _ = hard.apply(view, Filters(not_genre=("Test",), year=(None, 1992)))
    assert [i.title for i in view.infos(np.flatnonzero(mask))] == ["Tone 1"]


def test_what_is_unknown_does_not_pass_a_limit(added):
    mask, removed = hard.apply(added.view(), Filters(tempo=(60, 200)))
    assert not mask.any() and removed[0].tracks == 4


def test_an_artist_that_is_not_there_is_named(random_view):
    with pytest.raises(LibraryError, match="no track has the artist 'Artits 7'; similar: Artist 7"):
        hard.apply(random_view, Filters(artist=("Artits 7",)))


# ------------------------------------------------------------------------------ examples


def test_similar_tracks_have_similar_embeddings(random_view):
    rows = np.arange(len(random_view))
    values = random_view.embeddings(rows)
    units = (values - values.mean(axis=0)) / values.std(axis=0)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    wanted = units @ (units[5] - units[9])
    wanted[[5, 9]] = -np.inf
    answer = find(random_view, Query(like=(5,), unlike=(9,), limit=10))
    assert rows_of(random_view, answer) == np.argsort(-wanted, kind="stable")[:10].tolist()
    assert answer.results[0].probability is None and answer.results[0].closest is None


def test_another_version_of_a_song_is_left_out(added, songs, light):
    (songs / "copy.flac").write_bytes((songs / "a.flac").read_bytes())
    indexing.add(added, light, [songs], progress=False)
    view = added.view()
    answer = find(view, Query(point_region(0, None, 2.0), confidence=0.01))
    assert sorted(f.track.title for f in answer.results) == [f"Tone {n}" for n in range(4)]
    assert answer.versions_left_out == 1


def test_silence_is_never_found(library, tmp_path, light):
    import soundfile as sf

    (tmp_path / "quiet").mkdir()
    sf.write(tmp_path / "quiet" / "x.wav", np.zeros(22050 * 3), 22050)
    indexing.add(library, light, [tmp_path / "quiet"], progress=False)
    assert find(library.view(), Query(point_region(0, 0, 2.0), confidence=0.01)).results == ()


def test_a_file_that_is_not_in_the_library_is_named(random_view):
    with pytest.raises(LibraryError, match="nothing.mp3 is not in it, and there is no such"):
        row_of_file(random_view, "nothing.mp3")


# ------------------------------------------------------------------------------ preferences


def said(view, values: dict[int, float]) -> list[Preference]:
    infos = view.infos(np.array(list(values)))
    return [
        Preference(info.audio, "like" if value > 0 else "skip", value, "")
        for info, value in zip(infos, values.values(), strict=True)
    ]


def test_preference_is_a_ridge_regression(random_view):
    rated = {3: 1.0, 8: -1.0, 20: 0.5, 100: 1.0, 555: -0.5}
    model = preferences.fit(random_view, said(random_view, rated))
    assert model.rows.tolist() == sorted(model.rows) or len(model.rows) == 5
    values = [rated[int(row)] for row in model.rows]
    ridge = Ridge(alpha=preferences.PENALTY, fit_intercept=False)
    ridge.fit(preferences.features(random_view, model.rows), values)
    rows = np.arange(200)
    predicted = model.predict(random_view, rows)
    assert np.allclose(predicted, ridge.predict(preferences.features(random_view, rows)), atol=1e-9)
    assert model.contributions(random_view, 7).sum() == pytest.approx(predicted[7])


def test_likes_move_the_ranking_and_say_why(random_view):
    catalogue = random_view.catalogue
    plain = find(random_view, Query(REGION, confidence=0.3, limit=50))
    loved = rows_of(random_view, plain)[40]
    (audio,) = (random_view.infos(np.array([loved]))[0].audio,)
    catalogue.prefer("tester", audio, "like", preferences.LIKE)
    try:
        mine = find(random_view, Query(REGION, confidence=0.3, limit=50, listener="tester"))
        before = plain.results[40]
        after = mine.results[rows_of(random_view, mine).index(loved)]
        assert after.probability == before.probability
        assert after.score / before.score > 1.3 and after.preference > 0.3
        assert (after.because.rating, after.because.track.id) == ("like", after.track.id)
    finally:
        assert catalogue.forget("tester", [audio]) == 1
    assert catalogue.preferences("tester") == []
    nobody = find(random_view, Query(REGION, confidence=0.3, limit=50, listener="tester"))
    assert [f.track for f in nobody.results] == [f.track for f in plain.results]


def test_the_last_word_counts(random_view):
    catalogue = random_view.catalogue
    catalogue.prefer("twice", "ab", "like", 1.0)
    catalogue.prefer("twice", "ab", "rating", preferences.value_of_stars(2))
    with pytest.raises(LibraryError, match="between 1 and 5"):
        preferences.value_of_stars(float("nan"))
    catalogue.prefer("other", "ab", "skip", -1.0)
    assert [(p.kind, p.value) for p in catalogue.preferences("twice")] == [("rating", -0.5)]
    assert catalogue.forget("twice") == 1
    assert len(catalogue.preferences("other")) == 1
    assert catalogue.forget("other", None) == 1


def test_similarity_is_computed_once(random_view):
    assert similarity_of(random_view) is similarity_of(random_view)
    assert dataclasses.is_dataclass(random_view)


# ------------------------------------------------------------------------------ many tracks


@pytest.mark.extended
def test_a_hundred_thousand_tracks_answer_at_once(tmp_path):
    import time

    from benchmarks.bench_library import random_library

    made = random_library(tmp_path / "library", 100_000)
    view = made.view()
    query = Query(REGION, filters=Filters(genre=("Genre 3", "Genre 4"), year=(1980, None)))
    find(view, query)
    start = time.perf_counter()
    answer = find(view, query)
    assert time.perf_counter() - start < 1.0  # 0.03 s on a quiet core
    assert len(answer.results) == 20
    made.close()


def test_a_file_without_tags_is_the_song_of_its_audio(added, songs, light):
    """And so of other versions of that song, whose audio differs."""
    samples, rate = sf.read(songs / "a.flac")
    sf.write(songs / "untagged.wav", samples, rate, "PCM_16")
    sf.write(songs / "version.flac", 0.7 * samples, rate)
    tags, version = mutagen.File(songs / "a.flac"), mutagen.File(songs / "version.flac")
    version["artist"], version["title"] = tags["artist"], tags["title"]
    version.save()
    indexing.add(added, light, [songs], progress=False)
    answer = find(added.view(), Query(point_region(0, 0, 2), confidence=0.01))
    names = {Path(one.track.path).name for one in answer.results}
    assert len(names & {"a.flac", "untagged.wav", "version.flac"}) == 1
    assert {"b.flac", "c.flac", "d.flac"} <= names
