"""Every kind of model behind its routes, on a real server: small models that the test makes."""

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.server import RunningServer, wait_until
from tests.service.routes.served import LABELS, serving_all

WITHIN_S = 60.0
NUMBERS = st.one_of(st.floats(), st.integers(-(10**40), 10**40), st.sampled_from([0, 1e-320, 3.39e38, -3.39e38]))
TEXTS = st.text(min_size=1, max_size=60)
TEXT_PATHS = [f"/predict/{name}" for name in ("tone", "any", "parts", "vectors")] + ["/classify", "/embed"]
ASKED = st.one_of(
    st.tuples(st.sampled_from(["/predict/wine", "/predict/graph", "/predict"]), st.tuples(NUMBERS, NUMBERS)),
    st.tuples(st.sampled_from(TEXT_PATHS), TEXTS),
    st.tuples(st.just("/predict-batch"), st.lists(TEXTS, max_size=4)),
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serving_all(tmp_path_factory.mktemp("models")) as server:
        yield server


def post(running: RunningServer, path: str, body: Any = None, **params: Any) -> httpx.Response:
    return httpx.post(f"{running.url}{path}", json=body, params=params or None, timeout=WITHIN_S)


def ask(running: RunningServer, path: str, body: Any = None, **params: Any) -> Any:
    answer = httpx.post(
        f"{running.url}{path}", **({} if body is None else {"json": body}), params=params, timeout=WITHIN_S
    )
    assert answer.status_code == 200, answer.text
    told = answer.json()
    if path.startswith("/predict/") or path == "/predict":
        assert told.pop("processing_time_ms") >= 0
    return told


def refusal(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    return problem


def test_a_tabular_model_answers_named_features_and_a_list(running: RunningServer) -> None:
    answer = ask(running, "/predict/wine", {"feature_1": 2, "feature_2": 0})
    assert answer["prediction"] == 1
    assert set(answer["probabilities"]) == {"0", "1"}
    assert answer["model_used"] == "wine"
    assert ask(running, "/predict/wine", {"features": [2, 0]}) == answer
    assert ask(running, "/predict/house", {"area": 1, "rooms": 1})["prediction"] == pytest.approx(5)
    assert ask(running, "/predict/graph", {"feature_1": 1, "feature_2": 1})["prediction"] == 6


def batch(running: RunningServer, name: str, content: str, **fields: str) -> httpx.Response:
    return httpx.post(f"{running.url}/process-batch", files={"file": (name, content)}, data=fields, timeout=WITHIN_S)


def results_of(running: RunningServer, accepted: httpx.Response) -> list[str]:
    assert accepted.status_code == 202, accepted.text
    job = f"{running.url}/jobs/{accepted.json()['job_id']}"
    wait_until(lambda: httpx.get(job).json()["status"] == "succeeded", WITHIN_S, "the job has succeeded")
    return httpx.get(f"{job}/result").text.splitlines()


def test_the_rows_of_a_table_are_predicted_by_their_columns(running: RunningServer) -> None:
    rows = "id,area,rooms\na,1,2.5e0\nb,many,1\nc,,1\nd,1_0,1\ne,4,0\n"
    header, *found = results_of(running, batch(running, "homes.csv", rows, model="house"))
    assert header == "id,area,rooms,prediction,confidence,error"
    values = [line.split(",", 5) for line in found]
    assert [row[0] for row in values] == ["a", "b", "c", "d", "e"]
    assert [float(row[3]) for row in (values[0], values[4])] == pytest.approx([9.5, 8])
    for row in values[1:4]:
        assert row[3:] == ["", "", "invalid_request: area: Input should be a valid number"]


def test_json_lines_bring_features_by_name_or_as_a_list(running: RunningServer) -> None:
    rows = '{"feature_1": 2, "feature_2": 0, "id": 7}\n{"features": [2, 0]}\n{"feature_1": 2}\n'
    named, listed, short = map(json.loads, results_of(running, batch(running, "wine.jsonl", rows, model="wine")))
    assert (named["id"], named["prediction"], named["error"]) == (7, "1", None)
    assert named["confidence"] > 0.5
    assert (listed["prediction"], listed["confidence"]) == (named["prediction"], named["confidence"])
    assert short["error"] == "invalid_request: feature_2: Field required"


@pytest.mark.parametrize(
    ("name", "fields"), [("homes.txt", {}), ("homes.csv", {"text_column": "area"}), ("homes.csv", {"format": "lines"})]
)
def test_a_model_of_columns_needs_columns(running: RunningServer, name: str, fields: dict[str, str]) -> None:
    problem = refusal(batch(running, name, "area,rooms\n1,2\n", model="house", **fields), 422)
    assert problem["code"] == "invalid_batch"
    assert "columns by their names" in problem["detail"]


def test_misnamed_features_are_all_named(running: RunningServer) -> None:
    problem = refusal(post(running, "/predict/house", {"area": 1, "room": 1}), 422)
    assert {(tuple(one["loc"]), one["type"]) for one in problem["errors"]} == {
        (("body", "room"), "extra_forbidden"),
        (("body", "rooms"), "missing"),
    }


def test_a_classifier_answers_by_its_name_and_under_classify(running: RunningServer) -> None:
    named = ask(running, "/predict/tone", text="the pump")
    assert set(named["scores"]) == set(LABELS)
    for answer in (
        ask(running, "/classify", {"text": "the pump", "model_name": "tone"}),
        ask(running, "/classify", text="the pump", model_name="tone"),
        ask(running, "/classify", text="the pump"),  # the first of the list
    ):
        assert answer == {"text": "the pump", "category": named["prediction"], "scores": named["scores"]}
    assert sum(named["scores"].values()) == pytest.approx(1)


def test_any_labels_may_be_asked_for(running: RunningServer) -> None:
    labels = ["seal", "valve", "the price"]
    answer = ask(running, "/classify", {"text": "the seal", "labels": labels, "model_name": "any"})
    assert list(answer["scores"]) == labels
    assert ask(running, "/classify", text="the seal", labels=labels, model_name="any") == answer
    assert list(ask(running, "/classify", text="the seal", model_name="any")["scores"]) == ["pump", "price"]


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({"text": "x", "labels": ["a"]}, ["body", "labels"]),
        ({"text": "x", "labels": ["a", "a"]}, ["body", "labels"]),
        ({"text": "x", "labels": ["a", " "]}, ["body", "labels", 1]),
        ({"text": "x", "labels": ["a", "b" * 201]}, ["body", "labels", 1]),
        ({"text": "x", "labels": ["a", 1]}, ["body", "labels", 1]),
        ({"text": "x", "labels": [str(n) for n in range(101)]}, ["body", "labels"]),
        ({"text": " "}, ["body", "text"]),
        ({"text": "x" * 20_001}, ["body", "text"]),
        ({"labels": ["a", "b"]}, ["body", "text"]),
        ({"text": "x", "label": ["a", "b"]}, ["body", "label"]),
    ],
)
def test_a_wrong_question_names_its_field(running: RunningServer, body: dict[str, Any], loc: list[Any]) -> None:
    problem = refusal(post(running, "/classify", {**body, "model_name": "any"}), 422)
    assert problem["errors"][0]["loc"] == loc


def test_a_model_with_its_own_labels_takes_no_others(running: RunningServer) -> None:
    body = {"text": "x", "labels": ["a", "b"], "model_name": "tone"}
    assert refusal(post(running, "/classify", body), 422)["errors"][0]["loc"] == ["body", "labels"]


def test_a_tagger_gives_entities_with_their_places(running: RunningServer) -> None:
    text = "the price of the pump seals"
    entities = ask(running, "/predict/parts", {"text": text})["entities"]
    assert [(one["text"], one["label"]) for one in entities] == [("price", "MONEY"), ("pump seals", "PART")]
    assert all(text[one["start"] : one["end"]] == one["text"] for one in entities)


def test_an_embedding_is_the_same_the_second_time_and_says_so(running: RunningServer) -> None:
    for path in ("/embed", "/embed-cached"):
        body = {"text": f"the pump {path}"}
        first, second = post(running, path, body), post(running, path, body)
        assert first.json()["embedding"] == second.json()["embedding"]
        assert (first.json()["cached"], second.json()["cached"]) == (False, True)
        assert second.headers["cache-status"] == "headwater; hit"
        assert first.json()["model_used"] == "vectors"
        assert ask(running, path, text=body["text"])["embedding"] == first.json()["embedding"]
    assert sum(one * one for one in first.json()["embedding"]) == pytest.approx(1, abs=1e-5)


def test_a_picture_is_answered_by_name(running: RunningServer) -> None:
    out = io.BytesIO()
    Image.new("RGB", (20, 20), "red").save(out, "PNG")
    answer = ask(running, "/predict/pictures", {"image": base64.b64encode(out.getvalue()).decode()})
    assert answer["prediction"] == answer["details"][0]["text"]
    for image in ("", "no base64!", base64.b64encode(b"no picture").decode()):
        assert refusal(post(running, "/predict/pictures", {"image": image}), 422)["errors"][0]["loc"] == [
            "body",
            "image",
        ]


def test_a_batch_keeps_its_order_whatever_its_size(running: RunningServer) -> None:
    texts = [f"{'pump ' * n}seal" for n in range(1, 12)]
    alone = [ask(running, "/predict/tone", {"text": text})["prediction"] for text in texts]
    for size in (1, 3, 64):
        answer = ask(running, "/predict-batch", {"texts": texts, "model_name": "tone"}, batch_size=size)
        assert answer == {"predictions": alone, "count": len(texts)}
    vectors = ask(running, "/predict-batch", {"texts": texts, "model_name": "vectors"})["predictions"]
    assert vectors[3] == pytest.approx(ask(running, "/embed", {"text": texts[3]})["embedding"], abs=1e-5)


def test_a_batch_of_records_goes_to_models_that_want_fields(running: RunningServer) -> None:
    records = [{"area": n, "rooms": 1} for n in range(3)]
    answer = ask(running, "/predict-batch", {"records": records, "model_name": "house"})
    assert answer["predictions"] == pytest.approx([3, 5, 7])
    problem = refusal(post(running, "/predict-batch", {"records": [records[0], {}], "model_name": "house"}), 422)
    assert problem["errors"][0]["loc"] == ["body", "records", 1, "area"]


def test_language_models_answer_batches_too(running: RunningServer) -> None:
    texts = [f"text number {n}" for n in range(20)]
    assert ask(running, "/predict-batch", texts) == {"predictions": texts, "count": 20}
    assert (
        ask(running, "/predict-batch", {"texts": texts, "max_tokens": 1}, batch_size=4)["predictions"] == ["text"] * 20
    )
    assert ask(running, "/predict-batch", []) == {"predictions": [], "count": 0}


def test_one_bad_item_fails_alone(running: RunningServer) -> None:
    answer = ask(running, "/predict-batch", ["one", "two [[echo fail_at=1]]", "three"])
    assert answer["predictions"] == ["one", None, "three"]
    assert answer["count"] == 3
    assert [(one["index"], one["code"]) for one in answer["errors"]] == [(1, "step_failed")]
    alone = refusal(post(running, "/predict-batch", ["two [[echo fail_at=1]]"]), 500)
    assert alone["code"] == "step_failed"
    unknown = refusal(post(running, "/predict-batch", {"texts": ["one", "two"], "upload_id": "nothing"}), 404)
    assert unknown["code"] == "unknown_upload"


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        (["one", ""], ["body", 1]),
        (["one", 2], ["body", 1]),
        ({"texts": ["one", " "]}, ["body", "texts", 1]),
        ({"texts": "one"}, ["body", "texts"]),
        ({"texts": ["one"], "records": []}, ["body"]),
        ({}, ["body"]),
        ({"texts": ["one"], "other": 1}, ["body", "other"]),
        ({"records": [{"text": "x"}]}, ["body", "records"]),
        ({"texts": ["one"], "model_name": "tone", "max_tokens": 1}, ["body", "max_tokens"]),
        (["x"] * 1001, ["body"]),
        ("one", ["body"]),
        (1, ["body"]),
    ],
)
def test_a_wrong_batch_names_what_is_wrong(running: RunningServer, body: Any, loc: list[Any]) -> None:
    assert refusal(post(running, "/predict-batch", body), 422)["errors"][0]["loc"] == loc


@pytest.mark.parametrize("size", ["0", "-1", "65", "x", "1e9", ""])
def test_a_batch_size_out_of_bounds_is_422(running: RunningServer, size: str) -> None:
    problem = refusal(post(running, "/predict-batch", ["one"], batch_size=size), 422)
    assert problem["errors"][0]["loc"] == ["query", "batch_size"]


def test_named_features_find_the_first_tabular_model(running: RunningServer) -> None:
    answer = post(running, "/predict", {"feature_1": 2, "feature_2": 0})
    assert answer.json()["prediction"] == 1
    assert answer.headers["x-model-used"] == "wine"
    assert post(running, "/predict", {"features": [1, 2]}).json() == {"prediction": 5.0, "status": "success"}


def test_predict_asks_the_model_that_it_names(running: RunningServer) -> None:
    named = ask(running, "/predict/tone", {"text": "the pump"})
    assert ask(running, "/predict", {"text": "the pump", "model_name": "tone"}) == named
    assert ask(running, "/predict", text="the pump", model_name="tone") == named
    house = ask(running, "/predict", {"area": 1, "rooms": 1, "model_name": "house"})
    assert house["prediction"] == pytest.approx(5)
    problem = refusal(post(running, "/predict", {"text": "x", "model_name": "tone", "max_tokens": 1}), 422)
    assert problem["errors"][0]["loc"] == ["body", "max_tokens"]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(asked=ASKED)
def test_whatever_is_asked_is_answered_or_refused(running: RunningServer, asked: tuple[str, Any]) -> None:
    path, value = asked
    body: Any = value
    if isinstance(value, str):
        body = {"text": value}
    elif isinstance(value, tuple):
        body = dict(zip(("feature_1", "feature_2"), value, strict=True))
    content = json.dumps(body).encode()
    answer = httpx.post(
        f"{running.url}{path}", content=content, headers={"Content-Type": "application/json"}, timeout=WITHIN_S
    )
    assert answer.status_code in (200, 422), answer.text
    json.loads(answer.text, parse_constant=pytest.fail)  # no NaN and no Infinity in any answer


def test_invocations_answer_records_and_texts(running: RunningServer) -> None:
    assert ask(running, "/invocations", {"feature_1": 2, "feature_2": 0}) == {"predictions": [1]}
    assert ask(running, "/invocations", {"features": [1, 2]}) == {"predictions": [5.0]}
    assert ask(running, "/invocations", {"text": "one two"}) == {"predictions": ["one two"]}


@pytest.mark.parametrize(
    ("content", "status", "says"),
    [
        ('{"feature_1": 2}', 422, "feature_2: Field required"),
        ('{"feature_1": 2, "feature_2": "x"}', 422, "feature_2: Input should be a valid number"),
        ('{"features": [1]}', 400, "should have 2 items"),
        ('{"text": "[[echo fail_at=0]]"}', 500, ""),
        ("{", 422, "JSON"),
        ("", 422, "required"),
        ("[]", 422, ""),
    ],
)
def test_a_failed_invocation_is_an_error_in_its_own_form(
    running: RunningServer, content: str, status: int, says: str
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = httpx.post(f"{running.url}/invocations", content=content, headers=headers, timeout=WITHIN_S)
    assert (answer.status_code, set(answer.json())) == (status, {"error"})
    assert says in answer.json()["error"]
    assert httpx.post(f"{running.url}/invocations", content="x").json().keys() == {"error"}


@pytest.mark.parametrize(
    ("content", "more", "status"),
    [(b'"' + b"a" * 3_000_000 + b'"', {}, 413), (b"{}", {"Content-Encoding": "gzip"}, 415)],
)
def test_what_is_refused_before_invocations_are_reached_has_their_shape_too(
    running: RunningServer, content: bytes, more: dict[str, str], status: int
) -> None:
    headers = {"Content-Type": "application/json", **more}
    answer = httpx.post(f"{running.url}/invocations", content=content, headers=headers, timeout=WITHIN_S)
    assert (answer.status_code, set(answer.json())) == (status, {"error"})
    assert answer.headers["connection"] == "close"


def test_ping_says_that_it_is_ready(running: RunningServer) -> None:
    answer = httpx.get(f"{running.url}/ping")
    assert (answer.status_code, answer.content) == (200, b"")
    assert httpx.head(f"{running.url}/ping").status_code == 200, "probes may use it"


def test_the_description_has_the_schemas_of_the_models_that_are_loaded(running: RunningServer) -> None:
    ask(running, "/predict/house", {"area": 1, "rooms": 1})
    schemas = httpx.get(f"{running.url}/openapi.json").json()["components"]["schemas"]
    assert set(schemas["house.input"]["anyOf"][0]["properties"]) == {"area", "rooms"}
    assert schemas["house.output"]["required"] == ["prediction"]
    assert "Problem" in schemas


def test_an_unknown_model_is_404_and_one_of_another_kind_422(running: RunningServer) -> None:
    for path, body in (
        ("/predict/nothing", {"text": "x"}),
        ("/classify", {"text": "x", "model_name": "nothing"}),
        ("/embed", {"text": "x", "model_name": "nothing"}),
        ("/predict-batch", {"texts": ["x"], "model_name": "nothing"}),
    ):
        assert refusal(post(running, path, body), 404)["code"] == "unknown_model"
    for path, name in (
        ("/classify", "vectors"),
        ("/classify", "default"),
        ("/embed", "tone"),
        ("/embed", "default"),
    ):
        assert refusal(post(running, path, {"text": "x", "model_name": name}), 422)["code"] == "wrong_kind"


def test_a_model_that_cannot_be_loaded_is_503_with_a_time_to_come_back(tmp_path: Any) -> None:
    with serving_all(tmp_path) as server:
        for file in (tmp_path / "prepared").glob("wine-*/model.skops"):
            file.write_bytes(b"PK\x03\x04 broken".ljust(file.stat().st_size))
        answer = post(server, "/predict/wine", {"feature_1": 1, "feature_2": 1})
        assert refusal(answer, 503)["code"] == "engine_down"
        assert int(answer.headers["retry-after"]) > 0
        assert ask(server, "/predict/house", {"area": 1, "rooms": 1})["prediction"] == pytest.approx(5)
