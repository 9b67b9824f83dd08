"""Host names under which the service answers."""

from __future__ import annotations

import ipaddress

from serve.config import ServiceConfig

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


def allowed_hosts(config: ServiceConfig, host: str) -> frozenset[str] | None:
    """Names that may stand in the header ``Host``; None for any.

    A page of another site can point its own name at a loopback address and then call the service
    of whoever opens it. That needs its own name in ``Host``.

    Parameters
    ----------
    config : ServiceConfig
    host : str
        Address that the service listens on.
    """
    if "*" in config.allowed_hosts or not (config.allowed_hosts or is_loopback(host)):
        return None
    names = (*LOOPBACK_NAMES, *config.allowed_hosts)
    if is_loopback(host):
        names += (f"[{host}]" if ":" in host else host,)
    return frozenset(name.lower().removesuffix(".") for name in names)


def is_loopback(host: str) -> bool:
    """True if only programs of the same machine reach this address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
