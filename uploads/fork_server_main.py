"""The inside of `uploads.fork_server`: started by its path in a bare interpreter. It forks, reaps, kills, and no more.

It has one thread and stays so, because only that thread would live on in a fork. It ends when nobody holds the other
end of its socket any more, whatever became of the service.
"""

import contextlib
import importlib
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any

NICENESS = 10
MESSAGE_MAX_BYTES = 256 * 1024


class Server:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._process_ids: dict[int, int] = {}
        self._woken, wake = os.pipe()
        for end in (self._woken, wake):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def run(self) -> None:
        poll = select.poll()
        for source in (self._control.fileno(), self._woken):
            poll.register(source, select.POLLIN)
        while True:
            for source, _ in poll.poll():
                if source == self._woken:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._woken, 4096)
                elif not self._take_order():
                    return
            self._reap()

    def _take_order(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._control, MESSAGE_MAX_BYTES, 1)
        if not data:
            return False
        order = json.loads(data)
        if "fork" in order:
            self._fork(order["fork"], order["task"], descriptors[0])
        elif order["kill"] in self._process_ids:
            kill(self._process_ids[order["kill"]])
        return True

    def _fork(self, number: int, task: dict[str, Any], reply_to: int) -> None:
        from uploads.sandbox_child import work  # noqa: PLC0415  found only by the path that the first message brings

        server = os.getpid()
        process_id = os.fork()
        if process_id == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._control.close()
            work(task, reply_to, server)
        os.close(reply_to)
        self._process_ids[number] = process_id

    def _reap(self) -> None:
        """A process keeps its id until it is reaped, so its helpers are killed by that id just before."""
        for number in list(self._process_ids):
            process_id = self._process_ids[number]
            if os.waitid(os.P_PID, process_id, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                continue
            kill(process_id)
            _, status = os.waitpid(process_id, 0)
            del self._process_ids[number]
            send(self._control, {"ended": number, "status": os.waitstatus_to_exitcode(status)})

    def kill_all(self) -> None:
        for process_id in self._process_ids.values():
            kill(process_id)


def kill(process_id: int) -> None:
    """With its helpers; it leads their group from its first moment on, or is still alone."""
    for how in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError):
            how(process_id, signal.SIGKILL)


def send(control: socket.socket, message: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the service is gone, which ends this one next
        control.send(json.dumps(message).encode())


def preload(function: str | None) -> str | None:
    """The name of what it raised. Without it each fork loads for itself, and says what is wrong."""
    if function is None:
        return None
    module, _, name = function.partition(":")
    try:
        getattr(importlib.import_module(module), name)()
    except Exception as error:  # noqa: BLE001  the border of the process: the other side must hear of it
        return type(error).__name__
    return None


@contextlib.contextmanager
def control_socket() -> Iterator[socket.socket]:
    control = socket.socket(fileno=os.dup(0))
    os.dup2(1, 0)  # no fork gets hold of it by reading its standard input
    os.set_inheritable(control.fileno(), False)
    yield control


def main() -> None:
    os.nice(NICENESS)
    with control_socket() as control:
        first = json.loads(control.recv(MESSAGE_MAX_BYTES) or b"null")
        if first is None:
            return
        sys.path[:] = first["path"]
        server = Server(control)
        send(control, {"raised": preload(first["preload"])})
        try:
            server.run()
        finally:
            server.kill_all()


if __name__ == "__main__":
    main()
