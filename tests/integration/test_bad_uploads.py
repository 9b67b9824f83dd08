"""Bad uploads and requests get a clear problem, and the service goes on."""

import gzip
import io
import json
import re
import socket
import struct
import zipfile

import numpy as np
import pytest
import requests
import soundfile as sf
from served import (
    BAD_FILES,
    FLAC,
    FORMATS,
    GOOD,
    MAX_BYTES,
    MP3,
    NDJSON,
    OGG,
    OPUS,
    POST,
    PROBLEM,
    ROOT,
    app,
    assert_problem,
    assert_right,
    client,
    encoded,
    models_dir,
    post,
    server,
    sound,
    tiny,
)

from msr_utils.constants import TARGETS
from serve.uploads import read_upload

__all__ = ["app", "client", "models_dir", "server", "tiny"]  # fixtures


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file_is_a_clear_problem(server, tiny, name):
    content, status, words = BAD_FILES[name]
    assert_problem(post(server, content, "song.mp3"), status, "file", words)
    if content:
        raw = requests.post(f"{server}/v1/predict", data=content, timeout=20)
        assert_problem(raw, status, "file", words)
    assert_right(post(server, GOOD).json(), tiny, GOOD)


HEADER_BYTES = 44


def wav(
    rate: int, channels: int, payload: bytes, stated: int | None = None, bits: int = 16
) -> bytes:
    """WAV file of PCM with any header, right or wrong."""
    stated, width = len(payload) if stated is None else stated, channels * bits // 8
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", min(stated + 36, 2**32 - 1), b"WAVE", b"fmt ", 16, 1, channels % 2**16),
        *(rate, rate * width % 2**32, width % 2**16, bits, b"data", stated),
    )
    assert len(head) == HEADER_BYTES
    return head + payload


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("song.wav", GOOD)
    return file.getvalue()


def bomb() -> bytes:
    """A small archive of far more than the service accepts."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("song.wav", bytes(30 * MAX_BYTES))
    return file.getvalue()


def silence(hours: float, rate: int = 4_000) -> bytes:
    """FLAC of silence, some kB an hour."""
    file = io.BytesIO()
    with sf.SoundFile(file, "w", rate, 1, format="FLAC") as out:
        for _ in range(round(hours * 60)):
            out.write(np.zeros(60 * rate, np.int16))
    return file.getvalue()


def with_infinity() -> bytes:
    samples = sound(2)
    samples[5] = -np.inf
    return encoded(samples, subtype="FLOAT")


def garbled(mp3: bytes) -> bytes:
    """An MP3 whose frames begin right and go on wrong."""
    rng = np.random.default_rng(0)
    starts = [m.start() for m in re.finditer(rb"\xff[\xf2\xf3\xfa\xfb]", mp3)][3:]
    content = bytearray(mp3)
    for at in starts:
        content[at + 6 : at + 30] = rng.bytes(24)
    return bytes(content)


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """WAV file of these chunks."""
    body = b"".join(name + struct.pack("<I", len(content)) + content for name, content in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WAVE" + body


NOISE = np.random.default_rng(0).bytes(200_000)
PCM = (sound(3, 22_050)[:, 0] * 32767).astype("<i2").tobytes()
ODD_UPLOADS = {
    "random bytes": NOISE,
    "a zip": zipped(),
    "a zip bomb": bomb(),
    "a gzip bomb": gzip.compress(bytes(30 * MAX_BYTES)),
    "3 hours of silence": silence(3),
    "a picture": b"\x89PNG\r\n\x1a\n" + NOISE[:5000],
    "a web page": b"<!doctype html><script>alert(1)</script>" * 50,
    "a list of addresses": b"#EXTM3U\nhttp://127.0.0.1/secret\nfile:///etc/passwd\n",
    "xml entity": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>',
    "one byte": b"R",
    "only RIFF": b"RIFF",
    "half a header": GOOD[:20],
    "header without samples": GOOD[:HEADER_BYTES],
    "samples without header": PCM,
    "size 0": wav(22_050, 1, PCM, 0),
    "size from a pipe": wav(22_050, 1, PCM, 0xFFFFFFFF),
    "size twice as large": wav(22_050, 1, PCM, 2 * len(PCM)),
    "size half as large": wav(22_050, 1, PCM, len(PCM) // 2),
    "odd number of bytes": wav(22_050, 1, PCM[:-1]),
    "rate 0": wav(0, 1, PCM),
    "rate 1": wav(1, 1, PCM[:40]),
    "4 kHz": wav(4_000, 1, PCM[:40_000]),
    "192 kHz": wav(192_000, 1, NOISE),
    "rate 2 ** 31": wav(2**31 - 1, 1, PCM),
    "rate 2 ** 32": wav(2**32 - 1, 1, PCM),
    "0 channels": wav(22_050, 0, PCM),
    "8 channels": wav(48_000, 8, NOISE),
    "255 channels": wav(8_000, 255, NOISE),
    "65535 channels": wav(22_050, 65_535, PCM),
    "3 bits": wav(22_050, 1, PCM, bits=3),
    "64 bits": wav(22_050, 1, PCM, bits=64),
    "8 bits": wav(22_050, 1, NOISE[:100_000], bits=8),
    "silence": wav(22_050, 1, bytes(100_000)),
    "full scale": wav(22_050, 1, b"\xff\x7f" * 40_000),
    "half a frame": wav(22_050, 1, PCM[:11_000]),
    "one frame": wav(22_050, 1, PCM[:22_050]),
    "infinite sample": with_infinity(),
    "samples of 1e30": encoded(sound(2) * 1e30, subtype="FLOAT"),
    "denormal samples": encoded(sound(2) * 1e-42, subtype="FLOAT"),
    "64 bit floats": encoded(sound(2), subtype="DOUBLE"),
    "MP3 cut short": MP3[: len(MP3) // 2],
    "MP3 after text": b"la la la " * 30 + MP3,
    "MP3 with noise in it": MP3[:9000] + NOISE[:3000] + MP3[9000:],
    "Opus cut short": OPUS[: len(OPUS) // 2],
    "Ogg cut short": OGG[: len(OGG) // 2],
    "Ogg with noise in it": OGG[:9000] + NOISE[:3000] + OGG[9000:],
    "FLAC with noise in it": FLAC[:9000] + NOISE[:3000] + FLAC[9000:],
    "two files in one": GOOD + GOOD,
    "ID3 tag of 256 MB": b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + MP3,
    "ID3 tag before text": b"ID3\x04\x00\x00\x00\x00\x00\x09" + b"la la la " * 500,
    "MP3 frames without sound": b"\xff\xfb\x90\x00" * 5000,
    "Ogg page of nothing": OGG[:27],
    "24 bits, odd length": wav(22_050, 1, PCM[:-2], bits=24),
    "an AIFF header on a WAV": FORMATS["song.aiff"][:12] + GOOD[12:],
    "MP3 of garbled frames": garbled(MP3),
    "MP3 that changes its rate": MP3 + encoded(sound(2, 16_000), 16_000, format="MP3"),
    "Ogg that changes its codec": OGG + OPUS,
    "FLAC that states 36 days": FLAC[:21] + b"\xff" * 5 + FLAC[26:],
    "AIFF of a rate near 2 ** 40": FORMATS["song.aiff"].replace(b"\x40\x0d", b"\x40\x27", 1),
    "samples before their format": riff((b"data", PCM), (b"fmt ", GOOD[20:36])),
    "ADPCM in blocks of 0 bytes": riff(
        (b"fmt ", struct.pack("<HHIIHHHH", 17, 1, 22_050, 11_025, 0, 4, 2, 0)), (b"data", PCM)
    ),
    "100,000 chunks": riff(*[(b"LIST", b"ab")] * 100_000, (b"data", PCM)),
    "RF64 of 2 ** 62 bytes": b"RF64\xff\xff\xff\xffWAVEds64"
    + struct.pack("<IQQQI", 28, 2**62, 2**62, 2**61, 0)
    + GOOD[12:36]
    + b"data\xff\xff\xff\xff"
    + PCM,
    "samples of 1e308": encoded(np.full(30_000, 1e308), subtype="DOUBLE"),
    "the largest samples, one up, one down": wav(22_050, 1, b"\xff\x7f\x00\x80" * 20_000),
}


@pytest.mark.parametrize("name", ODD_UPLOADS)
@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
def test_odd_upload_gets_an_answer_or_a_problem(server, name, accept):
    response = post(server, ODD_UPLOADS[name], "/tmp/odd.wav", headers={"Accept": accept})
    assert response.status_code in {200, 413, 422}, response.text
    for secret in ("Traceback", str(ROOT), "/tmp", "odd.wav", "site-packages", "0x"):
        assert secret not in response.text
    if response.status_code != 200:
        assert_problem(response, response.status_code, "file")
    elif accept == "application/json":
        answer = response.json()
        assert np.isfinite([answer["valence"], answer["arousal"]]).all()
        assert len(answer["valence"]) == len(answer["times_s"]) > 0
    else:
        *frames, last = map(json.loads, response.text.splitlines())
        assert all(set(frame) == {"time_s", *TARGETS} for frame in frames)
        assert frames
        assert "done" in last or last["error"]["status"] in {413, 422}


def test_file_cut_short_is_warned_about(server):
    cut = {"size twice as large": "states 6.0 s, 3.0 s", "MP3 cut short": "file: its header states"}
    for name, words in cut.items():
        (warning,) = post(server, ODD_UPLOADS[name]).json()["warnings"]
        assert words in warning
        table = post(server, ODD_UPLOADS[name], headers={"Accept": "text/csv"})
        assert json.loads(table.headers["X-Warnings"]) == [warning]
    for name in ("Ogg cut short", "Opus cut short"):
        (warning,) = post(server, ODD_UPLOADS[name]).json()["warnings"]
        assert warning == "file: the file is cut short: its last page is not whole"
    for content in (
        GOOD,
        MP3,
        OGG,
        OPUS,
        FORMATS["song.aiff"],
        ODD_UPLOADS["size from a pipe"],
        ODD_UPLOADS["size 0"],
    ):
        response = post(server, content).json()
        assert response.get("warnings", []) == []
    lines = post(server, ODD_UPLOADS["MP3 cut short"], headers={"Accept": NDJSON}).text.splitlines()
    assert json.loads(lines[-1])["done"]["warnings"] != []


@pytest.mark.parametrize(
    "kind",
    ["application/json", "image/png", "text/html; charset=klingon", "multipart/mixed; boundary=x",
     "nonsense", "audio/mpeg; " + "x" * 5000, "*/*"],
)  # fmt: skip
def test_what_a_body_is_called_does_not_matter(server, tiny, kind):
    headers = {"Content-Type": kind}
    answer = requests.post(f"{server}/v1/predict", data=GOOD, headers=headers, timeout=20)
    assert_right(answer.json(), tiny, GOOD)
    answer = post(server, b"{}", headers={"Accept": kind})
    assert_problem(answer, 422, "file")


def test_form_without_its_boundary_has_no_file(server):
    for kind in ("multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; b"):
        headers = {"Content-Type": kind}
        answer = requests.post(f"{server}/v1/predict", data=GOOD, headers=headers, timeout=20)
        assert_problem(answer, 400, "file")


def test_compressed_body_is_not_unpacked(server):
    headers = {"Content-Encoding": "gzip", "Content-Type": "audio/wav"}
    for content in (gzip.compress(GOOD), ODD_UPLOADS["a gzip bomb"]):
        answer = requests.post(f"{server}/v1/predict", data=content, headers=headers, timeout=20)
        assert_problem(answer, 415, "Content-Encoding")


# A quoted file name escapes its backslashes.
@pytest.mark.parametrize(
    "name",
    ["/etc/../evil.mp3", "evil" * 3000, "evil%00.mp3", r"..\\..\\evil.mp3", "<b>evil", "a\u202eb"],
)
def test_name_of_the_file_is_never_used(server, name):
    response = post(server, b"no music", name)
    assert_problem(response, 422, "file")
    assert "evil" not in response.text


def test_size_limit_counts_the_file_and_not_the_form(server):
    for size, status in ((MAX_BYTES, 422), (MAX_BYTES + 1, 413)):
        assert_problem(post(server, b"no music".ljust(size)), status, "file")


def test_body_in_chunks_without_length_is_limited(server, tiny):
    chunks = (bytes(100_000) for _ in range(3 * MAX_BYTES // 100_000))
    response = requests.post(f"{server}/v1/predict", data=chunks, timeout=20)
    assert_problem(response, 413, "file")
    assert_right(post(server, GOOD).json(), tiny, GOOD)


def exchange(server: str, request: bytes) -> str:
    """Send bytes, then read until the service closes the connection."""
    host, port = server.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        # Asks first whether it may send 10 GB: the answer must not wait for them.
        (POST + b"Expect: 100-continue\r\nContent-Length: 10000000000\r\n\r\n", 413),
        (POST + b"Content-Length: 5\r\n\r\nRIFFRIFFRIFF", 422),
        (POST + b"Content-Length: many\r\n\r\nRIFF", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nnot a chunk\r\n", 400),
        (b"GET /".ljust(2**18, b"a"), 431),
        (b"music, please\r\n\r\n", 400),
    ],
    ids=["huge", "short", "no number", "no chunk", "long line", "no request"],
)
def test_requests_that_lie_or_make_no_sense(server, tiny, request_bytes, status):
    head, _, body = exchange(server, request_bytes).partition("\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ") or head.startswith(f"HTTP/1.0 {status} ")
    assert f"content-type: {PROBLEM}" in head.lower()
    document = json.loads(body)
    assert document["status"] == status
    assert document.get("field") == ("file" if status in (413, 422) else None)
    assert f"x-request-id: {document['request_id']}" in head.lower()
    assert_right(post(server, GOOD).json(), tiny, GOOD)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([("audio", ("song.wav", GOOD))], "named 'file' (this form has 'audio')"),
        ([("file", (None, "song.wav"))], "-F file=@song.mp3"),
        ([("file", ("a.wav", GOOD)), ("file", ("b.wav", GOOD))], "one file per request, not 2"),
    ],
    ids=["wrong field", "text field", "two files"],
)
def test_wrong_forms(server, files, words):
    response = requests.post(f"{server}/v1/predict", files=files, timeout=10)
    assert_problem(response, 400, "file", words)


def test_option_in_the_form_is_not_silently_left_out(server):
    for path, name, content in (("predict", "file", GOOD), ("live?rate=22050", "chunk", PCM)):
        form = {"data": {"model": "tiny"}, "files": {name: ("a", content)}, "timeout": 10}
        answer = requests.post(f"{server}/v1/{path}", **form)
        assert_problem(answer, 400, "model", f"only '{name}'", "?model=NAME")


def test_form_of_too_many_fields(server):
    form = {"data": {f"a{i}": "1" for i in range(1500)}, "files": {"file": ("a", GOOD)}}
    answer = requests.post(f"{server}/v1/predict", **form, timeout=20)
    assert_problem(answer, 413, "form", "more than 1000 fields")


def test_no_file_at_all(server):
    url = f"{server}/v1/predict"
    assert_problem(requests.post(url, timeout=10), 400, "file", "missing")
    empty = {"Content-Type": "multipart/form-data"}
    assert_problem(requests.post(url, headers=empty, timeout=10), 400, "file", "missing")
    unchosen = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\n\r\n--x--\r\n'
    )
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    response = requests.post(url, data=unchosen, headers=kind, timeout=10)
    assert_problem(response, 400, "file", "no file was chosen")


def test_wrong_options_name_what_there_is(server):
    unknown_model = post(server, GOOD, params={"model": "nope"})
    assert_problem(unknown_model, 400, "model", "'nope'", "a-window, tiny")
    unknown_option = post(server, GOOD, params={"modle": "tiny"})
    assert_problem(unknown_option, 400, "modle", "'model'")


def test_window_model_cannot_follow_live_audio(server):
    options = {"params": {"rate": 22_050, "model": "a-window"}, "timeout": 10}
    response = requests.post(f"{server}/v1/live", files={"chunk": ("a", PCM)}, **options)
    assert_problem(response, 422, "model", "'a-window'", "cannot follow live audio", "tiny")


def test_wrong_paths_and_methods(server):
    def get(path: str) -> requests.Response:
        return requests.get(server + path, timeout=10)

    assert_problem(get("/v1/models/nope"), 404, "model", "'nope'", "a-window, tiny")
    assert_problem(get("/v1/models/..%2f..%2fetc"), 404)
    assert_problem(get("/static/../app.py"), 404)
    assert_problem(get("/nope"), 404, None, "/nope")
    response = get("/v1/predict")
    assert_problem(response, 405, None, "GET", "POST")
    assert "POST" in response.headers["Allow"]


def test_limits_hold_without_the_front(client):
    too_big = io.BytesIO(bytes(MAX_BYTES + 1))
    assert_problem_of_flask(client.post("/v1/predict", data={"file": (too_big, "a.wav")}), 413)
    assert_problem_of_flask(client.post("/v1/predict", data=bytes(2 * MAX_BYTES)), 413)
    # No length, as another server may pass it on.
    endless = {"wsgi.input": io.BytesIO(bytes(2 * MAX_BYTES)), "wsgi.input_terminated": True}
    response = client.post("/v1/predict", environ_overrides=endless)
    assert_problem_of_flask(response, 413)
    assert client.post("/v1/predict", data=GOOD).status_code == 200


def assert_problem_of_flask(response, status: int) -> None:
    assert (response.status_code, response.mimetype) == (status, PROBLEM)
    assert response.json["request_id"] == response.headers["X-Request-ID"]


def test_unexpected_error_tells_no_secrets_but_logs_them(app, caplog):
    @app.get("/broken")
    def broken():
        raise RuntimeError("the secret")

    caplog.set_level("INFO", "serve")
    response = app.test_client().get("/broken", headers={"X-Request-ID": "find-me"})
    assert_problem_of_flask(response, 500)
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    logged = [r for r in caplog.records if getattr(r, "fields", {}).get("request_id") == "find-me"]
    assert [bool(r.exc_info) for r in logged] == [True, False]


class Stream(io.RawIOBase):
    """A body as other WSGI servers give it: it can only be read once, from its start."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        return self._content.readinto(buffer)


@pytest.mark.parametrize("kind", ["raw", "form"])
@pytest.mark.parametrize("stream", [io.BytesIO, Stream], ids=["file", "stream"])
def test_upload_is_found_in_the_body_and_never_a_named_file(
    app, tmp_path, monkeypatch, kind, stream
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    large = FORMATS["large.wav"]
    files = {"file": ("a.wav", large)} if kind == "form" else None
    sent = requests.Request(
        "POST", "http://host", files=files, data=None if files else large
    ).prepare()
    body = stream(sent.body)
    environ = {
        "wsgi.input": body,
        "CONTENT_LENGTH": str(len(sent.body)),
        "CONTENT_TYPE": sent.headers.get("Content-Type", ""),
    }
    with app.test_request_context("/v1/predict", method="POST", environ_overrides=environ):
        upload = read_upload(MAX_BYTES)
        upload.file.seek(upload.start)
        assert upload.file.read(upload.end - upload.start) == large
        assert (upload.file is body) is (stream is io.BytesIO)  # A stream is copied, a file is not.
        assert list(tmp_path.iterdir()) == []
