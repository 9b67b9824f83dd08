"""The library's API: answers against the library itself, refusals, preferences."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import quote

import numpy as np
import pytest
from served_library import HOLDER, MEANS, TOKEN, URL, app_of, client, folder, problem
from toy_library import drawn_library

from msr_utils.library.filters import Filters
from msr_utils.library.library import Library
from msr_utils.library.limits import FPS_RANGE
from msr_utils.library.places import FILE
from msr_utils.library.playlists import End
from msr_utils.library.scenes import Scene, find_music
from msr_utils.library.search import Query, find
from msr_utils.library.shards import LibraryError
from msr_utils.library.timecode import check_fps
from msr_utils.library.words import word_region
from serve.bridge import Answer
from serve.config import ConfigError, ServiceConfig
from serve.library.answers import file_name

__all__ = ["client", "folder"]  # fixtures


@pytest.fixture(scope="module")
def view(folder):
    library = Library(folder / "library")
    yield library.view()
    library.close()


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
    "find?valence=": "valence", "find": "words",
    "find?words=calm&within=0.1": "within", "find?like=1&confidence=0.9": "confidence", "find?limit=0": "limit",
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


def test_what_is_wrong_with_a_body_is_said_in_plain_words(client):
    def said(body: str | bytes, kind: str | None, status: int, field: str | None) -> str:
        answer = client.post(f"{URL}/playlist?format=csv", data=body, content_type=kind)
        assert answer.json.get("field") == field
        return problem(answer, status)

    tracks, js = '{"tracks": [3]}', "application/json"
    header = "send JSON with the header 'Content-Type: application/json'"
    assert said(tracks, None, 415, "Content-Type") == f"Content-Type: missing; {header}"
    assert said(tracks, "text/plain", 415, "Content-Type").endswith(f"'text/plain'; {header}")
    assert said('{"tracks": [}', js, 400, None).startswith(
        "the body is not JSON (line 1, column 13"
    )
    assert said(tracks.encode("utf-16"), js, 400, None).startswith("the body is not text in UTF-8")
    assert said("[3]", js, 400, None) == "the body must be a JSON object, such as {...}"
    assert said('{"tracks": [3], "song": 1}', js, 400, "song") == (
        "song: there is no such option; choose from 'tracks'"
    )
    assert said("{}", js, 400, "tracks") == "tracks: missing"
    assert "belongs into the address" in said('{"tracks": [3], "format": "a"}', js, 400, "format")
    missing = client.post(f"{URL}/playlist", json={"tracks": [3]})
    assert "as in ?format=csv" in problem(missing, 400, "format")


def test_an_answer_repeats_only_the_beginning_of_what_was_sent(client):
    long = "x" * 5_000
    for path in (f"/{long}", f"/v1/models/{long}", f"{URL}/find?{long}=1", f"{URL}/{long}"):
        answer = client.get(path)
        assert problem(answer, 400 if "?" in path else 404) and len(answer.text) < 1_500
    form = client.post("/v1/predict", data={long: "a"}, content_type="multipart/form-data")
    assert problem(form, 400) and len(form.text) < 600


def test_a_file_has_its_own_name():
    assert file_name(r"/music/AC\DC - live.mp3") == r"AC\DC - live.mp3"
    assert file_name(r"C:\music\a.mp3") == file_name("C:/music/a.mp3") == "a.mp3"


def test_without_a_library_it_says_how():
    client = app_of(None).test_client()
    for path in ("", "/map", "/find?words=calm", "/tracks/1/audio"):
        assert "MSR_LIBRARY" in problem(client.get(URL + path), 404, "library")
    assert "MSR_LIBRARY" in problem(client.post(f"{URL}/path", json={}), 404, "library")


def test_a_folder_without_an_index_or_a_package(tmp_path, monkeypatch):
    (tmp_path / "library").mkdir()
    with pytest.raises(ConfigError, match="library: .*library is not a music library.*MSR_LIBRARY"):
        app_of(tmp_path)
    (tmp_path / "library" / FILE).touch()
    client = app_of(tmp_path).test_client()
    (tmp_path / "library" / FILE).unlink()
    answer = client.get(URL)
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
