"""A bundle as an object: other processes get it, and what it cannot take is refused in words."""

from __future__ import annotations

import io
import multiprocessing
import pickle
import shutil

import numpy as np
import pytest
import soundfile as sf
from conftest import tone

from msr_utils.inference import BundleError, FilePrediction, Stream, load
from msr_utils.paths import MODELS_DIR


@pytest.fixture
def song(tmp_path):
    sf.write(tmp_path / "song.wav", tone(3), 22_050)
    return tmp_path / "song.wav"


def predict_elsewhere(connection, model, source):
    """Run in another process."""
    connection.send((model.predict(source), model.threads))


def test_a_pickled_model_is_the_same_model(song, tmp_path, monkeypatch):
    monkeypatch.chdir(MODELS_DIR)
    model = load("light", ".", threads=2)
    data = pickle.dumps(model)
    assert len(data) < 1000  # its folder, not its weights
    monkeypatch.chdir(tmp_path)
    again = pickle.loads(data)
    assert (again.name, again.version, again.threads) == ("light", model.version, 2)
    assert again.predict(song).to_csv() == model.predict(song).to_csv()


@pytest.mark.slow
def test_a_model_goes_to_another_process_and_its_prediction_comes_back(song):
    model = load("light")
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=predict_elsewhere, args=(theirs, model, song))
    process.start()
    assert ours.poll(60)
    prediction, threads = ours.recv()
    process.join(20)
    assert threads == 1
    here = model.predict(song)
    assert prediction.to_csv() == here.to_csv()
    assert prediction.to_json() == here.to_json()
    assert prediction.margins == here.margins


def test_a_bundle_that_changed_is_not_loaded_as_the_pickled_one(tmp_path):
    shutil.copytree(MODELS_DIR / "light", tmp_path / "mine")
    data = pickle.dumps(load(tmp_path / "mine"))
    shutil.rmtree(tmp_path / "mine")
    shutil.copytree(MODELS_DIR / "lstm-tonal-vgmidi", tmp_path / "mine")
    with pytest.raises(BundleError, match="has changed since the model was pickled"):
        pickle.loads(data)
    shutil.rmtree(tmp_path / "mine")
    with pytest.raises(BundleError, match="model.onnx is missing"):
        pickle.loads(data)


def test_samples_are_refused_with_the_way_to_predict_them(song):
    model = load("light")
    samples = tone(3)
    sf.write(song, samples, 22_050, "FLOAT")
    with pytest.raises(TypeError, match="must be a path or a file .* not ndarray") as raised:
        model.predict(samples)
    assert "22050 Hz mono" in str(raised.value) and "Stream(model).push" in str(raised.value)
    # What it says is true.
    stream = Stream(model)
    values = np.concatenate([stream.push(samples), stream.finish()])
    np.testing.assert_allclose(values[:, 0], model.predict(song).valence, atol=1e-5)
    for wrong in (None, 3, [0.0, 1.0]):
        with pytest.raises(TypeError, match="source: must be a path"):
            FilePrediction(model, wrong)


def test_paths_that_are_no_files(tmp_path):
    model = load("light")
    with pytest.raises(IsADirectoryError, match="is a folder; .*predict_folder"):
        model.predict(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"none\.wav"):
        model.predict(str(tmp_path / "none.wav"))


def test_version_is_the_start_of_the_networks_hash(song):
    model = load("light")
    prediction = model.predict(io.BytesIO(song.read_bytes()))
    assert prediction.version == model.version == model.card.model_sha256[:12]
    assert prediction.model_id == f"light@{model.version}"
    one = prediction.summary_json(["arousal"])
    assert set(one["mean"]) == {"arousal"} and "quadrant" not in one
