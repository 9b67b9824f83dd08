"""The library over HTTP: answers, hostile input, the token, audio in parts, processes that die."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import numpy as np
import postgres
import psutil
import pytest
import requests
import soundfile as sf
import sqlalchemy as sa
from environment import without_settings
from needs import needs_linux, needs_postgres
from toy_library import drawn_library

from msr_utils.library import schema
from msr_utils.library.filters import Filters
from msr_utils.library.library import Library
from msr_utils.library.limits import FPS_RANGE
from msr_utils.library.playlists import End
from msr_utils.library.scenes import Scene, find_music
from msr_utils.library.search import Query, find
from msr_utils.library.shards import LibraryError
from msr_utils.library.timecode import check_fps
from msr_utils.library.words import word_region
from msr_utils.paths import MODELS_DIR, PROJECT_ROOT
from serve.app import create_app
from serve.audio_files import MAX_RANGE_BYTES
from serve.bridge import Answer
from serve.config import ConfigError, ServiceConfig
from serve.front import LIBRARY_BODY_BYTES
from serve.library.messages import write_message
from serve.library.runner import ProcessRunner, QueryProcess
from serve.library.schemas import Filters as FiltersSchema
from serve.library.schemas import FindQuery

PROBLEM = "application/problem+json"
TOKEN = "a token of the tests"
HOLDER = {"Authorization": f"Bearer {TOKEN}"}
URL = "/v1/library"
MEANS = np.array([(v, a) for v in np.linspace(-0.6, 0.6, 6) for a in np.linspace(-0.6, 0.6, 4)])


def note_files(made: Library) -> None:
    """Note in a catalogue what size and time its files have."""
    with made.catalogue.connections.writing() as connection:
        for path in made.catalogue.known(made.catalogue.roots()[0]):
            found = os.stat(path)
            connection.execute(
                sa.update(schema.tracks)
                .where(schema.tracks.c.path == os.fsencode(path))
                .values(size=found.st_size, mtime_ns=found.st_mtime_ns)
            )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A library of 24 tracks with audio, and one long file."""
    folder = tmp_path_factory.mktemp("served")
    made = drawn_library(folder, MEANS)
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, 1_300_000).astype(np.float32)
    sf.write(folder / "music" / "album" / "tone 000.flac", noise, 44_100)
    note_files(made)
    made.close()
    return folder


@pytest.fixture(scope="module")
def view(folder):
    library = Library(folder / "library")
    yield library.view()
    library.close()


def app_of(folder: Path | None, **settings: object):
    config = ServiceConfig(
        models_dir=MODELS_DIR,
        default_model="light",
        workers=0,
        library=None if folder is None else folder / "library",
        **settings,
    )
    return create_app(config)


@pytest.fixture(scope="module")
def client(folder):
    return app_of(folder, library_token=TOKEN).test_client()


def problem(response, status: int, field: str | None = None) -> str:
    """Detail of an answer that must be a problem."""
    assert (response.status_code, response.mimetype) == (status, PROBLEM), response.text
    assert response.json["status"] == status
    if field is not None:
        assert response.json["field"] == field
    return response.json["detail"]


# ------------------------------------------------------------------------------ answers


def test_what_is_there(client):
    about = client.get(URL).json
    assert about["tracks"] == 24 and about["files"] == {"analysed": 24}
    assert about["writable"] is True and about["model"] == "light"
    assert {"word": "calm", "valence": 0.36, "arousal": -0.35} in about["words"]
    assert "m3u8" in about["playlist_formats"] and "csv" in about["scene_formats"]
    assert client.get(f"{URL}/names?kind=genre").json["names"] == [
        "Drone", "Noise", "Tones & more"
    ]  # fmt: skip


def test_pages_hold_every_track_once_and_no_folder(client, folder):
    seen, cursor = [], ""
    while cursor is not None:
        page = client.get(f"{URL}/tracks", query_string={"limit": 7, "cursor": cursor})
        assert str(folder) not in page.text
        seen += [track["id"] for track in page.json["tracks"]]
        assert len(page.json["tracks"]) <= 7
        cursor = page.json["next"]
    assert seen == sorted(set(seen)) and len(seen) == 24
    some = client.get(f"{URL}/tracks?id={seen[5]}&id={seen[2]}&id=999").json["tracks"]
    assert [track["id"] for track in some] == [seen[5], seen[2]]
    filtered = client.get(f"{URL}/tracks?genre=drone&year_from=1995").json
    assert filtered["passing"] == len(filtered["tracks"]) > 0
    assert all(t["genre"] == "Drone" and t["year"] >= 1995 for t in filtered["tracks"])
    assert [removed["tracks"] for removed in filtered["removed"]][0] == 16


def test_one_track_has_its_curve(client, view):
    track = client.get(f"{URL}/tracks/3").json
    row = int(np.flatnonzero(view.ids == 3)[0])
    np.testing.assert_allclose(
        np.transpose([track["valence"], track["arousal"]]), view.curve(row), atol=1e-4
    )
    assert track["times_s"][:2] == [0.5, 1.0] and track["file"] == "tone 002.flac"
    assert sum(track["share"].values()) == pytest.approx(1, abs=1e-3)


def test_the_map_has_the_means(client, view):
    dots = client.get(f"{URL}/map").json
    assert dots["passing"] == dots["tracks"] == len(dots["id"]) == 24
    means = dict(zip(dots["id"], zip(dots["valence"], dots["arousal"], strict=True), strict=True))
    np.testing.assert_allclose(means[1], MEANS[0], atol=0.02)
    only = client.get(f"{URL}/map?artist=Artist 0").json
    assert only["passing"] == 4 and set(only["id"]) < set(dots["id"])


def test_find_gives_what_the_library_finds(client, view):
    answer = client.get(f"{URL}/find?words=calm&genre=Noise&confidence=0.3&limit=3").json
    expected = find(
        view, Query(word_region("calm"), filters=Filters(genre=("Noise",)), confidence=0.3, limit=3)
    )
    assert [r["track"]["id"] for r in answer["results"]] == [r.track.id for r in expected.results]
    assert answer["results"][0]["probability"] == pytest.approx(
        expected.results[0].probability, abs=1e-4
    )
    assert answer["note"].count("--") == 0
    like = client.get(f"{URL}/find?like=1&valence=0.6&arousal=-0.6&within=0.4&limit=2").json
    assert 1 not in [r["track"]["id"] for r in like["results"]]
    assert all(r["predicted"]["valence"] > 0.2 for r in like["results"])


def test_a_path_goes_through_its_stops(client):
    stops = [{"track": 1}, {"valence": -0.5, "arousal": 0.5}, {"valence": 0.5, "arousal": 0.5}]
    body = {"stops": stops, "minutes": 4, "spacing": 0}
    playlist = client.post(f"{URL}/path", json=body).json
    steps = playlist["steps"]
    assert steps[0]["track"]["id"] == 1 and len(steps) == 8
    assert steps[0]["wanted_start"] == pytest.approx(list(MEANS[0]), abs=0.02)
    assert steps[-1]["wanted_end"] == pytest.approx([0.5, 0.5], abs=0.02)
    corner = [step["wanted_end"] for step in steps]
    assert min(np.hypot(v + 0.5, a - 0.5) for v, a in corner) < 0.15
    words = {"stops": [{"word": "sad"}, {"word": "happy"}], "minutes": 3, "kind": "iso"}
    assert len(client.post(f"{URL}/path", json=words).json["steps"]) == 6


def test_a_path_is_crossed_at_constant_speed():
    from serve.library.queries import path_through

    stops = [End(place, "") for place in ((-0.4, -0.2), (-0.4, 0.3), (-0.4, 0.3), (0.45, 0.1))]
    straight = path_through(stops, "direct").place_at
    share = 0.5 / (0.5 + np.hypot(0.85, 0.2))
    np.testing.assert_allclose(
        straight(np.array([0, share, 1])), [s.place for s in stops[::1] if s is not stops[2]]
    )
    np.testing.assert_allclose(straight(np.array(share / 2)), [-0.4, 0.05])
    held = path_through(stops, "iso").place_at
    assert tuple(held(np.array(0.29))) == stops[0].place
    assert tuple(held(np.array(1.0))) == stops[-1].place
    still = path_through([stops[0]] * 3, "direct").place_at
    np.testing.assert_allclose(still(np.array([0, 0.4, 1])), [stops[0].place] * 3)


def test_scenes_and_their_files(client, view):
    scenes = [
        {"start_s": 0, "end_s": 12, "mood": {"word": "sad"}, "to": {"word": "calm"}, "label": "A"},
        {"start_s": 12, "end_s": 32, "curve": [{"at_s": 5, "valence": 0.4, "arousal": 0.5},
                                               {"at_s": 9, "valence": 0.5, "arousal": 0.2}]},
    ]  # fmt: skip
    found = client.post(f"{URL}/scenes", json={"scenes": scenes, "count": 3}).json["scenes"]
    expected = find_music(view, [Scene(0, 12, (-0.44, -0.23), (0.36, -0.35), "A")], count=3)
    first = [(c["track"]["id"], c["in_s"]) for c in found[0]["candidates"]]
    assert first == [(c.track.id, c.in_s) for c in expected.scenes[0].candidates]
    assert found[1]["candidates"][0]["predicted_end"][0] > 0.2
    # The values of the drawn points go on to both ends of the scene.
    assert [point[0] for point in found[1]["scene"]["drawn"]["points"]] == [0, 5, 9, 20]

    best = found[1]["candidates"][0]
    chosen = [scenes[0], {**scenes[1], "track": best["track"]["id"], "in_s": best["in_s"]}]
    for name in client.get(URL).json["scene_formats"]:
        answer = client.post(f"{URL}/soundtrack?format={name}&name=film", json={"scenes": chosen})
        assert answer.status_code == 200 and len(answer.data) > 20
        assert f"film.{name}" in answer.headers["Content-Disposition"]
        if name == "csv":
            rows = [line.split(",") for line in answer.text.splitlines()]
            assert rows[1][3] == "" and rows[2][3] == f"album/{best['track']['file']}"
            assert float(rows[2][6]) == pytest.approx(best["distance"], abs=2e-4)
    wrong = client.post(
        f"{URL}/soundtrack?format=csv", json={"scenes": [{**chosen[1], "in_s": 25}]}
    )
    assert "shorter" in problem(wrong, 422, "scenes.0.track")


def test_one_range_of_frame_rates(client):
    page, document = client.get("/").text, client.get("/openapi.json").json
    assert 'id="film-fps" type="number" min="1" max="99"' in page
    parameters = document["paths"][f"{URL}/soundtrack"]["post"]["parameters"]
    (fps,) = (each["schema"] for each in parameters if each["name"] == "fps")
    assert (fps["minimum"], fps["maximum"]) == FPS_RANGE
    for rate, status in ((1, 200), (99, 200), (0.9, 400), (100, 400), (240, 400)):
        query = {"format": "edl", "fps": rate}
        answer = client.post(f"{URL}/soundtrack", query_string=query, json={"scenes": [SCENE]})
        assert answer.status_code == status
        if status == 400:
            problem(answer, 400, "fps")
            with pytest.raises(LibraryError, match="between 1 and 99"):
                check_fps(rate)


def test_playlists_are_relative_to_the_folder_of_the_music(client):
    for name in client.get(URL).json["playlist_formats"]:
        answer = client.post(f"{URL}/playlist?format={name}", json={"tracks": [3, 1]})
        assert answer.status_code == 200, name
        assert "album/tone" in answer.text and "/music" not in answer.text
        assert answer.text.index("002.flac") < answer.text.index("000.flac")
    unknown = client.post(f"{URL}/playlist?format=exe", json={"tracks": [3]})
    assert "m3u8" in problem(unknown, 422, "format")
    odd = client.post(f'{URL}/playlist?format=csv&name=../a"b', json={"tracks": [3]})
    assert "/" not in odd.headers["Content-Disposition"].partition("filename")[2].replace("''", "")


@pytest.mark.parametrize("name", ["音楽", "🎵", "more…", "Café – list"])
def test_files_may_have_any_name(client, name):
    for path, body in (("playlist", {"tracks": [3]}), ("soundtrack", {"scenes": [SCENE]})):
        query = {"format": "csv", "name": name}
        answer = client.post(f"{URL}/{path}", query_string=query, json=body)
        assert answer.status_code == 200 and answer.mimetype == "text/csv"
        said = answer.headers["Content-Disposition"]
        assert said.isascii() and said.startswith("attachment")
        assert f"filename*=UTF-8''{quote(name)}.csv" in said
        assert int(answer.headers["Content-Length"]) == len(answer.data) > 20


def test_no_header_stops_an_answer():
    loop = asyncio.new_event_loop()
    answer = Answer(loop, lambda: None)
    answer.start("200 OK", [("X-Name", "音 é")])
    loop.close()
    assert answer.headers == [(b"X-Name", b"? \xe9")]


def test_opensubsonic_has_its_shapes(client):
    answer = client.get(f"{URL}/rest/getSonicSimilarTracks?id=5&count=3&u=me&f=json").json
    body = answer["subsonic-response"]
    assert (body["status"], body["openSubsonic"]) == ("ok", True)
    values = [match["similarity"] for match in body["sonicMatch"]]
    assert len(values) == 3 and values == sorted(values, reverse=True)
    assert all(0 <= value <= 1 for value in values)
    assert body["sonicMatch"][0]["entry"]["suffix"] == "flac"
    way = client.get(f"{URL}/rest/findSonicPath?startSongId=1&endSongId=24&count=5").json
    ids = [match["entry"]["id"] for match in way["subsonic-response"]["sonicMatch"]]
    assert ids[0] == "1" and ids[-1] == "24" and 2 <= len(ids) <= 5
    assert way["subsonic-response"]["sonicMatch"][0]["similarity"] == pytest.approx(1)
    same = client.get(f"{URL}/rest/findSonicPath?startSongId=4&endSongId=4").json
    assert len(same["subsonic-response"]["sonicMatch"]) == 1
    problem(client.get(f"{URL}/rest/getSonicSimilarTracks?id=777"), 404, "id")


# ------------------------------------------------------------------------------ what is refused

BAD_QUERIES = {
    "find?valence=nan": "valence", "find?valence=2": "valence", "find?arousal=inf": "arousal",
    "find?valence=": "valence", "find": "words", "find?limit=0": "limit",
    "find?words=calm&limit=1000000": "limit", "find?like=-1": "like.0", "find?like=1e3": "like.0",
    "find?words=" + "x" * 300: "words", "find?words=%00": "words", "find?nonsense=1": "nonsense",
    "tracks?cursor=AAAA": "cursor", "tracks?cursor=YWZ0ZXIgLTU": "cursor",
    "tracks?" + "&".join(f"id={n}" for n in range(101)): "id",
    "names?kind=path": "kind", "map?year_from=nan": "year_from", "map?certainty=2": "certainty",
    "rest/findSonicPath?startSongId=1": "endSongId",
}  # fmt: skip


@pytest.mark.parametrize("query", BAD_QUERIES)
def test_bad_queries(client, query):
    problem(client.get(f"{URL}/{query}"), 400, BAD_QUERIES[query])


def test_words_artists_and_tracks_that_are_not_there(client):
    assert "known: afraid" in problem(client.get(f"{URL}/find?words=merry"), 422, "words")
    assert "no place in common" in problem(client.get(f"{URL}/find?words=sad,happy"), 422, "words")
    assert "similar: Drone" in problem(client.get(f"{URL}/map?genre=Dron"), 422, "filters")
    problem(client.get(f"{URL}/find?like=500"), 422, "like")
    for route in ("find?words=calm", "tracks?limit=5", "map?genre=Drone"):
        late = client.get(f"{URL}/{route}&year_from=2000&year_to=1990")
        assert "at most year_to, 1990, not 2000" in problem(late, 400, "year_from")
    for path in ("tracks/500", "tracks/0", f"tracks/{10**40}", "tracks/500/audio"):
        problem(client.get(f"{URL}/{path}"), 404, "track")
    for path in ("tracks/-1", "tracks/../../etc/passwd", "tracks/1/audio/..", "nothing"):
        problem(client.get(f"{URL}/{path}"), 404)


def test_numbers_of_thousands_of_digits(client):
    for digits in (23, 4000, 5000):
        for end in ("", "/audio"):
            detail = problem(client.get(f"{URL}/tracks/{'1' * digits}{end}"), 404)
            assert "e+" not in detail
        body = f'{{"tracks": [{"1" * digits}]}}'
        answer = client.post(
            f"{URL}/playlist?format=csv", data=body, content_type="application/json"
        )
        assert ("4300 digits" in problem(answer, 400)) == (digits == 5000)
        problem(client.get(f"{URL}/find?like={'1' * digits}"), 400, "like.0")
        problem(client.get(f"{URL}/find?words=calm&limit={'1' * digits}"), 400, "limit")


SCENE = {"start_s": 0, "end_s": 10, "mood": {"word": "calm"}}
BAD_BODIES = {
    ("path", '{"stops": [{"word": "sad"}]}'): "stops",
    ("path", '{"stops": [{"word": "sad"}, {"valence": 0.1}]}'): "stops.1",
    ("path", '{"stops": [{"word": "sad"}, {"word": "sad", "track": 1}]}'): "stops.1",
    ("path", '{"stops": [{"word": "sad"}, {"word": "happy"}], "minutes": NaN}'): "minutes",
    ("path", '{"stops": [{"word": "sad"}, {"word": "happy"}], "minutes": 1e9}'): "minutes",
    ("path", '{"stops": [{"track": 1.5}, {"track": true}]}'): "stops.0.track",
    ("path", '{"stops": [{"word": "\\ud800"}, {"word": "sad"}]}'): "stops.0.word",
    ("path", "[1, 2]"): None, ("path", "no JSON"): None, ("path", "[" * 100_000): None,
    ("path", ""): "stops", ("path", "\xff"): None,
    ("scenes", json.dumps({"scenes": [{**SCENE, "end_s": 0.2}]})): "scenes.0.end_s",
    ("scenes", json.dumps({"scenes": [{**SCENE, "end_s": 1e308}]})): "scenes.0.end_s",
    ("scenes", json.dumps({"scenes": [{"start_s": 0, "end_s": 5}]})): "scenes.0.mood",
    ("scenes", json.dumps({"scenes": [SCENE] * 51})): "scenes",
    ("scenes", json.dumps({"scenes": [SCENE], "filters": {"year_from": "x"}})): "filters.year_from",
    ("playlist?format=csv", '{"tracks": []}'): "tracks",
}  # fmt: skip


@pytest.mark.parametrize(("path", "body"), BAD_BODIES)
def test_bad_bodies(client, path, body):
    answer = client.post(f"{URL}/{path}", data=body, content_type="application/json")
    problem(answer, 400, BAD_BODIES[path, body])


def test_curves_outside_of_their_scene(client):
    points = [{"at_s": t, "valence": 0, "arousal": 0} for t in (0, 20)]
    late = {"scenes": [{"start_s": 0, "end_s": 10, "curve": points}]}
    assert "within the scene" in problem(client.post(f"{URL}/scenes", json=late), 422, "scenes.0")
    back = {"scenes": [{"start_s": 0, "end_s": 30, "curve": points[::-1]}]}
    assert "rising" in problem(client.post(f"{URL}/scenes", json=back), 422, "scenes.0")


def test_without_a_library_it_says_how():
    client = app_of(None).test_client()
    for path in ("", "/map", "/find?words=calm", "/tracks/1/audio"):
        assert "MSR_LIBRARY" in problem(client.get(URL + path), 404, "library")
    assert "MSR_LIBRARY" in problem(client.post(f"{URL}/path", json={}), 404, "library")


def test_a_folder_without_an_index_or_a_package(tmp_path, monkeypatch):
    (tmp_path / "library").mkdir()
    answer = app_of(tmp_path).test_client().get(URL)
    assert "msr library add" in problem(answer, 503, "library") and answer.headers["Retry-After"]
    monkeypatch.setattr("serve.library.runner.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="extra 'library'"):
        app_of(tmp_path)
    with pytest.raises(ConfigError, match="existing folder"):
        ServiceConfig.from_env(library=tmp_path / "nowhere")


@pytest.mark.parametrize(("name", "value"), [("codes", None), ("curve", np.float32(1))])
def test_a_damaged_shard_is_named(tmp_path, name, value):
    drawn_library(tmp_path, MEANS[:1], seconds=5).close()
    (file,) = (tmp_path / "library").rglob(f"{name}.npy")
    file.write_bytes(b"")
    if value is not None:
        np.save(file, value)
    client = app_of(tmp_path).test_client()
    for path in ("", "/find?words=calm", "/map", "/tracks", "/tracks/1/audio"):
        detail = problem(client.get(URL + path), 503, "library")
        assert "damaged" in detail and "add the music again" in detail
        assert value is not None or "codes.npy" in detail


# ------------------------------------------------------------------------------ preferences


def test_likes_need_the_token(client, folder):
    like = {"track": 2, "kind": "like"}
    reader = app_of(folder).test_client()
    assert "MSR_LIBRARY_TOKEN" in problem(reader.post(f"{URL}/preferences", json=like), 403)
    assert reader.get(URL).json["writable"] is False
    for given in (None, "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "\xe9"):
        headers = {} if given is None else {"Authorization": given}
        refused = client.post(f"{URL}/preferences", json=like, headers=headers)
        problem(refused, 401)
        assert refused.headers["WWW-Authenticate"] == "Bearer"
        problem(client.delete(f"{URL}/preferences", headers=headers), 401)
    assert client.get(f"{URL}/preferences").json["preferences"] == []


def test_likes_are_kept_used_and_forgotten(client):
    def note(**said: object):
        return client.post(f"{URL}/preferences", json=said, headers=HOLDER)

    assert note(track=2, kind="like").json["value"] == 1
    assert note(track=9, kind="skip").json["value"] == -1
    assert note(track=11, kind="rating", stars=4).json["value"] == 0.5
    problem(note(track=11, kind="rating"), 400, "stars")
    problem(note(track=11, kind="like", stars=2), 400, "stars")
    problem(note(track=400, kind="like"), 422, "track")
    listed = client.get(f"{URL}/preferences").json
    assert [(p["track"]["id"], p["kind"]) for p in listed["preferences"]] == [
        (2, "like"), (9, "skip"), (11, "rating")
    ]  # fmt: skip
    assert set(listed["mood_weights"]) == {"valence", "arousal"}
    found = client.get(f"{URL}/find?listener=me&limit=30").json["results"]
    order = [result["track"]["id"] for result in found]
    assert order.index(2) < order.index(9) and found[0]["because"]["track"]["id"] in (2, 9, 11)
    assert client.delete(f"{URL}/preferences?track=9", headers=HOLDER).json == {"forgotten": 1}
    assert client.delete(f"{URL}/preferences", headers=HOLDER).json == {"forgotten": 2}


# ------------------------------------------------------------------------------ audio


def test_audio_comes_in_parts(client, folder):
    path = f"{URL}/tracks/1/audio"
    content = (folder / "music" / "album" / "tone 000.flac").read_bytes()
    assert len(content) > MAX_RANGE_BYTES
    whole = client.get(path)
    assert (whole.status_code, whole.data) == (200, content)
    assert whole.mimetype in ("audio/flac", "audio/x-flac")
    assert (
        whole.headers["Accept-Ranges"] == "bytes" and "no-cache" in whole.headers["Cache-Control"]
    )
    first = client.get(path, headers={"Range": "bytes=0-"})
    assert first.status_code == 206 and first.data == content[:MAX_RANGE_BYTES]
    total = len(content)
    assert first.headers["Content-Range"] == f"bytes 0-{MAX_RANGE_BYTES - 1}/{total}"
    middle = client.get(path, headers={"Range": "bytes=1000-1999"})
    assert middle.data == content[1000:2000]
    last = client.get(path, headers={"Range": "bytes=-10"})
    assert last.data == content[-10:]
    assert client.head(path).headers["Content-Length"] == str(total)
    for ignored in ("bytes=5-1", "items=0-5", "bytes=0-5,10-15", "bytes", f"bytes={'1' * 5000}-"):
        answer = client.get(path, headers={"Range": ignored})
        assert (answer.status_code, answer.data) == (200, content), ignored
        assert "Content-Range" not in answer.headers
    long = client.get(path, headers={"Range": f"bytes=-{total + 5}"})
    assert (long.status_code, long.data) == (206, content[:MAX_RANGE_BYTES])
    for outside in (f"bytes={total}-", f"bytes={total + 5}-{total + 9}"):
        refused = client.get(path, headers={"Range": outside})
        problem(refused, 416)
        assert refused.headers["Content-Range"] == f"bytes */{total}"
    kept = client.get(path, headers={"If-None-Match": whole.headers["ETag"]})
    assert kept.status_code == 304


def test_only_files_of_the_index_are_sent(tmp_path):
    made = drawn_library(tmp_path, MEANS[:6])
    music = tmp_path / "music" / "album"
    kept = music.parent / "kept.flac"
    (music / "tone 005.flac").rename(kept)
    links = hasattr(os, "symlink") and os.name != "nt"
    if links:  # A link to a file that is unchanged since it was indexed.
        (music / "tone 005.flac").symlink_to(kept)
    else:
        kept.rename(music / "tone 005.flac")
    made.close()
    (music / "tone 000.flac").unlink()
    (music / "tone 001.flac").unlink()
    (music / "tone 001.flac").mkdir()
    (music / "tone 002.flac").rename(music / "tone 002.html")
    secret = tmp_path / "secret.txt"
    secret.write_text("not for clients")
    (music / "tone 003.flac").unlink()
    if links:
        (music / "tone 003.flac").symlink_to(secret)
    else:
        secret.rename(music / "tone 003.flac")
    os.utime(music / "tone 004.flac", ns=(1, 10**18))
    client = app_of(tmp_path).test_client()
    for number in range(1, 6):
        detail = problem(client.get(f"{URL}/tracks/{number}/audio"), 404, "track")
        assert "rescan" in detail and str(tmp_path) not in detail
        assert ("changed since" in detail) == (number in (4, 5))
    whole = client.get(f"{URL}/tracks/6/audio").data
    assert whole.startswith(b"fLaC") and len(whole) < MAX_RANGE_BYTES
    suffix = client.get(f"{URL}/tracks/6/audio", headers={"Range": f"bytes=-{len(whole) + 9}"})
    assert suffix.data == whole


# ------------------------------------------------------------------------------ over HTTP


@pytest.fixture(scope="module")
def server(folder, tmp_path_factory):
    """The service with workers, as its users run it."""
    log = tmp_path_factory.mktemp("library-log") / "serve.log"
    settings = without_settings()
    settings |= {"MSR_LIBRARY_TOKEN": TOKEN, "MSR_WORKERS": "1", "MSR_DEFAULT_MODEL": "light"}
    command = [sys.executable, "-m", "serve", "--port", "0", "--library", str(folder / "library")]
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=PROJECT_ROOT, env=settings, stdout=subprocess.PIPE, stderr=file, text=True
        )
    announced = re.search(r"http://\S+", process.stdout.readline())
    assert announced, log.read_text()
    yield announced[0], process, log
    process.terminate()
    process.wait(30)
    assert "Traceback" not in log.read_text() and TOKEN not in log.read_text()


@pytest.mark.slow
def test_the_service_answers_beside_the_library(server):
    url, process, _ = server
    # The library is not opened before somebody asks.
    started = {child.pid for child in psutil.Process(process.pid).children(recursive=True)}
    assert requests.get(f"{url}/readyz", timeout=5).status_code == 200
    assert requests.get(url + URL, timeout=20).json()["tracks"] == 24
    asked = {child.pid for child in psutil.Process(process.pid).children(recursive=True)}
    assert len(asked - started) == 1
    with ThreadPoolExecutor(8) as pool:
        body = {"scenes": [{"start_s": 0, "end_s": 20, "mood": {"word": "calm"}}] * 5}
        answers = [
            pool.submit(requests.post, f"{url}{URL}/scenes", json=body, timeout=30)
            for _ in range(8)
        ]
        slowest = 0.0
        while not all(answer.done() for answer in answers):
            began = time.perf_counter()
            assert requests.get(f"{url}/healthz", timeout=5).status_code == 200
            assert requests.get(url, timeout=5).status_code == 200
            slowest = max(slowest, time.perf_counter() - began)
    assert {answer.result().status_code for answer in answers} == {200}
    assert slowest < 1


@pytest.mark.slow
def test_limits_and_parts_over_http(server, folder):
    url, _, _ = server
    large = requests.post(f"{url}{URL}/path", data=b" " * (LIBRARY_BODY_BYTES + 1), timeout=10)
    assert (large.status_code, large.headers["Content-Type"]) == (413, PROBLEM)
    chunked = requests.post(
        f"{url}{URL}/path", data=iter([b"[" * 100_000] * 4), timeout=10,
        headers={"Content-Type": "application/json"},
    )  # fmt: skip
    assert chunked.status_code == 413
    content = (folder / "music" / "album" / "tone 000.flac").read_bytes()
    taken = b""
    while len(taken) < len(content):  # As a player asks.
        part = requests.get(
            f"{url}{URL}/tracks/1/audio", headers={"Range": f"bytes={len(taken)}-"}, timeout=10
        )
        assert part.status_code == 206 and 0 < len(part.content) <= MAX_RANGE_BYTES
        taken += part.content
    assert taken == content
    named = requests.post(
        f"{url}{URL}/playlist", params={"format": "csv", "name": "音楽"},
        json={"tracks": [3]}, timeout=10,
    )  # fmt: skip
    assert named.status_code == 200 and "UTF-8''%E9" in named.headers["Content-Disposition"]
    digits = requests.get(f"{url}{URL}/tracks/{'1' * 4000}/audio", timeout=10)
    assert (digits.status_code, digits.headers["Content-Type"]) == (404, PROBLEM)
    like = {"track": 2, "kind": "like"}
    noted = requests.post(f"{url}{URL}/preferences", json=like, headers=HOLDER, timeout=10)
    assert noted.status_code == 200
    assert requests.delete(f"{url}{URL}/preferences", headers=HOLDER, timeout=10).ok


@pytest.mark.slow
@needs_linux
def test_a_process_that_dies_is_replaced(server):
    url, process, log = server
    assert requests.get(url + URL, timeout=20).ok
    of_library = [
        child
        for child in psutil.Process(process.pid).children()
        if any("serve.library.process" in part for part in child.cmdline())
    ]
    assert 1 <= len(of_library) <= 2
    for child in of_library:
        child.kill()
        while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
    assert requests.get(url + URL, timeout=20).status_code == 200
    assert "a process of the library died" in log.read_text()


@pytest.mark.slow
def test_a_question_that_takes_too_long_is_given_up(folder):
    config = ServiceConfig(
        models_dir=MODELS_DIR, workers=1, library=folder / "library", max_work_seconds=0.05
    )
    runner = ProcessRunner(config)
    # Its start alone takes longer.
    with pytest.raises(Exception, match="library: not done after 0.05 s"):
        runner.ask("about", {"writable": False})
    runner.close()


@pytest.mark.slow
def test_a_process_ends_with_the_front(folder):
    process = QueryProcess(folder / "library")
    scenes = [{"start_s": 0, "end_s": 20, "label": "", "mood": {"word": "calm"}, "to": None,
               "curve": []}] * 2000  # fmt: skip
    options = {"scenes": scenes, "count": 5, "filters": FiltersSchema().load({})}
    write_message(process._process.stdin, json.dumps(["scenes", options]).encode())
    time.sleep(1)
    began = time.perf_counter()
    process._process.stdin.close()  # As the system does when the front is killed.
    process._process.wait(20)
    assert time.perf_counter() - began < 5
    process.close()


@pytest.mark.slow
@needs_postgres
def test_a_library_of_many_machines_is_served(tmp_path):
    with postgres.running() as url:
        drawn_library(tmp_path, MEANS[:6], store=url).close()
        config = ServiceConfig(
            models_dir=MODELS_DIR, workers=1, library=tmp_path / "library", library_store=url
        )
        runner = ProcessRunner(config)
        try:
            about = json.loads(runner.ask("about", {"writable": True}).data)
            assert about["tracks"] == 6
            one = {"listener": "me", "track": 3, "kind": "like", "stars": None}
            assert json.loads(runner.ask("prefer", one).data)["value"] == 1
            said = json.loads(runner.ask("preferences", {"listener": "me"}).data)["preferences"]
            assert said[0]["track"]["id"] == 3
            query = FindQuery().load({"listener": "me"})
            assert len(json.loads(runner.ask("find", query).data)["results"]) == 6
        finally:
            runner.close()
    lost = ServiceConfig(
        models_dir=MODELS_DIR, workers=0, default_model="light", library=tmp_path / "library",
        library_store="postgresql+psycopg://msr:secret@127.0.0.1:1/nowhere",
    )  # fmt: skip
    detail = problem(create_app(lost).test_client().get(URL), 503, "library")
    assert "secret" not in detail and "127.0.0.1" in detail
