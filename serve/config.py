"""Settings of the service, from the environment and the command line."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    DirectoryPath,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from msr_utils.generation.limits import MAX_SECONDS as MAX_PIECE_SECONDS
from msr_utils.library.places import POSTGRESQL
from msr_utils.paths import MODELS_DIR
from serve.logs import log
from serve.proxies import Network, parse_proxies

ENV_PREFIX = "MSR_"

MAX_LONG = 4
"""Long tasks that run at the same time, or as many as there are workers, if these are more."""

OLD_WORKERS = "MSR_THREADS"
"""Name of MSR_WORKERS in version 0.2."""

MIN_KEY_LENGTH = 16

STORE_URL = re.compile(re.escape(POSTGRESQL) + r"://\S+")
"""What the URL of a database looks like."""

SECRETS = ("secret_key", "library_token", "library_store")
"""Settings whose values are never shown."""


class ConfigError(ValueError):
    """A setting that cannot be used.

    Parameters
    ----------
    field : str
        Name of the setting, or of its environment variable.
    message : str
        What is wrong, and what is allowed.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(field, message)
        self.field, self.message = field, message

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


@dataclass(frozen=True)
class Allowed:
    """Marks a type with the values that it allows, in words for an error message."""

    text: str


def n_cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _split(value: object) -> object:
    """Split text at commas and spaces; leave anything else as it is."""
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


def _split_lower(value: object) -> object:
    """The same for names in which capitals mean nothing. Browsers send them in small letters."""
    return _split(value.lower() if isinstance(value, str) else value)


def _proxies(value: object) -> object:
    return parse_proxies(value) if isinstance(value, str) else value


Folder = Annotated[DirectoryPath, Allowed("an existing folder")]
OptionalFolder = Annotated[DirectoryPath | None, Allowed("an existing folder")]
Bytes = Annotated[int, Field(gt=0), Allowed("a whole number of bytes, greater than 0")]
Count = Annotated[int, Field(gt=0), Allowed("a whole number greater than 0")]
OptionalCount = Annotated[int | None, Field(gt=0), Allowed("a whole number greater than 0")]
Workers = Annotated[int, Field(ge=0), Allowed("a whole number, 0 or greater")]
Seconds = Annotated[
    float, Field(gt=0, allow_inf_nan=False), Allowed("a number of seconds, greater than 0")
]
PieceSeconds = Annotated[
    float,
    Field(gt=0, le=MAX_PIECE_SECONDS, allow_inf_nan=False),
    Allowed(f"a number of seconds, greater than 0 and at most {MAX_PIECE_SECONDS:g}"),
]
Origin = Annotated[str, StringConstraints(pattern=r"^(\*|https?://[^/\s*?#@\\]+)$")]
Origins = Annotated[
    tuple[Origin, ...],
    NoDecode,  # not JSON
    BeforeValidator(_split_lower),
    Allowed("origins without a path such as https://example.org, with commas between, or *"),
]
HostName = Annotated[str, StringConstraints(pattern=r"^(\*|\[[0-9a-fA-F:.]+\]|[^/\s*:\[\]]+)$")]
HostNames = Annotated[
    tuple[HostName, ...],
    NoDecode,
    BeforeValidator(_split),
    Allowed("host names without a port such as music.example.org, with commas between, or *"),
]
Proxies = Annotated[
    tuple[Network, ...],
    NoDecode,
    BeforeValidator(_proxies),
    Allowed("addresses or networks such as 127.0.0.1 or 10.0.0.0/8, with commas between, or *"),
]
SecretKey = Annotated[
    SecretStr | None,
    Field(min_length=MIN_KEY_LENGTH),
    Allowed(f"text of at least {MIN_KEY_LENGTH} characters"),
]


def _store_url(value: SecretStr | None) -> SecretStr | None:
    if value is not None and not STORE_URL.fullmatch(value.get_secret_value()):
        raise ValueError("not a URL of a database")
    return value


StoreUrl = Annotated[
    SecretStr | None,
    AfterValidator(_store_url),
    Allowed(f"a URL such as {POSTGRESQL}://user@host/db"),
]


class ServiceConfig(BaseSettings):
    """Settings of the service.

    Each setting is read from the environment variable ``MSR_`` plus its name in capitals, unless
    it is given as an argument. An empty variable counts as not set.

    Parameters
    ----------
    models_dir : Path
        Folder of the model bundles.
    generators_dir : Path, optional
        Folder of the generators of music. By default ``serve/generators``, if it is there. Without
        any, the service composes nothing.
    default_generator : str, optional
        Generator that composes when a request names none. By default the first one by name.
    default_model : str, optional
        Model that answers when a request names none. By default ``full``, else ``light``, else
        the first causal model, else the first model.
    max_upload_bytes : int > 0
        Largest audio file accepted.
    max_seconds : float > 0
        Longest audio accepted, counted while decoding.
    workers : int >= 0
        Worker processes for short requests: one for each core by default. Each keeps one core
        busy while it predicts. With 0 this process does the work itself, and nothing limits its
        time and memory: for tests and debugging.
    max_queue : int > 0
        Requests of a lane that wait for a worker. Further requests are refused.
    max_wait_seconds : float > 0
        Longest time that a request waits.
    max_work_seconds : float > 0
        Longest time spent on decoding and predicting one file.
    max_chunk_seconds : float > 0
        Longest chunk of live audio accepted.
    max_piece_seconds : float > 0
        Longest piece that is composed, at most 300 s.
    max_state_seconds : float > 0
        Greatest age of a live-audio state that is accepted.
    stop_seconds : float > 0
        Time to finish running requests after the service is told to stop.
    max_receive_seconds : float > 0
        Longest time that a request may take to arrive.
    max_per_client : int > 0, optional
        Requests of one client address that run or wait at the same time. By default there is no
        limit: one client may fill the queue. Behind a proxy, set `trusted_proxy` too.
    max_connections : int > 0
        Connections open at the same time. At the limit, the connection that has been idle longest
        is closed to let another in. The limit is lower where the system allows fewer open files.
    max_connections_per_client : int > 0, optional
        Connections of one address. By default there is no limit of its own. It does not apply to
        the trusted proxy.
    max_spool_bytes : int > 0
        Bytes of all uploads that are stored at the same time, in memory and in temporary files.
    trusted_proxy : tuple of networks
        Addresses of the proxies whose ``X-Forwarded-For`` header names the client, such as
        ``127.0.0.1`` or ``10.0.0.0/8``, or ``*`` for any. By default none.
    allowed_hosts : tuple of str
        Names under which the service is addressed, or ``*`` for any. The loopback names are always
        allowed. By default, a service that listens on a loopback address allows only these, and
        any other service allows every name.
    allowed_origins : tuple of str
        Origins whose pages may read the API's answers (CORS), such as ``https://example.org``,
        or ``*`` for all. By default none.
    secret_key : str, optional
        Key that signs the states of live audio. All processes that share the work need the same
        key. By default each process makes its own.
    library : Path, optional
        Folder of a music library, see `msr_utils.library`, which is served as well.
    library_store : str, optional
        URL of the PostgreSQL database of a library for many machines. The folder then keeps copies;
        it need not be given.
    library_token : str, optional
        Whoever sends it as a bearer token may change what listeners said about tracks. By default
        the library is read-only.

    Raises
    ------
    pydantic.ValidationError
        If a value is not allowed.
    """

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_ignore_empty=True, frozen=True)

    models_dir: Folder = MODELS_DIR
    default_model: str | None = None
    generators_dir: OptionalFolder = None
    default_generator: str | None = None
    max_upload_bytes: Bytes = 50_000_000
    max_seconds: Seconds = 900.0
    workers: Workers = Field(default_factory=n_cores)
    max_queue: Count = 16
    max_wait_seconds: Seconds = 30.0
    max_work_seconds: Seconds = 120.0
    max_chunk_seconds: Seconds = 10.0
    max_piece_seconds: PieceSeconds = MAX_PIECE_SECONDS
    max_state_seconds: Seconds = 600.0
    stop_seconds: Seconds = 20.0
    max_receive_seconds: Seconds = 300.0
    max_per_client: OptionalCount = None
    max_connections: Count = 512
    max_connections_per_client: OptionalCount = None
    max_spool_bytes: Bytes = 500_000_000
    trusted_proxy: Proxies = ()
    allowed_hosts: HostNames = ()
    allowed_origins: Origins = ()
    secret_key: SecretKey = None
    library: OptionalFolder = None
    library_store: StoreUrl = None
    library_token: SecretKey = None

    @property
    def threads(self) -> int:
        """Threads of requests that run, or that wait in another than the first queue."""
        return 3 * max(self.workers, MAX_LONG) + 2 * self.max_queue

    @classmethod
    def from_env(cls, **overrides: Any) -> ServiceConfig:
        """Read the settings, and explain in one line what is wrong.

        Parameters
        ----------
        **overrides
            Settings that replace those of the environment, such as command-line options. None
            means that the setting is not given.

        Raises
        ------
        ConfigError
            If a value is not allowed.
        """
        given = {name: value for name, value in overrides.items() if value is not None}
        if os.environ.get(OLD_WORKERS) and not os.environ.get(f"{ENV_PREFIX}WORKERS"):
            log.warning("%s is now called %sWORKERS; use the new name", OLD_WORKERS, ENV_PREFIX)
            given.setdefault("workers", os.environ[OLD_WORKERS])
        try:
            return cls(**given)
        except ValidationError as errors:
            raise _config_error(errors, given) from None


VARIABLES = tuple(ENV_PREFIX + name.upper() for name in ServiceConfig.model_fields)
"""Environment variables that are read."""


def _config_error(errors: ValidationError, given: dict[str, Any]) -> ConfigError:
    """Explain the first of pydantic's errors."""
    error = errors.errors(include_url=False)[0]
    name = str(error["loc"][0])
    field = name if name in given else ENV_PREFIX + name.upper()
    if name not in ServiceConfig.model_fields:
        return ConfigError(name, f"no such setting; choose from {', '.join(VARIABLES)}")
    metadata = ServiceConfig.model_fields[name].metadata
    allowed = next((item.text for item in metadata if isinstance(item, Allowed)), error["msg"])
    # The value of a key must not reach the log.
    value = "" if name in SECRETS else f", not {str(error['input'])!r}"
    return ConfigError(field, f"must be {allowed}{value}")
