"""Limits as plain ASGI, right behind the gate: it knows who asks and for which route, and the body is not read yet."""

import ipaddress
import logging
from collections.abc import Sequence
from typing import Any

from limits.errors import StorageError
from prometheus_client import Counter
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.access.principal import Principal
from service.errors import problem, shaped
from service.limits.limiter import STREAM_RETRY_AFTER_S, Limiter, Standing
from service.limits.settings import is_free
from service.limits.tokens import CALLER

GENERATING = ("/chat/stream", "/chat/streams", "/predict", "/predict/{model_name}", "/predict-batch", "/invocations")
STREAMING = "/chat/stream"
EVENTS = "/events"
UPLOADING = ("/uploads", "/files", "/process-file", "/process-batch", "/upload-image")
WORDS = {
    "requests": "You have made too many requests.",
    "route": "You have asked for this too often.",
    "tokens": "You have used up your tokens.",
    "upload_bytes": "You have sent as many bytes as you may.",
    "streams": "You have too many streams open.",
}
UNCHECKED = "Limits cannot be checked now; try again."
IPV6_NETWORK_BITS = 64  # what one customer of a provider has at least
_log = logging.getLogger("headwater.limits")


class RateLimits:
    """Finds its `Limiter` in the state of the application."""

    def __init__(self, app: ASGIApp, refused: Counter) -> None:
        self._app = app
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = getattr(scope.get("route"), "path", None)
        if scope["type"] != "http" or route is None or is_free(route):
            await self._app(scope, receive, send)
            return
        limiter: Limiter = scope["app"].state.limiter
        caller = scope["state"][CALLER] = caller_of(scope)
        try:
            standings = await limiter.ask(caller, f"{scope['method']} {route}")
            is_out = bool(standings) and standings[-1].is_refused
            refused = standings[-1] if is_out else await no_room(limiter, scope, route, caller)
        except StorageError as error:
            _log.error("limits cannot be checked: %s", type(error).__name__)
            answer = problem(scope, 503, UNCHECKED, "limits_unavailable", {"Retry-After": "5"})
            await shaped(scope, answer)(scope, receive, send)
            return
        received = spending(receive, limiter, caller) if is_upload(scope, route) else receive
        if refused is not None:
            await self._refuse(scope, receive, send, refused, standings)
        elif is_stream(route):
            await self._stream(scope, received, marked(send, standings), limiter, caller)
        else:
            await self._app(scope, received, marked(send, standings))

    async def _stream(self, scope: Scope, receive: Receive, send: Send, limiter: Limiter, caller: str) -> None:
        if not limiter.open_stream(caller):
            self._refused.inc()
            headers = {"Retry-After": str(STREAM_RETRY_AFTER_S)}
            await problem(scope, 429, WORDS["streams"], headers=headers)(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            limiter.close_stream(caller)

    async def _refuse(
        self, scope: Scope, receive: Receive, send: Send, refused: Standing, standings: Sequence[Standing]
    ) -> None:
        self._refused.inc()
        headers = {"Retry-After": str(max(refused.reset_s, 1))}
        words = f"{WORDS[refused.rule.kind]} Wait {max(refused.reset_s, 1)} s."
        shown = standings if refused in standings else [*standings, refused]
        answer = shaped(scope, problem(scope, 429, words, headers=headers))
        await answer(scope, receive, marked(send, shown))


def caller_of(scope: Scope) -> str:
    """The key or user who asks, else the address it comes from."""
    principal: Principal | None = scope["state"].get("principal")
    if principal is not None and principal.credential != "none":
        return f"principal:{principal.id}"
    return address_of(scope)


def address_of(scope: Scope) -> str:
    client = scope.get("client")
    return f"address:{network_of(client[0])}" if client else "address:local"


def network_of(address: str) -> str:
    """Of IPv6 the network: who has one address there has all of it."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address.partition("%")[0], IPV6_NETWORK_BITS), strict=False))
    except ValueError:
        return address


async def no_room(limiter: Limiter, scope: Scope, route: str, caller: str) -> Standing | None:
    if route in GENERATING and (out := await limiter.has_room("tokens", caller)) is not None:
        return out
    if is_upload(scope, route):
        declared = Headers(scope=scope).get("content-length", "")
        return await limiter.has_room("upload_bytes", caller, int(declared[:20]) if declared.isdecimal() else 1)
    return None


def is_stream(route: str) -> bool:
    return route == STREAMING or route.endswith(EVENTS)


def is_upload(scope: Scope, route: str) -> bool:
    takes_files = route.startswith(UPLOADING) or getattr(scope["route"], "takes_files", False)
    return scope["method"] in ("POST", "PUT", "PATCH") and takes_files


def spending(receive: Receive, limiter: Limiter, caller: str) -> Receive:
    async def counted() -> Message:
        message = await receive()
        if size := len(message.get("body", b"")):
            await limiter.spend("upload_bytes", caller, size)
        return message

    return counted


def marked(send: Send, standings: Sequence[Standing]) -> Send:
    """`RateLimit` and `RateLimit-Policy` of draft-ietf-httpapi-ratelimit-headers."""
    if not standings:
        return send
    policies = ", ".join(f'"{one.rule.name}";q={one.rule.quota};w={one.rule.window_s}' for one in standings)
    left = ", ".join(f'"{one.rule.name}";r={one.remaining};t={one.reset_s}' for one in standings)
    added = [(b"ratelimit-policy", policies.encode()), (b"ratelimit", left.encode())]

    async def marked_send(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers: list[Any] = [*message.get("headers", ()), *added]
            message["headers"] = headers
        await send(message)

    return marked_send
