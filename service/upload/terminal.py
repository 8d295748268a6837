"""Draws uploads and their jobs: a moving bar on a terminal, a line an event elsewhere. All of it on standard error."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from service.chat.terminal import CONTROLS
from service.upload.client import Show

NAME = TextColumn("{task.description}", markup=False)


class UploadTerminal:
    def __init__(self) -> None:
        self._console = Console(stderr=True)

    @contextmanager
    def sending(self, name: str, size: int) -> Iterator[Show]:
        columns = (NAME, BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn(), TimeRemainingColumn())
        with self._bars(*columns) as bars:
            task = bars.add_task(printable(name), total=size)
            yield lambda sent: bars.update(task, completed=sent)

    def follow(self, name: str, jobs: Iterator[dict[str, Any]]) -> dict[str, Any]:
        """The job as it was at its end."""
        job: dict[str, Any] = {}
        with self._bars(NAME, BarColumn(), TextColumn("{task.fields[state]}")) as bars:
            task = bars.add_task(printable(name), total=1.0, state="queued")
            for job in jobs:
                bars.update(task, completed=job["progress"], state=stage(job))
        return job

    def say(self, line: str) -> None:
        sys.stderr.write(f"headwater: {printable(line)}\n")
        sys.stderr.flush()

    def _bars(self, *columns: Any) -> Progress:
        return Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal)


def stage(job: dict[str, Any]) -> str:
    counted = f", {job['done']} of {job['total']}" if job["total"] else ""
    return f"{job['status']}{counted}"


def printable(text: str) -> str:
    """A file's name must not steer the terminal."""
    return text.encode(errors="replace").decode().translate(CONTROLS)
