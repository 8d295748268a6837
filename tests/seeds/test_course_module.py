"""The requests of a course about FastAPI for machine learning, each as its snippet shows it."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.server import echo_settings, serving
from tests.service.routes.served import serving_all
from tests.uploads.documents.files import picture_of

WITHIN_S = 60.0


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with (
        serving_all(tmp_path_factory.mktemp("course")) as running,
        httpx.Client(base_url=running.url, timeout=WITHIN_S) as client,
    ):
        yield client


def answered(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_predict_endpoint(client: httpx.Client) -> None:
    data = answered(client.post("/predict", json={"text": "test input", "model_name": "default"}))
    assert isinstance(data["prediction"], str)
    assert 0 <= data["confidence"] <= 1
    assert data["model_used"] == "default"
    assert data["processing_time_ms"] > 0


def test_invalid_input(client: httpx.Client) -> None:
    assert client.post("/predict", json={"text": ""}).status_code == 422
    assert client.post("/predict", json={"text": "   "}).status_code == 422


def test_predict_with_a_text_in_the_query_string(client: httpx.Client) -> None:
    assert answered(client.post("/predict", params={"text": "hello there"}))["prediction"] == "hello there"


@pytest.mark.parametrize("name", ["tone", "parts", "vectors"])
def test_the_registry_pattern(client: httpx.Client, name: str) -> None:
    """Sentiment, names and embeddings there; whatever the list of models calls them here."""
    assert answered(client.post(f"/predict/{name}", params={"text": "the pump"}))["model_used"] == name
    assert client.post("/predict/nothing", params={"text": "the pump"}).status_code == 404


def test_embed(client: httpx.Client) -> None:
    embedding = answered(client.post("/embed", params={"text": "the price"}))["embedding"]
    assert all(isinstance(number, float) for number in embedding)


def test_embed_cached(client: httpx.Client) -> None:
    first, second = (answered(client.post("/embed-cached", params={"text": "the seal"})) for _ in range(2))
    assert first["embedding"] == second["embedding"]
    assert (first["cached"], second["cached"]) == (False, True)


def test_predict_batch(client: httpx.Client) -> None:
    texts = [f"text {n}" for n in range(5)]
    assert answered(client.post("/predict-batch", json=texts)) == {"predictions": texts, "count": 5}
    sized = client.post("/predict-batch", params={"batch_size": 2}, json=texts)
    assert answered(sized) == {"predictions": texts, "count": 5}


def test_classify(client: httpx.Client) -> None:
    answer = answered(client.post("/classify", params={"text": "the pump"}))
    assert answer["text"] == "the pump"
    assert answer["category"] in answer["scores"]


def test_upload_image(client: httpx.Client, tmp_path: Any) -> None:
    picture_of(["Invoice 2041"]).save(tmp_path / "picture.png")
    files = {"file": ("picture.png", (tmp_path / "picture.png").read_bytes(), "image/png")}
    answer = answered(client.post("/upload-image", files=files))
    assert answer["filename"] == "picture.png"
    assert answer["prediction"]
    not_an_image = client.post("/upload-image", files={"file": ("a.png", b"hello", "image/png")})
    assert not_an_image.status_code == 400


def test_process_file_and_batch(client: httpx.Client) -> None:
    file = client.post("/process-file", files={"file": ("notes.txt", b"The pump is new.")})
    assert file.status_code == 202
    assert file.json()["message"] == "File uploaded, processing in background"
    batch = client.post("/process-batch", files={"file": ("rows.csv", b"text\none\ntwo\n")})
    assert (batch.status_code, batch.json()["status"]) == (202, "processing")
    for job in (file, batch):
        job_id = job.json()["job_id"]
        deadline = time.monotonic() + WITHIN_S
        while (state := answered(client.get(f"/job/{job_id}")))["status"] in ("queued", "running"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert (state["job_id"], state["status"]) == (job_id, "succeeded"), state


def test_search(client: httpx.Client) -> None:
    """After `test_process_file_and_batch` there may be a document; without one there are no results."""
    results = answered(client.post("/search", params={"query": "pump", "top_k": 3}))["results"]
    assert all({"upload_id", "text", "score"} <= set(one) for one in results)


def test_chat_stream(client: httpx.Client) -> None:
    with client.stream("POST", "/chat/stream", params={"prompt": "This is a streaming response"}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in answer.iter_lines() if line.startswith("data: ")]
    assert len(lines) > 2


def test_cors_for_a_page_on_port_3000(client: httpx.Client) -> None:
    answer = client.get("/health", headers={"Origin": "http://localhost:3000"})
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"


def test_documentation_is_made_from_the_code(client: httpx.Client) -> None:
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 200


@pytest.mark.model
def test_sentiment_is_there_out_of_the_box() -> None:
    with serving(echo_settings()) as running:
        for text, wanted in (("I love this product!", "positive"), ("This is terrible.", "negative")):
            answer = httpx.post(f"{running.url}/predict/sentiment", params={"text": text}, timeout=WITHIN_S)
            assert answered(answer)["prediction"] == wanted
