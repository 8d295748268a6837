"""What the tests of the sandbox run in it: functions that loop, swell, crash and fork."""

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from uploads.errors import ProcessingFailed

LOADED: list[str] = []


def load() -> None:
    LOADED.append("loaded")


def change_what_is_loaded() -> list[str]:
    found = [*LOADED]
    LOADED.append("changed")
    return found


def parent() -> int:
    return os.getppid()


def add(first: int, second: int) -> int:
    sys.stdout.write("a library prints this\n")
    return first + second


def count(report: Callable[[int, int | None], None], total: int) -> str:
    for done in range(1, total + 1):
        report(done, total)
    return "counted"


def sleep_for_ever() -> None:
    while True:
        time.sleep(1)


def compute_for_ever() -> None:
    while True:
        pass


def swell() -> int:
    kept = [bytes(1024 * 1024) for _ in range(10_000)]
    return len(kept)


def crash() -> None:
    ctypes.string_at(0)


def leave() -> None:
    sys.exit(0)


def raise_ours() -> None:
    raise ProcessingFailed("The file has a password.")


def raise_theirs() -> None:
    raise KeyError("what stands in the file")


def give_no_json() -> object:
    return object()


def give_much() -> str:
    return "x" * 1_000_000


def environment() -> dict[str, str]:
    return dict(os.environ)


def surroundings() -> dict[str, object]:
    Path("left behind").write_text("x")
    return {"folder": str(Path.cwd()), "niceness": os.nice(0)}


def start_a_helper(file_for_its_id: str) -> None:
    helper = subprocess.Popen(["/bin/sleep", "600"])
    Path(file_for_its_id).write_text(str(helper.pid))
    sleep_for_ever()


def tell_own_id(file_for_its_id: str) -> None:
    Path(file_for_its_id).write_text(str(os.getpid()))
    sleep_for_ever()
