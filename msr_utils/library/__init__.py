"""An index of a music collection: search by mood, by example and by curve, and playlists.

It needs the extra ``library``. Read `indexing` first for what is stored when, then `search`.
"""
