"""Reading a log from a position on, and what a late reader may skip. Knows no wire format."""

import time
from collections.abc import AsyncIterator, Sequence

from streaming.events import ChosenLogprob, Delta, Progress, Queued
from streaming.log import Entry, Log

MERGED_CHARS_MAX = 16_384  # one frame of a slow reader stays small, however late it is


async def batches(log: Log, after: int, silence_s: float) -> AsyncIterator[Sequence[Entry]]:
    """Everything after `after`, condensed, until the log ends; an empty batch for every `silence_s` without one."""
    quiet_since = time.monotonic()
    while True:
        remaining_s = max(quiet_since + silence_s - time.monotonic(), 0.0)
        entries = await log.read(after, remaining_s)
        if not entries and log.is_closed and after >= log.last_position:
            return
        if entries:
            after = entries[-1].position
        shown = condense(entries)
        if shown or time.monotonic() - quiet_since >= silence_s:
            yield shown
            quiet_since = time.monotonic()


def condense(entries: Sequence[Entry]) -> list[Entry]:
    """Joins neighbouring deltas, drops empty ones, and drops places in the queue that have passed already."""
    shown: list[Entry] = []
    pending: list[Entry] = []
    chars = 0  # of what is pending: counting them anew for each entry took 20 ms of the event loop for a late reader
    for entry in entries:
        if isinstance(entry.event, Delta):
            if chars + len(entry.event.text) > MERGED_CHARS_MAX:
                shown.extend(join(pending))
                pending, chars = [], 0
            pending.append(entry)
            chars += len(entry.event.text)
            continue
        shown.extend(join(pending))
        pending, chars = [], 0
        if not isinstance(entry.event, Queued | Progress) or entry is entries[-1]:
            shown.append(entry)
    return [*shown, *join(pending)]


def join(entries: Sequence[Entry]) -> list[Entry]:
    """The deltas as one, at the last one's position; nothing when there is nothing to show."""
    deltas = [entry.event for entry in entries if isinstance(entry.event, Delta)]
    text = "".join(delta.text for delta in deltas)
    logprobs: list[ChosenLogprob] = [one for delta in deltas for one in delta.logprobs]
    if not text and not logprobs:
        return []
    tokens = sum(delta.tokens for delta in deltas)
    return [Entry(entries[-1].position, Delta(text, tokens, tuple(logprobs)))]
