"""A job's progress as Server-Sent Events, framed as answers are: each event is the job as it is then.

`id` is `<job id>.<version>`. Whoever comes late gets the newest state, not every one between.
"""

import re
from collections.abc import AsyncGenerator
from typing import Any, Literal, TypeAlias

import orjson
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse, SendTimeoutError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from uploads.job_backend import JobsBackend
from uploads.job_schemas import answer_of
from uploads.jobs import Job, JobState
from uploads.responses import abort

RETRY = b"retry: 1500\n"  # first in its event, so that even a cut one has set it
HEARTBEAT = b": ping\n"  # one line and no blank one, which some clients take for the end of an event
HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}
MEDIA_TYPE = "text/event-stream"
NAMES: dict[JobState, str] = {
    "queued": "progress",
    "running": "progress",
    "succeeded": "end",
    "cancelled": "end",
    "failed": "failed",
}
GAP_ID = "gap.0"  # whoever reconnects with it has been told, and gets 204
GapReason: TypeAlias = Literal["unknown", "future"]
GAPS: dict[GapReason, str] = {
    "unknown": "This is not the id of an event of this job.",
    "future": "This job has no such event yet: the id is not one that was sent.",
}
_EVENT_ID = re.compile(r"(j[0-9a-f]{32})\.(0|[1-9][0-9]{0,30})", re.ASCII)


class JobEvents(EventSourceResponse):
    def __init__(self, backend: JobsBackend, job: Job, after: int) -> None:
        self._backend = backend
        self._chunks = self._body(job, after)
        super().__init__(
            self._chunks,
            headers=HEADERS,
            media_type=MEDIA_TYPE,
            ping=0,  # the heartbeat comes from the body, between events and never inside one
            sep="\n",
            send_timeout=backend.send_timeout_s,
        )
        del self.headers["connection"]  # the server's own business

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            abort(scope)
        finally:
            await self._chunks.aclose()

    async def _body(self, job: Job, after: int) -> AsyncGenerator[bytes, None]:
        retry = RETRY
        current: Job | None = job
        while current is not None:
            if current.version > after:
                yield retry + frame_of(current)
                retry, after = b"", current.version
            if current.has_ended:
                return
            try:
                current = await self._backend.watch.change(job.id, after, self._backend.heartbeat_s)
            except TimeoutError:
                yield HEARTBEAT


def answer_events(backend: JobsBackend, job: Job, last_event_id: str) -> Response:
    """From the newest state on, or what comes after an event that was sent before."""
    if not last_event_id:
        return JobEvents(backend, job, -1)
    if last_event_id == GAP_ID:
        return Response(status_code=204)
    found = _EVENT_ID.fullmatch(last_event_id)
    if found is None or found[1] != job.id:
        return gap("unknown")
    version = int(found[2])
    if version > job.version:
        return gap("future")
    if version == job.version and job.has_ended:
        return Response(status_code=204)
    return JobEvents(backend, job, version)


def frame_of(job: Job) -> bytes:
    return frame(f"{job.id}.{job.version}", NAMES[job.state], answer_of(job).model_dump())


def gap(reason: GapReason) -> Response:
    content = frame(GAP_ID, "gap", {"reason": reason, "message": GAPS[reason]})
    return Response(RETRY + content, headers=HEADERS, media_type=MEDIA_TYPE)


def frame(event_id: str, name: str, data: dict[str, Any]) -> bytes:
    return ServerSentEvent(orjson.dumps(data).decode(), event=name, id=event_id, sep="\n").encode()
