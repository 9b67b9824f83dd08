"""Notes of MIDI files: read, written, cut, altered; and files that are none."""

from __future__ import annotations

import numpy as np
import pytest
import symusic
from note_files import piece

from msr_utils.corpora.base import CorpusError
from msr_utils.corpora.midi import MAX_SECONDS, read_midi
from msr_utils.notes import Notes, write_midi


def test_what_is_written_is_read(tmp_path):
    notes = piece()
    notes = Notes(
        notes.start_s, notes.length_s, notes.pitch, notes.velocity, np.array([[0.5, 1.5], [2, 3]])
    )
    write_midi(notes, tmp_path / "x.mid")
    read = read_midi(tmp_path / "x.mid")
    for name in ("start_s", "length_s", "pedals_s"):
        np.testing.assert_allclose(getattr(read, name), getattr(notes, name), atol=1.1e-3)
    np.testing.assert_array_equal(read.pitch, notes.pitch)
    np.testing.assert_array_equal(read.velocity, notes.velocity)
    assert (np.diff(read.start_s) >= 0).all()
    assert read.end_s == pytest.approx(notes.end_s, abs=1e-3)
    before = (tmp_path / "x.mid").read_bytes()
    write_midi(notes, tmp_path / "x.mid")
    assert (tmp_path / "x.mid").read_bytes() == before


def test_tempo_and_tracks_of_a_file_become_seconds(tmp_path):
    score = symusic.Score(96)
    for program, drum, pitch in ((0, False, 60), (5, False, 72), (0, True, 36)):
        track = symusic.Track("", program, drum)
        track.notes = [symusic.Note(192, 96, pitch, 90)]
        score.tracks.append(track)
    score.tempos = [symusic.Tempo(0, 60), symusic.Tempo(96, 120)]
    score.dump_midi(str(tmp_path / "x.mid"))
    notes = read_midi(tmp_path / "x.mid")
    # One beat of 1 s and one of 0.5 s; the drum is left out.
    np.testing.assert_allclose(notes.start_s, [1.5, 1.5])
    np.testing.assert_allclose(notes.length_s, [0.5, 0.5])
    assert notes.pitch.tolist() == [60, 72]


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "not a MIDI file"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "not a MIDI file"),
        (b"MThd\x00\x00\x00\x06\x00\x00\x00\x01\x01\xe0", "x.mid: "),
        (None, "cannot be read"),
    ],
    ids=["empty", "another format", "no track", "absent"],
)
def test_other_files_are_named(tmp_path, content, words):
    path = tmp_path / "x.mid"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CorpusError, match=words) as error:
        read_midi(path)
    assert error.value.file == "x.mid"


def test_files_without_notes_or_with_absurd_times(tmp_path):
    empty = Notes(*(np.empty(0) for _ in range(4)))
    write_midi(empty, tmp_path / "empty.mid")
    with pytest.raises(CorpusError, match="empty.mid: holds no note"):
        read_midi(tmp_path / "empty.mid")
    one = np.ones(1)
    late = Notes(one * (MAX_SECONDS + 1), one, 60 * one.astype(int), 60 * one.astype(int))
    write_midi(late, tmp_path / "late.mid")
    with pytest.raises(CorpusError, match="look for damage"):
        read_midi(tmp_path / "late.mid")


def test_a_truncated_file_is_refused_or_shorter(tmp_path):
    write_midi(piece(), tmp_path / "x.mid")
    content = (tmp_path / "x.mid").read_bytes()
    for size in range(0, len(content), 97):
        (tmp_path / "x.mid").write_bytes(content[:size])
        try:
            found = read_midi(tmp_path / "x.mid")
        except CorpusError:
            continue
        assert 0 < len(found) <= len(piece())


def test_between():
    notes = piece(seconds=8.0)
    part = notes.between(2.0, 4.0)
    assert len(part) == 16
    assert part.start_s[0] == 0.0 and part.start_s.max() < 2.0
    assert len(notes.between(100, 110)) == 0 and notes.between(100, 110).end_s == 0


def test_altered():
    notes = piece(seconds=4.0)
    faster = notes.altered(3, 1.25)
    np.testing.assert_array_equal(faster.pitch, notes.pitch + 3)
    np.testing.assert_allclose(faster.end_s, notes.end_s / 1.25)
    high = Notes(np.zeros(2), np.ones(2), np.array([3, 125]), np.array([60, 60]))
    assert high.altered(5).pitch.tolist() == [8, 118]
    assert high.altered(-5).pitch.tolist() == [10, 120]
