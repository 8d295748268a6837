"""What the parser lets through and we do not: shapes of a request's head that two servers could read differently.

llhttp already refuses bare line feeds, folded lines, control characters, two lengths, a length beside chunks, and sizes
that are no numbers. What is left is here, as plain functions over the parsed head.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

VERSIONS = ("1.0", "1.1")
HOST = re.compile(rb"(?:[A-Za-z0-9._~%!$&'()*+,;=-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
ABSOLUTE = re.compile(rb"https?://([^/?#]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a connection gets no further."""

    status: int
    detail: str
    code: str | None = None
    retry_after_s: int | None = None


NO_TARGET = Fault(400, "The request's target is not a path.")
NO_HOST = Fault(400, "The request has no Host header, or more than one, or one that names no host.")


def fault_in(method: bytes, target: bytes, version: str, headers: Sequence[tuple[bytes, bytes]]) -> Fault | None:
    """`headers` with their names in lower case."""
    if version not in VERSIONS:
        return Fault(400, "Speak HTTP/1.1 or HTTP/1.0.")
    hosts: list[bytes] = []
    for name, value in headers:
        if name == b"host":
            hosts.append(value)
        elif name == b"transfer-encoding" and (version == "1.0" or value.lower() != b"chunked"):
            return Fault(400, "A body may be chunked, in HTTP/1.1, and have no other Transfer-Encoding.")
    if len(hosts) > 1 or (not hosts and version != "1.0") or (hosts and not HOST.fullmatch(hosts[0])):
        return NO_HOST
    return fault_in_target(method, target, hosts[0] if hosts else b"")


def fault_in_target(method: bytes, target: bytes, host: bytes) -> Fault | None:
    if b"#" in target:
        return NO_TARGET
    if target.startswith(b"/"):
        return None if method != b"CONNECT" else NO_TARGET
    if target == b"*" and method == b"OPTIONS":
        return None
    absolute = ABSOLUTE.match(target)
    if absolute is None or absolute[1].lower() != host.lower():
        return NO_TARGET
    return None
