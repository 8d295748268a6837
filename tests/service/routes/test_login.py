"""`POST /login` and `GET /protected` on a real server: each way to send a password, and what never leaves."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.access.passwords import hash_password
from tests.server import RunningServer, echo_settings, serving
from tests.service.access.world import SECRET, fill_two

PASSWORD = "a-canary-password"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
WRONG = "a-canary-that-is-wrong"
UNLIMITED = {"login_per_address": "", "login_per_name": ""}


@dataclass
class Closed:
    running: RunningServer
    key: str

    def login(self, **sent: Any) -> httpx.Response:
        return httpx.post(f"{self.running.url}/login", timeout=60, **sent)


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    folder: Path = tmp_path_factory.mktemp("login")
    key, _ = fill_two(folder)
    users = {"eve": {"password_hash": hash_password(PASSWORD), "scopes": ["predict"]}}
    access = {"jwt_secret": SECRET, "users": users, "token_ttl_s": 600}
    settings = echo_settings(data_dir=folder, access=access, limits=UNLIMITED)
    with serving(settings) as running:
        yield Closed(running, key)


@pytest.mark.parametrize(
    "sent",
    [
        {"json": {"username": "eve", "password": PASSWORD}},
        {"data": {"username": "eve", "password": PASSWORD}},
        {"data": {"grant_type": "password", "scope": "", "username": "eve", "password": PASSWORD}},
        {"files": {"username": (None, "eve"), "password": (None, PASSWORD)}},
        {"params": {"username": "eve", "password": PASSWORD}},
    ],
    ids=["JSON", "form", "OAuth form", "multipart", "query"],
)
def test_a_right_password_gives_a_token_that_opens_what_its_scopes_allow(closed: Closed, sent: dict[str, Any]) -> None:
    answer = closed.login(**sent)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    told = answer.json()
    assert (told["token_type"], told["expires_in"], set(told)) == (
        "bearer",
        600,
        {"access_token", "token_type", "expires_in"},
    )
    headers = {"Authorization": f"Bearer {told['access_token']}"}
    greeted = httpx.get(f"{closed.running.url}/protected", headers=headers)
    assert greeted.json() == {"message": "Hello eve"}
    assert httpx.post(f"{closed.running.url}/predict", headers=headers, json={"text": "x"}).status_code == 200
    refused = httpx.get(f"{closed.running.url}/uploads", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
    assert 'error="insufficient_scope", scope="upload"' in refused.headers["www-authenticate"]


@pytest.mark.parametrize("name", ["eve", "nobody", "ann", "EVE", "eve' OR '1'='1"])
def test_a_wrong_name_and_a_wrong_password_are_told_in_the_same_words(closed: Closed, name: str) -> None:
    answer = closed.login(json={"username": name, "password": WRONG})
    assert (answer.status_code, answer.json()["code"]) == (401, "login_failed")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["detail"] == "The user name or the password is wrong."


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({}, 422),
        ({"json": {"username": "eve"}}, 422),
        ({"json": {"username": "eve", "password": None}}, 422),
        ({"json": {"username": "eve", "password": 12345678}}, 422),
        ({"json": {"username": "eve", "password": PASSWORD, "admin": True}}, 422),
        ({"json": ["eve", PASSWORD]}, 422),
        ({"json": {"username": "eve", "password": "\0" + PASSWORD}}, 422),
        ({"json": {"username": "eve", "password": "x" * 2000}}, 422),
        ({"json": {"username": "eve", "password": "x" * 10_000}}, 413),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 422),
        ({"content": b"\xff\xfe", "headers": {"Content-Type": "application/json"}}, 422),
        ({"content": b"username=eve", "headers": {"Content-Type": "text/plain"}}, 415),
        ({"content": b"username=eve"}, 415),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400),
        ({"content": b"username=eve&username=ann&password=x", "headers": FORM}, 422),
        ({"files": {"username": ("a.txt", b"eve"), "password": (None, PASSWORD)}}, 400),
        ({"json": {"username": "eve", "password": PASSWORD}, "params": {"username": "eve"}}, 422),
        ({"params": {"username": "eve", "password": PASSWORD, "x": "1"}}, 422),
        ({"content": b"&".join(b"a%d=1" % n for n in range(100)), "headers": FORM}, 400),
    ],
)  # fmt: skip
def test_what_is_no_login_is_refused_without_its_words(closed: Closed, sent: dict[str, Any], status: int) -> None:
    answer = closed.login(**sent)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert PASSWORD not in answer.text


def test_without_a_credential_a_greeting_is_401_also_where_nobody_else_is_asked(
    closed: Closed, server: RunningServer
) -> None:
    for url in (closed.running.url, server.url):
        for headers in ({}, {"X-API-Key": "x"}, {"Authorization": "Bearer x.y.z"}, {"Authorization": "Basic YTpi"}):
            answer = httpx.get(f"{url}/protected", headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith('Bearer realm="headwater"')
            assert answer.headers["content-type"] == "application/problem+json"


def test_a_refusal_of_a_hosted_models_route_has_the_shape_of_its_failures(closed: Closed) -> None:
    answer = httpx.post(f"{closed.running.url}/invocations", json={"text": "x"}, timeout=60)
    assert (answer.status_code, set(answer.json())) == (401, {"error"})
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_service_that_gives_no_tokens_says_so(server: RunningServer) -> None:
    answer = httpx.post(f"{server.url}/login", json={"username": "a", "password": "b"})
    assert (answer.status_code, answer.json()["code"]) == (404, "login_not_configured")


def test_strangers_learn_nothing_of_the_models(closed: Closed, server: RunningServer) -> None:
    known = httpx.get(f"{closed.running.url}/health", headers={"X-API-Key": closed.key}).json()
    stranger = httpx.get(f"{closed.running.url}/health", headers={"X-API-Key": "wrong"}).json()
    assert set(known["models"]) == set(httpx.get(f"{server.url}/health").json()["models"])  # states differ, by use
    assert stranger == {**known, "models": {}}


def test_no_password_key_or_token_reaches_a_log_or_the_numbers(
    closed: Closed, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        token = closed.login(params={"username": "eve", "password": PASSWORD}).json()["access_token"]
        closed.login(json={"username": "eve", "password": WRONG})
        closed.login(data={"username": WRONG, "password": WRONG})
        sent: list[dict[str, Any]] = [
            {"headers": {"X-API-Key": closed.key}},
            {"headers": {"Authorization": f"Bearer {closed.key}"}},
            {"headers": {"Authorization": f"Bearer {token}"}},
            {"headers": {"X-API-Key": WRONG}},
            {"headers": {"Authorization": f"Bearer {WRONG}"}},
            {"params": {"api_key": closed.key, "ticket": WRONG}},
        ]
        texts = [httpx.get(closed.running.url + path, **one).text for path in ("/uploads", "/nope") for one in sent]
        numbers = httpx.get(f"{closed.running.url}/metrics", headers={"X-API-Key": closed.key})
    ours = "\n".join(one.getMessage() for one in caplog.records if not one.name.startswith(("httpx", "httpcore")))
    assert any(record.name == "headwater.access" for record in caplog.records)
    assert numbers.status_code == 200
    for secret in (PASSWORD, WRONG, closed.key, closed.key.rpartition("_")[2], token, SECRET):
        assert secret not in ours
        assert secret not in numbers.text
        assert not any(secret in text for text in texts)
