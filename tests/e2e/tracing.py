"""strace on a running server: what it asks of the kernel, and faults at the n-th time that it asks.

strace counts the calls of each thread. Threads are told by the order in which they were made, which is the same at
every start when each pool has one thread; what wakes the event loop is counted too and comes more or less often. So a
fault may hit another call than was meant: `fault` says which one it hit.
"""

import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from tests.e2e.process import wait_until

FILE_CALLS = (
    *("openat", "flock", "write", "pwrite64", "fsync", "fdatasync", "ftruncate", "close"),
    *("rename", "link", "linkat", "unlink", "sendto", "sendmsg", "writev"),
)
ATTACH_WITHIN_S = 60.0
ANSWER = "HTTP/1.1 2"
_LINE = re.compile(r"(?:(?P<thread>\d+) +)?(?P<name>\w+)\((?P<rest>.*)")
_PLACE = re.compile(r"/data/([\w-]+(?:\.db)?(?:-wal|-shm)?)")
INJECTED = "(INJECTED)"
KILLED = "+++ killed by SIGKILL"

Target: TypeAlias = tuple[str, str, int]
"""The name of a call, what it is about, and the how-manieth such call of its thread it is."""


@dataclass(frozen=True)
class Call:
    """The `n`-th call of this name in the `thread`-th thread.

    `target` is None for what is about neither data nor answers.
    """

    thread: int
    name: str
    n: int
    line: str
    target: Target | None = None

    def __str__(self) -> str:
        return f"{self.name} {self.n} of thread {self.thread}: {self.line[:120]}"


@dataclass
class Seen:
    """The calls of the thread that had the fault, by the name of the faulty one; which of them was hit, if any."""

    calls: list[Call] = field(default_factory=list)
    hit: Call | None = None

    def has_hit(self, meant: Call) -> bool:
        return self.hit is not None and self.hit.target == meant.target

    def better_n(self, meant: Call) -> int:
        """Where the call that was meant stood this time; when it never came, one further on."""
        return next((call.n for call in self.calls if call.target == meant.target), meant.n + 1)


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
    order = threads(process)
    options = ("-f", "-y", "-s", "64", "-e", f"trace={','.join(FILE_CALLS)}", "-e", "signal=none", "-o", str(log))
    with strace(process, *options):
        wait_until(lambda: all(is_traced(thread) for thread in order), ATTACH_WITHIN_S, "all threads are traced")
        yield calls
    calls += calls_in(log, order)


@contextmanager
def fault(process: int, call: Call, what: str, log: Path) -> Iterator[Seen]:
    """`what` happens to that call: `signal=KILL`, `error=ENOSPC` …"""
    seen = Seen()
    inject = f"inject={call.name}:{what}:when={call.n}"
    options = ("-y", "-s", "64", "-e", f"trace={call.name}", "-e", inject, "-o", str(log))
    thread = threads(process)[call.thread]
    with strace(thread, *options):
        yield seen
    seen.calls += calls_in(log, [thread])
    if KILLED in log.read_text(errors="replace"):
        seen.hit = seen.calls[-1]
    else:
        seen.hit = next((one for one in seen.calls if INJECTED in one.line), None)


def calls_in(log: Path, order: Sequence[int]) -> list[Call]:
    """Of the threads in `order`; a log of one thread does not name it."""
    calls: list[Call] = []
    counted: Counter[tuple[object, ...]] = Counter()
    for line in log.read_text(errors="replace").splitlines():
        found = _LINE.fullmatch(line)
        if found is None or int(found["thread"] or order[0]) not in order:
            continue
        thread, name = order.index(int(found["thread"] or order[0])), found["name"]
        counted[thread, name] += 1
        place = place_of(line)
        counted[thread, name, place] += 1
        target = (name, place, counted[thread, name, place]) if place else None
        calls.append(Call(thread, name, counted[thread, name], f"{name}({found['rest']}", target))
    return calls


def place_of(line: str) -> str:
    found = _PLACE.search(line)
    return found[1] if found else "answer" if ANSWER in line else ""


def is_traced(thread: int) -> bool:
    status = Path(f"/proc/{thread}/status").read_text()
    return re.search(r"^TracerPid:\t0$", status, re.MULTILINE) is None
