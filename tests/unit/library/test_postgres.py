"""One library in a PostgreSQL database: as the one in a folder, with many writers and readers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import postgres
import pytest
import soundfile as sf
import sqlalchemy as sa
from benchmarks.bench_library import random_library
from click.testing import CliRunner
from conftest import tone
from needs import needs_postgres

from msr_utils.cli import main
from msr_utils.library import indexing, schema, sharing
from msr_utils.library.arcs import Arc, find_excerpts
from msr_utils.library.filters import Filters
from msr_utils.library.library import SHARDS, SHARED_SHARD_AT_MOST, Library
from msr_utils.library.places import POSTGRESQL
from msr_utils.library.search import Query, find
from msr_utils.library.shards import LibraryError
from msr_utils.library.tagging import undo_tags, write_tags
from msr_utils.library.words import words_region

pytest_plugins = ["toy_library"]
pytestmark = [needs_postgres, pytest.mark.slow]


@pytest.fixture(scope="module")
def server():
    with postgres.running() as url:
        yield url


@pytest.fixture
def store(server):
    """The URL of an empty database."""
    name = f"t{uuid.uuid4().hex}"
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"create database {name}")
    engine.dispose()
    return sa.make_url(server).set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def shared(store, tmp_path):
    library = Library(tmp_path / "here", create=True, store=store)
    yield library
    library.close()


def everything(library) -> dict[str, tuple]:
    """All that searches see: curve, embedding and numbers by file. No file is there twice."""
    view = library.view()
    rows = np.flatnonzero(view.visible)
    infos = view.infos(rows)
    found = {}
    for row, info in zip(rows, infos, strict=True):
        shard, k = view.place(int(row))
        arrays = shard.track(k)
        name = os.path.basename(info.path)
        values = (arrays.curve.tolist(), arrays.embedding.tolist(), arrays.numbers.tolist())
        assert name not in found, "doubled"
        found[name] = (info.artist, info.title, info.genre, repr(values))
    return found


def test_it_is_the_same_library_as_in_a_folder(shared, store, songs, light, tmp_path):
    plain = Library(tmp_path / "plain", create=True)
    for library in (shared, plain):
        report = indexing.add(library, light, [songs], progress=False)
        assert (report.counts["added"], report.counts["failed"]) == (4, 2)
    assert everything(shared) == everything(plain) and len(everything(shared)) == 4
    # Another machine has nothing but the URL, and copies the shards.
    other = Library(tmp_path / "there", store=store)
    assert everything(other) == everything(plain)
    assert [p.name for p in (other.folder / SHARDS).iterdir()] == [
        p.name for p in (shared.folder / SHARDS).iterdir()
    ]
    query = Query(words_region("calm"), confidence=0.01)
    answers = [find(lib.view(), query) for lib in (other, plain)]
    titles = [[found.track.title for found in answer.results] for answer in answers]
    assert titles[0] == titles[1] and len(titles[0]) > 0
    other.catalogue.prefer("me", known(other, songs / "a.flac").audio, "like", 1.0)
    assert len(shared.catalogue.preferences("me")) == 1
    assert indexing.add(other, light, [songs], progress=False).counts["unchanged"] == 4
    # What changes, moves, goes and comes back is seen as in a folder.
    (songs / "a.flac").rename(songs / "moved.flac")
    shutil.copy(songs / "b.flac", songs / "album" / "c.flac")
    os.utime(songs / "album" / "c.flac", (5, 5))
    shutil.copy2(songs / "album" / "d.flac", songs / "copy.flac")
    (songs / "album" / "d.flac").unlink()
    reports = [indexing.rescan(lib, light, progress=False) for lib in (other, plain)]
    counts = [{k: n for k, n in r.counts.items() if n} for r in reports]
    assert counts[0] == counts[1] and counts[0]["moved"] == 2 and counts[0]["changed"] == 1
    assert everything(shared) == everything(plain)
    assert indexing.remove(shared, [songs / "moved.flac"]) == 1
    indexing.remove(plain, [songs / "moved.flac"])
    assert everything(other) == everything(plain) and len(everything(other)) == 3
    assert write_tags(shared).counts["written"] == 3
    assert undo_tags(other).counts == {"undone": 3}
    for library in (other, plain):
        library.close()


def known(library, path):
    return library.catalogue.known_file(str(path))


def test_a_copy_that_is_lost_or_old_is_made_again(shared, store, songs, light, tmp_path):
    indexing.add(shared, light, [songs], progress=False)
    before = everything(shared)
    other = Library(tmp_path / "there", store=store)
    assert everything(other) == before
    shutil.rmtree(other.folder / SHARDS)
    assert everything(other) == before
    for n in range(4):  # as many as are there, so that both shards become one
        sf.write(songs / f"new {n}.wav", tone(1, 300 + n), 22050)
    indexing.add(shared, light, [songs], progress=False)
    assert len(everything(other)) == 8
    assert len(list((other.folder / SHARDS).iterdir())) == 1  # the merged one alone
    other.close()


@pytest.mark.extended
def test_many_tracks_give_the_same_answers_from_a_copy(store, tmp_path):
    """Shards in the database are smaller; the random tracks are drawn shard by shard."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.bench_library.SHARD_AT_MOST", SHARED_SHARD_AT_MOST)
        libraries = [
            random_library(tmp_path / "here", 40_000, store=store),
            random_library(tmp_path / "plain", 40_000),
        ]
    shutil.rmtree(libraries[0].folder)
    excerpt = Arc(libraries[1].view().curve(12_345)[100:160].astype(np.float64))
    answers = []
    for library in libraries:
        view = library.view()
        assert len(view.shards) == 2
        filters = Filters(genre=("Genre 3",), year=(1980, None))
        found = find(view, Query(words_region("calm"), like=(5,), filters=filters))
        answers.append((found.results, found.removed, find_excerpts(view, excerpt)))
        library.close()
    assert answers[0] == answers[1] and len(answers[0][0]) == 20
    assert answers[0][2][0].row == 12_345


# ------------------------------------------------------------------------------ many writers


def write_tones(folder, count, seconds):
    folder.mkdir()
    for n in range(count):
        samples = tone(seconds, 200 + 7 * n, rate=8000)
        sf.write(folder / f"{n:03d}.wav", samples, 8000, "PCM_U8")


def check_whole(library, light, folder, count, tmp_path):
    """Nothing is lost and nothing doubled: in the catalogue, in the queue, and in the shards."""
    catalogue = library.catalogue
    assert catalogue.count_states() == {"analysed": count}
    assert sharing.Queue(catalogue.connections).waiting() == 0
    with catalogue.connections.reading() as connection:
        hidden = connection.execute(sa.select(sa.func.count()).select_from(schema.hidden))
        pending = connection.execute(sa.select(sa.func.count()).select_from(schema.pending))
        assert (hidden.scalar_one(), pending.scalar_one()) == (0, 0)
    view = library.view()
    ids = np.concatenate([shard.ids[0] for shard in view.shards])
    assert len(ids) == len(set(ids.tolist())) == count
    alone = Library(tmp_path / "alone", create=True)
    indexing.add(alone, light, [folder], progress=False)
    assert everything(library) == everything(alone)
    alone.close()


def test_writers_at_once_and_one_that_dies(shared, store, light, tmp_path):
    """Two in threads, and a process that is killed with a file in its hands."""
    folder = tmp_path / "music"
    write_tones(folder, 12, 20)
    victim = start_writer(store, folder, tmp_path / "victim")
    queue = sharing.Queue(shared.catalogue.connections)
    try:
        wait_until(lambda: shared.catalogue.count_states().get("analysed", 0) >= 2)
    finally:
        victim.kill()
        victim.wait()
    assert queue.waiting(), "it was killed in the middle"
    assert "to be looked at" in indexing.status(shared).unfinished
    libraries = [shared, Library(tmp_path / "second", store=store)]
    with ThreadPoolExecutor(2) as threads:
        runs = [
            threads.submit(indexing.add, lib, light, [folder], progress=False) for lib in libraries
        ]
        reports = [run.result() for run in runs]
    assert not any(report.lost for report in reports)
    check_whole(shared, light, folder, 12, tmp_path)
    assert not indexing.status(shared).unfinished
    libraries[1].close()


@pytest.mark.extended
def test_eight_writers_one_is_killed(shared, store, light, tmp_path):
    folder = tmp_path / "music"
    write_tones(folder, 160, 20)
    writers = [start_writer(store, folder, tmp_path / f"writer {n}") for n in range(8)]
    try:
        wait_until(lambda: shared.catalogue.count_states().get("analysed", 0) >= 40, 120)
        writers[3].kill()
        writers[3].wait()
        assert shared.catalogue.count_states()["analysed"] < 160, "it was killed in the middle"
        # The others take over what it had; nobody calls again.
        assert [w.wait(240) for n, w in enumerate(writers) if n != 3] == [0] * 7
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    check_whole(shared, light, folder, 160, tmp_path)
    with shared.catalogue.connections.reading() as connection:
        found = sa.select(schema.runs.c.done, schema.runs.c.finished)
        runs = connection.execute(found).all()
    assert len(runs) == 8 and sum(run.finished is None for run in runs) == 1
    assert sum(run.done > 0 for run in runs) >= 7, "all of them worked"


def start_writer(store, folder, home) -> subprocess.Popen:
    command = [
        sys.executable, "-m", "msr_utils", "library", "add", str(folder), "--model", "light",
        "--library", str(home), "--store", store,
    ]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_a_file_at_which_writers_die_does_not_end_them_all(shared, songs, light):
    indexing.add(shared, light, [songs], progress=False)
    queue = sharing.Queue(shared.catalogue.connections)
    path = songs / "poison.wav"
    sf.write(path, tone(1), 22050)
    queue.put([str(path)])
    for _ in range(sharing.MAX_ATTEMPTS):
        queue.claim().release()  # what a death leaves
    report = indexing.add(shared, light, [songs], progress=False)
    reasons = {os.path.basename(one.file): one.reason for one in report.listed["failed"]}
    assert "the process that analysed it died" in reasons["poison.wav"]
    assert queue.waiting() == 0


def test_what_another_writer_changed_meanwhile_is_looked_at_again(shared, songs, light):
    """The file that a moved one came from is forgotten, between the look and the storing."""
    indexing.add(shared, light, [songs], progress=False)
    (songs / "a.flac").rename(songs / "moved.flac")
    keep = sharing.SharedRun._keep_claimed
    forgotten = []

    def forget_first(self, outcome):
        if outcome.moved_from is not None and not forgotten:
            forgotten.append(outcome.moved_from.id)
            shared.catalogue.remove(forgotten)
        keep(self, outcome)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharing.SharedRun, "_keep_claimed", forget_first)
        report = indexing.add(shared, light, [songs], progress=False)
    assert forgotten and (report.counts["moved"], report.counts["added"]) == (0, 1)
    assert set(everything(shared)) == {"moved.flac", "b.flac", "c.flac", "d.flac"}


def test_a_connection_that_is_lost_loses_no_file(shared, songs, light, monkeypatch):
    """The server ends the connection that holds a file, while the file is being analysed."""
    keep = sharing.SharedRun._keep_claimed

    def cut(self, outcome):
        monkeypatch.undo()
        claim = self._claims[os.fspath(outcome.task.path)]
        number = claim.connection.execute(sa.select(sa.func.pg_backend_pid())).scalar_one()
        with shared.catalogue.connections.reading() as other:
            other.execute(sa.select(sa.func.pg_terminate_backend(number)))
        keep(self, outcome)

    monkeypatch.setattr(sharing.SharedRun, "_keep_claimed", cut)
    with pytest.raises(sa.exc.OperationalError):
        indexing.add(shared, light, [songs], progress=False)
    assert sharing.Queue(shared.catalogue.connections).waiting() == 6
    assert indexing.add(shared, light, [songs], progress=False).counts["added"] == 4
    assert len(everything(shared)) == 4


def test_commands_that_must_be_alone_wait_for_their_turn(shared, store, songs, light, tmp_path):
    indexing.add(shared, light, [songs], progress=False)
    other = Library(tmp_path / "there", store=store)
    with other.catalogue.connections.one_of_many():
        assert indexing.add(shared, light, [songs], progress=False).counts["unchanged"] == 4
        with pytest.raises(LibraryError, match="another 'msr library' command"):
            write_tags(shared)
    with other.catalogue.one_writer(), pytest.raises(LibraryError, match="another 'msr library'"):
        indexing.add(shared, light, [songs], progress=False)
    assert write_tags(shared).counts["written"] == 4
    other.close()


# ------------------------------------------------------------------------------ command line


def run(*arguments, code=0) -> str:
    done = CliRunner().invoke(main, ["library", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done.output


def test_the_command_line_takes_a_store(store, tmp_path, monkeypatch):
    from toy_library import write_music

    songs = write_music(tmp_path / "music")
    options = ["--library", tmp_path / "home", "--store", store]
    assert "make one with 'msr library add" in run("status", *options, code=1)
    run("add", songs, "--model", "light", *options, code=1)  # two files are broken
    assert "library postgresql+psycopg://msr@" in run("status", *options)
    monkeypatch.setenv("MSR_LIBRARY_STORE", store)
    assert "2 results of 4 tracks" in run("find", "--valence", 0, "--within", 2, "--genre", "noise")
    text = run("add", songs, "--scheduler", "tcp://127.0.0.1:1", code=2)
    assert "give --scheduler or --store, not both" in text


@pytest.mark.parametrize(
    ("url", "words", "code"),
    [
        ("nonsense", "--store is no URL", 2),
        ("sqlite://u:secret@h/x", "--store must begin with postgresql+psycopg://", 2),
        (
            f"{POSTGRESQL}://u:secret@127.0.0.1:1/x",
            "store postgresql+psycopg://u:***@127.0.0.1:1/x",
            1,
        ),
    ],
)
def test_a_wrong_store_is_one_line_without_its_password(tmp_path, url, words, code):
    text = run("status", "--library", tmp_path, "--store", url, code=code)
    (line,) = [line for line in text.splitlines() if line.startswith("Error: ")]
    assert words in line and "secret" not in text


def test_without_the_driver_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    text = run("status", "--library", tmp_path, "--store", f"{POSTGRESQL}://u@h/x", code=1)
    assert "'psycopg', which is not installed" in text and "msr-utils[postgres]" in text
