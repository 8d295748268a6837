"""Requests that are wrong: each gets a 4xx problem that names what is wrong, and costs nothing."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from streaming.schemas import ChatBody, PredictBody, PredictText
from tests.raw import exchange
from tests.server import RunningServer, echo_settings, serving


def cases(values_of: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(field, value) for field, values in values_of.items() for value in values]


BODY_ROUTES = ("/chat/stream", "/chat/streams", "/predict", "/predict/default")
NUMBERS: dict[str, list[str]] = {
    "max_tokens": ["0", "-1", "1.5", '"5"', "true", "9223372036854775808", "1e400", "NaN", "[]", "{}", "1048577"],
    "min_tokens": ["-1", "true", "1e400", "9223372036854775808"],
    "temperature": ["-0.1", "2.1", "NaN", "Infinity", "-Infinity", "1e400", "true", '"0.5"', "null1", "[1]"],
    "top_p": ["0", "1.1", "NaN", "true"],
    "top_k": ["-1", "1001", "true", "1.5"],
    "min_p": ["-0.1", "1.1", "NaN"],
    "repetition_penalty": ["0", "10.1", "NaN", "Infinity"],
    "presence_penalty": ["-2.1", "2.1", "NaN"],
    "frequency_penalty": ["-2.1", "2.1", "NaN"],
    "seed": ["-1", "9007199254740992", "1.5", "true", '"1"', "9" * 5000],
    "upload_id": [
        "1",
        "[1]",
        '""',
        '"a\\u0000"',
        '"\\ud800"',
        json.dumps("x" * 65),
        json.dumps([str(n) for n in range(9)]),
    ],
    "upload_ids": ["1", "[1]", '[""]', '["\\u0000"]', json.dumps([str(n) for n in range(9)])],
    "stop": [
        "1",
        "[1]",
        '[""]',
        '""',
        '["\\u0000"]',
        '["\\ud800"]',
        "[[]]",
        json.dumps(["x"] * 17),
        json.dumps(["x" * 257]),
    ],
}
CHAT_ONLY: dict[str, list[str]] = {
    "grace_s": ["-1", "301", "NaN", "true", '"1"'],
    "logprobs": ["-1", "21", "true", "1.5"],
    "model": ["1", '""', json.dumps("x" * 65), '"\\u0000"'],
    "system": ["1", '"\\u0000"', '"\\udfff"'],
    "logit_bias": ["[]", '{"x":1}', '{"1":101}', '{"1":NaN}', '{"-1":1}', '{"1":true}',
        json.dumps({str(n): 1 for n in range(301)})],
    "unknown": ["1"],
}  # fmt: skip
TEXTS = ['""', '" "', '"\\n\\t "', '"\\u0000"', '"a\\u0000b"', '"\\ud800"', '"\\udc00\\ud800"', "1", "true", "[]", "{}"]
MESSAGES = [
    "[]", "{}", "null1", '[{}]', '[{"role":"user"}]', '[{"role":"user","content":""}]',
    '[{"role":"user","content":" "}]',
    '[{"role":"robot","content":"x"}]', '[{"role":"user","content":"x","name":"y"}]', '[{"role":"user","content":1}]',
    '[{"role":"user","content":"\\ud800"}]', '[{"role":"user","content":"\\u0000"}]', "[1]", '["x"]',
    '[{"role":"user","content":["x"]}]', json.dumps([{"role": "user", "content": "x"}] * 1001),
]  # fmt: skip


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


def post(client: httpx.Client, path: str, body: str | bytes) -> httpx.Response:
    return client.post(path, content=body, headers={"Content-Type": "application/json"})


def assert_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, (answer.status_code, answer.text[:300])
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "code", "request_id"} <= set(problem)
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text
    return problem


def body_for(path: str, field: str, value: str) -> str:
    said = '"prompt"' if path.startswith("/chat") else '"text"'
    return f'{{{said}:"x","{field}":{value}}}'


@pytest.mark.parametrize("path", BODY_ROUTES)
@pytest.mark.parametrize(("field", "value"), cases(NUMBERS))
def test_an_option_out_of_bounds_is_422(client: httpx.Client, path: str, field: str, value: str) -> None:
    answer = post(client, path, body_for(path, field, value))
    if value == "null1" or len(value) > 4300:  # no JSON at all, or more digits than Python reads
        assert answer.status_code in (400, 422)
        return
    problem = assert_problem(answer, 422)
    assert any(field in error["loc"] for error in problem["errors"])


@pytest.mark.parametrize("path", ["/chat/stream", "/chat/streams"])
@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in CHAT_ONLY.items() for value in values]
)
def test_a_chat_option_out_of_bounds_is_422(client: httpx.Client, path: str, field: str, value: str) -> None:
    problem = assert_problem(post(client, path, body_for(path, field, value)), 422)
    assert any(field in error["loc"] for error in problem["errors"])
    assert set(problem["errors"][0]) == {"loc", "msg", "type"}


@pytest.mark.parametrize("path", ["/predict", "/predict/default"])
@pytest.mark.parametrize("text", TEXTS)
def test_a_text_that_says_nothing_or_cannot_be_said_is_422(client: httpx.Client, path: str, text: str) -> None:
    assert_problem(post(client, path, f'{{"text":{text}}}'), 422)


@pytest.mark.parametrize("path", ["/chat/stream", "/chat/streams"])
@pytest.mark.parametrize("text", TEXTS)
def test_a_prompt_that_says_nothing_or_cannot_be_said_is_422(client: httpx.Client, path: str, text: str) -> None:
    assert_problem(post(client, path, f'{{"prompt":{text}}}'), 422)


@pytest.mark.parametrize(
    ("path", "body", "model"),
    [
        ("/chat/streams", {"prompt": "one two"}, ChatBody),
        ("/chat/streams", {"messages": [{"role": "user", "content": "one two"}]}, ChatBody),
        ("/predict", {"text": "one two"}, PredictBody),
        ("/predict/default", {"text": "one two"}, PredictText),
    ],
)
def test_null_is_not_given(client: httpx.Client, path: str, body: dict[str, Any], model: type[BaseModel]) -> None:
    nulls = {name: None for name in model.model_fields if name not in body}
    assert {"stop", "min_tokens", "max_tokens"} <= set(nulls)
    answer = client.post(path, json={**body, **nulls})
    assert answer.is_success, answer.text
    assert_problem(client.post(path, json={**body, **nulls, "unknown": None}), 422)


def test_null_is_no_question(client: httpx.Client) -> None:
    for path, body in (("/chat/stream", {"prompt": None}), ("/predict", {"text": None}), ("/predict", {})):
        assert_problem(client.post(path, json=body), 422)


def test_an_answer_that_could_hold_too_many_logprobs_is_422() -> None:
    with serving(echo_settings(max_logprobs=60)) as running, httpx.Client(base_url=running.url) as client:
        cases: tuple[tuple[dict[str, int], bool], ...] = (
            ({"logprobs": 5, "max_tokens": 10}, True),
            ({"logprobs": 5, "max_tokens": 11}, False),
            ({"logprobs": 0, "max_tokens": 60}, True),
            ({"logprobs": 0, "max_tokens": 61}, False),
            ({"logprobs": 0}, False),  # the default of max_tokens counts as well
            ({"max_tokens": 1000}, True),
        )
        for options, fits in cases:
            body: dict[str, str | int] = {"prompt": "one", **options}
            answers = [client.post("/chat/stream", json=body), client.get("/chat/stream", params=body)]
            for answer, where in zip(answers, ("body", "query"), strict=True):
                assert answer.is_success == fits, answer.text
                if not fits:
                    assert assert_problem(answer, 422)["errors"][0]["loc"] == [where, "logprobs"]


@pytest.mark.parametrize("messages", MESSAGES)
def test_messages_that_are_none_are_422(client: httpx.Client, messages: str) -> None:
    assert_problem(post(client, "/chat/stream", f'{{"messages":{messages}}}'), 422)


@pytest.mark.parametrize(
    "body",
    ["", "{", "nonsense", "[]", "1", "null", '"x"', "{}", '{"prompt":"x","messages":[{"role":"user","content":"x"}]}'],
)
@pytest.mark.parametrize("path", ["/chat/stream", "/chat/streams", "/predict"])
def test_a_body_that_is_none_is_422(client: httpx.Client, path: str, body: str) -> None:
    assert_problem(post(client, path, body), 422)


@pytest.mark.parametrize("body", [b'{"prompt":"\xff"}', b"[" * 100_000, b'{"a":' * 50_000, b"\xef\xbb\xbf{}"])
def test_a_body_that_cannot_be_read_is_4xx(client: httpx.Client, body: bytes) -> None:
    answer = post(client, "/chat/stream", body)
    assert answer.status_code in (400, 422)
    assert_problem(answer, answer.status_code)


@pytest.mark.parametrize(
    "query",
    [
        "", "prompt=", "prompt=%20", "prompt=%00", "prompt=a%00b", "prompt=%ED%A0%80", "prompt=%FF",
        "prompt=x&unknown=1",
        "prompt=x&upload_id=", "prompt=x&upload_ids=", "prompt=x&%FF=1",
        "prompt=x&max_tokens=0", "prompt=x&max_tokens=9223372036854775808",
        "prompt=x&max_tokens=true", "prompt=x&temperature=nan", "prompt=x&temperature=inf",
        "prompt=x&temperature=1e400",
        "prompt=x&temperature=3", "prompt=x&seed=-1", "prompt=x&stop=", "prompt=x&grace_s=301", "prompt=x&grace_s=nan",
        "prompt=x&model=", "prompt=x&logit_bias=1", "prompt=x&messages=1", "prompt=x" + "&stop=x" * 17,
        "prompt=x&logprobs=21", "prompt=x&max_tokens=",
    ],
)  # fmt: skip
@pytest.mark.parametrize("route", ["GET /chat/stream", "POST /chat/stream", "POST /chat/streams"])
def test_a_query_that_is_wrong_is_422(client: httpx.Client, route: str, query: str) -> None:
    method, path = route.split()
    assert_problem(client.request(method, f"{path}?{query}"), 422)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/predict?text=x&x=1"), ("POST", "/predict?x=1"), ("POST", "/predict/default?text=x&x=1"),
        ("POST", "/predict/default?text="), ("POST", "/predict/default"),
        ("POST", "/predict/default?text=x&temperature=nan"),
        ("GET", "/chat/streams/s1?x=1"), ("GET", "/chat/streams/s1/events?prompt=x"),
        ("DELETE", "/chat/streams/s1?x=1"),
    ],
)  # fmt: skip
def test_a_parameter_that_a_route_does_not_have_is_422(client: httpx.Client, method: str, path: str) -> None:
    assert_problem(client.request(method, path), 422)


def test_a_body_and_a_query_at_once_is_422(client: httpx.Client) -> None:
    for path, body in (("/chat/stream?prompt=x", {"prompt": "y"}), ("/predict/default?text=x", {"text": "y"})):
        assert_problem(client.post(path, json=body), 422)


def test_a_field_with_a_name_that_cannot_be_written_is_422(client: httpx.Client) -> None:
    problem = assert_problem(post(client, "/predict", b'{"text":"x","\\ud800":1}'), 422)
    assert problem["errors"]


def test_many_errors_are_not_all_told(client: httpx.Client) -> None:
    body = json.dumps({"text": "x", **{f"field{number}": 1 for number in range(20_000)}})
    problem = assert_problem(post(client, "/predict", body), 422)
    assert len(problem["errors"]) == 20


@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "text/json"]
)
@pytest.mark.parametrize("path", BODY_ROUTES)
def test_json_under_another_name_is_415_and_told_the_right_one(
    client: httpx.Client, path: str, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    problem = assert_problem(client.post(path, content=b'{"text":"x"}', headers=headers), 415)
    assert problem["code"] == "unsupported_media_type"
    assert "`Content-Type: application/json`" in problem["detail"]


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/x+json"])
def test_json_has_several_names(client: httpx.Client, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    assert client.post("/predict", content=b'{"text":"x"}', headers=headers).is_success


def test_without_a_body_the_type_does_not_matter(client: httpx.Client) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/predict/default?text=x", headers=headers).is_success
    assert client.post("/predict/default?text=x", headers=headers, content=iter([b""])).is_success


@pytest.mark.parametrize("path", [*BODY_ROUTES, "/not/there"])
@pytest.mark.parametrize("encoding", ["gzip", "identity, br", "x"])
async def test_a_packed_body_is_415_before_it_is_read(server: RunningServer, path: str, encoding: str) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding, "Content-Length": "1000"}
    async with exchange(server.port, "POST", path, headers) as one:
        assert (one.status, one.headers["accept-encoding"]) == (415, "identity")
        assert json.loads(await one.read_all())["code"] == "unsupported_media_type"


def test_a_body_that_says_it_is_not_packed_is_taken(client: httpx.Client) -> None:
    assert client.post("/predict", json={"text": "x"}, headers={"Content-Encoding": "identity"}).is_success


def test_a_prompt_at_the_limit_passes_and_one_more_is_413() -> None:
    with serving(echo_settings(max_prompt_chars=1000)) as running, httpx.Client(base_url=running.url) as client:
        for path, name in (("/predict", "text"), ("/chat/streams", "prompt")):
            assert client.post(path, json={name: "é" * 1000}).is_success
            assert_problem(client.post(path, json={name: "é" * 1001}), 413)
        half = {"role": "user", "content": "x" * 500}
        assert client.post("/chat/streams", json={"messages": [half, half]}).is_success
        assert_problem(client.post("/chat/streams", json={"messages": [half, half], "system": "x"}), 413)
        assert_problem(client.get("/chat/stream", params={"prompt": "x" * 1001}), 413)


def test_a_body_over_the_limit_is_413_with_and_without_a_length() -> None:
    with serving(echo_settings(max_body_bytes=2000)) as running, httpx.Client(base_url=running.url) as client:
        fits = json.dumps({"text": "x" * 1900}).encode().ljust(2000)
        assert post(client, "/predict", fits).is_success
        assert assert_problem(post(client, "/predict", fits + b" "), 413)["code"] == "body_too_large"
        headers = {"Content-Type": "application/json"}
        for size, status in ((2000, 200), (2001, 413)):
            pieces = iter([fits[:1000], fits[1000:].ljust(size - 1000)])
            assert client.post("/predict", content=pieces, headers=headers).status_code == status


@pytest.mark.parametrize(
    "body",
    [
        {"text": "x " * 4_000_000},
        {"text": "x", "stop": ["x"] * 100_000},
        {"text": "x", "max_tokens": 2**63},
        {"text": "x" * 900_000},
    ],
)
def test_absurd_requests_are_cheap(client: httpx.Client, body: dict[str, Any]) -> None:
    """Refused before they cost anything: what would be read, tokenised or computed takes minutes."""
    assert post(client, "/predict", json.dumps(body).encode()).status_code in (413, 422)


def test_an_unknown_model_is_404(client: httpx.Client) -> None:
    for answer in (
        client.post("/predict/nope", json={"text": "x"}),
        client.post("/predict", json={"text": "x", "model_name": "nope"}),
        client.get("/chat/stream", params={"prompt": "x", "model": "nope"}),
        client.post("/chat/stream", json={"prompt": "x", "model": "nope"}),
        client.post("/predict/..%2f..%2fetc", json={"text": "x"}),
        client.post("/predict/%00", json={"text": "x"}),
    ):
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
