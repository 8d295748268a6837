"""What somebody made is another one's to nobody: on each route a foreign id answers as an unknown one does."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.access.rules import Rules
from tests.server import RunningServer, echo_settings, serving
from tests.service.access.world import fill_two

UNKNOWN = {
    "stream_id": "s" + "0" * 32,
    "upload_id": "u" + "0" * 32,
    "part_id": "p" + "0" * 32,
    "job_id": "j" + "0" * 32,
}
NO_IDS = {"filename", "model_name", "name", "path"}
TUS = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
BODIES: dict[str, Any] = {"PATCH": b"x", "POST": None}
VOLATILE = {"date", "x-request-id", "content-length", "server-timing"}


@dataclass
class Two:
    """Two people at one service, and what the first of them has made."""

    running: RunningServer
    ann: httpx.Client
    bob: httpx.Client
    ids: dict[str, str]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    folder: Path = tmp_path_factory.mktemp("owners")
    ann_key, bob_key = fill_two(folder)
    settings = echo_settings(data_dir=folder, echo={"tokens_per_second": 50})
    with serving(settings) as running, client(running, ann_key) as ann, client(running, bob_key) as bob:
        yield Two(running, ann, bob, made_by(ann))


def client(running: RunningServer, key: str) -> httpx.Client:
    return httpx.Client(base_url=running.url, headers={"X-API-Key": key}, timeout=60)


def made_by(ann: httpx.Client) -> dict[str, str]:
    upload = ann.post("/uploads?filename=a.txt", content=b"the secret of ann")
    part = ann.post("/files", headers={"Tus-Resumable": "1.0.0", "Upload-Length": "5"})
    job = ann.post("/process-batch", files={"file": ("rows.txt", b"a\n" * 50)})
    stream = ann.post("/chat/streams", json={"prompt": "[[echo hang_at=1]] for ever and ever", "grace_s": 300})
    assert [one.status_code for one in (upload, part, job, stream)] == [201, 201, 202, 201]
    return {
        "upload_id": upload.json()["upload_id"],
        "part_id": part.headers["location"].rpartition("/")[2],
        "job_id": job.json()["job_id"],
        "stream_id": stream.json()["stream_id"],
    }


def test_a_foreign_id_answers_as_an_unknown_one_on_every_route(two: Two) -> None:
    rules: Rules = two.running.uvicorn.config.app.state.rules  # type: ignore[union-attr]
    tried = 0
    for rule in rules:
        if all(policy.is_public for policy in rule.policies.values()):
            continue
        names = {name.partition(":")[0] for name in re.findall(r"\{([^}]+)\}", rule.path)} - NO_IDS
        assert names <= set(UNKNOWN), f"{rule.path} takes an id that this test does not know: teach it"
        if not names:
            continue
        for method in rule.policies:
            foreign, unknown = (ask(two.bob, method, rule.path, ids) for ids in (two.ids, UNKNOWN))
            assert foreign == unknown, f"{method} {rule.path}"
            assert method == "OPTIONS" or foreign[0] in (404, 405), f"{method} {rule.path}: {foreign[0]}"
            tried += 1
    assert tried >= 20


def ask(caller: httpx.Client, method: str, path: str, ids: dict[str, str]) -> tuple[int, dict[str, str], str]:
    concrete = re.sub(r"\{([^}:]+)(:path)?\}", lambda found: ids[found[1]], path)
    headers = TUS if "/files" in path else {}
    answer = caller.request(method, concrete, headers=headers, content=BODIES.get(method))
    told = {name: value for name, value in answer.headers.items() if name not in VOLATILE}
    body = answer.text.replace(answer.headers["x-request-id"], "")
    for shown in ids.values():
        assert shown not in body
    return answer.status_code, told, body


def test_ann_still_has_everything_after_bob_has_tried(two: Two) -> None:
    assert two.ann.get(f"/uploads/{two.ids['upload_id']}/content").content == b"the secret of ann"
    assert two.ann.head(f"/files/{two.ids['part_id']}", headers=TUS).headers["upload-offset"] == "0"
    assert two.ann.get(f"/jobs/{two.ids['job_id']}").json()["status"] != "cancelled"
    assert two.ann.get(f"/chat/streams/{two.ids['stream_id']}").json()["state"] in ("queued", "running")


def test_lists_hold_only_what_is_the_callers(two: Two) -> None:
    assert two.bob.get("/uploads").json()["uploads"] == []
    assert two.bob.get("/jobs").json()["jobs"] == []
    assert two.ids["upload_id"] in two.ann.get("/uploads").text
    assert two.ids["job_id"] in two.ann.get("/jobs").text


@pytest.mark.parametrize("path", ["/chat/stream?prompt=x", "/chat/streams/{id}/events"])
def test_a_foreign_stream_is_a_gap_and_never_goes_on(two: Two, path: str) -> None:
    answers = []
    for stream_id in (two.ids["stream_id"], UNKNOWN["stream_id"]):
        headers = {"Last-Event-ID": f"{stream_id}.0"}
        answers.append(two.bob.get(path.replace("{id}", stream_id), headers=headers).text)
    assert answers[0] == answers[1]
    assert '"reason":"unknown"' in answers[0]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/search", {"query": "secret", "upload_ids": ["{upload_id}"]}),
        ("POST", "/predict", {"text": "x", "upload_ids": ["{upload_id}"]}),
        ("POST", "/chat/streams", {"prompt": "x", "upload_id": ["{upload_id}"]}),
        ("POST", "/chat/stream", {"prompt": "x", "upload_id": ["{upload_id}"]}),
    ],
)
def test_a_foreign_file_cannot_be_asked(two: Two, method: str, path: str, body: dict[str, Any]) -> None:
    answers = []
    for upload_id in (two.ids["upload_id"], UNKNOWN["upload_id"]):
        filled = {name: [upload_id] if isinstance(value, list) else value for name, value in body.items()}
        answer = two.bob.request(method, path, json=filled)
        answers.append((answer.status_code, answer.json()["code"], answer.json()["detail"]))
    assert answers[0] == answers[1]
    assert answers[0][:2] == (404, "unknown_upload")


def test_a_ticket_opens_one_stream_and_nothing_else(two: Two) -> None:
    made = [two.ann.post("/chat/streams", json={"prompt": f"say {n}", "grace_s": 60}).json() for n in range(2)]
    ticket = made[0]["url"].partition("ticket=")[2]
    with httpx.Client(base_url=two.running.url, timeout=60) as stranger:
        assert "event: end" in stranger.get(made[0]["url"]).text
        assert "event: end" in stranger.get(f"/chat/stream?ticket={ticket}").text
        for path in (
            f"/chat/streams/{made[1]['stream_id']}/events?ticket={ticket}",
            f"/chat/streams/{made[0]['stream_id']}?ticket={ticket}",
            f"/uploads?ticket={ticket}",
            f"/jobs?ticket={ticket}",
            f"/chat/stream?ticket={ticket}&ticket={ticket}",
            f"/chat/stream?prompt=x&ticket={ticket}x",
            f"/chat/stream?prompt=x&TICKET={ticket}",
            "/chat/stream?prompt=x",
        ):
            assert stranger.get(path).status_code == 401, path
        assert stranger.post(f"/chat/stream?ticket={ticket}", json={"prompt": "x"}).status_code == 401
        assert stranger.get(f"/chat/stream?prompt=x&ticket={ticket}").status_code == 422
        other = f"{made[1]['stream_id']}.0"
        gone = stranger.get(f"/chat/stream?ticket={ticket}", headers={"Last-Event-ID": other})
        assert '"reason":"unknown"' in gone.text
