"""The page of a service, opened in a browser that keeps what it objects to."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.e2e.page.chat_page import Open, opening


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    with opening(browser) as open_page:
        yield open_page
