"""`headwater keys` and `headwater users` as people run them, beside a service that runs on the same database."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.server import ROOT, RunningServer, echo_settings, serving, wait_until

WITHIN_S = 60.0
PASSWORD = "correct horse battery"
SECRET = "a-secret-of-this-test-with-more-than-32-bytes"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[RunningServer]:
    settings = echo_settings(data_dir=folder, access={"refresh_s": 0.05, "use_interval_s": 0.05})
    with serving(settings) as server:
        yield server


def headwater(folder: Path, *arguments: str, stdin: str = "", **more: str) -> "subprocess.CompletedProcess[str]":
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
        cwd=folder,
        env={**clean, "PYTHONPATH": str(ROOT), "HEADWATER_DATA_DIR": str(folder), **more},
    )


def listed(folder: Path) -> list[list[str]]:
    done = headwater(folder, "keys", "list")
    assert done.returncode == 0, done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()[1:]]


def status(running: RunningServer, key: str = "", path: str = "/uploads") -> int:
    headers = {"X-API-Key": key} if key else {}
    return httpx.get(running.url + path, headers=headers, timeout=WITHIN_S).status_code


def test_a_key_from_its_making_to_its_end(running: RunningServer, folder: Path, tmp_path: Path) -> None:
    assert status(running) == 200
    made = headwater(folder, "keys", "create", "ann", "--expires-in-days", "30")
    key = made.stdout.strip()
    assert made.returncode == 0
    assert made.stdout == f"{key}\n"
    assert "not shown again" in made.stderr
    wait_until(lambda: status(running) == 401, WITHIN_S, "the first key closes the service")
    assert (status(running, key), status(running, key, "/metrics")) == (200, 403)

    chat = headwater(folder, "chat", "--url", running.url, stdin="hello\n", HEADWATER_API_KEY=key)
    assert (chat.returncode, "hello" in chat.stdout) == (0, True), chat.stderr
    file = tmp_path / "a.txt"
    file.write_text("kept")
    assert headwater(folder, "upload", str(file), "--url", running.url, HEADWATER_API_KEY=key).returncode == 0
    refused = headwater(folder, "chat", "--url", running.url, stdin="hello\n")
    assert (refused.returncode, "X-API-Key" in refused.stderr + refused.stdout) == (1, True)

    wait_until(lambda: listed(folder)[0][5] != "-", WITHIN_S, "the last use is written down")
    ((key_id, name, scopes, _, expires, _, state),) = listed(folder)
    assert (name, scopes, state) == ("ann", "predict,upload", "valid")
    assert expires.startswith("20")
    assert key.startswith(f"hw_{key_id}_")
    second = headwater(folder, "keys", "create", "ann", "--scope", "upload").stdout.strip()
    wait_until(lambda: status(running, second) == 200, WITHIN_S, "a new key works")
    uploads = httpx.get(f"{running.url}/uploads", headers={"X-API-Key": second}).json()["uploads"]
    assert [one["filename"] for one in uploads] == ["a.txt"]

    assert headwater(folder, "keys", "revoke", key_id).returncode == 0
    wait_until(lambda: status(running, key) == 401, WITHIN_S, "a revoked key is refused")
    assert listed(folder)[0][6].startswith("revoked 20")
    assert status(running, second) == 200


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("keys", "create", "two words"), 2, "a name is"),
        (("keys", "create", "ann", "--scope", "everything"), 2, "no scope"),
        (("keys", "create", "ann", "--expires-in-days", "-1"), 2, "expires-in-days"),
        (("keys", "revoke", "0" * 16), 1, "there is no key"),
        (("users", "remove", "nobody"), 1, "there is no user"),
        (("users", "set", "ann"), 2, "at least 8"),
    ],
)
def test_what_is_asked_for_wrongly_is_one_line(folder: Path, arguments: tuple[str, ...], code: int, told: str) -> None:
    done = headwater(folder, *arguments, stdin="short\n")
    assert (done.returncode, told in done.stderr) == (code, True), done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_a_person_who_logs_in_changes_the_password_and_is_taken_away(tmp_path: Path) -> None:
    settings = echo_settings(data_dir=tmp_path, access={"jwt_secret": SECRET, "refresh_s": 0.05})
    with serving(settings) as running:
        done = headwater(tmp_path, "users", "set", "ann", "--scope", "upload", stdin=f"{PASSWORD}\n")
        assert (done.returncode, done.stdout) == (0, "added ann\n"), done.stderr
        token = token_of(running, PASSWORD)
        assert with_token(running, token) == 200
        done = headwater(tmp_path, "users", "set", "ann", "--scope", "upload", stdin="another one 12\n")
        assert done.stdout == "changed ann\n"
        wait_until(lambda: with_token(running, token) == 401, WITHIN_S, "a changed password ends tokens")
        token = token_of(running, "another one 12")
        assert with_token(running, token) == 200
        assert headwater(tmp_path, "users", "remove", "ann").returncode == 0
        wait_until(lambda: with_token(running, token) == 401, WITHIN_S, "a user who is gone is refused")
        assert headwater(tmp_path, "users", "list").stdout == "name\tscopes\tchanged\n"


def token_of(running: RunningServer, password: str) -> str:
    """Once the service has noticed the password."""
    given = {"username": "ann", "password": password}
    found: list[str] = []

    def has_come() -> bool:
        answer = httpx.post(f"{running.url}/login", json=given, timeout=WITHIN_S)
        found.extend([answer.json()["access_token"]] if answer.status_code == 200 else [])
        return bool(found)

    wait_until(has_come, WITHIN_S, "the password is known")
    return found[0]


def with_token(running: RunningServer, token: str) -> int:
    return httpx.get(
        f"{running.url}/uploads", headers={"Authorization": f"Bearer {token}"}, timeout=WITHIN_S
    ).status_code
