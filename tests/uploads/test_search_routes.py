"""`POST /search` on a real server: what is refused, what is found, and whose it is."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import Request

from service.auth import authenticate
from tests.server import RunningServer, echo_settings, serving
from tests.uploads.documents.files import write_pdf

DEADLINE_S = 60.0
PAGES = [["Prices", "The large pump costs twelve euro."], ["Terms", "Invoices are paid within thirty days."]]


def with_owners(app: Any) -> None:
    def owner_of_header(request: Request) -> None:
        request.state.owner = request.headers.get("x-owner", "ann")

    app.dependency_overrides[authenticate] = owner_of_header


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("search")
    with serving(echo_settings(data_dir=folder, documents={"max_top_k": 20}), prepare=with_owners) as server:
        yield server


def search(running: RunningServer, body: Any, owner: str = "ann") -> httpx.Response:
    return httpx.post(f"{running.url}/search", json=body, headers={"x-owner": owner}, timeout=DEADLINE_S)


def process(running: RunningServer, path: Path, owner: str = "ann") -> dict[str, Any]:
    """The job, once it has ended."""
    headers = {"x-owner": owner}
    with path.open("rb") as file:
        answer = httpx.post(f"{running.url}/process-file", files={"file": file}, headers=headers).json()
    deadline = time.monotonic() + DEADLINE_S
    while True:
        job: dict[str, Any] = httpx.get(f"{running.url}/jobs/{answer['job_id']}", headers=headers).json()
        if job["status"] in ("succeeded", "failed", "cancelled"):
            return job
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "query"),
        ({"query": " "}, "query"),
        ({"query": "x\0"}, "query"),
        ({"query": "x" * 4001}, "query"),
        ({"query": 7}, "query"),
        ({"query": "x", "top_k": 0}, "top_k"),
        ({"query": "x", "top_k": 21}, "top_k"),
        ({"query": "x", "top_k": True}, "top_k"),
        ({"query": "x", "top_k": "3"}, "top_k"),
        ({"query": "x", "upload_ids": "u"}, "upload_ids"),
        ({"query": "x", "upload_ids": ["u"] * 101}, "upload_ids"),
        ({"query": "x", "k": 3}, "k"),
    ],
)
def test_a_wrong_search_names_the_field(running: RunningServer, body: Any, where: str) -> None:
    answer = search(running, body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"][:2] == ["body", where]


@pytest.mark.parametrize("query", ["query=", "query=x&k=3", "query=x&top_k=0", "query=%FF", "top_k=3"])
def test_a_wrong_query_string_is_refused(running: RunningServer, query: str) -> None:
    assert httpx.post(f"{running.url}/search?{query}").status_code == 422


def test_a_body_and_a_query_string_are_too_much(running: RunningServer) -> None:
    assert httpx.post(f"{running.url}/search?query=x", json={"query": "x"}).status_code == 422


def test_an_upload_that_is_not_there_is_unknown(running: RunningServer) -> None:
    answer = search(running, {"query": "x", "upload_ids": ["u" + "0" * 32]})
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_upload")


def test_without_its_model_the_search_says_so(tmp_path: Path) -> None:
    with serving(echo_settings(data_dir=tmp_path / "data", models_dir=tmp_path / "none")) as running:
        answer = search(running, {"query": "x"})
    assert (answer.status_code, answer.json()["code"]) == (503, "model_unavailable")
    assert answer.headers["retry-after"]


@pytest.mark.model
def test_a_file_is_processed_found_and_forgotten(running: RunningServer, tmp_path: Path) -> None:
    job = process(running, write_pdf(tmp_path / "prices.pdf", PAGES))
    assert (job["status"], job["progress"]) == ("succeeded", 1)
    upload_id = job["upload_id"]
    results = search(running, {"query": "When do I have to pay?", "top_k": 1}).json()["results"]
    assert [(one["upload_id"], one["filename"], one["page"], one["chunk"]) for one in results] == [
        (upload_id, "prices.pdf", 2, 1)
    ]
    assert "thirty days" in results[0]["text"]
    assert results[0]["end"] - results[0]["start"] == len(results[0]["text"])
    assert 0 < results[0]["score"] <= 1

    asked = httpx.post(f"{running.url}/search", params={"query": "pump", "top_k": "1", "upload_ids": upload_id})
    assert "twelve euro" in asked.json()["results"][0]["text"]

    assert search(running, {"query": "pump"}, owner="bob").json() == {"results": []}
    assert search(running, {"query": "pump", "upload_ids": [upload_id]}, owner="bob").status_code == 404

    assert httpx.delete(f"{running.url}/uploads/{upload_id}").status_code == 204
    assert search(running, {"query": "pump"}).json() == {"results": []}


@pytest.mark.model
def test_a_file_that_cannot_be_read_fails_its_job_in_words(running: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7 nothing")
    job = process(running, tmp_path / "a.pdf")
    assert (job["status"], job["error"]["code"]) == ("failed", "broken_document")
    assert job["error"]["message"] == "The PDF is damaged."


@pytest.mark.model
def test_a_document_without_pages_has_none_in_its_results(running: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("# Notes\n\nThe hamster lives in the office.\n")
    process(running, tmp_path / "notes.md", owner="cleo")
    (result,) = search(running, {"query": "Where is the hamster?"}, owner="cleo").json()["results"]
    assert set(result) == {"upload_id", "filename", "chunk", "text", "score", "start", "end"}
