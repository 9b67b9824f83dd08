"""Addresses of proxies that are trusted to name the client."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

ANY = ("0.0.0.0/0", "::/0")
"""What ``*`` stands for."""


def parse_proxies(text: str) -> tuple[Network, ...]:
    """Read addresses and networks, such as ``127.0.0.1`` and ``10.0.0.0/8``.

    Parameters
    ----------
    text : str
        With commas or spaces between them; ``*`` for any address.

    Raises
    ------
    ValueError
        If one of them is neither an address nor a network.
    """
    words = text.replace(",", " ").split()
    words = [each for word in words for each in (ANY if word == "*" else (word,))]
    return tuple(ipaddress.ip_network(word, strict=False) for word in words)


class TrustedProxies:
    """The proxies whose ``X-Forwarded-For`` header counts.

    Parameters
    ----------
    networks : iterable of Network
    """

    def __init__(self, networks: Iterable[Network]) -> None:
        self._networks = tuple(networks)
        self._holds = lru_cache(1024)(self._find)

    def __contains__(self, address: str) -> bool:
        """Whether an address is that of a trusted proxy."""
        return bool(self._networks) and self._holds(address)

    def _find(self, text: str) -> bool:
        try:
            address = ipaddress.ip_address(text.partition("%")[0])  # without the interface
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)
