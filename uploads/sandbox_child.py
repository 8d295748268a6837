"""The inside of `uploads.sandbox`: started by its path in a bare interpreter, it bounds itself before it imports."""

import contextlib
import ctypes
import importlib
import json
import os
import resource
import signal
import sys
import traceback
from typing import Any, TextIO

PR_SET_PDEATHSIG = 1
NICENESS = 10
TOO_MUCH = "The file needs more memory than is allowed."


def main() -> None:
    task = json.load(sys.stdin)
    replies = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what a library prints is not an answer
    bound(task)
    sys.path[:] = task["path"]
    send(replies, outcome(task, replies))
    os._exit(0)  # the answer is out: nothing of what the work left behind may still fail or hang


def bound(task: dict[str, Any]) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != task["parent"]:  # the service died before that was set
        os._exit(1)
    os.nice(NICENESS)
    limits = {
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_CPU: (task["cpu_s"], task["cpu_s"] + 1),  # SIGXCPU, then SIGKILL for who ignores it
        resource.RLIMIT_AS: (task["memory_bytes"], task["memory_bytes"]),
    }
    for limit, values in limits.items():
        resource.setrlimit(limit, values)


def outcome(task: dict[str, Any], replies: TextIO) -> str:
    from uploads.errors import UploadsError  # noqa: PLC0415  found only by the path that the task brings

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


if __name__ == "__main__":
    main()
