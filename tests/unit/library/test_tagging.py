"""Moods in the tags of files: every format, nobody else's mood, the same audio, and undo."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys

import mutagen
import numpy as np
import pytest
from conftest import tone
from mutagen.apev2 import APEv2
from mutagen.id3 import ID3, TIT2, TMOO, TYER
from needs import needs_mounts, needs_posix, needs_program
from test_indexing import forbid_decoding

from msr_utils.audio.source import AudioError
from msr_utils.library import indexing, tagging
from msr_utils.library.library import Library
from msr_utils.library.moods import VALUES, track_mood
from msr_utils.library.numbers import summarise
from msr_utils.library.shards import LibraryError
from msr_utils.library.tag_fields import MOOD, read_fields
from msr_utils.library.tagging import PREFIX, audio_hash, undo_tags, write_tags

pytest_plugins = ["toy_library"]

FFMPEG = {
    "mp3": ["-b:a", "64k"], "flac": [], "ogg": ["-c:a", "libvorbis"], "opus": ["-b:a", "32k"],
    "m4a": ["-c:a", "aac"], "wv": [], "wma": ["-c:a", "wmav2"], "tta": [], "wav": [], "aiff": [],
}  # fmt: skip
"""Suffix -> how FFmpeg makes the file. Nothing makes Monkey's Audio; WavPack has its tags."""

NO_TAGS = {"aac": ["-f", "adts"], "mka": ["-c:a", "flac"]}

KEYS = {
    "mp3": ("TMOO", "TXXX:{}"), "tta": ("Mood", "{}"), "wav": ("TMOO", "TXXX:{}"),
    "aiff": ("TMOO", "TXXX:{}"), "flac": ("mood", "{}"), "ogg": ("mood", "{}"),
    "opus": ("mood", "{}"), "wv": ("Mood", "{}"), "wma": ("WM/Mood", "{}"),
    "m4a": ("----:com.apple.iTunes:MOOD", "----:com.apple.iTunes:{}"),
}  # fmt: skip
"""Suffix -> keys of mutagen for the mood and for the other fields."""

SAD = np.tile(np.array([-0.44, -0.23], np.float32), (8, 1))


def native(value) -> list[str]:
    """Values as a program reads them."""
    if hasattr(value, "text"):
        return [str(text) for text in value.text]
    values = value if isinstance(value, list) else list(value)
    return [v.decode() if isinstance(v, bytes) else str(v) for v in values]


def fields(path):
    return read_fields(path, tagging.FIELDS)


@pytest.fixture(scope="module")
def formats(tmp_path_factory, light):
    """A library of one file in each format, tagged: its folder, hashes before, the report."""
    home = tmp_path_factory.mktemp("formats")
    music = home / "music"
    music.mkdir()
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=330:d=3:r=44100"]
    for suffix, options in (FFMPEG | NO_TAGS).items():
        command += ["-metadata", "title=A title", *options, str(music / f"x.{suffix}")]
    subprocess.run(command, check=True)
    library = Library(home / "library", create=True)
    added = indexing.add(library, light, [music], progress=False)
    assert not added.lost
    hashes = {path.name: audio_hash(path) for path in music.iterdir()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("msr_utils.library.tagging.track_mood", sad)
        report = write_tags(library)
    yield library, music, hashes, report
    library.close()


def sad(numbers, model):
    """The mood of a sad track, whatever the model says."""
    return track_mood(summarise(SAD, {"valence": 0.2, "arousal": 0.2}, 4.0), model)


@needs_program("ffmpeg")
@pytest.mark.parametrize("suffix", FFMPEG)
def test_every_format_is_written_as_its_programs_read_it(formats, suffix):
    library, music, hashes, _ = formats
    path = music / f"x.{suffix}"
    tags = mutagen.File(path).tags
    if suffix == "tta":  # FFmpeg gives it APEv2 tags, and mutagen alone looks for ID3
        assert tags is None
        tags = APEv2(path)
    mood, other = KEYS[suffix]
    assert native(tags[mood]) == ["sad"]
    assert native(tags[other.format("MSR_VALENCE")]) == ["-0.440"]
    assert native(tags[other.format("MSR_AROUSAL_HIGH")]) == ["-0.030"]
    assert native(tags[other.format("MSR_MODEL")]) == [library.catalogue.facts()["model"]]
    if suffix not in ("wav", "aiff"):  # FFmpeg puts the title into other chunks there
        assert "A title" in str(dict(tags))
    assert audio_hash(path) == hashes[path.name]


@needs_program("ffmpeg")
def test_what_has_no_tags_is_counted_with_its_reason(formats, light, monkeypatch):
    library, music, hashes, report = formats
    assert report.counts == {"written": len(FFMPEG), "no tags": 2} and report.lost == 2
    reasons = {os.path.basename(one.file): one.reason for one in report.listed["no tags"]}
    assert reasons == {
        "x.aac": "AAC files have no tags", "x.mka": "mutagen does not know the format",
    }  # fmt: skip
    forbid_decoding(monkeypatch)
    again = indexing.rescan(library, light, progress=False)
    assert again.counts["unchanged"] == len(hashes) and not again.lost
    assert not [path for path in music.iterdir() if path.name.startswith(".")]


# ------------------------------------------------------------------------------ one format


@pytest.fixture
def sad_tracks(monkeypatch):
    monkeypatch.setattr("msr_utils.library.tagging.track_mood", sad)


def test_a_second_call_changes_nothing_and_a_rescan_reads_nothing(
    added, songs, light, monkeypatch, sad_tracks
):
    first = write_tags(added)
    assert first.counts == {"written": 4} and not first.lost
    times = {path: path.stat().st_mtime_ns for path in songs.rglob("*.flac")}
    assert write_tags(added).counts == {"unchanged": 4}
    assert times == {path: path.stat().st_mtime_ns for path in times}
    forbid_decoding(monkeypatch)
    report = indexing.rescan(added, light, progress=False)
    assert report.counts["unchanged"] == 4


def test_a_dry_run_says_what_would_be_written(added, songs):
    before = {path: path.read_bytes() for path in songs.rglob("*.flac")}
    changed = {}
    report = write_tags(added, dry_run=True, on_change=lambda path, f: changed.update({path: f}))
    assert report.counts["written"] == 4
    assert before == {path: path.read_bytes() for path in before}
    assert set(changed) == {str(path) for path in before if not path.name.startswith(".")}
    values = changed[str(songs / "a.flac")]
    assert set(VALUES) <= set(values) and -1 <= float(values["MSR_VALENCE"][0]) <= 1


def test_only_some_files(added, songs):
    assert write_tags(added, only=[songs / "album"]).counts["written"] == 2
    assert write_tags(added, only=[songs / "a.flac"]).counts["written"] == 1
    assert not fields(songs / "b.flac")["MSR_MODEL"]
    with pytest.raises(LibraryError, match="elsewhere is not in it"):
        write_tags(added, only=[songs / "elsewhere"])


def test_the_mood_of_somebody_else_stays(added, songs, light, sad_tracks):
    file = mutagen.File(songs / "a.flac")
    file["mood"] = ["Rainy day", "sad"]
    file.save()
    indexing.rescan(added, light, progress=False)
    report = write_tags(added)
    assert report.counts == {"written": 4, "mood kept": 1}
    found = fields(songs / "a.flac")
    assert found[MOOD] == ["Rainy day", "sad"] and not found["MSR_MOOD"]
    assert found["MSR_VALENCE"] == ["-0.440"]
    # One that is written over ours is theirs from then on.
    other = mutagen.File(songs / "b.flac")
    other["mood"] = "Mine"
    other.save()
    indexing.rescan(added, light, progress=False)
    assert write_tags(added).counts == {"written": 1, "unchanged": 3, "mood kept": 1}
    undo_tags(added)
    assert fields(songs / "b.flac") == {**dict.fromkeys(tagging.FIELDS, []), MOOD: ["Mine"]}
    assert fields(songs / "a.flac")[MOOD] == ["Rainy day", "sad"]


def test_undo_gives_back_what_was_there(added, songs, light, monkeypatch, sad_tracks):
    old = mutagen.File(songs / "a.flac")
    old["mood"] = old["msr_mood"] = "gloomy"  # ours, by an earlier library
    old.save()
    indexing.rescan(added, light, progress=False)
    before = {path: dict(mutagen.File(path).tags) for path in songs.rglob("[a-d].flac")}
    write_tags(added)
    monkeypatch.setattr("msr_utils.library.tagging.track_mood", track_mood)
    write_tags(added)  # the records of the first call stay
    assert fields(songs / "a.flac")[MOOD] != ["gloomy"]
    (songs / "b.flac").rename(songs / "moved.flac")
    indexing.rescan(added, light, progress=False)
    assert undo_tags(added, dry_run=True).counts["undone"] == 4
    assert undo_tags(added, only=[songs / "album"]).counts == {"undone": 2}
    assert undo_tags(added).counts == {"undone": 2}
    (songs / "moved.flac").rename(songs / "b.flac")
    assert before == {path: dict(mutagen.File(path).tags) for path in before}
    assert undo_tags(added).counts == {}


def test_id3_of_version_3_and_1_stay_what_they_are(tmp_path, light, sad_tracks):
    path = tmp_path / "music" / "x.mp3"
    path.parent.mkdir()
    import soundfile as sf

    sf.write(path, tone(2), 44100)
    tags = ID3()
    tags.add(TIT2(encoding=1, text="Old"))
    tags.add(TYER(encoding=0, text="1999"))
    tags.save(path, v2_version=3)
    v1 = b"TAG" + b"Older".ljust(30, b"\0") + b"\0" * 94 + b"\x05"
    assert len(v1) == 128
    with open(path, "ab") as file:
        file.write(v1)
    library = Library(tmp_path / "library", create=True)
    indexing.add(library, light, [path.parent], progress=False)
    assert write_tags(library).counts["written"] == 1
    found = ID3(path, translate=False)
    assert found.version == (2, 3, 0) and found["TYER"].text == ["1999"]
    assert found["TMOO"].text == ["sad"] and found["TXXX:MSR_MOOD"].text == ["sad"]
    assert path.read_bytes()[-128:] == v1
    assert write_tags(library).counts == {"unchanged": 1}
    undo_tags(library)
    assert {*ID3(path, translate=False, load_v1=False)} == {"TIT2", "TYER"}
    library.close()


def test_a_mood_in_another_frame_is_seen(tmp_path):
    import soundfile as sf

    path = tmp_path / "x.mp3"
    sf.write(path, tone(1), 44100)
    tags = ID3()
    tags.add(TMOO(encoding=3, text=["calm", "warm"]))
    tags.add(mutagen.id3.TXXX(encoding=3, desc="Mood", text="theirs"))
    tags.save(path)
    assert sorted(fields(path)[MOOD]) == ["calm", "theirs", "warm"]


# ------------------------------------------------------------------------------ refusals


def test_a_file_that_changed_is_left(added, songs):
    with open(songs / "a.flac", "ab") as file:
        file.write(b"\0" * 10)
    (songs / "b.flac").unlink()
    before = (songs / "a.flac").read_bytes()
    report = write_tags(added)
    assert report.counts["changed"] == 2 and report.counts["written"] == 2
    assert [one.reason for one in report.listed["changed"]] == [
        "changed since it was indexed; call 'msr library rescan' first",
        "is no longer there; call 'msr library rescan'",
    ]
    assert (songs / "a.flac").read_bytes() == before


def test_other_content_with_the_same_size_and_time_is_seen(added, songs):
    path = songs / "a.flac"
    found, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert write_tags(added, only=[path]).counts == {"changed": 1}
    assert path.read_bytes() == content


def test_a_read_only_file_is_left(added, songs):
    (songs / "a.flac").chmod(0o444)
    report = write_tags(added)
    assert report.counts["read-only"] == 1 and report.counts["written"] == 3
    (songs / "a.flac").chmod(0o644)


def test_audio_that_would_change_is_refused(added, songs, monkeypatch):
    monkeypatch.setattr(tagging.FieldFile, "save", lambda self, path: damage(path))
    before = (songs / "a.flac").read_bytes()
    report = write_tags(added, only=[songs / "a.flac"])
    assert report.counts == {"failed": 1}
    assert "audio would not be the same" in report.listed["failed"][0].reason
    assert (songs / "a.flac").read_bytes() == before
    assert not list(songs.glob(f"{PREFIX}*"))


def test_a_hash_of_another_decoder_does_not_matter(added, songs):
    known = added.catalogue.known_file(str(songs / "a.flac"))
    added.catalogue.put({"id": known.id, "audio": "0" * 64}, None, None)
    assert write_tags(added, only=[songs / "a.flac"]).counts["written"] == 1


def damage(path):
    shutil.copyfile(path.parent / "b.flac", path)


def test_damaged_tags_are_one_line(added, songs, light):
    content = (songs / "a.flac").read_bytes()
    path = songs / "a.flac"
    path.write_bytes(content[:4] + b"\x00\x00\x00\x05" + content[8:])
    known = added.catalogue.known_file(str(path))
    found = path.stat()
    added.catalogue.put(
        {"id": known.id, "size": found.st_size, "mtime_ns": found.st_mtime_ns}, None, None
    )
    report = write_tags(added, only=[path])
    assert report.counts == {"failed": 1} and len(report.listed["failed"][0].reason) > 5


@needs_posix
def test_mode_owner_and_links_stay_and_the_time_is_new(added, songs):
    path = songs / "a.flac"
    path.chmod(0o640)
    os.utime(path, (5, 5))
    known = added.catalogue.known_file(str(path))
    added.catalogue.put({"id": known.id, "mtime_ns": 5 * 10**9}, None, None)
    real = songs.parent / "real.flac"
    path.rename(real)
    path.symlink_to(real)
    before = real.stat()
    assert write_tags(added, only=[path]).counts["written"] == 1
    after = real.stat()
    assert path.is_symlink() and stat.S_IMODE(after.st_mode) == 0o640
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    assert after.st_mtime_ns > before.st_mtime_ns and fields(path)["MSR_MODEL"]


def test_a_killed_run_leaves_nothing_for_long(added, songs):
    left_over = songs / f"{PREFIX}abc.flac"
    left_over.write_bytes(b"half")
    write_tags(added, dry_run=True)
    assert left_over.exists()
    write_tags(added)
    assert not left_over.exists()


@pytest.mark.parametrize("where", ["_keep_record", "_update"])
def test_a_death_before_or_after_the_file_is_replaced_loses_nothing(
    added, songs, light, monkeypatch, sad_tracks, where
):
    before = {path: dict(mutagen.File(path).tags) for path in songs.rglob("[a-d].flac")}
    real = getattr(tagging, where)

    def die(*arguments):
        if where == "_keep_record":  # killed after this, before the file is replaced
            real(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tagging, where, die)
        with pytest.raises(KeyboardInterrupt):
            write_tags(added)
    replaced = where == "_update"
    assert bool(fields(songs / "a.flac")[MOOD]) == replaced
    monkeypatch.setattr("msr_utils.library.analysis.FilePrediction", None)  # never used
    rescanned = indexing.rescan(added, light, progress=False)
    assert rescanned.counts["retagged"] == replaced
    assert write_tags(added).counts["written"] == 4 - replaced
    assert undo_tags(added).counts == {"undone": 4}
    assert before == {path: dict(mutagen.File(path).tags) for path in before}


@needs_mounts
@pytest.mark.slow
def test_a_full_disk_stops_no_other_file(added, songs, tmp_path):
    """The disk has room for the files and for one copy, but not for the large one's."""
    code = """
import shutil, sys
from pathlib import Path
import numpy as np, soundfile as sf
from msr_utils.inference.model import load
from msr_utils.library import indexing
from msr_utils.library.library import Library
from msr_utils.library.tagging import write_tags
music = Path(sys.argv[1])
noise = np.random.default_rng(0).uniform(-0.5, 0.5, 22050 * 30)
sf.write(music / "a large.wav", noise, 22050)
sf.write(music / "b small.flac", noise[:22050], 22050)
library = Library(sys.argv[2], create=True)
indexing.add(library, load("light"), [music], progress=False)
report = write_tags(library)
print(sorted(report.counts.items()), report.listed)
print(sorted(path.name for path in music.iterdir()))
"""
    music = tmp_path / "disk"
    music.mkdir()
    script = (
        f"mount -t tmpfs -o size=2m none {music} && exec {sys.executable} -c '{code}' "
        f"{music} {tmp_path / 'other'}"
    )
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "('failed', 1)" in done.stdout and "('written', 1)" in done.stdout
    assert "No space left on device" in done.stdout
    assert "['a large.wav', 'b small.flac']" in done.stdout


# ------------------------------------------------------------------------------ words


def test_words_are_those_that_find_calls_confident(random_view):
    from msr_utils.library.regions import probability
    from msr_utils.library.words import ANGLES, word_region

    rows = np.arange(200)
    with_words = 0
    for row in rows:
        shard, k = random_view.place(int(row))
        word = track_mood(shard.track(k).numbers, "m").word
        chances = {
            known: float(probability(random_view, word_region(known), np.array([row]))[0])
            for known in ANGLES
        }
        assert not word or chances[word] >= 0.5
        assert bool(word) == any(chance >= 0.5 for chance in chances.values())
        with_words += bool(word)
    assert 0 < with_words < 200


def test_silence_gets_no_mood(tmp_path, light):
    import soundfile as sf

    music = tmp_path / "music"
    music.mkdir()
    sf.write(music / "x.flac", np.zeros(22050 * 2), 22050)
    library = Library(tmp_path / "library", create=True)
    indexing.add(library, light, [music], progress=False)
    assert write_tags(library).counts == {"silent": 1}
    assert not fields(music / "x.flac")["MSR_MODEL"]
    library.close()


def test_audio_that_cannot_be_decoded_has_no_hash(tmp_path):
    (tmp_path / "x.mp3").write_text("nothing")
    with pytest.raises(AudioError):
        audio_hash(tmp_path / "x.mp3")


def test_an_older_library_gets_the_table(added):
    with added.catalogue.engine.begin() as connection:
        connection.exec_driver_sql("drop table tagged")
    assert undo_tags(added).counts == {}
