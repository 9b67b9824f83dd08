"""Tables of the catalogue, for SQLite and PostgreSQL."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

VERSION = 1
"""Version of the tables. A library made by another version is refused."""

metadata = MetaData()

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
"""Facts about the library: version of the tables, model."""

roots = Table(
    "roots",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("path", LargeBinary, nullable=False, unique=True),
)
"""Folders that were added."""

tracks = Table(
    "tracks",
    metadata,
    Column("id", Integer, primary_key=True),
    # Bytes: a name of a file need not be text.
    Column("path", LargeBinary, nullable=False, unique=True),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False, default=""),
    Column("audio", Text, nullable=False, default=""),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("warnings", Text, nullable=False, default="[]"),
    Column("seconds", Float),
    Column("artist", Text, nullable=False, default=""),
    Column("title", Text, nullable=False, default=""),
    Column("album", Text, nullable=False, default=""),
    Column("genre", Text, nullable=False, default=""),
    Column("year", Integer),
    Column("tempo", Float),
    Column("shard", Integer),
    Column("row", Integer),
    Column("added", Text, nullable=False),
    Index("tracks_by_audio", "audio"),
    Index("tracks_by_file", "size", "mtime_ns"),
    Index("tracks_by_state", "state"),
    Index("tracks_by_name", "artist", "title"),
)
"""A row for each audio file: what it is, what became of it, where its arrays lie."""

names = Table(
    "names",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("folded", Text, nullable=False),  # without case, for comparisons
    UniqueConstraint("kind", "name"),
)
"""Artists and genres. Shards hold their numbers, so that a filter over all tracks is fast."""

pending = Table(
    "pending",
    metadata,
    Column("track", Integer, primary_key=True),
    Column("arrays", LargeBinary, nullable=False),
)
"""Arrays of tracks that are not in a shard yet."""

shards = Table(
    "shards",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("tracks", Integer, nullable=False),
    Column("frames", Integer, nullable=False),
)
"""Shards that count. A folder of arrays without a row here is left over, and removed."""

shard_files = Table(
    "shard_files",
    metadata,
    Column("shard", Text, primary_key=True),
    Column("part", Text, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)
"""Files of shards by the shard's name, where the catalogue is for many machines. Each machine keeps
copies, which are mapped into memory. Without other machines, it stays empty."""

queue = Table(
    "queue",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("path", LargeBinary, nullable=False, unique=True),
    Column("attempts", Integer, nullable=False, default=0),
)
"""Files that are to be looked at, where several machines write. A writer locks the row of the file
that it works on; if it dies, the database frees the row. Else it stays empty."""

hidden = Table(
    "hidden",
    metadata,
    Column("shard", Integer, primary_key=True),
    Column("row", Integer, primary_key=True),
    Column("dropped", Boolean, nullable=False),
)
"""Rows of shards that searches leave out. A dropped one is lost when its shard is merged. The
others belong to files that are gone and may come back."""

tagged = Table(
    "tagged",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("track", Integer, nullable=False, index=True),
    Column("path", LargeBinary, nullable=False),
    Column("before", Text, nullable=False),
    Column("at", Text, nullable=False),
)
"""Files whose tags were written, and as JSON what our fields were before: what undo needs. An older
library of this version has no such table; it is made when tags are written first."""

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("folders", Text, nullable=False),
    Column("started", Text, nullable=False),
    Column("finished", Text),
    Column("to_do", Integer, nullable=False, default=0),
    Column("done", Integer, nullable=False, default=0),
    Column("report", Text, nullable=False, default="{}"),
)
"""Calls of add and rescan. One without an end was stopped."""

preferences = Table(
    "preferences",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("listener", Text, nullable=False),
    Column("audio", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("value", Float, nullable=False),
    Column("at", Text, nullable=False),
    UniqueConstraint("listener", "audio"),
)
"""What a listener said about a track: the last word counts. The audio's hash names the track, so
that a preference survives a move of the file."""
