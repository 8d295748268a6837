"""Fixtures for everything below: one echo server for all tests that only ask it questions."""

from collections.abc import Iterator

import pytest

from tests.server import RunningServer, echo_settings, serving


@pytest.fixture(scope="session")
def server() -> Iterator[RunningServer]:
    """Fast, roomy and shared: who changes settings or counts streams starts a server of its own."""
    with serving(echo_settings(echo={"tokens_per_second": 400}, max_running=64, max_waiting=64)) as running:
        yield running
