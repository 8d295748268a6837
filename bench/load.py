"""The load client, run in a process of its own: `python -m bench.load < job.json` prints what it saw as JSON.

It opens all streams together, reads every event and notes when it came. A dialect knows a server's route and events.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from bench.prompts import prompt
from bench.wire import Address, Event, send


@dataclass(frozen=True, slots=True)
class Job:
    host: str
    port: int
    dialect: str
    streams: int
    tokens: int
    first_prompt: int


@dataclass(slots=True)
class Reading:
    """One stream as its reader saw it; times are seconds since the request was sent."""

    arrivals_s: list[float] = field(default_factory=list)
    finished_s: float = 0.0
    tokens: int = 0
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Dialect:
    path: str
    body: Callable[[str, int], dict[str, object]]
    read: Callable[[Reading, Event], bool]
    """Says whether the event carried text, and keeps what the reading needs of it."""


def headwater_body(text: str, tokens: int) -> dict[str, object]:
    message = {"role": "user", "content": text}
    return {"messages": [message], "max_tokens": tokens, "min_tokens": tokens, "temperature": 0}


def read_headwater(reading: Reading, event: Event) -> bool:
    if event.name == "end":
        reading.tokens = json.loads(event.data)["usage"]["completion_tokens"]
    elif event.name in {"failed", "gap"}:
        reading.failure = event.data
    return event.name == "message"


def openai_body(text: str, tokens: int) -> dict[str, object]:
    """transformers takes a whole generation config; without an end token it writes to the last token."""
    config = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False, "pad_token_id": 2}
    message = {"role": "user", "content": text}
    return {"messages": [message], "stream": True, "max_tokens": tokens, "generation_config": json.dumps(config)}


def read_openai(reading: Reading, event: Event) -> bool:
    if event.data == "[DONE]":
        return False
    data = json.loads(event.data)
    if "error" in data:
        reading.failure = str(data["error"])
        return False
    if data.get("usage"):
        reading.tokens = data["usage"]["completion_tokens"]
    return any(choice.get("delta", {}).get("content") for choice in data.get("choices", []))


DIALECTS = {
    "headwater": Dialect("/chat/stream", headwater_body, read_headwater),
    "openai": Dialect("/v1/chat/completions", openai_body, read_openai),
}


async def read_one(job: Job, number: int) -> Reading:
    dialect, reading = DIALECTS[job.dialect], Reading()
    body = dialect.body(prompt(job.first_prompt + number), job.tokens)
    begin = time.perf_counter()
    try:
        exchange = await send(Address(job.host, job.port), "POST", dialect.path, body)
        if exchange.status != 200:
            reading.failure = f"{exchange.status} {await exchange.json()}"
            return reading
        async for event in exchange.events():
            if dialect.read(reading, event):
                reading.arrivals_s.append(time.perf_counter() - begin)
        reading.finished_s = time.perf_counter() - begin
        exchange.close()
    except (OSError, asyncio.IncompleteReadError) as error:
        reading.failure = f"{type(error).__name__}: {error}"
    return reading


async def read_all(job: Job) -> list[Reading]:
    return await asyncio.gather(*(read_one(job, number) for number in range(job.streams)))


def main() -> None:
    job = Job(**json.load(sys.stdin))
    json.dump([asdict(reading) for reading in asyncio.run(read_all(job))], sys.stdout)


if __name__ == "__main__":
    main()
