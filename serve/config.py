"""What can be set when the service starts, and what those settings default to."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from msr_utils.paths import MODELS_DIR

ENV_PREFIX = "MSR_"

MIN_KEY_LENGTH = 16


class ConfigError(ValueError):
    """A setting that cannot be used; the message names it and says what would do."""


@dataclass(frozen=True)
class ServiceConfig:
    """Settings of the service.

    Each can be overridden by an environment variable: ``MSR_`` and the name in capitals.

    Parameters
    ----------
    models_dir : Path
        Folder of the model bundles.
    default_model : str, optional
        Model that answers when a request names none. By default ``full``, else
        ``light``, else the first that answers in one pass, or else the first.
    max_upload_bytes : int > 0
        Largest audio file accepted.
    max_seconds : float > 0
        Longest audio accepted, counted while decoding.
    threads : int > 0
        Requests worked on at the same time; each keeps one core busy while it predicts.
    max_queue : int > 0
        Requests that wait for a thread; the next ones are turned away.
    max_wait_seconds : float > 0
        Longest time that a request waits.
    max_work_seconds : float > 0
        Longest time spent on decoding and predicting one file.
    max_receive_seconds : float > 0
        Longest time that a request may take to arrive.
    max_per_client : int > 0, optional
        Requests of one address that are worked on or wait at the same time. By default one
        client may fill the queue. Behind a proxy, name it in `trusted_proxy` too.
    trusted_proxy : str, optional
        Address of the proxy whose ``X-Forwarded-For`` names the client.
    max_chunk_seconds : float > 0
        Longest chunk of live audio accepted.
    max_state_seconds : float > 0
        Oldest state of live audio accepted.
    allowed_origins : tuple of str
        Origins whose pages may read the API's answers (CORS), such as
        ``https://example.org``, or ``*`` for all. By default none.
    stop_seconds : float > 0
        How long a service that is told to stop finishes what it has begun.
    secret_key : str, optional
        Signs the states of live audio, at least 16 characters; the same in all processes that
        share the work. By default each process makes its own.

    Raises
    ------
    ConfigError
        If a value is out of range or the folder does not exist.
    """

    models_dir: Path = MODELS_DIR
    default_model: str | None = None
    max_upload_bytes: int = 50_000_000
    max_seconds: float = 900.0
    threads: int = 4
    max_queue: int = 16
    max_wait_seconds: float = 30.0
    max_work_seconds: float = 120.0
    max_chunk_seconds: float = 10.0
    max_state_seconds: float = 600.0
    stop_seconds: float = 20.0
    max_receive_seconds: float = 300.0
    max_per_client: int | None = None
    trusted_proxy: str | None = None
    allowed_origins: tuple[str, ...] = ()
    secret_key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "models_dir", Path(self.models_dir))
        if not self.models_dir.is_dir():
            raise ConfigError(f"models_dir: there is no folder {self.models_dir}")
        if self.secret_key is not None and len(self.secret_key) < MIN_KEY_LENGTH:
            raise ConfigError(f"secret_key: must have at least {MIN_KEY_LENGTH} characters")
        for origin in self.allowed_origins:
            if not _ORIGIN.fullmatch(origin):
                raise ConfigError(
                    f"allowed_origins: {origin!r} is no origin; write https://example.org, "
                    "without a path, or *"
                )
        for name, (read, _) in _READERS.items():
            value = getattr(self, name)
            if read in (int, float) and value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{name}: must be greater than 0, not {value}")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> ServiceConfig:
        """Read settings from the environment.

        Parameters
        ----------
        environ : mapping, optional
            ``os.environ`` by default.
        **overrides
            Settings that come first, such as command-line options; None means not given.

        Raises
        ------
        ConfigError
            If a variable does not hold what its setting needs.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for name, (read, wanted) in _READERS.items():
            variable = ENV_PREFIX + name.upper()
            if not environ.get(variable):
                continue
            try:
                values[name] = read(environ[variable])
            except ValueError:
                raise ConfigError(
                    f"{variable}: must be {wanted}, not {environ[variable]!r}"
                ) from None
        values.update({name: value for name, value in overrides.items() if value is not None})
        return cls(**values)


_ORIGIN = re.compile(r"\*|https?://[^/\s*]+")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


_READERS = {
    "models_dir": (Path, "a folder"),
    "default_model": (str, "the name of a model"),
    "max_upload_bytes": (int, "a whole number of bytes"),
    "max_seconds": (float, "a number of seconds"),
    "threads": (int, "a whole number"),
    "max_queue": (int, "a whole number"),
    "max_wait_seconds": (float, "a number of seconds"),
    "max_work_seconds": (float, "a number of seconds"),
    "max_chunk_seconds": (float, "a number of seconds"),
    "max_state_seconds": (float, "a number of seconds"),
    "stop_seconds": (float, "a number of seconds"),
    "max_receive_seconds": (float, "a number of seconds"),
    "max_per_client": (int, "a whole number"),
    "trusted_proxy": (str, "an address"),
    "allowed_origins": (_words, "origins with commas between"),
    "secret_key": (str, "a text"),
}
assert set(_READERS) == {field.name for field in fields(ServiceConfig)}

VARIABLES = tuple(ENV_PREFIX + name.upper() for name in _READERS)
"""Environment variables that are read."""
