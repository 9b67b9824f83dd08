"""A plugin of beets 2 (https://beets.io): moods as flexible fields of its items.

It is installed as ``beetsplug.msr``. Put ``msr`` under ``plugins`` in the configuration of beets,
and, where the defaults do not fit:

.. code-block:: yaml

    msr:
        auto: no        # yes: also when music is imported
        force: no       # yes: also items that have the fields
        library:        # folder of an 'msr library'; the user's own by default
        model:          # bundle for items that are not in it; that of the library, else the best

An item whose file is in the library and has not changed is not analysed again. Other files are
analysed and not added to the library. Files are only read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from beets.dbcore import types
from beets.plugins import BeetsPlugin
from beets.ui import Subcommand

from msr_utils import paths
from msr_utils.audio.source import AudioError
from msr_utils.inference.model import BundleError, Model, load, load_default
from msr_utils.library.analysis import analyse
from msr_utils.library.library import Library, model_key
from msr_utils.library.moods import TrackMood, track_mood
from msr_utils.library.shards import LibraryError
from msr_utils.library.tags import Tags

if TYPE_CHECKING:
    from beets.importer import ImportSession, ImportTask
    from beets.library import Item
    from beets.library import Library as BeetsLibrary

DECIMALS = types.Float(3)
"""A number of which beets shows three decimals; by default it shows one."""

VALUES = ("msr_valence", "msr_arousal")
ENDS = ("low", "high")
WORD, MODEL = "msr_mood", "msr_model"


class MoodSource:
    """Moods of files: from an index where it has them, else from a model.

    Parameters
    ----------
    folder : Path
        Of the index. It need not exist.
    model : str
        Bundle; empty: that of the index, else the default.

    Raises
    ------
    LibraryError
        If the index is damaged, or the model that was named is not the one it was made with.
        If a bundle that is named cannot be loaded.
    """

    def __init__(self, folder: Path, model: str = "") -> None:
        self._library: Library | None = None
        self._model: Model | None = None
        self._name, self.key = model, ""
        if (folder / "catalogue.sqlite").is_file():
            self._library = Library(folder)
            facts = self._library.catalogue.facts()
            self.key = facts.get("model", "")
            self._name = self._name or facts.get("model_name", "")
        if model or not self.key:
            self._load()

    def _load(self) -> Model:
        if self._model is None:
            self._model = load(self._name) if self._name else load_default()
            key = model_key(self._model)
            if self.key and key != self.key:
                raise LibraryError(
                    f"the library was made with {self.key}, this is {key}; values of two models "
                    "cannot be compared: name another library or model in the configuration"
                )
            self.key = key
        return self._model

    def mood(self, path: Path) -> TrackMood:
        """Mood of a file.

        Raises
        ------
        AudioError, OSError
            If the file cannot be read or decoded.
            If the model is needed and cannot be used.
        """
        if self._library is not None:
            known = self._library.catalogue.known_file(os.path.abspath(path))
            found = path.stat()
            if known and (known.size, known.mtime_ns) == (found.st_size, found.st_mtime_ns):
                arrays = self._library.arrays(known.shard, known.row, known.id)
                if arrays is not None:
                    return track_mood(arrays.numbers, self.key)
        model = self._load()
        with open(path, "rb") as file:
            _, arrays, _ = analyse(model, file, Tags())
        return track_mood(arrays.numbers, self.key)

    def close(self) -> None:
        """Close the index."""
        if self._library is not None:
            self._library.close()


def item_fields(mood: TrackMood) -> dict[str, float | str]:
    """Flexible fields of an item."""
    fields: dict[str, float | str] = {}
    for name in VALUES:
        target = name.removeprefix("msr_")
        fields[name] = round(mood.mean[target], 3)
        for end, value in zip(ENDS, mood.interval[target], strict=True):
            fields[f"{name}_{end}"] = round(value, 3)
    return {**fields, WORD: mood.word, MODEL: mood.model}


class MsrPlugin(BeetsPlugin):
    """Sets the fields by the command ``beet msr``, and on import if it is told to."""

    item_types: ClassVar[dict[str, types.Type]] = {
        **{name: DECIMALS for name in VALUES},
        **{f"{name}_{end}": DECIMALS for name in VALUES for end in ENDS},
        WORD: types.STRING,
        MODEL: types.STRING,
    }

    def __init__(self) -> None:
        super().__init__()
        self.config.add({"auto": False, "force": False, "library": "", "model": ""})
        if self.config["auto"].get(bool):
            self.import_stages = [self.imported]

    def commands(self) -> list[Subcommand]:
        """The command ``beet msr``."""
        command = Subcommand("msr", help="set valence, arousal and the mood word of items")
        command.parser.add_option(
            "-f", "--force", action="store_true", default=False, help="also where they are set"
        )
        command.func = self.command
        return [command]

    def command(self, lib: BeetsLibrary, opts: Any, args: list[str]) -> None:
        """Set the fields of the items that match a query."""
        force = opts.force or self.config["force"].get(bool)
        self.set_fields(lib.items(args), force)

    def imported(self, session: ImportSession, task: ImportTask) -> None:
        """Set the fields of items that are being imported."""
        self.set_fields(task.imported_items(), self.config["force"].get(bool))

    def set_fields(self, items: Iterable[Item], force: bool) -> None:
        """Set the fields of items. One that cannot be analysed is logged, and the rest goes on."""
        folder = self.config["library"].get() or os.environ.get("MSR_LIBRARY") or paths.LIBRARY
        counts = {"set": 0, "had them": 0, "failed": 0}
        try:
            source = MoodSource(Path(folder).expanduser(), self.config["model"].get() or "")
        except (LibraryError, BundleError) as error:
            self._log.error("{}", error)
            return
        try:
            for item in items:
                counts[self._set(item, source, force)] += 1
        except (LibraryError, BundleError) as error:
            self._log.error("{}", error)
        finally:
            source.close()
        self._log.info("{}", ", ".join(f"{kind}: {n}" for kind, n in counts.items()))

    def _set(self, item: Item, source: MoodSource, force: bool) -> str:
        """Set the fields of one item; what became of it."""
        if not force and item.get(MODEL) == source.key:
            return "had them"
        path = Path(os.fsdecode(item.path))
        try:
            mood = source.mood(path)
        except (AudioError, OSError) as error:
            self._log.warning("{}: {}", path, error)
            return "failed"
        if mood.silent:
            self._log.warning("{}: is silent", path)
            return "failed"
        item.update(item_fields(mood))
        item.store()
        return "set"
