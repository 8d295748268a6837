"""Default deny: what has no policy is not built, and what is judged is what the router serves."""

from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Match, Mount, WebSocketRoute

from service.access.policies import ADMIN, POLICIES, PREDICT, PUBLIC, UPLOAD, Policy
from service.access.rules import Rules, UndeclaredRoute
from service.app import create_app
from service.auth import authenticate
from tests.server import echo_settings


async def nothing() -> None: ...


def made(policies: dict[str, Policy], *routers: APIRouter, **mounted: Any) -> Rules:
    app = FastAPI(openapi_url=None)
    for router in routers:
        app.include_router(router)
    for path, served in mounted.items():
        app.mount(f"/{path}", served)
    return Rules(app.routes, policies)


def router(*lines: str) -> APIRouter:
    made = APIRouter()
    for line in lines:
        method, path = line.split()
        made.add_api_route(path, nothing, methods=[method])
    return made


def decided(rules: Rules, method: str, path: str) -> Policy | None:
    decision = rules.decide({"type": "http", "method": method, "path": path, "headers": []})
    return None if decision is None else decision.policy


@pytest.mark.parametrize("line", ["GET /new", "POST /models/{name}/reload", "GET /a/{rest:path}", "TRACE /new"])
def test_a_route_without_a_policy_is_not_built(line: str) -> None:
    with pytest.raises(UndeclaredRoute, match="has no policy"):
        made({}, router(line))


def test_a_method_without_a_policy_is_not_built() -> None:
    with pytest.raises(UndeclaredRoute, match="DELETE /new"):
        made({"GET /new": PUBLIC}, router("GET /new", "DELETE /new"))


def test_a_mount_without_a_policy_is_not_built() -> None:
    with pytest.raises(UndeclaredRoute, match="ANY /files"):
        made({}, files=FastAPI())
    assert decided(made({"ANY /files": UPLOAD}, files=FastAPI()), "GET", "/files/a/b") is UPLOAD


def test_what_cannot_have_a_policy_is_not_built() -> None:
    with pytest.raises(UndeclaredRoute, match="WebSocketRoute"):
        Rules([WebSocketRoute("/talk", nothing)], {})


def test_a_policy_without_a_route_is_not_built() -> None:
    with pytest.raises(UndeclaredRoute, match="GET /old"):
        made({"GET /old": PUBLIC})


def test_the_application_is_not_built_with_a_route_that_nobody_decided_on() -> None:
    app = create_app(echo_settings())
    app.include_router(router("POST /new"))
    with pytest.raises(UndeclaredRoute, match="POST /new"):
        Rules(app.routes, app.state.policies)


async def test_a_route_that_is_added_after_all_keeps_the_service_from_starting(tmp_path: Any) -> None:
    app = create_app(echo_settings(data_dir=tmp_path))
    app.include_router(router("POST /new"))
    with pytest.raises(UndeclaredRoute):
        async with app.router.lifespan_context(app):
            pass


def test_the_first_route_that_fits_decides_as_in_the_router() -> None:
    policies = {"GET /a/b": PUBLIC, "GET /a/{name}": ADMIN, "POST /a/{name}": UPLOAD, "PUT /a/b": PREDICT}
    rules = made(policies, router("GET /a/b"), router("GET /a/{name}", "POST /a/{name}"), router("PUT /a/b"))
    assert decided(rules, "GET", "/a/b") is PUBLIC
    assert decided(rules, "GET", "/a/c") is ADMIN
    assert decided(rules, "POST", "/a/b") is UPLOAD
    assert decided(rules, "PUT", "/a/b") is PREDICT
    assert decided(rules, "GET", "/a/b/") is None
    assert decided(rules, "PATCH", "/a/b") is PUBLIC  # the router answers 405 with the first whose path fits


def test_a_route_that_chooses_its_requests_is_asked() -> None:
    class OnlyOnMondays(APIRoute):
        def matches(self, scope: Any) -> tuple[Match, Any]:
            return super().matches(scope) if scope["headers"] else (Match.NONE, {})

    app = FastAPI(openapi_url=None)
    app.router.add_api_route("/a", nothing, methods=["GET"], route_class_override=OnlyOnMondays)
    app.include_router(router("GET /a"))
    rules = Rules(app.routes, {"GET /a": ADMIN})
    first, second = rules
    plain = {"type": "http", "method": "GET", "path": "/a", "headers": []}
    asked = [rules.decide({**plain, "headers": headers}) for headers in ([(b"x", b"")], [])]
    assert [decision.rule if decision else None for decision in asked] == [first, second]


def test_such_a_route_in_a_router_that_is_included_would_not_be_asked() -> None:
    class Choosy(APIRoute):
        def matches(self, scope: Any) -> tuple[Match, Any]:
            return Match.NONE, {}

    one = APIRouter(route_class=Choosy)
    one.add_api_route("/a", nothing, methods=["GET"])
    with pytest.raises(UndeclaredRoute, match="application itself"):
        made({"GET /a": ADMIN}, one)


def test_every_route_of_ours_takes_the_last_look() -> None:
    """A gate and a router that disagree: the dependency sees it."""
    app = create_app(echo_settings())
    without = []
    for rule in Rules(app.routes, app.state.policies):
        if not isinstance(rule.route, APIRoute) or all(policy.is_public for policy in rule.policies.values()):
            continue
        context = next(one for one in contexts(app) if one.endpoint is rule.endpoint and one.path == rule.path)
        if authenticate not in {depends.call for depends in context.dependant.dependencies}:
            without.append(rule.path)
    assert without == []


def contexts(app: FastAPI) -> Any:
    from fastapi.routing import iter_route_contexts  # noqa: PLC0415

    return iter_route_contexts(app.routes)


def test_a_mount_is_matched_by_its_prefix() -> None:
    assert isinstance(Mount("/a", app=FastAPI()), Mount)
    rules = made({"ANY /a": ADMIN, "GET /b": PUBLIC}, router("GET /b"), a=FastAPI())
    assert decided(rules, "DELETE", "/a/x") is ADMIN
    assert decided(rules, "GET", "/b") is PUBLIC


def test_the_table_has_what_the_service_promises() -> None:
    public = {line for line, policy in POLICIES.items() if policy.is_public}
    assert public >= {"GET /livez", "GET /readyz", "GET /health", "GET /docs", "GET /openapi.json", "POST /login"}
    assert not any("predict" in line or "upload" in line or "jobs" in line or "admin" in line for line in public)
    assert all(policy is ADMIN for line, policy in POLICIES.items() if line.endswith(("/reload", "/pin")))
