"""Who asks, when proxies stand between: only hops that the operator declared are believed.

Each proxy adds the address of whoever came to it at the right end of `X-Forwarded-For`. So the client is the first one
from the right that is no declared proxy. What stands left of it the client may have written itself.
"""

import ipaddress
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

FORWARDED_FOR = "x-forwarded-for"
MAX_HOPS = 32


class Proxies:
    """`declared`: addresses and networks, such as `10.0.0.7` and `10.1.0.0/16`. Raises `ValueError` for others."""

    def __init__(self, declared: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(one) for one in declared]

    def is_one(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        return any(found in network for network in self._networks)

    def client_of(self, peer: str, forwarded_for: str) -> str:
        client = peer
        for hop in reversed(forwarded_for.split(",")[-MAX_HOPS:]):
            if not self.is_one(client):
                break
            given = hop.strip()
            if not is_address(given):  # nothing further left can be believed
                break
            client = given
        return client


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class BehindProxies:
    """Puts the client's address where the proxy's stood."""

    def __init__(self, app: ASGIApp, proxies: Proxies) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope.get("client"):
            peer, port = scope["client"]
            given = ",".join(Headers(scope=scope).getlist(FORWARDED_FOR))
            client = self._proxies.client_of(peer, given) if given else peer
            scope["client"] = (client, port if client == peer else 0)
        await self._app(scope, receive, send)
