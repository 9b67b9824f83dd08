"""The folder corpus: anyone's own audio and annotations, as CSV files.

``tracks.csv``
    ``track_id, file, group`` and optionally ``title, artist, genre, split, quadrant,
    duration_s``. ``file`` is relative to the folder. ``group`` is the artist or series.
    ``split`` is ``train``, ``validation`` or ``test``, for all tracks or for none. ``quadrant``
    is ``Q1`` to ``Q4``.
``annotations.csv``
    ``track_id, time_s, arousal, valence``. A row describes the 500 ms that end at ``time_s``.
``ratings.csv`` (optional)
    ``track_id, rater, time_s, arousal, valence``. A rating holds from the rater's previous
    ``time_s``, or from the start of the audio, up to its own ``time_s``. Empty values mean that
    the rater gave no rating in this span. Without ``annotations.csv`` the mean over raters is
    the curve.
``raters.csv`` (optional)
    ``rater`` and any columns that describe the person: one row per rater. With a column
    ``track_id`` there is one row per rater and track.
``midi.csv`` (optional)
    ``track_id, file``: the notes of tracks, such as ``midi/x.mid``. Tracks may lack them.
``card.yml`` (optional)
    ``title, source, licence, citation, notes``: source of the data and terms of use.

A folder with neither annotations nor ratings needs a quadrant for every track.
"""

from msr_utils.corpora.folder.loader import load_folder

__all__ = ["load_folder"]
