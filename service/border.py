"""What browsers are told and kept from, in one layer that every request passes: hosts, origins, CORS, safe headers.

Refusals come before any work. A request without Origin passes, unless its browser says that another site's page made
it: programs send neither header, and a page can leave neither out.
"""

from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import problem
from service.hosts import Hosts
from service.origins import NULL, Origins
from service.preflight import Preflight

SAFE = ("GET", "HEAD", "OPTIONS")
STRICT_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),  # a ticket may stand in the address
    (b"cross-origin-resource-policy", b"same-origin"),  # pages that CORS lets in are not asked
    (b"cross-origin-opener-policy", b"same-origin"),
)
POLICY = b"content-security-policy"
STREAMS = ("/chat/stream",)  # a GET there begins work
EVENTS = "/events"


class Border:
    """`policies`: the Content-Security-Policy of the paths that are pages."""

    def __init__(
        self,
        app: ASGIApp,
        hosts: Hosts,
        origins: Origins,
        preflight: Preflight,
        policies: Mapping[str, str],
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._origins = origins
        self._preflight = preflight
        self._policies = {path: policy.encode() for path, policy in policies.items()}
        self._granted = [(b"access-control-expose-headers", ", ".join(preflight.expose_headers).encode())]
        if preflight.allow_credentials:
            self._granted.append((b"access-control-allow-credentials", b"true"))
        self._says_every = origins.has_every and not preflight.allow_credentials

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        host, origin, site, is_preflight = asked_of(scope)
        added = self._headers_for(scope["path"], origin)

        async def marked_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                add_missing(message, added)
            await send(message)

        if host is not None and not self._hosts.answers_to(host):
            await problem(scope, 400, WRONG_HOST, "host_not_allowed")(scope, receive, marked_send)
        elif is_preflight:
            await self._preflight.response(scope)(scope, receive, marked_send)
        elif does_work(scope) and not self._may_call(origin, site, host):
            await problem(scope, 403, WRONG_ORIGIN, "origin_not_allowed")(scope, receive, marked_send)
        else:
            await self._app(scope, receive, marked_send)

    def _may_call(self, origin: bytes | None, site: bytes | None, host: bytes | None) -> bool:
        if origin is not None:
            return self._origins.may_call(origin.decode("latin-1"), (host or b"").decode("latin-1"))
        return site is None or site in (b"same-origin", b"none")

    def _headers_for(self, path: str, origin: bytes | None) -> list[tuple[bytes, bytes]]:
        added = [*SAFE_HEADERS, (POLICY, self._policies.get(path, STRICT_POLICY.encode()))]
        if not self._says_every:
            added.append((b"vary", b"Origin"))
        if origin is not None and self._origins.is_listed(origin.decode("latin-1")):
            named = b"*" if self._says_every and origin != NULL.encode() else origin
            added += [(b"access-control-allow-origin", named), *self._granted]
        return added


WRONG_HOST = "The service does not answer to this name; its setting HEADWATER_ALLOWED_HOSTS lists those it does."
WRONG_ORIGIN = "Pages of this origin may not do that; the setting HEADWATER_CORS_ORIGINS lists those that may."


def asked_of(scope: Scope) -> tuple[bytes | None, bytes | None, bytes | None, bool]:
    """Host, Origin, Sec-Fetch-Site, and whether it is a preflight."""
    host = origin = site = method = None
    for name, value in scope["headers"]:
        if name == b"host":
            host = value
        elif name == b"origin":
            origin = value if origin is None else b"%b, %b" % (origin, value)  # two are none that is listed
        elif name == b"sec-fetch-site":
            site = value
        elif name == b"access-control-request-method":
            method = value
    return host, origin, site, method is not None and origin is not None and scope["method"] == "OPTIONS"


def does_work(scope: Scope) -> bool:
    if scope["method"] not in SAFE:
        return True
    path: str = scope["path"]
    return path.startswith(STREAMS) or path.endswith(EVENTS)


def add_missing(message: Message, added: list[tuple[bytes, bytes]]) -> None:
    """A route's own header stays; Vary is a list that grows."""
    headers: list[tuple[bytes, bytes]] = list(message.get("headers", ()))
    present = {name for name, _ in headers}
    headers += [pair for pair in added if pair[0] not in present or pair[0] == b"vary"]
    message["headers"] = headers
