"""What the e2e tests share: an echo server, a second origin with the README's page, a browser."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.e2e.pages import Pages
from tests.e2e.process import Headwater, free_port, serving

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
CHROMIUM_OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and item.get_closest_marker("soak") is None:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    pages = Pages(tmp_path_factory.mktemp("pages"))
    thread = threading.Thread(target=pages.server.serve_forever)
    thread.start()
    yield pages
    pages.server.shutdown()
    pages.server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def echo_server(pages: Pages, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Headwater]:
    """`make e2e PORT=9000` puts this server there."""
    log = tmp_path_factory.mktemp("server") / "log"
    port = int(os.environ.get("PORT") or free_port())
    with serving(log, port, "--engine", "echo", HEADWATER_CORS_ORIGINS=pages.origin) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()
