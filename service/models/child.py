"""Runs a Python module in a process of its own: pip, and the conversion that needs gigabytes and noisy libraries."""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import service

LAST_LINES = 20  # of a failing child's output: enough to find the reason in


@dataclass(frozen=True, slots=True)
class Outcome:
    code: int
    last_lines: tuple[str, ...]


def run_module(
    module: str, arguments: Sequence[str], on_line: Callable[[str], None], environment: Mapping[str, str]
) -> Outcome:
    """Hands every line that it writes to `on_line`. It does not outlive this call, whatever ends it."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "PYTHONPATH": _search_path(), "PYTHONUNBUFFERED": "1", **environment},
        close_fds=False,  # the pull's lock is the one descriptor that is inheritable: see lock.py
    ) as process:
        last: deque[str] = deque(maxlen=LAST_LINES)
        try:
            for line in process.stdout or ():
                last.append(line.rstrip())
                on_line(line.rstrip())
        except BaseException:
            process.kill()
            raise
    return Outcome(process.returncode, tuple(last))


def _search_path() -> str:
    """This very code also when it runs from a checkout that is not installed."""
    root = str(Path(service.__file__).parent.parent)
    before = os.environ.get("PYTHONPATH")
    return os.pathsep.join([root, before] if before else [root])
