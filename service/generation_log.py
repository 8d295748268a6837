"""One line in the log for each answer that ended: how long it was and took, for whom, and never its words."""

import logging

from service.middleware import REQUEST
from streaming.events import Event, Failed, Finished, Started

_log = logging.getLogger("headwater.generations")


class GenerationLog:
    """`streaming.log.Observer` of one generation. Made while its request is served, told on the engine's thread."""

    __slots__ = ("_told",)

    def __init__(self) -> None:
        state = REQUEST.get()
        self._told: dict[str, object] = {
            "request_id": state.get("request_id", "-"),
            "principal": state.get("owner", "-"),
        }

    def appended(self, event: Event) -> None:
        match event:
            case Started():
                self._told["stream_id"] = event.stream_id
                self._told["model"] = event.model
                self._told["model_version"] = event.model_version
                self._told["prompt_tokens"] = event.prompt_tokens
            case Finished(usage=usage, timings=timings):
                numbers = {
                    "completion_tokens": usage.completion_tokens,
                    "finish_reason": event.finish_reason,
                    "queue_ms": timings.queue_ms,
                    "prefill_ms": timings.prefill_ms,
                    "decode_ms": timings.decode_ms,
                }
                _log.info("a generation has ended: %s", event.finish_reason, extra={**self._told, **numbers})
            case Failed(code=code):
                _log.warning("a generation has failed: %s", code, extra={**self._told, "code": code})
