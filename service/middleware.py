"""What surrounds every request, as plain ASGI so that disconnects stay visible: ids, access log, errors, body sizes."""

import logging
import re
import secrets
import sys
import time
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import problem, shaped
from service.server_timing import server_timing
from uploads.multipart import is_multipart

NO_REQUEST: Mapping[str, Any] = MappingProxyType({})
REQUEST = ContextVar("request", default=NO_REQUEST)
"""The state of the request that is served: its id, and its owner as soon as that is known."""

ALLOWED_HEADERS = (
    "authorization",
    "content-type",
    "last-event-id",
    "x-api-key",
    "x-request-id",
    "idempotency-key",
    "tus-resumable",
    "upload-checksum",
    "upload-concat",
    "upload-defer-length",
    "upload-length",
    "upload-metadata",
    "upload-offset",
    "x-http-method-override",
    "x-requested-with",
)
EXPOSED_HEADERS = (
    "x-request-id",
    "retry-after",
    "ratelimit",
    "ratelimit-policy",
    "location",
    "cache-status",
    "x-model-used",
    "x-model-version",
    "tus-checksum-algorithm",
    "tus-extension",
    "tus-max-size",
    "tus-resumable",
    "tus-version",
    "upload-defer-length",
    "upload-expires",
    "upload-length",
    "upload-metadata",
    "upload-offset",
    "x-upload-id",
)
PROBES = ("/health", "/livez", "/metrics", "/ping", "/readyz")  # asked several times a second while a model loads
OTHER = "other"
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")

_WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)
_access = logging.getLogger("headwater.access")
_failures = logging.getLogger("headwater.failures")


def new_request_id() -> str:
    return secrets.token_hex(16)


class PlainStart:
    """What keeps the service from starting for the operator's reasons is one line in the log, and no traceback."""

    def __init__(self, app: ASGIApp, told: tuple[type[Exception], ...]) -> None:
        self._app = app
        self._told = told

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def plain_send(message: Message) -> None:
            error = sys.exc_info()[1]
            if message["type"] == "lifespan.startup.failed" and isinstance(error, self._told):
                message["message"] = str(error)
            await send(message)

        await self._app(scope, receive, plain_send if scope["type"] == "lifespan" else send)


class RequestId:
    """Takes over a well-formed `X-Request-ID` or makes one; it is on the answer and on every log line."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _WELL_FORMED.fullmatch(given) else new_request_id()
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        REQUEST.set(state)
        started = time.monotonic()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
                took_ms = (time.monotonic() - started) * 1000
                MutableHeaders(scope=message)["Server-Timing"] = server_timing(state, took_ms)
                log_access(scope, message["status"], took_ms)
            await send(message)

        await self._app(scope, receive, send_with_id)


def log_access(scope: Scope, status: int, took_ms: float) -> None:
    """By the route's template: a path may hold a file's name."""
    told = {
        "method": method_of(scope),
        "route": route_of(scope),
        "status": status,
        "took_ms": round(took_ms, 1),
        "request_bytes": declared_bytes(scope),
    }
    level = logging.DEBUG if scope["path"] in PROBES else logging.INFO
    _access.log(level, "%s %s %d %.1f ms", told["method"], told["route"], status, took_ms, extra=told)


def declared_bytes(scope: Scope) -> int | None:
    """None for a body without a declared length."""
    headers = Headers(scope=scope)
    declared = headers.get("content-length", "")
    if not declared:
        return None if "transfer-encoding" in headers else 0
    return int(declared[:20]) if declared.isdecimal() else None


def route_of(scope: Scope) -> str:
    """`OTHER` for paths without a route of ours, those of the API's description among them."""
    template = getattr(scope.get("route"), "path", None)
    return template if isinstance(template, str) else OTHER


def method_of(scope: Scope) -> str:
    method: str = scope["method"]
    return method if method in METHODS else OTHER


class ErrorBoundary:
    """The outermost handler of our own code: what nobody expected is logged once and told without its words."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_started = False

        async def watched_send(message: Message) -> None:
            nonlocal has_started
            has_started = has_started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        except Exception:  # noqa: BLE001  the outermost handler
            _failures.exception("%s %s failed", method_of(scope), route_of(scope))
            if not has_started:
                answer = problem(scope, 500, "The service failed on this request.")
                await shaped(scope, answer)(scope, receive, send)


class PlainBody:
    """Refuses compressed bodies before they are read: what they unpack to has no bound that could be checked first."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] in ("PATCH", "POST", "PUT"):
            encoding = Headers(scope=scope).get("content-encoding", "")
            if encoding.strip().lower() not in ("", "identity"):
                detail = "A body is taken as it is: send it without Content-Encoding."
                headers = {"Accept-Encoding": "identity", "Connection": "close"}
                await shaped(scope, problem(scope, 415, detail, headers=headers))(scope, receive, send)
                return
        await self._app(scope, receive, send)


class BodyTooLarge(HTTPException):
    def __init__(self, max_bytes: int) -> None:
        super().__init__(413, f"The body is larger than {max_bytes} bytes.")


class BodyLimit:
    """Refuses a body that is declared too large before it is read, and any other at the byte that is too much."""

    def __init__(
        self, app: ASGIApp, max_bytes: int, larger: Mapping[str, int], larger_forms: Mapping[str, int] | None = None
    ) -> None:
        """`larger`: limits for the paths that begin like this. `larger_forms`: for forms with files on a path."""
        self._app = app
        self._max_bytes = max_bytes
        self._larger = larger
        self._larger_forms = larger_forms or {}

    def limit(self, path: str, content_type: str) -> int:
        if path in self._larger_forms and is_multipart(content_type):
            return self._larger_forms[path]
        found = [size for start, size in self._larger.items() if path == start or path.startswith(start + "/")]
        return max(found, default=self._max_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        max_bytes = self.limit(scope["path"], headers.get("content-type", ""))
        declared = headers.get("content-length", "0")
        if declared.isdecimal() and int(declared[:20]) > max_bytes:
            error = BodyTooLarge(max_bytes)
            answer = problem(scope, error.status_code, error.detail, headers={"Connection": "close"})
            await shaped(scope, answer)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > max_bytes:
                raise BodyTooLarge(max_bytes)
            return message

        await self._app(scope, counted, send)
