"""Requests to the running service as the book records them."""

from __future__ import annotations

import json

import pytest

from msr_utils import paths
from msr_utils.book import service_recording
from msr_utils.book.service_recording import RecordingError
from msr_utils.corpora.synthetic.config import SyntheticConfig
from msr_utils.corpora.synthetic.render import render_track
from msr_utils.inference import model
from msr_utils.io import read_json

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def piece():
    return render_track(SyntheticConfig(n_tracks=4, duration_s=8, n_groups=2), 1)


@pytest.fixture(scope="module")
def song(piece, tmp_path_factory):
    return service_recording.write_audio(piece, tmp_path_factory.mktemp("audio"))


@pytest.fixture(scope="module")
def asked(piece, song):
    with service_recording.running(paths.MODELS_DIR) as service:
        return service_recording.record(service, song), service_recording.curves(
            service, [piece], [song]
        )


def keys(text):
    """Names in an answer, of its lists and objects too."""
    return set(json.loads(text))


def test_the_service_still_answers_as_recorded(asked):
    answers, _ = asked
    recorded = read_json(paths.REPORTS / "published/synthetic/service/metrics.json")["exchanges"]
    assert list(answers) == list(recorded) == list(service_recording.REQUESTS)
    for name, answer in answers.items():
        old = recorded[name]
        same = ("command", "status", "type")
        assert [getattr(answer, k) for k in same] == [old[k] for k in same], name
        if answer.type in service_recording.JSON:
            # A problem has a field where one is concerned.
            new_keys, old_keys = keys(answer.answer), keys(old["answer"])
            assert new_keys - {"field"} == old_keys - {"field"}, name
            assert ("field" in new_keys) == (answer.status >= 400), name
    assert {a.status for a in answers.values()} == {200, 400, 404, 422}
    assert "127.0.0.1:8000" in answers["predict"].command


def test_live_answers_go_on_where_the_last_one_ended(asked):
    answers, _ = asked
    first, second, end = (
        json.loads(answers[name].answer) for name in ("live", "live-next", "live-end")
    )
    assert first["times_s"][0] == 0.5 and second["times_s"][0] > first["audio_s"] - 0.5
    assert second["audio_s"] == end["audio_s"] == 2 * service_recording.CHUNK_SECONDS
    assert "characters" in first["state"] and end["state"] is None


def test_curves_are_those_that_the_models_give(asked, piece, song):
    _, recorded = asked
    (track,) = recorded.tracks
    for name in recorded.models:
        curve = model.load(name, paths.MODELS_DIR).predict(song)
        assert track.curves[name]["valence"] == pytest.approx(curve.valence, abs=1e-3)
        assert -1 <= track.scores[name]["arousal"].r <= 1
    assert track.made_from["arousal"] == pytest.approx(piece.truth[:, 1], abs=1e-3)
    assert 0 <= track.scores["light"]["valence"].covered <= 1


def test_long_answers_are_cut_and_say_so():
    answer = {"values": list(range(90)), "state": "x" * 5000, "few": [1, 2], "rows": [{"a": 1}] * 9}
    short = service_recording.shortened(json.dumps(answer), "application/json")
    assert '"values": [0, 1, 2, "… 87 more"]' in short
    assert "… 5,000 characters" in short
    assert json.loads(short)["few"] == [1, 2] and len(json.loads(short)["rows"]) == 9
    table = service_recording.shortened("\n".join(map(str, range(90))), "text/csv").splitlines()
    assert table == ["0", "1", "2", "3", "… 85 more lines …", "89"]
    assert service_recording.shortened("1\n2", "text/csv") == "1\n2"


def test_a_service_that_does_not_start_says_why(tmp_path):
    with (
        pytest.raises(RecordingError, match="did not start.*no model bundle in"),
        service_recording.running(tmp_path),
    ):
        pass


def test_without_curl_nothing_is_recorded(song, monkeypatch):
    monkeypatch.setattr(service_recording.shutil, "which", lambda name: None)
    with pytest.raises(RecordingError, match="curl is needed"):
        service_recording.record("http://127.0.0.1:9", song)
