"""Counts requests by their route's template: a path that clients choose would be a label without bound."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.metrics.metrics import Metrics
from service.middleware import method_of, route_of

UNANSWERED = "none"


class RequestMeter:
    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), UNANSWERED

        async def watched_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        finally:
            route = route_of(scope)
            self._metrics.requests.labels(route, method_of(scope), status).inc()
            self._metrics.request_s.labels(route).observe(time.monotonic() - began)
