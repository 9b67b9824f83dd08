"""Attacks on the server over sockets: bodies, chunks, forms and file names."""

from __future__ import annotations

import io
import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pytest
import requests
from attacked import (
    CHUNKED,
    MAX_BYTES,
    POST,
    answer_to,
    assert_alive,
    assert_refused,
    prober,
    service,
    still_well,
)
from served import GOOD, assert_problem

from serve.multipart import BLOCK_BYTES, parse_form

__all__ = ["assert_alive", "prober", "service", "still_well"]  # fixtures
LIVE = b"POST /v1/live?rate=22050 HTTP/1.1\r\nHost: localhost\r\n"


# ------------------------------------------------------------------------------ bodies


def endless(piece: bytes, n_bytes: int = 16_000_000) -> Iterator[bytes]:
    piece *= 1 + 65_536 // len(piece)
    return itertools.repeat(piece, n_bytes // len(piece))


FRAMINGS: dict[str, Callable[[], list[bytes | Iterator[bytes]]]] = {
    "extension": lambda: [POST + CHUNKED + b"4;a=", endless(b"x")],
    "extensions": lambda: [POST + CHUNKED, endless(b"4;" + b"x" * 9000 + b"\r\nRIFF\r\n")],
    "trailer": lambda: [POST + CHUNKED + b"4\r\nRIFF\r\n0\r\nX: ", endless(b"x")],
    "trailers": lambda: [POST + CHUNKED + b"4\r\nRIFF\r\n0\r\n", endless(b"X: y\r\n")],
    "chunks of one byte": lambda: [POST + CHUNKED, endless(b"1\r\nR\r\n")],
    "chunks of 40 bytes": lambda: [POST + CHUNKED, endless(b"28\r\n" + b"R" * 40 + b"\r\n")],
    "zeros before a size": lambda: [POST + CHUNKED, endless(b"0")],
}


@pytest.mark.parametrize("name", FRAMINGS)
def test_chunked_coding_cannot_keep_the_service_busy(service, name, assert_alive):
    with ThreadPoolExecutor(1) as pool:
        start = time.perf_counter()
        answer = pool.submit(answer_to, service, *FRAMINGS[name]())
        assert_alive()
        assert_refused(answer.result(20), 400)
        assert time.perf_counter() - start < 5


def test_honest_chunks_are_taken(service):
    for size in (1000, 20_000):
        chunks = (GOOD[i : i + size] for i in range(0, len(GOOD), size))
        answer = requests.post(f"{service.url}/v1/predict", data=chunks, timeout=20)
        assert answer.status_code == 200
    # A trailer changes nothing.
    body = b"%x\r\n" % len(GOOD) + GOOD + b"\r\n0\r\nHost: evil\r\n\r\n"
    status, _, content = answer_to(service, POST + b"Connection: close\r\n" + CHUNKED + body)
    assert (status, b'"valence":' in content) == (200, True)


@pytest.mark.parametrize("stated", [True, False])
def test_huge_live_states_take_no_memory(service, stated, assert_alive):
    before, n_bytes = service.resident_mb(), 48_000_000
    form = b'--x\r\nContent-Disposition: form-data; name="state"\r\n\r\n'
    head = LIVE + b"Content-Type: multipart/form-data; boundary=x\r\n"
    length = b"Content-Length: %d\r\n\r\n" % n_bytes if stated else CHUNKED

    def attack(_: int) -> tuple[int, dict, bytes]:
        with service.connect() as connection:
            connection.sendall(head + length)
            piece = form + b"A" * 200_000
            for _ in range(20):
                connection.sendall(piece if stated else b"%x\r\n%b\r\n" % (len(piece), piece))
            received = connection.recv(65_536)
            return int(received.split()[1]), {}, received

    with ThreadPoolExecutor(26) as pool:
        answers = [pool.submit(attack, i) for i in range(26)]
        # The attackers need all of both cores for this half second.
        assert_alive(0.2)
        statuses = [answer.result(30)[0] for answer in answers]
    # Refused by what the head states; or once it is too much, alone or with the others.
    assert set(statuses) <= ({413} if stated else {413, 503})
    assert service.resident_mb() < before + 50


def test_body_where_none_is_needed_is_refused(service):
    for method in (b"GET", b"POST"):
        head = method + b" /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000\r\n\r\n"
        assert_refused(answer_to(service, head + bytes(70_000)), 413, "takes no body")


def test_large_upload_is_refused_before_it_is_sent(service):
    for head in (
        POST + b"Content-Length: 9000000000\r\n\r\n",
        LIVE + b"Content-Length: 9000000\r\n\r\n",
    ):
        with service.connect() as connection:
            connection.sendall(head)
            assert b" 413 " in connection.recv(65_536)


def test_uploads_leave_room_for_others(service):
    """One client holds half of the room for uploads at most, and live audio has its own."""
    started = POST + b"Content-Length: %d\r\n\r\n" % MAX_BYTES + bytes(1_500_000)
    with ExitStack() as attackers:
        for _ in range(3):
            connection = attackers.enter_context(service.connect())
            connection.sendall(started)
        time.sleep(0.3)
        answer = requests.post(f"{service.url}/v1/predict", data=bytes(MAX_BYTES), timeout=20)
        assert_problem(answer, 503, None, "uploads of this client", "try again")
        assert int(answer.headers["Retry-After"]) > 0
        chunk = {"chunk": ("a", bytes(22_050))}
        live = requests.post(f"{service.url}/v1/live?rate=22050", files=chunk, timeout=10)
        assert live.status_code == 200
    # The room comes back with the end of the connections.
    deadline = time.monotonic() + 5
    while (
        requests.post(f"{service.url}/v1/predict", data=bytes(MAX_BYTES), timeout=20).status_code
        == 503
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)


NAMES = {
    "Latin-1": b'filename="F\xfcr Elise.mp3"',
    "Shift-JIS": 'filename="夜想曲.mp3"'.encode("shift_jis"),
    "UTF-8": 'filename="Für Elise.mp3"'.encode(),
    "carriage return": b'filename="a\rb.mp3"',
    "extended": b"filename*=UTF-8''F%C3%BCr%20Elise.mp3",
    "extended, Shift-JIS": b"filename*=Shift_JIS''%96%E9.mp3",
    "both": b"filename=\"Fur.mp3\"; filename*=UTF-8''F%C3%BCr.mp3",
    "no end": b'filename="a.mp3',
    "quotes": b'filename="a\\"b\\\\.mp3"',
    "zero bytes": b'filename="a\x00b.mp3"',
    "semicolons": b'filename="a;b;name=c.mp3"',
    "12 KB": b'filename="' + b"\xfc" * 12_000 + b'"',
}


@pytest.mark.parametrize("name", NAMES)
def test_name_of_a_file_may_be_any_bytes(service, name):
    part = b'--x\r\nContent-Disposition: form-data; name="file"; %b\r\n\r\n' % NAMES[name]
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    body = part + GOOD + b"\r\n--x--\r\n"
    answer = requests.post(f"{service.url}/v1/predict", data=body, headers=headers, timeout=20)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["valence"]) == 6


def test_parts_are_found_wherever_their_boundaries_fall():
    """The file is searched in blocks: a boundary may begin in one and end in the next."""
    rng = np.random.default_rng(0)
    head = b'--x-y\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    for size in (0, 1, *range(BLOCK_BYTES - 160, BLOCK_BYTES + 20, 3), 2 * BLOCK_BYTES - 90):
        content = rng.bytes(size)
        content = content[: size // 2] + b"\r\n--x-yz" + content[size // 2 :]  # no boundary
        second = b"\r\n--x-y  \r\ncontent-disposition:form-data;name=state\r\n\r\ntext"
        body = b"preamble\r\n" + head + content + second + b"\r\n--x-y--\r\nepilogue"
        for skipped in (0, len(b"preamble\r\n")):
            form = body[skipped:]
            file, state = parse_form(io.BytesIO(form), len(form), "x-y")
            assert form[file.start : file.end] == content
            assert form[state.start : state.end] == b"text"
            assert (file.name, file.is_file, file.has_file_name) == ("file", True, True)
            assert (state.name, state.is_file) == ("state", False)


FORMS: dict[str, tuple[bytes, str]] = {
    "no end": (b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nRIFF', "form: "),
    "no name": (b"--x\r\nContent-Type: audio/wav\r\n\r\nRIFF\r\n--x--\r\n", "form: "),
    "header without end": (b"--x\r\nContent-Disposition: form-data" + b"a" * 99_000 + b"\r\n--x--\r\n", "form: "),
    "no part": (b"--x--\r\n", "file: missing"),
    "nearly boundaries": (b"\r\n--xy" * 400_000, "form: "),
    "padded boundaries": ((b"\r\n--x" + b" " * 60) * 40_000, "form: "),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_broken_form_is_a_clear_problem_in_short_time(service, name):
    body, words = FORMS[name]
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    start = time.perf_counter()
    answer = requests.post(f"{service.url}/v1/predict", data=body, headers=headers, timeout=20)
    assert time.perf_counter() - start < 2
    assert answer.status_code == 400, answer.text
    assert answer.json()["detail"].startswith(words)
