"""The access matrix, made from the application: every guarded route, every wrong credential, every trick with the path.

The gate's own function is asked for all of them; the whole application for each route and credential.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from service.access.errors import AccessError, NotIdentified, ScopeMissing
from service.access.gate import admit
from service.access.policies import Policy
from service.access.principal import SCOPES
from service.access.rules import Rules
from service.errors import STATUSES
from streaming.errors import InvalidTicket
from tests.service.access.world import Headers, World, closed_world, foreign_token, own_token, wrong_keys, wrong_tokens

SAMPLES = {"filename:path": "a.txt", "model_name": "default"}
FORM = [("content-type", "multipart/form-data; boundary=x")]
JSON = [("content-type", "application/json")]
CREDENTIALS_MIN, TRICKS_MIN = 45, 25


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with closed_world(tmp_path_factory.mktemp("matrix")) as made:
        yield made


@dataclass(frozen=True)
class Guarded:
    method: str
    path: str
    headers: Headers
    policy: Policy


def guarded(world: World) -> list[Guarded]:
    rules: Rules = world.app.state.rules
    return [
        Guarded(method, concrete(rule.path), [] if rule.pattern else FORM, policy)
        for rule in rules
        for method, policy in sorted(rule.policies.items())
        if not policy.is_public
    ]


def concrete(path: str) -> str:
    return re.sub(r"\{([^}]+)\}", lambda found: SAMPLES.get(found[1], "0" * 32), path)


def tricks(path: str, key: str) -> dict[str, tuple[str, Headers]]:
    """What the request line and headers are then."""
    lines = {
        "as it is": path,
        "a slash after": f"{path}/",
        "a slash before": f"/{path}",
        "two slashes within": path.replace("/", "//", 2),
        "a dot after": f"{path}/.",
        "a dot before": f"/.{path}",
        "back from a public one": f"/docs/..{path}",
        "back, encoded": f"/docs/%2e%2e{path}",
        "back, encoded twice": f"/livez/%252e%252e{path}",
        "back by a backslash": f"/docs\\..\\{path[1:]}",
        "below a public one": f"/livez{path}",
        "a public one below": f"{path}/livez",
        "in capitals": path.upper(),
        "a letter encoded": f"/%{ord(path[1]):02x}{path[2:]}",
        "its slashes encoded": "/" + path[1:].replace("/", "%2f"),
        "a space after": f"{path}%20",
        "a NUL after": f"{path}%00",
        "a line break after": f"{path}%0d%0aX-API-Key:%20{key}",
        "a parameter after": f"{path};.css",
        "a suffix": f"{path}.json",
        "overlong dots": f"/%c0%ae%c0%ae{path}",
        "another host": f"//127.0.0.1{path}",
        "absolute": f"http://127.0.0.1{path}",
        "a fragment": f"{path}%23/docs",
        "a question encoded": f"{path}%3f/docs",
        "the key in the query": f"{path}?api_key={key}&key={key}&access_token={key}&x-api-key={key}",
        "a made-up ticket": f"{path}?ticket=s{'0' * 32}~AAAAAAAAAAAAAAAAAAAAAA",
        "an empty ticket": f"{path}?ticket=",
        "a key as ticket": f"{path}?ticket={key}",
        "two tickets": f"{path}?ticket=a&ticket=b",
    }
    headers: dict[str, Headers] = {
        "a rewritten path": [("x-original-url", "/livez"), ("x-rewrite-url", "/livez")],
        "a prefix": [("x-forwarded-prefix", "/docs"), ("x-script-name", "/docs")],
        "another method": [("x-http-method-override", "GET"), ("x-method-override", "OPTIONS")],
        "a reconnect": [("last-event-id", f"s{'0' * 32}.1")],
    }
    return {**{name: (line, []) for name, line in lines.items()}, **{n: (path, sent) for n, sent in headers.items()}}


def answered(scope: dict[str, Any]) -> int:
    """The status of a refusal, 200 for whoever gets in."""
    try:
        admit(scope)
    except (AccessError, InvalidTicket) as error:
        return STATUSES[type(error)]
    return 200


@pytest.mark.asyncio(loop_scope="module")
async def test_no_wrong_credential_gets_in_by_any_path(world: World) -> None:
    forged = list(wrong_tokens().items())  # all of them are tried on each route below
    credentials = {**wrong_keys(world), **dict(forged[::3])}
    routes = guarded(world)
    assert len(credentials) >= CREDENTIALS_MIN
    assert len(routes) >= 40
    let_in = []
    for route in routes:
        await asyncio.sleep(0)  # the service in this loop has its turn
        turned = tricks(route.path, world.keys["all"])
        assert len(turned) >= TRICKS_MIN
        for trick, (target, more) in turned.items():
            for name, headers in credentials.items():
                if answered(world.scope(route.method, target, [*headers, *route.headers, *more])) != 401:
                    let_in.append(f"{route.method} {target} with {name} ({trick})")
    assert not let_in


@pytest.mark.asyncio(loop_scope="module")
async def test_a_right_credential_gets_in_where_its_scopes_allow(world: World) -> None:
    wrong = []
    for route in guarded(world):
        for name, key in world.keys.items():
            if name in ("revoked", "expired"):
                continue
            held = set(SCOPES) if name == "all" else {name, "metrics"} if name == "admin" else {name}
            expected = 200 if route.policy.scopes <= held else 403
            for headers in ([("x-api-key", key)], [("authorization", f"bearer {key}")]):
                status = answered(world.scope(route.method, route.path, [*headers, *route.headers]))
                if status != expected:
                    wrong.append(f"{route.method} {route.path} with {name}: {status}")
    assert not wrong


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("token", "principal"), [(own_token, "ann"), (foreign_token, "jwt:ann")], ids=["ours", "another issuer's"]
)
async def test_a_right_token_gets_in_and_nobody_is_taken_for_somebody_else(
    world: World, token: Any, principal: str
) -> None:
    scope = world.scope("GET", "/uploads", [("authorization", f"Bearer {token()}")])
    admit(scope)
    assert scope["state"]["owner"] == principal
    assert scope["state"]["principal"].scopes == set(SCOPES)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_token_without_scopes_may_do_nothing_but_be_greeted(world: World) -> None:
    headers = [("authorization", f"Bearer {foreign_token(scope='everything')}")]
    with pytest.raises(ScopeMissing):
        admit(world.scope("GET", "/uploads", headers))
    admit(world.scope("GET", "/protected", headers))


@pytest.mark.asyncio(loop_scope="module")
async def test_a_path_without_a_route_is_401_to_strangers_and_404_to_others(world: World) -> None:
    with pytest.raises(NotIdentified):
        admit(world.scope("GET", "/no/such/path"))
    assert (await ask(world, "GET", "/no/such/path", [("x-api-key", world.keys["none"])])) == 404


@pytest.mark.asyncio(loop_scope="module")
async def test_the_whole_application_refuses_before_it_reads_a_body(world: World) -> None:
    wrong = []
    for route in guarded(world):
        for name, headers in {**wrong_keys(world), **wrong_tokens()}.items():
            status = await ask(world, route.method, route.path, [*headers, *(route.headers or JSON)])
            if status != 401:
                wrong.append(f"{route.method} {route.path} with {name}: {status}")
    assert not wrong


async def ask(world: World, method: str, path: str, headers: Headers) -> int:
    """The status. Reading the body fails the test."""
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        raise AssertionError(f"{method} {path} read the body of a stranger")

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await world.app(world.scope(method, path, headers), receive, send)
    return statuses[0]
