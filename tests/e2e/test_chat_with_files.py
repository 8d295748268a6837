"""docs/chat-with-files.md with the real default model: its commands are run by a shell, on a real PDF."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.process import Headwater, free_port, serving
from tests.parsers import SseEvent, parse
from tests.readme import BLOCK, ROOT, URL
from tests.uploads.documents.files import write_pdf

pytestmark = pytest.mark.model
WITHIN_S = 120
PAGES = [
    ["Report on the pumps", "The workshop repaired eleven pumps in spring and nine in autumn."],
    ["Costs", "The large pump BX-40 costs 1,250 euros. The buyer pays for the delivery."],
]
COMMANDS = [
    command
    for language, text in BLOCK.findall((ROOT / "docs" / "chat-with-files.md").read_text())
    if language == "sh"
    for command in text.strip().splitlines()
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Headwater]:
    with serving(tmp_path_factory.mktemp("model") / "log", free_port()) as server:
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_pdf(folder / "report.pdf", PAGES)
    return folder


def shell(server: Headwater, folder: Path, command: str, **variables: str) -> str:
    done = subprocess.run(
        ["sh", "-ec", command.replace(URL, server.url)],
        cwd=folder, env={**os.environ, **variables}, capture_output=True, check=True, timeout=WITHIN_S,
    )  # fmt: skip
    return done.stdout.decode()


def named(events: list[SseEvent], name: str) -> list[Any]:
    return [event.json for event in events if event.name == name]


def test_one_call_answers_from_a_pdf_and_quotes_it(server: Headwater, folder: Path) -> None:
    asked = (
        COMMANDS[0].replace("-F prompt", "-F temperature=0 -F max_tokens=60 -F prompt").replace("it cost", "BX-40 cost")
    )
    events = parse(shell(server, folder, asked).encode())
    names = list(dict.fromkeys(event.name for event in events))
    assert names[0] == "progress"
    assert names[-2:] == ["citation", "end"]
    assert named(events, "start")[0]["documents"][0]["given"] == "whole"
    assert "1,250" in "".join(one["text"] for one in named(events, "message"))
    assert any(one["page"] == 2 and "1,250 euros" in one["text"] for one in named(events, "citation"))


def test_the_other_commands_of_the_page_work(server: Headwater, folder: Path) -> None:
    kept = shell(server, folder, COMMANDS[1])
    upload_id = re.findall(r'"upload_id":"(\w+)"', kept)[0]
    events = parse(shell(server, folder, COMMANDS[2], UPLOAD_ID=upload_id).encode())
    assert events[-1].name == "end"
    assert named(events, "start")[0]["documents"][0]["upload_id"] == upload_id
    whole = json.loads(shell(server, folder, COMMANDS[3], UPLOAD_ID=upload_id))
    assert whole["documents"][0]["upload_id"] == upload_id
    quoted = {one["upload_id"] for one in [*named(events, "citation"), *whole["citations"]]}
    assert quoted <= {upload_id}  # what is sampled at the default temperature may quote nothing
