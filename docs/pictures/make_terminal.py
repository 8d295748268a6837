"""Draws docs/pictures/terminal.svg from a real run of `headwater chat` on a pseudo terminal; --url names the server."""

import argparse
import io
import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).with_name("terminal.svg")
QUESTIONS = ("Why is the sea salty?", "Say that in one short sentence.")
COLUMNS = 96
WITHIN_S = 60
DONE = re.compile(r"first after \d+ ms")
FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # fetched from elsewhere; a picture asks nobody
# What a terminal would carry out rather than show: erased lines with a spinner, a hidden cursor, a window's title.
SPINNER = re.compile(r"\x1b\[\?25l.*?\x1b\[\?25h\r?(?:\x1b\[1A)?\x1b\[2K", re.DOTALL)


def converse(url: str) -> str:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "service", "chat", "--url", url, "--max-tokens", "70", "--seed", "1"]
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment) as process:
        shown = ""
        for number, question in enumerate(QUESTIONS):
            shown = read_until(master, shown, lambda text, number=number: text.count("> ") > number)
            os.write(master, f"{question}\n".encode())
            shown = read_until(master, shown, lambda text, number=number: len(DONE.findall(text)) > number)
        os.write(master, b"\x04")
        process.wait(WITHIN_S)
    return shown


def read_until(master: int, shown: str, is_enough: Callable[[str], bool]) -> str:
    while not is_enough(shown):
        ready, _, _ = select.select([master], [], [], WITHIN_S)
        if not ready:
            sys.exit(f"nothing more came after {shown[-200:]!r}")
        shown += os.read(master, 4096).decode()
    return shown


def draw(shown: str) -> None:
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text("$ headwater chat"))
    console.print(Text.from_ansi(SPINNER.sub("", shown).replace("\r", "").strip()))
    PICTURE.write_text(FONT.sub("", console.export_svg(title="headwater chat")))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    draw(converse(parser.parse_args().url))
