"""Draws a pull: a moving bar on a terminal, one line a step elsewhere."""

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

MIB = 1 << 20


class TerminalProgress:
    """A `Progress` on standard error, so that standard output stays the command's answer."""

    def __init__(self, name: str) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self._name = name
        self._bars = Bars(*columns, console=console, transient=True) if console.is_terminal else None
        self._task: TaskID | None = None

    def __enter__(self) -> "TerminalProgress":
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bars is not None:
            self._bars.stop()

    def step(self, label: str, total_bytes: int | None = None) -> None:
        line = f"{self._name}: {label}"
        if self._bars is None:
            self.say(label if total_bytes is None else f"{label} ({total_bytes / MIB:.1f} MiB)")
            return
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._task = self._bars.add_task(line, total=total_bytes)

    def advance(self, n_bytes: int) -> None:
        if self._bars is not None and self._task is not None:
            self._bars.advance(self._task, n_bytes)

    def say(self, line: str) -> None:
        if self._bars is not None:
            self._bars.console.print(f"{self._name}: {line}", markup=False, highlight=False)
        else:
            sys.stderr.write(f"{self._name}: {line}\n")
            sys.stderr.flush()
