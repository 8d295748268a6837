"""H8: values that break parsers, as each field of each route that `/openapi.json` says takes JSON: 4xx, never 5xx."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.server import echo_settings, serving

Schema = dict[str, Any]
DEEP = 10_000
NESTED = "[" * DEEP + "]" * DEEP
EVERY_KIND = frozenset({"string", "integer", "number", "boolean", "array", "object"})
VALUES: dict[str, tuple[str, frozenset[str]]] = {  # what is sent, and for fields of which kinds
    "NaN": ("NaN", EVERY_KIND),
    "Infinity": ("Infinity", EVERY_KIND),
    "-Infinity": ("-Infinity", EVERY_KIND),
    "1e400": ("1e400", EVERY_KIND),
    "true for a number": ("true", frozenset({"integer", "number"})),
    "a lone high surrogate": (r'"a\ud800"', EVERY_KIND),
    "a lone low surrogate": (r'"\udc00a"', EVERY_KIND),
    "surrogates the wrong way round": (r'"\udc00\ud800"', EVERY_KIND),
    "NUL": (r'"a\u0000b"', EVERY_KIND),
    "nested lists": (NESTED, EVERY_KIND),
    "nested objects": ('{"a":' * DEEP + "1" + "}" * DEEP, EVERY_KIND),
}
FITTING: dict[str, dict[str, Any]] = {  # a body of each route in which nothing is wrong
    "POST /predict": {"text": "one"},
    "POST /predict/{model_name}": {"text": "one"},
    "POST /predict-batch": {"texts": ["one"]},
    "POST /classify": {"text": "one", "labels": ["a", "b"]},
    "POST /embed": {"text": "one"},
    "POST /embed-cached": {"text": "one"},
    "POST /chat/stream": {"prompt": "one"},
    "POST /chat/streams": {"prompt": "one"},
    "POST /search": {"query": "one"},
    "POST /models/{name}/reload": {},
    "POST /invocations": {"text": "one"},
    "POST /login": {"username": "one", "password": "one"},
}
INSTEAD_OF = {"messages": "prompt", "records": "texts", "features": "text"}  # of two that exclude each other
MODEL = "default"


class Description:
    """`/openapi.json`, as far as bodies of JSON go."""

    def __init__(self, document: Schema) -> None:
        self._document = document

    def routes(self) -> dict[str, Schema]:
        found = {}
        for path, methods in self._document["paths"].items():
            for method, operation in methods.items():
                content = operation.get("requestBody", {}).get("content", {})
                if "application/json" in content:
                    found[f"{method.upper()} {path}"] = content["application/json"]["schema"]
        return found

    def shapes(self, schema: Schema) -> list[Schema]:
        """Each alternative of it that is not null, without references."""
        if "$ref" in schema:
            found: Any = self._document
            for part in schema["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            return self.shapes(found)
        parts = schema.get("anyOf", schema.get("oneOf", schema.get("allOf")))
        if parts is not None:
            return [shape for part in parts for shape in self.shapes(part)]
        return [] if schema.get("type") == "null" else [schema]

    def fields(self, schema: Schema) -> dict[str, Schema]:
        return {name: one for shape in self.shapes(schema) for name, one in shape.get("properties", {}).items()}

    def kinds(self, schema: Schema) -> frozenset[str]:
        return frozenset(shape.get("type", "object") for shape in self.shapes(schema))


def placed(value: str, kinds: frozenset[str]) -> list[str]:
    """The value itself, and where the field holds several also as one of them."""
    inside = {"array": f"[{value}]", "object": f'{{"a":{value}}}'}
    return [value, *(text for kind, text in inside.items() if kind in kinds)]


def bodies(description: Description, route: str, schema: Schema, name: str) -> Iterator[str]:
    """The value as the whole body, and as each field of one that fits otherwise."""
    value, wanted = VALUES[name]
    yield value
    fields = description.fields(schema) or {field: {"type": "string"} for field in FITTING[route]}
    for field, one in fields.items():
        kinds = description.kinds(one)
        if kinds & wanted:
            others = {key: given for key, given in FITTING[route].items() if key not in (field, INSTEAD_OF.get(field))}
            for text in placed(value, kinds):
                members = [f"{json.dumps(key)}:{json.dumps(given)}" for key, given in others.items()]
                yield "{" + ",".join([*members, f"{json.dumps(field)}:{text}"]) + "}"


def path_of(route: str) -> str:
    return re.sub(r"\{\w+\}", MODEL, route.partition(" ")[2])


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    """Of a server of its own: one route of them reloads a model."""
    with serving(echo_settings()) as running, httpx.Client(base_url=running.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def description(client: httpx.Client) -> Description:
    return Description(client.get("/openapi.json").json())


def test_every_route_that_takes_json_is_asked(description: Description) -> None:
    assert set(description.routes()) == set(FITTING)


@pytest.mark.parametrize("route", FITTING)
def test_the_bodies_that_values_are_put_into_are_right_without_them(client: httpx.Client, route: str) -> None:
    answer = client.post(path_of(route), json=FITTING[route])
    assert answer.status_code not in (400, 413, 415, 422), answer.text


@pytest.mark.parametrize("name", VALUES)
def test_a_value_that_breaks_parsers_is_refused_by_every_route_and_field(
    description: Description, client: httpx.Client, name: str
) -> None:
    wrong = []
    for route, schema in description.routes().items():
        for body in bodies(description, route, schema, name):
            answer = client.post(path_of(route), content=body, headers={"Content-Type": "application/json"})
            if not 400 <= answer.status_code < 500:
                wrong.append((route, body[:200], answer.status_code))
    assert wrong == []
    assert client.get("/livez").status_code == 200
