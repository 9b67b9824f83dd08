"""What can be set when the service starts, and what those settings default to."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from msr_utils.inference import MODELS_DIR

ENV_PREFIX = "MSR_"


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
        Model that answers when a request names none. By default the first recurrent one,
        because it answers in one pass, or else the first.
    max_upload_bytes : int > 0
        Largest audio file accepted.
    max_seconds : float > 0
        Longest audio accepted, counted while decoding.
    threads : int > 0
        Requests answered at the same time; each keeps one core busy while it predicts.

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

    def __post_init__(self) -> None:
        object.__setattr__(self, "models_dir", Path(self.models_dir))
        if not self.models_dir.is_dir():
            raise ConfigError(f"models_dir: there is no folder {self.models_dir}")
        for name in ("max_upload_bytes", "max_seconds", "threads"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
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


_READERS = {
    "models_dir": (Path, "a folder"),
    "default_model": (str, "the name of a model"),
    "max_upload_bytes": (int, "a whole number of bytes"),
    "max_seconds": (float, "a number of seconds"),
    "threads": (int, "a whole number"),
}
assert set(_READERS) == {field.name for field in fields(ServiceConfig)}
