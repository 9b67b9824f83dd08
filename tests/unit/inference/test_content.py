"""Is it music? YAMNet's graph, the windows that it sees, and what a prediction says."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import soundfile as sf
from benchmarks.content_errors import made_sounds
from benchmarks.real_data import DATA
from click.testing import CliRunner
from conftest import cadences, tone
from needs import needs_data

from msr_utils.cli import main
from msr_utils.constants import SAMPLE_RATE
from msr_utils.features import weights, yamnet_graph
from msr_utils.features.yamnet_graph import PATCH_SAMPLES, YAMNET_RATE
from msr_utils.inference import content
from msr_utils.inference.content import CONTENT, Content
from msr_utils.inference.folder import State, predict_folder
from msr_utils.inference.folder_summary import NEEDED, SUMMARY
from msr_utils.inference.model import load
from msr_utils.library.analysis import analyse
from msr_utils.library.numbers import COLUMNS
from msr_utils.library.tags import Tags

FILE = DATA / "weights" / "yamnet.tflite"


@pytest.fixture(scope="module")
def yamnet(tmp_path_factory):
    """A folder of weights with YAMNet, made from its published file."""
    folder = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(weights.WEIGHTS_VARIABLE, str(folder))
        patch.delenv(content.CONTENT_VARIABLE)
        weights.session.cache_clear()
        done = CliRunner().invoke(main, ["weights", "fetch", "yamnet", "--file", str(FILE)])
        assert done.exit_code == 0, done.output
        yield folder
    weights.session.cache_clear()


@pytest.fixture
def without_weights(tmp_path, monkeypatch):
    monkeypatch.setenv(weights.WEIGHTS_VARIABLE, str(tmp_path / "no weights"))
    monkeypatch.delenv(content.CONTENT_VARIABLE)


def windows(**probabilities: float) -> np.ndarray:
    return np.array([probabilities.get(kind, 0.0) for kind in CONTENT])


def test_windows_are_counted_by_their_most_probable_kind():
    found = Content.of_windows(
        np.stack([windows(music=0.9), windows(speech=0.8, music=0.1), windows(silence=0.5)])
    )
    assert found.shares == pytest.approx(
        {"music": 1 / 3, "singing": 0, "speech": 1 / 3, "silence": 1 / 3, "noise": 0}
    )
    assert found.is_music and found.warning == "" and found.windows == 3
    spoken = Content.of_windows(np.stack([windows(speech=0.8, music=0.1), windows(noise=0.3)]))
    assert not spoken.is_music and spoken.warning.startswith("sounds like noise, not like music")
    unsure = Content.of_windows(np.stack([windows(music=0.15), windows(speech=0.1)]))
    assert not unsure.is_music and unsure.warning.startswith("sounds like speech, not like music")


def test_steady_tones_are_told_from_what_moves():
    rng = np.random.default_rng(0)
    hum = sum(tone(1.0, 50 * k, YAMNET_RATE, 0.2 / k) for k in range(1, 6))[:PATCH_SAMPLES]
    noisy = hum + rng.normal(0, 0.005, len(hum))
    decaying = hum * np.exp(-2 * np.arange(len(hum)) / YAMNET_RATE)
    assert content.steadiness(hum) < content.steadiness(noisy) < content.STEADY
    for moves in (decaying, rng.normal(0, 0.1, PATCH_SAMPLES)):
        assert content.steadiness(moves) > 2 * content.STEADY
    assert content.steadiness(np.zeros(PATCH_SAMPLES)) == 0


def test_without_weights_nothing_is_said(without_weights, tmp_path):
    assert content.detector(SAMPLE_RATE) is None
    sf.write(tmp_path / "a.wav", tone(4), SAMPLE_RATE)
    prediction = load("light").predict(tmp_path / "a.wav")
    assert prediction.content is None and "content" not in prediction.to_json()


def test_altered_weights_are_refused(without_weights, monkeypatch):
    file = weights.weights_file(weights.YAMNET)
    file.parent.mkdir()
    file.write_bytes(b"altered")
    weights.session.cache_clear()
    with pytest.warns(UserWarning, match="no content: .*YAMNet.onnx.*fetch yamnet"):
        assert content.detector(SAMPLE_RATE) is None
    for off in ("0", "off", "False"):
        monkeypatch.setenv(content.CONTENT_VARIABLE, off)
        assert content.detector(SAMPLE_RATE) is None
    other = file.with_name("other.tflite")
    other.write_bytes(b"other")
    done = CliRunner().invoke(main, ["weights", "fetch", "yamnet", "--file", str(other)])
    assert done.exit_code == 1 and "other.tflite is not the file at https://" in done.output


@needs_data("weights")
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
def test_the_graph_is_the_network(yamnet):
    """TensorFlow Lite computes in whole numbers of 8 bits, so scores differ by a few hundredths."""
    import tensorflow as tf

    reference = tf.lite.Interpreter(str(FILE))
    reference.allocate_tensors()
    (place,) = reference.get_input_details()
    (result,) = reference.get_output_details()
    graph = weights.session(weights.YAMNET)
    rng = np.random.default_rng(0)
    signals = {
        "Music": tone(1, 440, YAMNET_RATE) * np.hanning(YAMNET_RATE),
        "Noise": rng.normal(0, 0.1, YAMNET_RATE),
        "Silence": np.zeros(YAMNET_RATE),
    }
    names = yamnet_graph.class_names(FILE)
    assert len(names) == yamnet_graph.CLASSES
    assert [names[content.KINDS[kind][0]] for kind in content.KINDS] == [
        "Music", "Singing", "Speech", "Silence",
    ]  # fmt: skip
    for signal in signals.values():
        audio = signal[:PATCH_SAMPLES].astype(np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(audio, 400)[::160]
        (scores,) = graph.run(["scores"], {"frames": frames[None]})
        reference.set_tensor(place["index"], audio[:15600])
        reference.invoke()
        np.testing.assert_allclose(scores[0], reference.get_tensor(result["index"])[0], atol=0.08)


@needs_data("weights")
def test_windows_do_not_depend_on_the_blocks(yamnet):
    audio = cadences(60, times=6)
    whole, parts = content.ContentDetector(SAMPLE_RATE), content.ContentDetector(SAMPLE_RATE)
    whole.push(audio)
    for block in np.array_split(audio, 23):
        parts.push(block)
    assert whole.content() == parts.content()
    assert whole.content().windows == 1 + int((len(audio) / SAMPLE_RATE - 2 - 0.975) / 15)
    short = content.ContentDetector(SAMPLE_RATE)
    short.push(audio[: SAMPLE_RATE // 2])
    assert short.content().windows == 1


@needs_data("weights")
def test_windows_become_rarer_in_long_audio(yamnet):
    hour = content.ContentDetector(SAMPLE_RATE)
    for _ in range(60):
        hour.push(np.zeros(60 * SAMPLE_RATE, np.float32))
        assert len(hour._kept) <= 200 * SAMPLE_RATE
    assert 60 < hour.content().windows < 100


@needs_data("weights")
@pytest.mark.parametrize("name", made_sounds(4.0, SAMPLE_RATE))
def test_what_is_not_music_has_a_warning(yamnet, tmp_path, name):
    sf.write(tmp_path / "a.wav", made_sounds(4.0, SAMPLE_RATE)[name], SAMPLE_RATE)
    prediction = load("light").predict(tmp_path / "a.wav")
    assert prediction.content is not None and not prediction.content.is_music
    assert sum(prediction.to_json()["content"].values()) == pytest.approx(1)
    if not prediction.silent:
        assert prediction.feeling == "sounds like noise, not like music"
        (warning,) = prediction.warnings
        assert warning.startswith("a.wav: sounds like noise, not like music")


@needs_data("weights")
def test_a_folder_has_the_content_and_is_analysed_again_once_it_can_be_told(
    yamnet, tmp_path, monkeypatch
):
    music, out, light = tmp_path / "music", tmp_path / "out", load("light")
    music.mkdir()
    sf.write(music / "noise.wav", made_sounds(4.0, SAMPLE_RATE)["pink noise"], SAMPLE_RATE)
    monkeypatch.setenv(content.CONTENT_VARIABLE, "0")
    (before,) = predict_folder(light, music, out, progress=False).files
    assert before.content is None and "content" not in before.to_json()
    # A table of an older version has no such columns.
    with open(out / SUMMARY, newline="") as file:
        old = [{k: v for k, v in row.items() if k in NEEDED} for row in csv.DictReader(file)]
    with open(out / SUMMARY, "w", newline="") as file:
        writer = csv.DictWriter(file, NEEDED, lineterminator="\n")
        writer.writeheader()
        writer.writerows(old)
    assert [r.state for r in predict_folder(light, music, out, progress=False).files] == [
        State.UNCHANGED
    ]
    monkeypatch.delenv(content.CONTENT_VARIABLE)
    (now,) = predict_folder(light, music, out, progress=False).files
    single = light.predict(music / "noise.wav").to_json()
    assert now.state == State.ANALYSED and now.to_json()["content"] == single["content"]
    # As in the service, the quadrant stays: the warning says that it means nothing.
    assert now.quadrant == single["quadrant"]["name"] and "sounds like noise" in now.warnings[0]
    (again,) = predict_folder(light, music, out, progress=False).files
    assert (again.state, again.content) == (State.UNCHANGED, now.content)
    with open(out / SUMMARY, newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["content_noise"] == "1" and row["content_music"] == "0"


@needs_data("weights")
def test_a_library_does_not_recommend_what_is_not_music(yamnet, tmp_path):
    for name, sound in (
        ("noise", made_sounds(4.0, SAMPLE_RATE)["pink noise"]),
        ("a", cadences(60)),
    ):
        sf.write(tmp_path / f"{name}.wav", sound, SAMPLE_RATE)
        with open(tmp_path / f"{name}.wav", "rb") as file:
            _, arrays, _ = analyse(load("light"), file, Tags())
        assert arrays.numbers[COLUMNS.index("silent")] == (name == "noise")


@needs_data("weights")
@pytest.mark.parametrize("level", [1.0, 0.002])
def test_music_has_none(yamnet, tmp_path, level):
    """Also if it is quiet."""
    sf.write(tmp_path / "a.wav", level * cadences(60), SAMPLE_RATE, subtype="FLOAT")
    prediction = load("light").predict(tmp_path / "a.wav")
    assert prediction.content is not None and prediction.content.is_music
    assert prediction.warnings == ()
