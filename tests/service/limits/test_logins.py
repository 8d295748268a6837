"""Logins are limited without a setting: per address, and per name from wherever it is tried."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.access.passwords import hash_password
from service.limits.limiter import open_windows
from service.limits.logins import LoginLimits
from service.limits.settings import LimitSettings
from tests.server import RunningServer, echo_settings, serving
from tests.service.access.world import SECRET
from tests.service.limits.clock import Clock

PASSWORD = "a right password"


@contextmanager
def closed(folder: Path, clock: Clock, **limits: Any) -> Iterator[RunningServer]:
    users = {"eve": {"password_hash": hash_password(PASSWORD), "scopes": ["predict"]}}
    access = {"jwt_secret": SECRET, "users": users}
    settings = echo_settings(data_dir=folder, access=access, limits=limits, trusted_proxies=("127.0.0.1",))

    def with_clock(app: FastAPI) -> None:
        app.state.login_limits = LoginLimits(settings.limits, clock=clock)

    with serving(settings, with_clock) as running:
        yield running


def log_in(running: RunningServer, name: str, password: str, address: str) -> httpx.Response:
    body = {"username": name, "password": password}
    return httpx.post(f"{running.url}/login", json=body, headers={"X-Forwarded-For": address}, timeout=60)


def test_a_name_is_tried_ten_times_a_minute_wherever_from_and_the_right_password_gets_no_further(
    tmp_path: Path,
) -> None:
    clock = Clock()
    with closed(tmp_path, clock) as running:
        wrong = [log_in(running, "eve", "wrong", f"203.0.113.{n}").status_code for n in range(10)]
        assert wrong == [401] * 10
        refused = log_in(running, "eve", PASSWORD, "203.0.113.99")
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
        assert refused.headers["retry-after"] == "60"
        assert log_in(running, "nobody", "wrong", "203.0.113.1").status_code == 401
        clock.now += 60
        assert log_in(running, "eve", PASSWORD, "203.0.113.99").status_code == 200


def test_an_address_is_refused_whichever_names_it_tries_and_uses_up_none_of_theirs(tmp_path: Path) -> None:
    with closed(tmp_path, Clock(), login_per_address="3/minute", login_per_name="2/minute") as running:
        tried = [log_in(running, f"name{n}", "wrong", "203.0.113.1").status_code for n in range(3)]
        assert tried == [401] * 3
        assert [log_in(running, "eve", "wrong", "203.0.113.1").status_code for _ in range(5)] == [429] * 5
        assert log_in(running, "eve", PASSWORD, "203.0.113.2").status_code == 200


def test_what_is_no_login_counts_as_no_attempt(tmp_path: Path) -> None:
    with closed(tmp_path, Clock(), login_per_address="1/minute") as running:
        assert httpx.post(f"{running.url}/login", json={"username": "eve"}).status_code == 422
        assert log_in(running, "eve", PASSWORD, "127.0.0.1").status_code == 200


@pytest.mark.parametrize("given", [{}, {"login_per_address": "", "login_per_name": ""}], ids=["default", "off"])
async def test_a_thousand_attempts_pass_only_without_a_limit(given: dict[str, str]) -> None:
    clock = Clock()
    settings = LimitSettings(**given)
    limits = LoginLimits(settings, open_windows(settings, clock), clock)
    passed = [await limits.wait_s("an address", f"name{number}") == 0 for number in range(1000)]
    assert sum(passed) == (1000 if given else 30)
