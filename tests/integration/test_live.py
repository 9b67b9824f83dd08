"""Live audio over two processes: the resampler, chunks and states."""

import io
import math
import time

import numpy as np
import pytest
import requests
import soundfile as sf
from live_service import KEY, assert_problem, models_dir, service

from msr_utils.audio.decode import Resampler
from msr_utils.constants import SAMPLE_RATE
from msr_utils.inference.model import Stream, load
from serve.live import (
    FILTER_HALF_LENGTH,
    LiveStream,
    ResumableResampler,
)
from serve.states import StateError, StateSigner

__all__ = ["models_dir"]  # fixtures
RATES = (8_000, 16_000, 22_050, 44_100, 48_000)
CHUNK_SECONDS = 10


def sound(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    """A loud tone with a little noise in its second half, (samples, channels), 16 bits.

    Between the tone's partials there is next to nothing: rounding of a resampler shows there.
    """
    t = np.arange(round(seconds * rate)) / rate
    noise = (
        np.random.default_rng(0).normal(0, 0.02, (len(t), channels)) * (t > seconds / 2)[:, None]
    )
    samples = 0.8 * np.sin(2 * np.pi * 300 * t)[:, None] + noise
    return np.round(samples.clip(-1, 1) * 32767) / 32768


def pcm(samples: np.ndarray, format: str = "s16le") -> bytes:
    if format == "f32le":
        return samples.astype("<f4").tobytes()
    return np.round(samples * 32768).astype("<i2").tobytes()


def cuts(samples: np.ndarray, rate: int, seed: int) -> list[np.ndarray]:
    """Chunks of one sample to 5 s."""
    rng, parts, at = np.random.default_rng(seed), [], 0
    while at < len(samples):
        longest = [1, 2, rate // 100, rate // 2, 5 * rate][rng.integers(5)]
        size = int(rng.integers(1, longest + 1))
        parts.append(samples[at : at + size])
        at += size
    return parts


@pytest.fixture(scope="module")
def servers(models_dir, tmp_path_factory):
    """URLs of two services with one key, and one with another."""
    logs = tmp_path_factory.mktemp("logs")
    with (
        service(models_dir, logs / "a", secret_key=KEY) as (_, a),
        service(models_dir, logs / "b", secret_key=KEY) as (_, b),
        service(models_dir, logs / "c", max_state_seconds=0.5) as (_, c),
    ):
        yield a, b, c


def post(url: str, chunk: bytes | None, state: str | None = None, **options) -> requests.Response:
    files = {} if chunk is None else {"chunk": ("blob", chunk)}
    files |= {} if state is None else {"state": (None, state)}
    options = {"rate": SAMPLE_RATE, "final": False, **options}
    # With neither, requests would send no form.
    return requests.post(
        f"{url}/v1/live", params=options, files=files or {"nothing": (None, "")}, timeout=20
    )


# ------------------------------------------------------------------------------ resampler


@pytest.mark.parametrize("rate", [*RATES, 11_025, 32_000, 96_000, 192_000])
def test_resumed_resampler_gives_every_bit(rate):
    samples = sound(7, rate)[:, 0].astype(np.float32)
    whole = Resampler(rate)
    wanted = np.concatenate([whole.push(samples), whole.push(samples[:0], last=True)])
    n_input, n_output, history, parts = 0, 0, np.zeros(0, np.float32), []
    for chunk in [*cuts(samples, rate, seed=rate), samples[:0]]:
        resampler = ResumableResampler(rate, SAMPLE_RATE, n_input, n_output, history)
        parts.append(resampler.push(chunk, last=not len(chunk)))
        n_input, n_output = resampler.n_input, resampler.n_output
        history = resampler.history
    np.testing.assert_array_equal(np.concatenate(parts), wanted)


@pytest.mark.parametrize("rate", [4_000, 5_001, 37_800, 44_101])
def test_resumed_resampler_rounds_at_odd_rates(rate):
    samples = sound(7, rate)[:, 0].astype(np.float32)
    whole, resumed = Resampler(rate), ResumableResampler(rate, SAMPLE_RATE)
    wanted = np.concatenate([whole.push(samples), whole.push(samples[:0], last=True)])
    parts = [resumed.push(chunk) for chunk in cuts(samples, rate, seed=rate)]
    parts.append(resumed.push(samples[:0], last=True))
    np.testing.assert_allclose(np.concatenate(parts), wanted, atol=5e-6, rtol=0)


@pytest.mark.parametrize("rate", [4_000, *RATES, 44_101, 192_000])
def test_filter_reaches_no_farther_than_is_carried(rate):
    impulse = np.zeros(rate, np.float32)
    impulse[rate // 2] = 1
    response = np.abs(Resampler(rate).push(impulse, last=True))
    away = np.abs(np.arange(len(response)) * rate / SAMPLE_RATE - rate // 2)
    reach = FILTER_HALF_LENGTH * max(1, rate / SAMPLE_RATE)
    assert response[away > reach].max() < 1e-6 * response.max()


# ------------------------------------------------------------------------------ answers


@pytest.mark.parametrize(
    ("rate", "channels", "format"),
    [*((rate, 1, "s16le") for rate in RATES), (44_100, 2, "s16le"), (48_000, 8, "f32le")],
)
def test_chunks_over_two_processes_give_the_curve_of_the_file(
    servers, models_dir, rate, channels, format
):
    samples = sound(12.3, rate, channels)
    file = io.BytesIO()
    sf.write(file, samples, rate, format="WAV", subtype="FLOAT")
    curve = load("one", models_dir).predict(io.BytesIO(file.getvalue()))

    state, answers = None, []
    options = {"rate": rate, "channels": channels, "format": format}
    for i, chunk in enumerate([*cuts(samples, rate, seed=rate), None]):
        final = chunk is None
        chunk = None if final else pcm(chunk, format)
        response = post(servers[i % 2], chunk, state, final=final, **options)
        assert response.status_code == 200, response.text
        answers.append(response.json())
        state = answers[-1]["state"]
        assert (state is None) == final
    assert max(len(answer["state"] or "") for answer in answers) < 200_000
    assert answers[-1]["audio_s"] == pytest.approx(12.3)
    joined = {
        key: sum((answer[key] for answer in answers), [])
        for key in ("times_s", "valence", "arousal")
    }
    assert joined["times_s"] == curve.times_s.tolist()
    for target in ("valence", "arousal"):
        np.testing.assert_allclose(joined[target], getattr(curve, target), atol=1e-5, rtol=0)


@pytest.mark.parametrize("model", ["one", "two"])
def test_live_and_file_answers_agree_on_a_real_file(servers, model):
    """An MP3 of several decoder blocks; both answers as they come over HTTP."""
    rate, file = 44_100, io.BytesIO()
    t = np.arange(24 * rate) / rate
    notes = 0.5 * np.exp(-9 * (t % 0.25)) * np.sin(2 * np.pi * 220 * (1 + t // 0.25 % 7) * t)
    sf.write(file, notes, rate, format="MP3")
    url = f"{servers[0]}/v1/predict"
    whole = requests.post(url, params={"model": model}, data=file.getvalue(), timeout=20).json()
    file.seek(0)
    samples, state, curves = sf.read(file, dtype="float32")[0], None, {}
    for i, chunk in enumerate([*np.array_split(samples, 12), samples[:0]]):
        options = {"rate": rate, "format": "f32le", "model": model, "final": not len(chunk)}
        answer = post(servers[i % 2], pcm(chunk, "f32le"), state, **options).json()
        state = answer["state"]
        for target in ("valence", "arousal"):
            curves.setdefault(target, []).extend(answer[target])
        assert answer["model_version"] == whole["model_version"] != ""
    for target, curve in curves.items():
        assert np.ptp(curve) > 0.01
        np.testing.assert_allclose(curve, whole[target], atol=1e-5, rtol=0)


def test_one_final_chunk_is_the_whole(servers, models_dir):
    samples = sound(3.4, 44_100)
    answer = post(servers[0], pcm(samples), rate=44_100, final=True).json()
    stream = LiveStream(load("one", models_dir), 44_100)
    frames = stream.push(samples[:, 0].astype(np.float32), last=True)
    assert answer["times_s"] == frames.times_s.tolist()
    assert len(frames.times_s) == 6
    np.testing.assert_allclose(answer["valence"], frames.values[:, 0], atol=1e-6)


def test_model_is_kept_by_the_state(servers):
    first = post(servers[0], pcm(sound(1, SAMPLE_RATE)), model="two").json()
    second = post(servers[1], pcm(sound(1, SAMPLE_RATE)), first["state"]).json()
    assert (first["model"], second["model"]) == ("two", "two")
    assert second["times_s"][-1] == 2.0


def test_half_a_second_is_answered_faster_than_it_lasts(servers):
    chunk, state, spent = pcm(sound(0.5, 44_100)), None, []
    for _ in range(8):
        answer = post(servers[0], chunk, state, rate=44_100).json()
        state = answer["state"]
        spent.append(answer["elapsed_ms"])
    assert np.median(spent) < 250


# ------------------------------------------------------------------------------ states


@pytest.fixture(scope="module")
def state(servers) -> str:
    return post(servers[0], pcm(sound(0.8, SAMPLE_RATE)), model="one").json()["state"]


def flipped(state: str, at: int) -> str:
    return state[:at] + ("A" if state[at] != "A" else "B") + state[at + 1 :]


def test_state_that_is_not_ours_is_refused(servers, state):
    chunk = pcm(sound(0.5, SAMPLE_RATE))
    wrong = {
        "not made by this service": [
            "nonsense",
            "live1.",
            "live2." + state,
            '{"a": 1}',
            "\x00" * 9,
        ],
        "cut short": [state[:-1], state[: len(state) // 2], state[:20]],
        "altered": [flipped(state, at) for at in (12, len(state) // 2, len(state) - 30, -2)]
        + [state + "x", "live1.0.", f"live1.1.{state}"],
    }
    for words, states in wrong.items():
        for each in states:
            assert_problem(post(servers[0], chunk, each), 422, "state", words)
    assert_problem(post(servers[2], chunk, state), 422, "state", "another key")
    assert post(servers[1], chunk, state).status_code == 200


@pytest.mark.slow
def test_stale_state_is_refused(servers):
    chunk = pcm(sound(0.5, SAMPLE_RATE))
    given = post(servers[2], chunk).json()["state"]
    time.sleep(1.6)
    assert_problem(post(servers[2], chunk, given), 422, "state", "s old, the limit is 0.5 s")


def test_state_of_something_else_is_refused(servers, state):
    chunk = pcm(sound(0.5, SAMPLE_RATE))
    assert_problem(post(servers[0], chunk, state, model="two"), 422, "state", "'one'", "'two'")
    assert_problem(
        post(servers[0], chunk, state, rate=44_100), 422, "state", "22050 Hz", "44100 Hz"
    )


def test_state_of_another_version_is_refused(models_dir, tmp_path):
    model = load("one", models_dir)
    packed = LiveStream(model, 8_000).pack()
    with pytest.raises(StateError, match="model 'one', which is not served") as error:
        LiveStream.unpack(packed, {})
    assert error.value.field == "state"
    for key in ("model_sha256", "feature_hash"):
        digest = getattr(model.card, key)
        other = packed.replace(digest.encode(), b"0" * 64)
        with pytest.raises(StateError, match=f"another version of the model 'one' .{key}"):
            LiveStream.unpack(other, {"one": model})
    assert packed.count(b'"samples"') == 1
    with pytest.raises(StateError, match="another version of the service .features"):
        LiveStream.unpack(packed.replace(b'"samples"', b'"Samples"'), {"one": model})


def test_clock_that_is_behind_accepts_a_state():
    signer = StateSigner(KEY, 60)
    assert signer.verify(signer.sign(b"abc")) == b"abc"
    early = StateSigner(KEY, 60)
    early._signer.get_timestamp = lambda: int(time.time()) + 5
    assert signer.verify(early.sign(b"abc")) == b"abc"


def test_stream_state_is_only_for_recurrent_models(models_dir):
    stream = Stream(load("one", models_dir))
    kept = stream.state()
    with pytest.raises(ValueError, match="model: the state of one has shape"):
        stream.restore({**kept, "model": kept["model"][:1]})
    with pytest.raises(ValueError, match="features: "):
        stream.restore({"model": kept["model"]})


# ------------------------------------------------------------------------------ bad chunks


def floats(*values: float) -> bytes:
    return np.array(values, "<f4").tobytes()


BAD_CHUNKS = {
    "empty": (b"", {}, 422, "chunk", "empty"),
    "NaN": (floats(0, 0.1, math.nan), {"format": "f32le"}, 422, "chunk", "NaN or infinite"),
    "infinity": (floats(-math.inf), {"format": "f32le"}, 422, "chunk", "NaN or infinite"),
    "absurd": (floats(0, 3e7), {"format": "f32le"}, 422, "chunk", "full scale is 1"),
    "largest": (floats(3.4e38, -3.4e38), {"format": "f32le"}, 422, "chunk", "full scale is 1"),
    "half a sample": (b"abc", {}, 422, "chunk", "3 bytes are not a whole number"),
    "half a frame": (b"ab" * 3, {"channels": 2}, 422, "chunk", "2 channel(s)"),
    "too long": (bytes(2 * SAMPLE_RATE * CHUNK_SECONDS + 2), {}, 413, "chunk", "limit of 10 s"),
    "no rate": (b"ab", {"rate": None}, 400, "rate"),
    "rate of words": (b"ab", {"rate": "CD"}, 400, "rate"),
    "rate 0": (b"ab", {"rate": 0}, 400, "rate"),
    "huge rate": (b"ab", {"rate": 10**12}, 400, "rate"),
    "no channels": (b"ab", {"channels": 0}, 400, "channels"),
    "many channels": (b"ab", {"channels": 1024}, 400, "channels"),
    "format": (b"ab", {"format": "mp3"}, 400, "format"),
    "model": (b"ab", {"model": "nope"}, 400, "model", "one, two"),
    "option": (b"ab", {"seed": 1}, 400, "seed", "'final'"),
    "final": (b"ab", {"final": "perhaps"}, 400, "final"),
    "missing": (None, {}, 400, "chunk", "missing"),
    "end of nothing": (None, {"final": True}, 400, "chunk", "missing"),
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_bad_chunk_is_a_clear_problem_and_the_state_goes_on(servers, state, name):
    chunk, options, status, field, *words = BAD_CHUNKS[name]
    if name not in ("model", "end of nothing"):
        assert_problem(post(servers[0], chunk, state, **options), status, field, *words)
    assert_problem(post(servers[0], chunk, **options), status, field, *words)
    good = pcm(sound(0.5, SAMPLE_RATE))
    assert post(servers[0], good, state).json()["times_s"] == [1.0]


def test_wrong_bodies(servers, state):
    url, options = f"{servers[0]}/v1/live", {"rate": 8_000}
    chunk = pcm(sound(0.5, 8_000))
    for kind in ("audio/L16", "application/octet-stream", "application/json", None):
        headers = {"Content-Type": kind} if kind else {}
        response = requests.post(url, params=options, data=chunk, headers=headers, timeout=10)
        assert_problem(response, 415, None, "multipart/form-data")
    for files, field, words in (
        ([("file", ("a", chunk))], "chunk", "missing"),
        ([("chunk", (None, "text"))], "chunk", "this is text"),
        ([("chunk", ("a", chunk)), ("chunk", ("b", chunk))], "chunk", "only one per request"),
        ([("chunk", ("a", chunk)), ("state", ("s", state))], "state", "this is a file"),
        ([("chunk", ("a", chunk))] + 2 * [("state", (None, state))], "state", "only one"),
    ):
        response = requests.post(url, params=options, files=files, timeout=10)
        assert_problem(response, 400, field, words)
    for empty in ("", "\n"):
        assert_problem(post(servers[0], chunk, empty), 422, "state", "empty; send the state of")


def test_long_silence_is_answered(servers):
    file = io.BytesIO()
    sf.write(file, np.zeros(300 * 8_000, np.float32), 8_000, format="FLAC")
    answer = requests.post(f"{servers[0]}/v1/predict", data=file.getvalue(), timeout=60).json()
    assert len(answer["valence"]) == 600
    assert np.isfinite([answer["valence"], answer["arousal"]]).all()
