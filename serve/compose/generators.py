"""What the front of the service knows about generators: their cards, and the choice among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from msr_utils.inference.card import VERSION_DIGITS
from msr_utils.io import read_json, sha256_file
from msr_utils.paths import GENERATORS_DIR
from serve.config import ConfigError, ServiceConfig
from serve.logs import log
from serve.request_errors import RequestError

NONE = "this service has no generator; its folder of generators is empty"


@dataclass(frozen=True)
class GeneratorEntry:
    """A generator.

    Parameters
    ----------
    name : str
        Name of its folder.
    folder : Path
    card : mapping
        Content of ``card.json``. A worker reads it with all checks: they need packages that take
        the front's memory.
    """

    name: str
    folder: Path
    card: Mapping[str, Any]

    @property
    def title(self) -> str:
        """Title of the card, or the name."""
        return str(self.card.get("title") or self.name)

    @property
    def version(self) -> str:
        """Start of the hash of the network."""
        return str(self.card["model_sha256"])[:VERSION_DIGITS]


@dataclass(frozen=True)
class Generators:
    """All generators of the service.

    Parameters
    ----------
    entries : mapping of str to GeneratorEntry
        May be empty: the service then composes nothing.
    default : str
        Name of the generator that composes when a request names none; empty without generators.
    """

    entries: Mapping[str, GeneratorEntry]
    default: str = ""

    @classmethod
    def find(cls, config: ServiceConfig) -> Generators:
        """List the generators, and choose the default. A damaged one is left out, with a warning.

        Raises
        ------
        ConfigError
            If there is no generator with the name of the default generator.
        """
        entries = {}
        folder = config.generators_dir or GENERATORS_DIR
        for file in sorted(folder.glob("*/card.json")):
            try:
                entry = _read(file.parent)
            except (OSError, ValueError) as error:
                log.warning("generator left out: %s: %s", file.parent, error)
            else:
                entries[entry.name] = entry
        name = config.default_generator
        if name is not None and name not in entries:
            choice = f"choose from: {', '.join(entries)}" if entries else "there is none"
            raise ConfigError(
                "default_generator",
                f"there is no generator {name!r} in {folder}; {choice}",
            )
        return cls(entries, name or next(iter(entries), ""))

    @property
    def names(self) -> list[str]:
        """Names of all generators."""
        return [*self.entries]

    def choose(self, name: str | None) -> GeneratorEntry:
        """Find a generator by name, or the default.

        Raises
        ------
        RequestError
            If there is no such generator.
        """
        entry = self.entries.get(self.default if name is None else name)
        if entry is None:
            if not self.entries:
                raise RequestError(HTTPStatus.NOT_FOUND, "generator", NONE)
            raise RequestError(
                HTTPStatus.BAD_REQUEST,
                "generator",
                f"there is no generator {name!r}; choose from: {', '.join(self.names)}",
            )
        return entry


def _read(folder: Path) -> GeneratorEntry:
    """Read the card of a generator, and compare the hash of its network.

    Raises
    ------
    OSError, ValueError
        If a file cannot be read, or the card is not that of the network.
    """
    card = read_json(folder / "card.json")
    if not isinstance(card, dict) or not isinstance(card.get("model_sha256"), str):
        raise ValueError("card.json is damaged")
    for name in ("title", "summary", "trained_on", "licence"):
        if not isinstance(card.get(name, ""), str):
            raise ValueError(f"card.json is damaged: {name!r} is no text")
    limits = card.get("limits", [])
    if not isinstance(limits, list) or not all(isinstance(limit, str) for limit in limits):
        raise ValueError("card.json is damaged: 'limits' is no list of texts")
    if sha256_file(folder / "model.onnx") != card["model_sha256"]:
        raise ValueError("model.onnx is not the one of its card")
    return GeneratorEntry(folder.name, folder.absolute(), card)
