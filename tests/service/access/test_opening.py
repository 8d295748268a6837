"""Which services start without keys, and which do not."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from uvicorn.config import STARTUP_FAILURE

from service.access.database import SqlAccessStore
from service.access.keys import mint
from service.access.opening import CannotOpen, open_access
from service.access.principal import DEFAULT_SCOPES
from service.access.store import AccessStore
from tests.server import ROOT, echo_settings
from uploads.stores.database import open_database, sqlite_url

START_TIMEOUT_S = 60


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[AccessStore]:
    database = await open_database(sqlite_url(tmp_path / "headwater.db"))
    yield SqlAccessStore(database)
    await database.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
async def test_the_network_is_refused_without_keys_unless_told_by_name(store: AccessStore, host: str) -> None:
    with pytest.raises(CannotOpen, match="headwater keys create"):
        async with open_access(echo_settings(host=host), store):
            pass
    async with open_access(echo_settings(host=host, allow_anonymous_network=True), store) as access:
        assert access.is_open
    async with open_access(echo_settings(host=host, access={"required": True}), store) as access:
        assert not access.is_open


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
async def test_this_machine_needs_no_keys(store: AccessStore, host: str) -> None:
    async with open_access(echo_settings(host=host), store) as access:
        assert access.is_open


async def test_a_key_opens_the_network_and_its_end_does_not_open_the_service(store: AccessStore) -> None:
    _, key = mint("ann", DEFAULT_SCOPES)
    await store.add_key(key)
    await store.revoke_key(key.id, 1.0)
    async with open_access(echo_settings(host="0.0.0.0"), store) as access:
        assert not access.is_open


def test_a_refused_start_is_one_line_and_an_exit_code(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "service", "serve", "--engine", "echo", "--host", "0.0.0.0", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=START_TIMEOUT_S, check=False
    )
    assert done.returncode == STARTUP_FAILURE
    assert "HEADWATER_ALLOW_ANONYMOUS_NETWORK" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        '{"keys": []}',
        '{"keys": [{"kty": "oct", "k": "eHh4", "kid": "a"}]}',
        '{"keys": [{"kty": "RSA"}]}',
        "[",
    ],
)
async def test_a_jwks_file_without_usable_keys_is_told_at_the_start(
    store: AccessStore, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(content)
    given = {"jwks_file": file, "jwks_issuer": "i", "jwks_audience": "a"}
    with pytest.raises(CannotOpen, match="JWKS"):
        async with open_access(echo_settings(access=given), store):
            pass
