"""What people type: real curl, in its four formats, and the exit code that a script relies on."""

import json
import shlex
import subprocess
import sys

import pytest

from tests.e2e.process import Headwater
from tests.readme import URL, blocks

WITHIN_S = 60
QUESTION = "The sea 🌊 is calm"


def curl(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["curl", "-sS", *arguments], capture_output=True, text=True, timeout=WITHIN_S, check=False, encoding="utf-8"
    )


def stream(server: Headwater, prompt: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return curl("-N", "-G", *arguments, f"{server.url}/chat/stream", "--data-urlencode", f"prompt={prompt}")


def test_plain_text_is_the_bare_answer(echo_server: Headwater) -> None:
    done = stream(echo_server, QUESTION, "-H", "Accept: text/plain")
    assert (done.returncode, done.stdout) == (0, QUESTION)


def test_events_come_as_server_sent_events(echo_server: Headwater) -> None:
    done = stream(echo_server, QUESTION, "-i")
    head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
    assert "content-type: text/event-stream; charset=utf-8" in head.lower()
    lines = [line for line in body.split("\n") if line.startswith(("event:", "data:"))]
    assert lines[0] == "event: start"
    assert lines[-2] == "event: end"
    texts = [json.loads(line[6:]).get("text", "") for line in lines if line.startswith("data:")]
    assert "".join(texts) == QUESTION


def test_ndjson_is_one_event_a_line(echo_server: Headwater) -> None:
    done = stream(echo_server, QUESTION, "-H", "Accept: application/x-ndjson")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert "".join(event["data"].get("text", "") for event in events) == QUESTION
    assert done.returncode == 0


def test_predict_answers_with_one_document(echo_server: Headwater) -> None:
    body = json.dumps({"text": QUESTION})
    done = curl(f"{echo_server.url}/predict", "-H", "Content-Type: application/json", "-d", body)
    answer = json.loads(done.stdout)
    assert answer["prediction"] == QUESTION
    assert 0 <= answer["confidence"] <= 1


def test_predict_of_nothing_is_a_problem_document(echo_server: Headwater) -> None:
    done = curl("-i", f"{echo_server.url}/predict", "-H", "Content-Type: application/json", "-d", '{"text": " "}')
    assert done.stdout.startswith("HTTP/1.1 422")
    assert "application/problem+json" in done.stdout


@pytest.mark.parametrize("accept", ["text/plain", "application/x-ndjson"])
def test_an_answer_that_fails_midway_fails_curl(echo_server: Headwater, accept: str) -> None:
    done = stream(echo_server, "[[echo fail_at=2]]one two three four", "-H", f"Accept: {accept}")
    assert "one" in done.stdout
    assert "three" not in done.stdout
    assert done.returncode != 0


def test_a_pipe_gets_the_first_words_while_the_rest_is_made(echo_server: Headwater) -> None:
    command = ["curl", "-sSN", "-G", "-H", "Accept: text/plain", f"{echo_server.url}/chat/stream"]
    command += ["--data-urlencode", "prompt=[[echo hang_at=3]]one two three four"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(13) == b"one two three", "the rest never comes, these words are here"
        process.terminate()


@pytest.mark.parametrize("command", [line for block in blocks("sh") for line in block.splitlines() if "curl" in line])
def test_the_readme_s_commands_work(echo_server: Headwater, command: str) -> None:
    program, *arguments = shlex.split(command.replace(URL, echo_server.url))
    assert program == "curl"
    done = curl("--fail", *arguments)
    assert done.returncode == 0
    assert done.stdout


def test_the_readme_s_python_works(echo_server: Headwater) -> None:
    (code,) = blocks("python")
    command = [sys.executable, "-c", code.replace(URL, echo_server.url)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=True)
    assert done.stdout == "Name three rivers."
