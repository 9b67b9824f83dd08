"""DEAM: 1802 songs of the Free Music Archive with valence and arousal at 2 Hz.

Aljanaki, Yang and Soleymani (2017), "Developing a benchmark for emotional analysis of
music", PLoS ONE 12(3), https://doi.org/10.1371/journal.pone.0173392

Protocols (see `msr_utils.dataset.splits.splits_of`), with the audio in ``data/deam``:

``msr run --corpus deam --data data/deam``
    MediaEval 2015: trained on songs up to 2000, tested on the 58 whole songs 2001..2058; RMSE
    and r per song, mean and standard deviation (Aljanaki and others 2015, "Emotion in Music
    task at MediaEval 2015").
``msr run --corpus deam --data data/deam --edition local-dev -p folds 10``
    Ten-fold cross-validation by artist on songs up to 2000, frames pooled. MediaEval's own
    development set, 431 of these songs, is not marked in the release.

In the release, the song-level file has valence and arousal swapped for the songs of 2013. The
loader detects this from the data and corrects it, see `static_audit`.
"""

from msr_utils.corpora.deam.loader import load_deam
from msr_utils.corpora.deam.songs import CARD, EXCERPT_S, SONGS
from msr_utils.corpora.deam.static import StaticAudit, static_audit

__all__ = ["CARD", "EXCERPT_S", "SONGS", "StaticAudit", "load_deam", "static_audit"]
