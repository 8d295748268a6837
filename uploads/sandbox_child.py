"""One function in one fork: it bounds itself before it imports what the function needs, answers, and is gone."""

import contextlib
import ctypes
import importlib
import json
import os
import resource
import signal
import traceback
from typing import Any, NoReturn, TextIO

from uploads.errors import UploadsError

PR_SET_PDEATHSIG = 1
TOO_MUCH = "The file needs more memory than is allowed."


def work(task: dict[str, Any], reply_to: int, server: int) -> NoReturn:
    """Never returns: nothing of what the work left behind may still fail or hang."""
    try:
        os.setsid()
        bound(task, server)
        os.chdir(task["folder"])
        replies = os.fdopen(reply_to, "w", encoding="ascii")
        send(replies, outcome(task, replies))
    except BaseException:  # noqa: BLE001  also what a library raises to leave; the code says that there is no answer
        os._exit(1)
    os._exit(0)


def bound(task: dict[str, Any], server: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:  # it died before that was set
        os._exit(1)
    limits = {
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_CPU: (task["cpu_s"], task["cpu_s"] + 1),  # SIGXCPU, then SIGKILL for who ignores it
        resource.RLIMIT_AS: (task["memory_bytes"], task["memory_bytes"]),
    }
    for limit, values in limits.items():
        resource.setrlimit(limit, values)


def outcome(task: dict[str, Any], replies: TextIO) -> str:
    def report(done: int, total: int | None = None) -> None:
        send(replies, json.dumps({"progress": [done, total]}))

    module, _, name = task["function"].partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
        result = function(*([report] if task["wants_progress"] else []), *task["arguments"])
        return json.dumps({"result": result})
    except MemoryError:
        return json.dumps({"code": "processing_out_of_memory", "message": TOO_MUCH})
    except UploadsError as error:
        return json.dumps({"code": error.code, "message": error.message})
    except Exception as error:  # noqa: BLE001  the border of the process: the other side must hear of it
        where = traceback.extract_tb(error.__traceback__)[-1]
        return json.dumps({"raised": type(error).__name__, "where": f"{where.filename}:{where.lineno}"})


def send(replies: TextIO, line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody waits any more: the kill is on its way
        replies.write(line + "\n")
        replies.flush()
