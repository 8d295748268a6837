"""The README's page of ten lines, on another origin, in a real browser, over a network that breaks."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.pages import Pages
from tests.e2e.process import Headwater, free_port, serving
from tests.e2e.proxy import CuttingProxy, proxying
from tests.readme import page as readme_page

WITHIN_MS = 60_000
# Lets a test see when the browser has given up for good: readyState 2 never asks again.
WATCH = """
window.sources = [];
window.EventSource = class extends window.EventSource {
  constructor(...given) { super(...given); window.sources.push(this); }
};
"""
TEXT = "The sea 🌊 is calm — naïve, 平静 and\nvery wide. "


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    page.set_default_timeout(WITHIN_MS)
    page.add_init_script(WATCH)
    yield page
    page.close()


def ask(tab: Page, pages: Pages, proxy: CuttingProxy, prompt: str) -> None:
    tab.goto(pages.put(f"page-{proxy.port}.html", readme_page(proxy.url)))
    tab.evaluate("text => { ask(text) }", prompt)  # an input field would drop the newlines


def wait_for_answer(tab: Page, text: str) -> None:
    tab.wait_for_function("text => document.getElementById('answer').textContent === text", arg=text)


def wait_until_closed(tab: Page) -> None:
    tab.wait_for_function("sources.length === 1 && sources[0].readyState === 2")


def test_a_page_on_another_origin_shows_the_answer(
    tab: Page, pages: Pages, echo_server: Headwater, tmp_path: Path
) -> None:
    with proxying(echo_server.port) as proxy:
        tab.goto(pages.put("page.html", readme_page(proxy.url)))
        tab.fill("#question", "Write one sentence about the sea.")
        tab.click("button")
        wait_for_answer(tab, "Write one sentence about the sea.")
        tab.screenshot(path=str(tmp_path / "page.png"))
        assert (tmp_path / "page.png").stat().st_size > 0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_cuts_lose_and_repeat_nothing(tab: Page, pages: Pages, echo_server: Headwater, seed: int) -> None:
    prompt = f"[[echo repeat=30 tps=40]]{TEXT}"
    expected = echo_server.plain(prompt.replace("tps=40", "tps=0"))
    cuts = [random.Random(seed * 100 + number).randint(1, 4000) for number in range(4)]
    with proxying(echo_server.port, cuts) as proxy:
        ask(tab, pages, proxy, prompt)
        wait_for_answer(tab, expected)
        wait_until_closed(tab)
        assert proxy.cut == len(cuts)
        assert proxy.requests <= 1 + proxy.cut + 1, "one request for each cut, and one that is told to stop"


def test_after_the_end_the_browser_asks_once_more_at_most(tab: Page, pages: Pages, echo_server: Headwater) -> None:
    with proxying(echo_server.port) as proxy:
        ask(tab, pages, proxy, "all done")
        wait_for_answer(tab, "all done")
        wait_until_closed(tab)
        assert proxy.requests <= 2


def test_after_a_failure_the_browser_asks_once_more_at_most(tab: Page, pages: Pages, echo_server: Headwater) -> None:
    with proxying(echo_server.port) as proxy:
        ask(tab, pages, proxy, "[[echo fail_at=3]]one two three four five")
        wait_for_answer(tab, "one two three")
        wait_until_closed(tab)
        assert proxy.requests <= 2


def test_a_lost_answer_is_said_and_the_browser_stops(
    tab: Page, pages: Pages, echo_server: Headwater, tmp_path: Path
) -> None:
    """The server was replaced while the page was cut off: the new one never made this answer."""
    with (
        serving(tmp_path / "log", free_port(), "--engine", "echo", HEADWATER_CORS_ORIGINS=pages.origin) as stranger,
        proxying(echo_server.port, [1500]) as proxy,
    ):
        ask(tab, pages, proxy, f"[[echo repeat=100 tps=40]]{TEXT}")
        tab.evaluate("sources[0].addEventListener('gap', event => window.gap = JSON.parse(event.data))")
        tab.wait_for_function("document.getElementById('answer').textContent.length > 0")
        proxy.target_port = stranger.port
        wait_until_closed(tab)
        assert tab.evaluate("window.gap") is not None
        assert proxy.requests <= 3, "the first, the one that is told of the gap, and one that is told to stop"
