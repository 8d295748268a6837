"""The command line as a person meets it: exit codes, one-line errors, a chat through a pipe and on a terminal."""

import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest

from tests.e2e.process import HOST, Headwater, free_port, wait_until
from tests.e2e.proxy import proxying

WITHIN_S = 60.0


def headwater(*arguments: str, stdin: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
        env={**os.environ, **environment},
    )


class Terminal:
    """A chat on a pseudo terminal."""

    def __init__(self, url: str) -> None:
        self.master, slave = pty.openpty()
        command = [sys.executable, "-m", "service", "chat", "--url", url]
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm"},
        )
        os.close(slave)
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def wait_for(self, text: str) -> None:
        deadline = monotonic() + WITHIN_S
        while text not in self.shown:
            ready, _, _ = select.select([self.master], [], [], max(deadline - monotonic(), 0))
            assert ready, f"{text!r} does not come after {self.shown!r}"
            self.shown += os.read(self.master, 4096).decode()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)


def test_a_taken_port_is_one_line_and_1(echo_server: Headwater) -> None:
    done = headwater("serve", "--engine", "echo", "--host", HOST, "--port", str(echo_server.port))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert str(echo_server.port) in done.stderr


def test_missing_models_are_one_line_and_1(tmp_path: Path) -> None:
    done = headwater("serve", "--port", "0", HEADWATER_MODELS_DIR=str(tmp_path))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "headwater models pull" in done.stderr


@pytest.mark.parametrize(("name", "value"), [("HEADWATER_PORT", "many"), ("HEADWATER_PROT", "9000")])
def test_a_bad_setting_is_one_line_and_2(name: str, value: str) -> None:
    done = headwater("serve", "--engine", "echo", **{name: value})
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert name in done.stderr


def test_a_wrong_option_is_2() -> None:
    assert headwater("serve", "--prot", "9000").returncode == 2


def test_help_lists_every_setting() -> None:
    assert "HEADWATER_ECHO__TOKENS_PER_SECOND" in headwater("serve", "--help").stdout


def test_the_version_is_told() -> None:
    assert headwater("--version").stdout.startswith("headwater ")


def test_piped_prompts_are_answered_line_by_line(echo_server: Headwater) -> None:
    done = headwater("chat", "--url", echo_server.url, stdin="first\n\nsecond\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "first\nsecond\n", "")


def test_piped_input_may_be_one_prompt(echo_server: Headwater) -> None:
    assert headwater("chat", "--url", echo_server.url, "--whole", stdin="a\nb\n").stdout == "a\nb\n"


def test_no_server_is_one_line_and_1() -> None:
    done = headwater("chat", "--url", f"http://{HOST}:{free_port()}", stdin="hello\n")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "make serve" in done.stderr


def test_an_answer_that_fails_is_said_and_1(echo_server: Headwater) -> None:
    done = headwater("chat", "--url", echo_server.url, stdin="[[echo fail_at=1]]one two\n")
    assert done.returncode == 1
    assert done.stdout == "one\n"
    assert done.stderr


def test_a_wrong_option_value_is_the_servers_word(echo_server: Headwater) -> None:
    done = headwater("chat", "--url", echo_server.url, "--temperature", "9", stdin="hello\n")
    assert done.returncode == 1
    assert "temperature" in done.stderr


def test_a_cut_connection_costs_nothing(echo_server: Headwater) -> None:
    with proxying(echo_server.port, [700, 300]) as proxy:
        done = headwater("chat", "--url", proxy.url, stdin="[[echo repeat=40 tps=100]] wave\n")
        assert (done.stderr, done.stdout.split()) == ("", ["wave"] * 40)
        assert proxy.cut == 2


def test_ctrl_c_stops_the_answer_and_ctrl_d_the_program(echo_server: Headwater) -> None:
    terminal = Terminal(echo_server.url)
    try:
        terminal.wait_for("> ")
        terminal.type("alpha [[echo hang_at=2]]beta gamma\n")
        terminal.wait_for("alpha beta")  # the answer: what was typed has the directive in between
        os.killpg(terminal.process.pid, signal.SIGINT)
        terminal.wait_for("Stopped.")
        terminal.type("hello again\n")
        terminal.wait_for("tokens/s")
        terminal.type("\x04")
        wait_until(lambda: terminal.process.poll() is not None, WITHIN_S, "Ctrl-D ends the chat")
        assert terminal.process.returncode == 0
    finally:
        terminal.close()
