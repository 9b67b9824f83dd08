"""The service starts with its settings, or says in one line why it does not."""

import io
import json
import os
import shutil
import subprocess
import sys

import pytest
from served import GOOD, ROOT, models_dir, server, settings, tiny

from msr_utils.features import weights as features_weights
from msr_utils.features.config import FeatureConfig
from msr_utils.inference.model import (
    PretrainedWeightsMissing,
    load_default,
)
from msr_utils.io import read_json, write_json
from msr_utils.paths import MODELS_DIR
from serve.__main__ import main
from serve.app import create_app
from serve.config import ConfigError, ServiceConfig
from serve.proxies import TrustedProxies

__all__ = ["models_dir", "server", "tiny"]  # fixtures


# ------------------------------------------------------------------------------ start


def test_serving_loads_no_training_library(models_dir):
    code = """
import io, json, sys
import soundfile as sf
from serve.app import create_app
from serve.config import ServiceConfig
client = create_app(ServiceConfig(models_dir=sys.argv[1], workers=0)).test_client()
assert client.get("/").status_code == 200
assert client.post("/v1/predict", data=sys.stdin.buffer.read()).status_code == 200
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(models_dir)],
        cwd=ROOT,
        env=settings(),
        input=GOOD,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "onnxruntime" in loaded
    assert not loaded & {"tensorflow", "keras", "librosa", "pandas", "matplotlib", "transformers"}
    assert not loaded & {"sqlalchemy", "mutagen"}  # Only the processes of a library need them.


def test_nothing_is_reported_to_anyone(tmp_path):
    """ONNX Runtime would leave a device id and a queue of events in the home folder."""
    code = "import serve.app; from msr_utils.inference.model import load; load('light')"
    clean = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=clean, check=True, timeout=60)
    assert [*tmp_path.rglob("*")] == []


def test_settings_come_from_the_environment(models_dir, monkeypatch):
    plain = ServiceConfig.from_env()
    assert plain == ServiceConfig(models_dir=MODELS_DIR)
    monkeypatch.setenv("MSR_MODELS_DIR", str(models_dir))
    monkeypatch.setenv("MSR_MAX_SECONDS", "12.5")
    monkeypatch.setenv("MSR_WORKERS", "2")
    monkeypatch.setenv("MSR_MAX_QUEUE", "")  # as if not set
    monkeypatch.setenv("MSR_ALLOWED_ORIGINS", "https://a.example, http://b.example:8080")
    monkeypatch.setenv("MSR_SECRET_KEY", "0123456789abcdef")
    config = ServiceConfig.from_env(workers=0, default_model=None)
    changed = {
        "models_dir": models_dir,
        "max_seconds": 12.5,
        "workers": 0,
        "allowed_origins": ("https://a.example", "http://b.example:8080"),
    }
    assert config.model_dump(exclude={"secret_key"}) == {
        **plain.model_dump(exclude={"secret_key"}), **changed
    }  # fmt: skip
    assert config.secret_key.get_secret_value() == "0123456789abcdef"
    assert "0123456789abcdef" not in f"{config!r}{config}"
    monkeypatch.setenv("MSR_DEFAULT_MODEL", "a-window")
    answer = create_app().test_client().post("/v1/predict", data=GOOD).json
    assert answer["model"] == "a-window"


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("MSR_MAX_UPLOAD_BYTES", "50MB", "whole number of bytes"),
        ("MSR_MAX_UPLOAD_BYTES", "0", "greater than 0"),
        ("MSR_MAX_SECONDS", "nan", "number of seconds"),
        ("MSR_MAX_SECONDS", "inf", "number of seconds"),
        ("MSR_WORKERS", "-1", "0 or greater"),
        ("MSR_WORKERS", "1.5", "whole number"),
        ("MSR_MODELS_DIR", "/no/such/folder", "an existing folder"),
        ("MSR_MODELS_DIR", __file__, "an existing folder"),
        ("MSR_MAX_QUEUE", "0", "greater than 0"),
        ("MSR_MAX_PER_CLIENT", "none", "whole number"),
        ("MSR_MAX_STATE_SECONDS", "ten", "number of seconds"),
        ("MSR_ALLOWED_ORIGINS", "example.org", "https://example.org"),
        ("MSR_ALLOWED_ORIGINS", "https://example.org/", "without a path"),
        ("MSR_ALLOWED_ORIGINS", "https://me@example.org", "without a path"),
        ("MSR_ALLOWED_HOSTS", "example.org:80", "without a port"),
        ("MSR_TRUSTED_PROXY", "foo", "addresses or networks such as 127.0.0.1"),
        ("MSR_TRUSTED_PROXY", "10.0.0.0/8, 10.0.0.300", "addresses or networks"),
    ],
)
def test_wrong_settings_are_named(monkeypatch, name, value, allowed):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as error:
        ServiceConfig.from_env()
    assert error.value.field == name
    assert str(error.value).startswith(f"{name}: must be ")
    assert allowed in str(error.value)
    assert repr(value) in str(error.value)


def test_proxies_are_addresses_and_networks(monkeypatch):
    monkeypatch.setenv("MSR_TRUSTED_PROXY", "10.1.0.0/16, ::1")
    proxies = TrustedProxies(ServiceConfig.from_env().trusted_proxy)
    assert all(each in proxies for each in ("10.1.2.3", "::1", "::ffff:10.1.2.3"))
    assert not any(each in proxies for each in ("10.2.0.1", "::2", "", "proxy"))
    monkeypatch.setenv("MSR_TRUSTED_PROXY", "*")
    proxies = TrustedProxies(ServiceConfig.from_env().trusted_proxy)
    assert "192.0.2.1" in proxies and "2001:db8::1" in proxies


def test_origins_are_compared_as_browsers_send_them(monkeypatch):
    monkeypatch.setenv("MSR_ALLOWED_ORIGINS", "https://Music.Example")
    assert ServiceConfig.from_env().allowed_origins == ("https://music.example",)


def test_wrong_option_is_named_and_wrong_key_stays_secret(monkeypatch):
    with pytest.raises(ConfigError, match="^workers: must be .*, not '-1'$") as error:
        ServiceConfig.from_env(workers=-1)
    assert error.value.field == "workers"
    monkeypatch.setenv("MSR_SECRET_KEY", "too short")
    with pytest.raises(ConfigError, match="MSR_SECRET_KEY: .*at least 16 characters") as error:
        ServiceConfig.from_env()
    assert "too short" not in str(error.value)
    monkeypatch.delenv("MSR_SECRET_KEY")
    monkeypatch.setenv("MSR_LIBRARY_STORE", "mysql://me:secret@host/db")
    with pytest.raises(ConfigError, match="MSR_LIBRARY_STORE: must be a URL such as po") as error:
        ServiceConfig.from_env()
    assert "secret@" not in str(error.value)
    monkeypatch.delenv("MSR_LIBRARY_STORE")
    with pytest.raises(ConfigError, match="no such setting.*MSR_WORKERS"):
        ServiceConfig.from_env(thread=1)


def test_the_default_is_full_or_else_light(models_dir, tmp_path, monkeypatch):
    for name in ("tiny", "light", "full"):
        shutil.copytree(models_dir / "tiny", tmp_path / name)
        card = read_json(tmp_path / name / "card.json")
        write_json(tmp_path / name / "card.json", card | {"name": name})

    def default() -> str:
        models = (
            create_app(ServiceConfig(models_dir=tmp_path, workers=0))
            .test_client()
            .get("/v1/models")
            .json["models"]
        )
        (name,) = [model["name"] for model in models if model["default"]]
        assert load_default(tmp_path).name == name
        return name

    assert default() == "full"
    # A bundle whose pretrained weights were not fetched is left out.
    features = FeatureConfig(("musicnn",))
    write_json(tmp_path / "full" / "features.json", features.to_json())
    card = read_json(tmp_path / "full" / "card.json")
    write_json(tmp_path / "full" / "card.json", card | {"feature_hash": features.hash})
    monkeypatch.setenv("MSR_WEIGHTS", str(tmp_path / "none"))
    features_weights.session.cache_clear()
    assert default() == "light"
    app = create_app(ServiceConfig(models_dir=tmp_path, workers=0))
    answer = app.test_client().post("/v1/predict?model=full", data={"file": (io.BytesIO(), "a")})
    assert answer.json["detail"].startswith("model: the model 'full' could not be loaded, the serv")
    with pytest.raises(ConfigError, match="default_model: bundle full: .*msr weights fetch"):
        create_app(ServiceConfig(models_dir=tmp_path, default_model="full", workers=0))
    shutil.rmtree(tmp_path / "light")
    assert default() == "tiny"
    shutil.rmtree(tmp_path / "tiny")
    with pytest.raises(PretrainedWeightsMissing, match="msr weights fetch"):
        create_app(ServiceConfig(models_dir=tmp_path, workers=0))
    features_weights.session.cache_clear()


def test_start_needs_a_model(models_dir, tmp_path):
    with pytest.raises(ConfigError, match="no model bundle"):
        create_app(ServiceConfig(models_dir=tmp_path, workers=0))
    with pytest.raises(ConfigError, match="default_model: .*'nope'.*a-window, tiny"):
        create_app(ServiceConfig(models_dir=models_dir, default_model="nope", workers=0))


def one_line_error(capsys) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


def test_port_in_use_is_one_line_and_exit_code_1(models_dir, server, capsys):
    port = server.rpartition(":")[2]
    assert main(["--port", port, "--models", str(models_dir)]) == 1
    assert f"127.0.0.1:{port}: Address already in use" in one_line_error(capsys)


def test_altered_bundle_is_one_line_and_exit_code_1(models_dir, tmp_path, capsys):
    shutil.copytree(models_dir / "tiny", tmp_path / "tiny")
    with (tmp_path / "tiny" / "model.onnx").open("ab") as file:
        file.write(b"!")
    assert main(["--port", "0", "--models", str(tmp_path)]) == 1
    assert "bundle tiny: model.onnx" in one_line_error(capsys)


@pytest.mark.parametrize("port", ["70000", "-1", "http"])
def test_wrong_port_is_refused(port, capsys):
    with pytest.raises(SystemExit):
        main(["--port", port])
    assert "--port" in capsys.readouterr().err
