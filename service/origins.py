"""Which pages may call: the configured origins and our own, as browsers name them."""

import re
from collections.abc import Collection

ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)
NULL = "null"  # of sandboxed frames, files and redirects: anybody's page can have it
EVERY = "*"
DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def is_origin(text: str) -> bool:
    return text in (EVERY, NULL) or ORIGIN.fullmatch(text) is not None


class Origins:
    def __init__(self, listed: Collection[str]) -> None:
        self._listed = frozenset(one if one in (EVERY, NULL) else one.lower() for one in listed)

    @property
    def has_every(self) -> bool:
        return EVERY in self._listed

    def is_listed(self, origin: str) -> bool:
        """`*` stands for every origin that is one; `null` is listed by its name or not at all."""
        if origin == NULL:
            return NULL in self._listed
        return self.has_every or origin.lower() in self._listed

    def may_call(self, origin: str, host: str) -> bool:
        return self.is_listed(origin) or is_same(origin, host)


def is_same(origin: str, host: str) -> bool:
    """Whether a page of this origin came from this host. Behind a proxy the scheme is not known, and not compared."""
    scheme, _, place = origin.lower().partition("://")
    port = DEFAULT_PORTS.get(scheme, "")
    return bool(place) and place.removesuffix(port) == host.lower().removesuffix(port)
