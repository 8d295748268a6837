"""Which services start without keys, and which do not."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.access.database import SqlAccessStore
from service.access.keys import mint
from service.access.opening import CannotOpen, open_access
from service.access.principal import DEFAULT_SCOPES
from service.access.store import AccessStore
from tests.server import MAIN, ROOT, echo_settings
from uploads.stores.database import open_database, sqlite_url

START_TIMEOUT_S = 60
COULD_NOT_START = 1


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


def started(folder: Path, program: list[str], **settings: str) -> "subprocess.CompletedProcess[str]":
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    given = {f"HEADWATER_{name.upper()}": value for name, value in {"engine": "echo", "port": "0", **settings}.items()}
    return subprocess.run(
        [sys.executable, *program],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**clean, **given, "PYTHONPATH": str(ROOT)},
        timeout=START_TIMEOUT_S,
        check=False,
    )


COMMAND = ["-m", "service", "serve"]
REFUSED = {
    "the network without keys": ({"host": "0.0.0.0"}, "HEADWATER_ALLOW_ANONYMOUS_NETWORK"),
    "a file in the data folder's place": ({"data_dir": "file"}, "file"),
    "a data folder that cannot be made": ({"data_dir": "/proc/nothing"}, "/proc/nothing"),
}


@pytest.mark.parametrize(("settings", "told"), REFUSED.values(), ids=REFUSED)
def test_a_start_that_cannot_be_is_one_line_before_any_model_is_loaded(
    tmp_path: Path, settings: dict[str, str], told: str
) -> None:
    (tmp_path / "file").touch()
    done = started(tmp_path, COMMAND, **settings)
    lines = [line for line in done.stderr.splitlines() if "headwater.database" not in line]
    assert (done.returncode, len(lines), done.stdout) == (COULD_NOT_START, 1, ""), done.stderr
    assert lines[0].startswith("error: ")
    assert told in lines[0]


@pytest.mark.parametrize(("settings", "told"), REFUSED.values(), ids=REFUSED)
def test_the_server_itself_refuses_with_the_same_code_and_says_why(
    tmp_path: Path, settings: dict[str, str], told: str
) -> None:
    (tmp_path / "file").touch()
    done = started(tmp_path, ["-c", MAIN], **settings)
    assert done.returncode == COULD_NOT_START
    reasons = [line for line in done.stderr.splitlines() if '"level":"error"' in line]
    assert any(told in line for line in reasons), done.stderr
    assert "Traceback" not in done.stderr


def test_a_key_is_all_that_the_network_asks_for(tmp_path: Path) -> None:
    """The list of models is not there, so the start ends right after what is asked here."""
    assert started(tmp_path, ["-m", "service", "keys", "create", "ann"]).returncode == 0
    done = started(tmp_path, [*COMMAND, "--models", "none.toml"], host="0.0.0.0", engine="torch")
    assert "HEADWATER_ALLOW_ANONYMOUS_NETWORK" not in done.stderr
    assert "none.toml" in done.stderr


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "it is no JSON"),
        ("{}", "`keys` is missing"),
        ("[]", "JSON of another shape"),
        ('{"keys": [1]}', "JSON of another shape"),
        ('{"keys": ["kid"]}', "JSON of another shape"),
        ('{"keys": []}', "needs 1 to 100 keys"),
        ('{"keys": [{"kty": "oct", "k": "eHh4", "kid": "a"}]}', "neither RSA"),
        ('{"keys": [{"kty": "RSA"}]}', "a key cannot be read"),
        ('{"keys": [{"kid": "a"}]}', "`kty` is missing"),
        ("[", "it is no JSON"),
    ],
)
async def test_a_jwks_file_without_usable_keys_is_told_at_the_start(
    store: AccessStore, tmp_path: Path, content: str, told: str
) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(content)
    given = {"jwks_file": file, "jwks_issuer": "i", "jwks_audience": "a"}
    with pytest.raises(CannotOpen, match=f"JWKS file .*{told}"):
        async with open_access(echo_settings(access=given), store):
            pass
