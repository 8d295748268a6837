"""Which names the service answers to.

A page can let its own name point at this machine (DNS rebinding); its requests then count as same-origin, but their
Host header still carries the page's name. So a name has to be this machine's or listed. An address is nobody's name.
"""

import ipaddress
import socket
from collections.abc import Collection
from functools import lru_cache

EVERY = "*"
REMEMBERED = 256  # hosts that were looked at; clients choose them


class Hosts:
    """`bound_to` is the address that the service listens on."""

    def __init__(self, listed: Collection[str], bound_to: str, own_name: str | None = None) -> None:
        names = [one.lower().rstrip(".") for one in listed]
        self._has_every = EVERY in names
        self._suffixes = tuple(one[1:] for one in names if one.startswith("*."))
        own = own_name if own_name is not None else socket.gethostname()
        self._names = {*names, "localhost", bound_to.strip("[]").lower()}
        self._is_local = is_loopback(bound_to)
        if not self._is_local:
            self._names |= {own.lower(), own.lower().partition(".")[0]}
        self.answers_to = lru_cache(REMEMBERED)(self._answers_to)

    def _answers_to(self, host: bytes) -> bool:
        if self._has_every:
            return True
        name = name_of(host.decode("latin-1"))
        if name in self._names or name.endswith(".localhost") or (name.endswith(self._suffixes) and self._suffixes):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self._is_local


def name_of(host: str) -> str:
    """Without its port and without the brackets of an IPv6 address, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower().rstrip(".")


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
