"""Events as Server-Sent Events, framed by sse-starlette: `docs/wire.md` in bytes."""

from typing import Any

from sse_starlette.event import ServerSentEvent

from streaming.encode import dump, gap_payload, name_of, payload
from streaming.events import Event
from streaming.log import Entry
from streaming.resume import GAP_ID, GapReason, write_event_id

RETRY_MS = 1500
HEARTBEAT = b": ping\n"  # one line and no blank one, which some clients take for the end of an event


class SseEncoder:
    media_type = "text/event-stream"
    heartbeat = HEARTBEAT

    def __init__(self) -> None:
        self._has_sent = False

    def encode(self, stream_id: str, entry: Entry) -> bytes:
        data = payload(entry.event)
        return self._with_retry(frame(write_event_id(stream_id, entry.position), name_of(entry.event), data))

    def gap(self, reason: GapReason) -> bytes:
        return self._with_retry(frame(GAP_ID, "gap", gap_payload(reason)))

    def is_cut(self, last: Event) -> bool:
        return False

    def _with_retry(self, block: bytes) -> bytes:
        """In the first event of a response, and there first, so that even a cut one has set it."""
        if self._has_sent:
            return block
        self._has_sent = True
        return b"retry: %d\n" % RETRY_MS + block


def frame(event_id: str, name: str | None, data: dict[str, Any]) -> bytes:
    return ServerSentEvent(dump(data).decode(), event=name, id=event_id, sep="\n").encode()
