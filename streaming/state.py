"""How far a stream is, read from its log."""

from streaming.encode import usage_payload
from streaming.events import Citation, Delta, Event, Failed, Finished, Progress
from streaming.schemas import State, StreamFailure, StreamState, UsageAnswer
from streaming.streams import Stream


async def state_of(stream: Stream) -> StreamState:
    position, event = (await stream.log.read(stream.log.last_position - 1))[-1]
    answer = StreamState(
        stream_id=stream.id,
        state="running" if is_admitted(event) else "queued",
        model=stream.model,
        model_version=stream.model_version,
        created=stream.created,
        position=position,
    )
    if isinstance(event, Finished):
        return answer.model_copy(
            update={
                "state": ended(event),
                "finish_reason": event.finish_reason,
                "usage": UsageAnswer(**usage_payload(event.usage)),
            }
        )
    if isinstance(event, Failed):
        error = StreamFailure(code=event.code, message=event.message, retryable=event.retryable)
        return answer.model_copy(update={"state": "failed", "error": error})
    return answer


def is_admitted(event: Event) -> bool:
    """A stream whose files are still being read waits for that, and then for a place."""
    return isinstance(event, Delta | Citation) or (isinstance(event, Progress) and event.phase != "ingest")


def ended(event: Finished) -> State:
    return "cancelled" if event.finish_reason == "cancelled" else "finished"
