"""The header `Server-Timing`: where the time of an answer went, as browsers' developer tools show it."""

from collections.abc import Mapping
from typing import Any

from streaming.events import Timings

TIMINGS = "timings"
"""Under this name a route leaves the engine's `Timings` in its request's state."""


def server_timing(state: Mapping[str, Any], total_ms: float) -> str:
    timings = state.get(TIMINGS)
    parts = {}
    if isinstance(timings, Timings):
        parts = {"queue": timings.queue_ms, "prefill": timings.prefill_ms, "decode": timings.decode_ms}
    return ", ".join(f"{name};dur={duration_ms:.1f}" for name, duration_ms in {**parts, "total": total_ms}.items())
