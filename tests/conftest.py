"""Fixtures for everything below: one echo server for all tests that only ask it questions, and real databases."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases import PostgresServer, postgres_or_skip, postgres_server
from tests.objects import CREDENTIALS, ObjectServer, object_server
from tests.server import RunningServer, echo_settings, serving

# Where the tests run in the background, SIGINT comes ignored, and every process they start would ignore it as well.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def server() -> Iterator[RunningServer]:
    """Fast, roomy and shared: who changes settings or counts streams starts a server of its own."""
    with serving(echo_settings(echo={"tokens_per_second": 400}, max_running=64, max_waiting=64)) as running:
        yield running


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server(postgres_or_skip()) as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind; the test runs once with each."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'headwater.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture(scope="session")
def objects() -> Iterator[ObjectServer]:
    """With the variables that a client of it needs."""
    with pytest.MonkeyPatch.context() as environment, object_server() as running:
        for name, value in CREDENTIALS.items():
            environment.setenv(name, value)
        yield running
