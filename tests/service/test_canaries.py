"""Nothing secret leaves: the words of prompts, files, names, keys and broken requests, looked for in every line of the
log, in every number and in every error."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from service.access.passwords import hash_password
from tests.parsers import parse
from tests.server import ServerProcess, server_process, wait_until

WITHIN_S = 60
CANARY = re.compile("canary", re.IGNORECASE)
SECRET = "canary-signing-secret-0123456789-0123456789"
PASSWORD = "canary-password"
CSV = b"text\ncanary row one\ncanary row two\n"


@contextmanager
def closed_service(folder: Path) -> Iterator[tuple[ServerProcess, httpx.Client]]:
    users = {"ann": {"password_hash": hash_password(PASSWORD), "scopes": ["predict", "upload", "admin"]}}
    settings = {
        "access__users": json.dumps(users),
        "access__jwt_secret": SECRET,
        "log_format": "json",
        "log_level": "debug",
        "echo__may_break": "true",
    }
    with server_process(folder, **settings) as server:
        url = f"http://127.0.0.1:{server.port}"
        with httpx.Client(base_url=url, timeout=WITHIN_S) as client:
            token = client.post("/login", json={"username": "ann", "password": PASSWORD}).json()["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
            wait_until(lambda: client.get("/readyz").is_success, WITHIN_S, "it is ready")
            yield server, client


def say_it_everywhere(client: httpx.Client) -> list[httpx.Response]:
    """Answers that must not repeat the word: those of refused and failed requests, and the numbers."""
    prompt, named = {"prompt": "canary in a prompt"}, "canary-name.txt"
    files = [
        client.post("/uploads", files={"file": (named, b"canary content")}),
        client.put(f"/uploads/{named}", content=b"canary content"),
        client.post("/process-file", files={"file": (named, b"canary content, searchable")}),
        client.post("/process-batch", files={"file": ("canary.csv", CSV)}),
    ]
    kept = files[0].json()["upload_id"]
    client.get(f"/uploads/{kept}/content")
    client.post("/search", json={"query": "canary question"})
    good = [
        client.get("/chat/stream", params={**prompt, "system": "canary system", "stop": "canary stop"}),
        client.post("/chat/stream", json=prompt),
        client.get("/chat/stream", params={**prompt, "upload_id": kept}),
        client.post("/predict", json={"text": "canary text"}),
        client.get("/health?canary=1", headers={"X-Request-ID": "canary request id"}),
    ]
    assert {one.status_code for one in files} <= {201, 202}
    assert [one.status_code for one in good] == [200] * len(good)
    failing = client.post("/predict", json={"text": "canary [[echo fail_at=1]] word"})
    crashing = client.get("/chat/stream", params={"prompt": "canary [[echo crash_at=1]] word"})
    assert parse(crashing.content)[-1].name == "failed"
    return [failing, *refused(client)]


def refused(client: httpx.Client) -> list[httpx.Response]:
    json_type = {"Content-Type": "application/json"}
    return [
        client.get("/canary/path?canary=query"),
        client.get("/uploads/canary-id"),
        client.get("/jobs/canary-id"),
        client.delete("/chat/streams/canary-id"),
        client.request("CANARY", "/predict"),
        client.post("/predict", content=b'{"text": "canary broken', headers=json_type),
        client.post("/predict", json={"text": ["canary"]}),
        client.post("/predict", json={"text": "canary", "temperature": "canary"}),
        client.post("/predict", json={"text": "canary", "model_name": "canary-model"}),
        client.post("/predict", json={"text": "canary " * 50_000}),
        client.post("/uploads", content=b"x", headers={"Content-Type": "multipart/form-data; boundary=canary"}),
        client.post("/process-batch", files={"file": ("canary.csv", b'{"canary": ')}),
        client.post("/upload-image", files={"file": ("canary.png", b"canary is no picture")}),
        client.post("/login", json={"username": "canary-user", "password": "canary-wrong"}),
        client.get("/jobs", headers={"X-API-Key": "canary-key", "Authorization": ""}),
        client.get("/jobs", headers={"Authorization": "Bearer canary.canary.canary"}),
        client.get("/jobs", headers={"Authorization": "", "Cookie": "canary=canary"}),
        client.get("/chat/stream?ticket=canary-ticket"),
        client.get("/chat/stream", params={"prompt": "x"}, headers={"Accept": "canary/canary"}),
    ]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Everything that the service said, by where."""
    folder = tmp_path_factory.mktemp("canaries")
    with closed_service(folder) as (server, client):
        errors = say_it_everywhere(client)
        unexpected = [one for one in errors if one.status_code < 400]
        assert not unexpected, [(one.request.url, one.status_code) for one in unexpected]
        wait_until(lambda: client.get("/readyz").is_success, WITHIN_S, "the engine works again")
        numbers = client.get("/metrics")
        assert numbers.is_success
        server.process.terminate()
        assert server.process.wait(WITHIN_S) == 0
        bodies = "\n".join(f"{one.headers} {one.text}" for one in errors)
        return {"log": server.log.read_text(), "metrics": numbers.text, "errors": bodies}


@pytest.mark.parametrize("where", ["log", "metrics", "errors"])
def test_no_canary_is_found(told: dict[str, str], where: str) -> None:
    found = [line[:300] for line in told[where].splitlines() if CANARY.search(line)]
    assert not found


def test_the_log_is_json_throughout_and_says_who_asked_for_what(told: dict[str, str]) -> None:
    lines = [json.loads(line) for line in told["log"].splitlines()]
    assert all({"timestamp", "level", "logger", "event", "request_id", "principal"} <= set(line) for line in lines)
    asked = [line for line in lines if line.get("route") == "/uploads/{filename:path}"]
    assert asked
    assert asked[0]["request_bytes"] == len(b"canary content")
    assert asked[0]["principal"] not in ("-", "anonymous")
    ended = [line for line in lines if line["logger"] == "headwater.generations"]
    assert {"stop", "step_failed", "engine_down"} <= {
        str(line.get("finish_reason") or line.get("code")) for line in ended
    }
    crashed = [line for line in lines if line["event"] == "the engine's thread died"]
    assert crashed[0]["exception"][0]["type"].endswith("ScriptedCrash")
