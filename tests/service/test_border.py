"""What browsers may do: Host, Origin and credentials in every combination (H7), and the headers on every answer."""

import json
from collections.abc import Iterator

import httpx
import pytest

from service.border import SAFE_HEADERS, STRICT_POLICY
from service.pages.reference import POLICIES
from tests.raw import connected, fetch, request_bytes, stream_path
from tests.server import RunningServer, echo_settings, serving

LISTED = "http://localhost:3000"
FOREIGN = ("https://evil.example", "null", "", "http://localhost:3000.evil.example", "http://localhost:3001", "file://")
WORK = (
    *(("POST", "/predict"), ("POST", "/chat/stream"), ("GET", "/chat/stream?prompt=x"), ("DELETE", "/uploads/x")),
    *(("PUT", "/uploads/x"), ("PATCH", "/files/x"), ("GET", "/chat/streams/x/events"), ("GET", "/jobs/x/events")),
)


@pytest.fixture(scope="module")
def guarded() -> Iterator[RunningServer]:
    with serving(echo_settings(cors_origins=(LISTED,))) as running:
        yield running


def own_origin(server: RunningServer) -> str:
    return f"http://127.0.0.1:{server.port}"


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize(("method", "path"), WORK)
def test_a_foreign_origin_is_refused_before_any_work(
    guarded: RunningServer, origin: str, method: str, path: str
) -> None:
    answer = httpx.request(method, guarded.url + path, headers={"Origin": origin}, json={"text": "x", "prompt": "x"})
    assert (answer.status_code, answer.json()["code"]) == (403, "origin_not_allowed")
    assert "access-control-allow-origin" not in answer.headers
    assert guarded.is_idle()


@pytest.mark.parametrize(("method", "path"), WORK)
def test_listed_and_own_origins_and_programs_pass(guarded: RunningServer, method: str, path: str) -> None:
    for headers in ({"Origin": LISTED}, {"Origin": own_origin(guarded)}, {}, {"Sec-Fetch-Site": "same-origin"},
                    {"Sec-Fetch-Site": "none"}, {"Origin": LISTED, "Sec-Fetch-Site": "cross-site"}):  # fmt: skip
        answer = httpx.request(method, guarded.url + path, headers=headers)
        assert answer.status_code != 403, (headers, answer.text)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize(("method", "path"), WORK)
def test_a_picture_or_form_of_another_site_starts_nothing(
    guarded: RunningServer, site: str, method: str, path: str
) -> None:
    answer = httpx.request(method, guarded.url + path, headers={"Sec-Fetch-Site": site})
    assert (answer.status_code, answer.json()["code"]) == (403, "origin_not_allowed")


@pytest.mark.parametrize("origin", [None, LISTED, "https://evil.example", "http://evil.example:8000"])
@pytest.mark.parametrize("credentials", [{}, {"Authorization": "Bearer x"}, {"X-API-Key": "x"}, {"Cookie": "a=b"}])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "10.0.0.1", "localhost.evil.example"])
def test_a_name_that_is_not_ours_is_refused_whoever_asks(
    guarded: RunningServer, host: str, credentials: dict[str, str], origin: str | None
) -> None:
    headers = {"Host": host, **credentials, **({} if origin is None else {"Origin": origin})}
    for method, path in (("GET", "/health"), ("POST", "/predict"), ("OPTIONS", "/predict"), ("GET", "/docs")):
        answer = httpx.request(method, guarded.url + path, headers=headers, json={"text": "x"})
        assert (answer.status_code, answer.json()["code"]) == (400, "host_not_allowed")


def test_a_rebound_name_is_refused_though_it_is_its_own_origin(guarded: RunningServer) -> None:
    headers = {"Host": f"evil.example:{guarded.port}", "Origin": f"http://evil.example:{guarded.port}"}
    assert httpx.post(f"{guarded.url}/predict", headers=headers, json={"text": "x"}).status_code == 400


@pytest.mark.parametrize("origin", [None, LISTED, "https://evil.example", "null"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/health"), ("GET", "/nope"), ("POST", "/predict"), ("GET", "/openapi.json"), ("OPTIONS", "/predict"),
     ("GET", "/docs"), ("GET", "/chat/stream?prompt=x"), ("GET", "/metrics")],
)  # fmt: skip
def test_safe_headers_are_on_every_answer(guarded: RunningServer, origin: str | None, method: str, path: str) -> None:
    headers = {} if origin is None else {"Origin": origin}
    answer = httpx.request(method, guarded.url + path, headers=headers)
    for name, value in SAFE_HEADERS:
        assert answer.headers[name.decode()] == value.decode()
    assert answer.headers["content-security-policy"] == POLICIES.get(path, STRICT_POLICY)
    assert "Origin" in answer.headers["vary"]
    allowed = answer.headers.get("access-control-allow-origin")
    assert allowed == (LISTED if origin == LISTED else None)
    assert ("access-control-allow-credentials" in answer.headers) == (origin == LISTED)


async def test_safe_headers_are_on_what_is_no_http(guarded: RunningServer) -> None:
    async with connected(guarded.port) as one:
        one.writer.write(b"GARBAGE\r\n\r\n")
        await one.read_head()
    assert one.headers["x-content-type-options"] == "nosniff"


def test_a_policy_of_a_route_stays(guarded: RunningServer) -> None:
    made = httpx.put(f"{guarded.url}/uploads/a.html", content=b"<script>1</script>").json()
    answer = httpx.get(f"{guarded.url}/uploads/{made['upload_id']}/content")
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"


@pytest.mark.parametrize(("credentials", "origins"), [(False, "*"), (False, "*,null"), (True, "null"), (True, LISTED)])
def test_null_and_star_follow_their_rules(credentials: bool, origins: str) -> None:
    settings = echo_settings(cors_origins=tuple(origins.split(",")), cors_credentials=credentials)
    with serving(settings) as running:
        answers = {}
        for origin in ("https://any.example", "null", LISTED):
            headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            asked = httpx.post(f"{running.url}/predict", headers={"Origin": origin}, json={"text": "x"})
            preflight = httpx.options(f"{running.url}/predict", headers=headers)
            assert asked.is_success == preflight.is_success
            for answer in (asked, preflight):
                allowed = answer.headers.get("access-control-allow-origin")
                assert not (allowed == "*" and "access-control-allow-credentials" in answer.headers)
                assert allowed != "null" or "null" in origins
            answers[origin] = asked.status_code
    assert (answers["null"] == 200) == ("null" in origins)
    assert (answers["https://any.example"] == 200) == ("*" in origins)


async def test_a_foreign_stream_is_refused_with_a_problem(guarded: RunningServer) -> None:
    one, body = await fetch(guarded.port, "GET", stream_path("x"), {"Origin": "https://evil.example"})
    assert (one.status, one.headers["content-type"]) == (403, "application/problem+json")
    assert json.loads(body)["request_id"] == one.headers["x-request-id"]


@pytest.mark.parametrize("pair", [(LISTED, "https://evil.example"), ("https://evil.example", LISTED)])
async def test_two_origins_are_no_origin(guarded: RunningServer, pair: tuple[str, str]) -> None:
    head = request_bytes("POST", "/predict", {"Origin": "\r\nOrigin: ".join(pair)}, b"")
    async with connected(guarded.port) as one:
        one.writer.write(head)
        await one.read_head()
    assert one.status == 403
