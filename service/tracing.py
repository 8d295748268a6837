"""Traces for OpenTelemetry, the extra `headwater[otel]`: one span a request, and under it queue, prefill and decode.

Imported only when it is switched on. The engine knows nothing of it: an observer reads the events of its log.
"""

import time
from collections.abc import Iterator
from typing import Any

from opentelemetry import context, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.middleware import method_of, route_of
from streaming.events import Delta, Event, Failed, Finished, Progress, Started, Timings

SERVER_ERROR = 500
NANOSECONDS_A_MS = 1_000_000
_propagator = TraceContextTextMapPropagator()


def otlp_tracer(version: str) -> Tracer:
    """Sends to where the standard variables `OTEL_EXPORTER_OTLP_…` say. Raises `ImportError` without the extra."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  of the extra
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    provider = TracerProvider(resource=Resource.create({"service.name": "headwater", "service.version": version}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider.get_tracer("headwater")


class TraceRequests:
    """A span from a request's head to its answer's last byte, in the trace that `traceparent` names."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        parent = _propagator.extract({name: value for name, value in Headers(scope=scope).items() if "trace" in name})
        span = self._tracer.start_span(method_of(scope), context=parent, kind=SpanKind.SERVER)
        token = context.attach(trace.set_span_in_context(span, parent))
        status = 0

        async def watched_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        finally:
            context.detach(token)
            describe(span, scope, status)
            span.end()


def describe(span: Span, scope: Scope, status: int) -> None:
    """By template and status; a path or an exception may hold a client's words."""
    method, route = method_of(scope), route_of(scope)
    span.update_name(f"{method} {route}")
    span.set_attribute("http.request.method", method)
    span.set_attribute("http.route", route)
    span.set_attribute("headwater.request_id", scope.get("state", {}).get("request_id", ""))
    if status:
        span.set_attribute("http.response.status_code", status)
    if not status or status >= SERVER_ERROR:
        span.set_status(Status(StatusCode.ERROR))


class GenerationSpans:
    """`streaming.log.Observer` of one generation, made while its request is served; it may outlive it."""

    __slots__ = ("_admitted_ns", "_first_ns", "_parent", "_started", "_started_ns", "_tracer")

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._parent = context.get_current()
        self._started: Started | None = None
        self._started_ns = self._admitted_ns = self._first_ns = 0

    def appended(self, event: Event) -> None:
        match event:
            case Delta() if not self._first_ns:
                self._first_ns = time.time_ns()
                self._admitted_ns = self._admitted_ns or self._first_ns
            case Started():
                self._started, self._started_ns = event, time.time_ns()
            case Progress(phase="prefill") if not self._admitted_ns:
                self._admitted_ns = time.time_ns()
            case Finished(timings=timings, finish_reason=reason):
                self._end(spans_of(timings, time.time_ns()), {"headwater.finish_reason": reason})
            case Failed(code=code):
                self._end(self._moments(time.time_ns()), {"headwater.error": code})

    def _moments(self, now_ns: int) -> Iterator[tuple[str, int, int]]:
        """As far as it came."""
        if not self._started_ns:
            return
        admitted_ns, first_ns = self._admitted_ns or now_ns, self._first_ns or now_ns
        yield "queue", self._started_ns, admitted_ns
        if self._admitted_ns:
            yield "prefill", admitted_ns, first_ns
        if self._first_ns:
            yield "decode", first_ns, now_ns

    def _end(self, spans: Iterator[tuple[str, int, int]], how: dict[str, Any]) -> None:
        told: dict[str, Any] = dict(how)
        if self._started is not None:
            told["headwater.stream_id"] = self._started.stream_id
            told["headwater.model"] = self._started.model
            told["headwater.prompt_tokens"] = self._started.prompt_tokens
        for name, begin_ns, end_ns in spans:
            span = self._tracer.start_span(name, context=self._parent, start_time=begin_ns, attributes=told)
            span.end(max(begin_ns, end_ns))


def spans_of(timings: Timings, end_ns: int) -> Iterator[tuple[str, int, int]]:
    """What the engine measured, laid out backwards from the end."""
    decode_ns = end_ns - round(timings.decode_ms * NANOSECONDS_A_MS)
    prefill_ns = decode_ns - round(timings.prefill_ms * NANOSECONDS_A_MS)
    queue_ns = prefill_ns - round(timings.queue_ms * NANOSECONDS_A_MS)
    yield "queue", queue_ns, prefill_ns
    yield "prefill", prefill_ns, decode_ns
    yield "decode", decode_ns, end_ns
