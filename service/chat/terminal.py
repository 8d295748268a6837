"""The conversation at the terminal: what is asked, what is shown, what Ctrl-C and Ctrl-D do."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.status import Status

from service.chat.client import ChatClient, ChatError, Question, ServerEvent

QUIT = ("/quit", "/exit")
NEW = "/new"
INTRODUCTION = "Ask something. Ctrl-C stops an answer, /new starts over, Ctrl-D or /quit leaves."
# A model's text must not steer the terminal: no escape sequences, only newlines and tabs.
CONTROLS = {code: None for code in (*range(0x20), 0x7F, *range(0x80, 0xA0)) if chr(code) not in "\n\t"}


@dataclass(slots=True)
class Answer:
    """What has arrived of an answer, and when."""

    asked_at: float = field(default_factory=time.monotonic)
    first_at: float | None = None
    text: str = ""
    end: dict[str, Any] = field(default_factory=dict)
    failure: str | None = None

    def take(self, event: ServerEvent) -> str:
        """Keeps the event; returns the text to show, which is empty for all but text events."""
        if event.name == "message":
            self.first_at = self.first_at or time.monotonic()
            self.text += event.data["text"]
            return str(event.data["text"])
        if event.name == "end":
            self.end = event.data
            if event.data.get("finish_reason") == "cancelled":
                self.failure = "The server cancelled this answer."
        if event.name == "failed":
            self.failure = str(event.data["error"]["message"])
        if event.name == "gap":
            self.failure = "The rest of this answer is no longer kept by the server."
        return ""

    def summary(self) -> str:
        """One line: how many tokens, how fast, how soon; and why it ended where it was not by itself."""
        tokens = self.end.get("usage", {}).get("completion_tokens")
        speed = self.end.get("timings", {}).get("tokens_per_second")
        parts = [] if tokens is None else [f"{tokens} tokens"]
        parts += [] if speed is None else [f"{speed:.1f} tokens/s"]
        parts += [] if self.first_at is None else [f"first after {(self.first_at - self.asked_at) * 1000:.0f} ms"]
        parts += ["cut at the token limit"] if self.end.get("finish_reason") == "length" else []
        return ", ".join(parts)


class Conversation:
    """The messages so far. A question that got no answer is taken back, so that it can be asked again."""

    def __init__(self, client: ChatClient, system: str | None, options: dict[str, str | int | float]) -> None:
        self._client = client
        self._first = [{"role": "system", "content": system}] if system else []
        self._messages = list(self._first)
        self._options = options

    def restart(self) -> None:
        self._messages = list(self._first)

    def ask(self, text: str, answer: Answer) -> Iterator[ServerEvent]:
        messages = [*self._messages, {"role": "user", "content": text}]
        try:
            yield from self._client.ask(Question(messages, self._options))
        finally:
            if answer.text:
                self._messages = [*messages, {"role": "assistant", "content": answer.text}]


def talk(client: ChatClient, conversation: Conversation, console: Console) -> int:
    """Asks until Ctrl-D or /quit. Errors are shown and the program goes on."""
    console.print(INTRODUCTION, style="dim", highlight=False)
    while (text := read_line(console)) is not None and text not in QUIT:
        if text == NEW:
            conversation.restart()
        elif text:
            show_answer(client, conversation, console, text)
    return 0


def read_line(console: Console) -> str | None:
    """The next line, an empty one after Ctrl-C, None after Ctrl-D."""
    try:
        return console.input("[bold cyan]> [/]").strip()
    except KeyboardInterrupt:
        console.print()
        return ""
    except EOFError:
        console.print()
        return None


def show_answer(client: ChatClient, conversation: Conversation, console: Console, text: str) -> None:
    answer = Answer()
    try:
        with console.status("…") as status:
            for event in conversation.ask(text, answer):
                show_event(event, answer, console, status)
    except KeyboardInterrupt:
        stop(client, answer)
    except ChatError as error:
        answer.failure = str(error)
    if answer.text:
        console.print()
    if answer.failure:
        console.print(answer.failure, style="red", highlight=False)
    if line := answer.summary():
        console.print(line, style="dim", highlight=False)


def show_event(event: ServerEvent, answer: Answer, console: Console, status: Status) -> None:
    if shown := answer.take(event):
        status.stop()
        console.out(shown.translate(CONTROLS), end="", highlight=False)
    elif (waiting := waiting_line(event)) and not answer.text:
        status.update(waiting)


def waiting_line(event: ServerEvent) -> str:
    """What to show while there is no text yet."""
    if event.name == "queue":
        eta_ms = event.data.get("eta_ms")
        soon = "" if eta_ms is None else f", about {eta_ms / 1000:.0f} s"
        return f"waiting, place {event.data['position']}{soon}"
    words = {"loading": "the model is still loading", "reconnecting": "reconnecting"}
    return {**words, "start": "reading", "progress": "reading"}.get(event.name, "")


def stop(client: ChatClient, answer: Answer) -> None:
    answer.failure = "Stopped."
    try:
        client.cancel()
    except ChatError as error:
        answer.failure = str(error)


def answer_lines(conversation: Conversation, prompts: Iterator[str]) -> int:
    """For pipes: the bare answers on standard output, one after the other; the first failure ends it with 1."""
    for prompt in prompts:
        answer = Answer()
        try:
            for event in conversation.ask(prompt, answer):
                sys.stdout.write(answer.take(event))
                sys.stdout.flush()
        except ChatError as error:
            answer.failure = str(error)
        if answer.text:
            sys.stdout.write("\n")
        if answer.failure:
            sys.stderr.write(f"headwater: {answer.failure}\n")
            return 1
    return 0
