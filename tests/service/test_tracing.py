"""Traces as an exporter gets them: a request and its three phases in the caller's own trace; none while it is off."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from service.app import create_app
from service.server import make_server
from tests.parsers import parse
from tests.raw import stream_path
from tests.server import ROOT, RunningServer, echo_settings, wait_until

WITHIN_S = 60
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
SECRET = "canary"


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def url(spans: InMemorySpanExporter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    with traced(provider, tmp_path_factory) as running:
        yield running


@contextmanager
def traced(provider: TracerProvider, folders: pytest.TempPathFactory) -> Iterator[str]:
    settings = echo_settings(data_dir=folders.mktemp("data"))
    server = make_server(create_app(settings, tracer=provider.get_tracer("test")), settings)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, WITHIN_S, "the server listens")
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    wait_until(lambda: httpx.get(f"{url}/readyz").is_success, WITHIN_S, "it is ready")
    yield url
    server.handle_exit(15, None)
    thread.join(WITHIN_S)
    assert not thread.is_alive()


def named(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name == name]


def test_a_request_and_its_phases_are_in_the_callers_trace(url: str, spans: InMemorySpanExporter) -> None:
    prompt = f"{SECRET} one two [[echo tps=50 prefill_ms=100]]"
    answer = httpx.get(url + stream_path(prompt), headers={"traceparent": f"00-{TRACE}-{CALLER}-01"})
    stream_id = parse(answer.content)[0].json["stream_id"]
    wait_until(lambda: named(spans, "GET /chat/stream"), WITHIN_S, "the request's span has ended")
    (asked,) = named(spans, "GET /chat/stream")
    assert asked.context is not None
    assert asked.parent is not None
    assert f"{asked.context.trace_id:032x}" == TRACE
    assert f"{asked.parent.span_id:016x}" == CALLER
    assert asked.attributes is not None
    assert asked.attributes["http.response.status_code"] == 200
    phases = [named(spans, name)[0] for name in ("queue", "prefill", "decode")]
    for phase in phases:
        assert phase.parent is not None
        assert phase.parent.span_id == asked.context.span_id
        assert phase.attributes is not None
        assert phase.attributes["headwater.stream_id"] == stream_id
    ends = [(phase.start_time, phase.end_time) for phase in phases]
    assert ends[0][1] == ends[1][0]
    assert ends[1][1] == ends[2][0]
    prefill_ns = (ends[1][1] or 0) - (ends[1][0] or 0)
    assert prefill_ns >= 75_000_000
    assert SECRET not in " ".join(span.to_json() for span in spans.get_finished_spans())


def test_a_failed_answer_has_its_phases_as_far_as_it_came(url: str, spans: InMemorySpanExporter) -> None:
    assert httpx.post(f"{url}/predict", json={"text": "one two [[echo fail_at=1]]"}).status_code == 500
    wait_until(lambda: named(spans, "POST /predict"), WITHIN_S, "the request's span has ended")
    (asked,) = named(spans, "POST /predict")
    assert asked.status.status_code is StatusCode.ERROR
    (decode,) = named(spans, "decode")
    assert decode.attributes is not None
    assert decode.attributes["headwater.error"] == "step_failed"


def test_while_it_is_off_nothing_of_it_is_imported(server: RunningServer) -> None:
    code = "import sys, service.app, service.lifespan; print('service.tracing' in sys.modules)"
    code += "; print(any(name.startswith('opentelemetry.sdk') for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["False", "False"]


def test_an_answer_says_where_its_time_went(server: RunningServer) -> None:
    answer = httpx.post(f"{server.url}/predict", json={"text": "one two [[echo prefill_ms=40]]"})
    parts = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
    assert set(parts) == {"queue", "prefill", "decode", "total"}
    assert float(parts["prefill"]) >= 30
    assert float(parts["total"]) >= float(parts["prefill"]) + float(parts["decode"])
    assert httpx.get(f"{server.url}/health").headers["server-timing"].startswith("total;dur=")
