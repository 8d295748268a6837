"""strace on a running server: what it asks of the kernel, and faults at the n-th time that it asks.

Counting is per thread, so faults are put into one thread. Threads are told by the order in which they were made, which
is the same at every start when there is one thread for files.
"""

import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.process import wait_until

FILE_CALLS = (
    *("openat", "flock", "write", "pwrite64", "fsync", "fdatasync", "ftruncate", "close"),
    *("rename", "link", "linkat", "unlink", "sendto", "sendmsg", "writev"),
)
ATTACH_WITHIN_S = 60.0
_LINE = re.compile(r"(?P<thread>\d+) +(?P<name>\w+)\((?P<rest>.*)")


@dataclass(frozen=True)
class Call:
    """The `n`-th call of this name in the `thread`-th thread."""

    thread: int
    name: str
    n: int
    line: str

    def __str__(self) -> str:
        return f"{self.name} {self.n} of thread {self.thread}: {self.line[:120]}"


def threads(process: int) -> list[int]:
    return sorted(int(path.name) for path in Path(f"/proc/{process}/task").iterdir())


@contextmanager
def strace(process: int, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """Attached when it yields, gone when it is left."""
    command = ["strace", *options, "-p", str(process)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        line = tracer.stderr.readline()
        assert "attached" in line, line
        try:
            yield tracer
        finally:
            if tracer.poll() is None:
                tracer.send_signal(signal.SIGINT)
            tracer.communicate(timeout=ATTACH_WITHIN_S)


@contextmanager
def recorded(process: int, log: Path) -> Iterator[list[Call]]:
    """After it was left the list holds all file calls that were made meanwhile, in their order."""
    calls: list[Call] = []
    order = {thread: place for place, thread in enumerate(threads(process))}
    options = ("-f", "-y", "-s", "64", "-e", f"trace={','.join(FILE_CALLS)}", "-e", "signal=none", "-o", str(log))
    with strace(process, *options):
        wait_until(lambda: all(is_traced(thread) for thread in order), ATTACH_WITHIN_S, "all threads are traced")
        yield calls
    counted: Counter[tuple[int, str]] = Counter()
    for line in log.read_text(errors="replace").splitlines():
        found = _LINE.fullmatch(line)
        if found is None or int(found["thread"]) not in order:
            continue
        thread = order[int(found["thread"])]
        counted[thread, found["name"]] += 1
        calls.append(Call(thread, found["name"], counted[thread, found["name"]], f"{found['name']}({found['rest']}"))


@contextmanager
def fault(process: int, call: Call, what: str) -> Iterator[None]:
    """`what` happens to that call: `signal=KILL`, `error=ENOSPC` …"""
    inject = f"inject={call.name}:{what}:when={call.n}"
    with strace(threads(process)[call.thread], "-o", "/dev/null", "-e", f"trace={call.name}", "-e", inject):
        yield


def is_traced(thread: int) -> bool:
    status = Path(f"/proc/{thread}/status").read_text()
    return re.search(r"^TracerPid:\t0$", status, re.MULTILINE) is None
