"""The built-in page in a browser: what a person does with it, in words. Whatever the browser objects to is kept."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Locator, Page, Request, expect

WITHIN_MS = 60_000
expect.set_options(timeout=WITHIN_MS)
MESSAGES_KEPT = """() => new Promise((resolve) => (indexedDB.open("headwater").onsuccess = ({target}) =>
    (target.result.transaction("messages").objectStore("messages").count().onsuccess = (found) =>
        resolve(found.target.result))))"""
HARMLESS = re.compile(r"Failed to load resource|net::ERR_")  # a status or a cut network, which a test asked for


@dataclass
class ChatPage:
    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    def open(self, hash: str = "") -> "ChatPage":
        self.page.goto(f"{self.url}/{hash}")
        expect(self.page.get_by_role("navigation", name="Views")).to_be_visible()
        return self

    @property
    def question(self) -> Locator:
        return self.page.get_by_role("textbox", name="Your message")

    @property
    def answers(self) -> Locator:
        return self.page.locator(".message.answer")

    @property
    def answer(self) -> Locator:
        return self.answers.last.locator(".markdown")

    def ask(self, text: str) -> None:
        self.question.fill(text)
        self.question.press("Enter")

    def wait_for_end(self) -> None:
        expect(self.answers.last).to_have_attribute("aria-busy", "false")

    def read(self, script: str, given: Any = None) -> Any:
        return self.page.evaluate(script, given)

    def watch(self) -> None:
        """Console errors, uncaught exceptions, broken policies and requests to anywhere else are complaints."""
        self.page.on("console", lambda said: self.complain(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complain(f"uncaught: {error}"))
        self.page.on("request", self.look_at)
        self.page.expose_binding("complain", lambda _, text: self.complain(text))
        self.page.add_init_script(
            "addEventListener('securitypolicyviolation', e => complain(`${e.violatedDirective} ${e.blockedURI}`))"
        )

    def look_at(self, request: Request) -> None:
        if not request.url.startswith((self.url, "blob:", "about:")):
            self.complain(f"asked elsewhere: {request.url}")

    def complain(self, text: str) -> None:
        if not HARMLESS.search(text):
            self.complaints.append(text)


Open = Callable[..., ChatPage]


@contextmanager
def opening(browser: Browser) -> Iterator[Open]:
    """Gives a function that opens the page of a service; at the end no page may have a complaint."""
    opened: list[ChatPage] = []
    contexts: list[BrowserContext] = []

    def open_page(url: str, hash: str = "", beside: ChatPage | None = None, **options: Any) -> ChatPage:
        if beside is None:
            contexts.append(browser.new_context(**options))
        context = contexts[-1] if beside is None else beside.page.context
        page = context.new_page()
        page.set_default_timeout(WITHIN_MS)
        made = ChatPage(page, url)
        made.watch()
        opened.append(made)
        return made.open(hash)

    try:
        yield open_page
        complaints = [complaint for one in opened for complaint in one.complaints]
        assert not complaints, complaints
    finally:
        for context in contexts:
            context.close()
