"""Events as bytes. NDJSON and bare text are here; `streaming.sse` is the third encoder over the same entries."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

import orjson

from streaming.events import Citation, Delta, Event, Failed, Finished, Progress, Queued, Started, Usage
from streaming.log import Entry
from streaming.resume import GAP_ID, MESSAGES, GapReason, write_event_id

# Line ends to `str.splitlines` and to naive clients, though not to SSE: escaped, every reader stays whole.
ODD_LINE_ENDS = ((b"\xc2\x85", rb"\u0085"), (b"\xe2\x80\xa8", rb"\u2028"), (b"\xe2\x80\xa9", rb"\u2029"))
CHUNK_BYTES = 16_384
NAMES: Mapping[type[Event], str] = {
    Started: "start",
    Queued: "queue",
    Progress: "progress",
    Citation: "citation",
    Finished: "end",
    Failed: "failed",
}


class Encoder(Protocol):
    """Made for one response, so it may know what it sent before."""

    media_type: str
    heartbeat: bytes
    """What is sent when there is nothing to say; empty for a format that has no such thing."""

    def encode(self, stream_id: str, entry: Entry) -> bytes: ...

    def gap(self, reason: GapReason) -> bytes: ...

    def is_cut(self, last: Event) -> bool:
        """True when the body must end as a broken one, because the format cannot say it or its readers look away."""


class NdjsonEncoder:
    """One JSON object a line: `{"id","event","data"}`."""

    media_type = "application/x-ndjson"
    heartbeat = b""

    def encode(self, stream_id: str, entry: Entry) -> bytes:
        return self._line(write_event_id(stream_id, entry.position), name_of(entry.event), payload(entry.event))

    def gap(self, reason: GapReason) -> bytes:
        return self._line(GAP_ID, "gap", gap_payload(reason))

    def is_cut(self, last: Event) -> bool:
        return isinstance(last, Failed)

    @staticmethod
    def _line(event_id: str, name: str | None, data: dict[str, Any]) -> bytes:
        return dump({"id": event_id, "event": name or "message", "data": data}) + b"\n"


class TextEncoder:
    """The bare text, for `curl -N`. It has no word for a failure: the body then ends broken."""

    media_type = "text/plain"
    heartbeat = b""

    def encode(self, stream_id: str, entry: Entry) -> bytes:
        return entry.event.text.encode() if isinstance(entry.event, Delta) else b""

    def gap(self, reason: GapReason) -> bytes:
        return b""

    def is_cut(self, last: Event) -> bool:
        return isinstance(last, Failed) or (isinstance(last, Finished) and last.finish_reason == "cancelled")


def chunks(encoder: Encoder, stream_id: str, entries: Sequence[Entry]) -> Iterator[bytes]:
    """What is sent at once: several frames, but never so much that a slow reader's buffer grows."""
    chunk = b""
    for entry in entries:
        chunk += encoder.encode(stream_id, entry)
        if len(chunk) >= CHUNK_BYTES:
            yield chunk
            chunk = b""
    if chunk:
        yield chunk


def name_of(event: Event) -> str | None:
    """The event's name on the wire; None for text, which goes out unnamed."""
    return NAMES.get(type(event))


def payload(event: Event) -> dict[str, Any]:
    match event:
        case Delta():
            logprobs = [asdict(one) for one in event.logprobs]
            return {"text": event.text, "logprobs": logprobs} if logprobs else {"text": event.text}
        case Finished():
            usage = usage_payload(event.usage)
            return {"finish_reason": event.finish_reason, "usage": usage, "timings": asdict(event.timings)}
        case Failed():
            return {"error": asdict(event)}
        case Started() | Progress() | Citation():  # what has to do with files is left out where there are none
            return {name: value for name, value in asdict(event).items() if value not in (None, ())}
        case _:
            return asdict(event)


def usage_payload(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def gap_payload(reason: GapReason) -> dict[str, Any]:
    return {"reason": reason, "message": MESSAGES[reason]}


def dump(data: dict[str, Any]) -> bytes:
    """JSON on one line, whatever a reader takes for a line end."""
    text = orjson.dumps(data)
    for raw, escaped in ODD_LINE_ENDS:
        text = text.replace(raw, escaped)
    return text
