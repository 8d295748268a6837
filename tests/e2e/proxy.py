"""A TCP proxy that cuts: it resets chosen connections after so many bytes of the answer, and counts the requests."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Thread

from tests.e2e.process import HOST

CHUNK_BYTES = 4096
HEAD_END = b"\r\n\r\n"  # a browser takes half a head for an answer without CORS headers, and gives up for good


@dataclass
class CuttingProxy:
    """Belongs to its own thread; a test reads `requests`, and changes `target_port` and `cuts`, between events."""

    target_port: int
    cuts: list[int] = field(default_factory=list)
    """Bytes of the answer's body after which the next streaming connections are reset, in this order."""
    port: int = 0
    requests: int = 0
    cut: int = 0
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def cut_all(self) -> None:
        """Resets every connection there is, whatever has come through it; from any thread."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in tuple(self._tasks)])

    async def connect(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        server_in, server_out = await asyncio.open_connection(HOST, self.target_port)
        up = asyncio.create_task(self.forward_requests(client_in, server_out))
        try:
            await self.forward_answers(server_in, client_out)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            up.cancel()
            server_out.transport.abort()
            client_out.transport.abort()  # a reset, as from a network that broke
            with suppress(asyncio.CancelledError, ConnectionError):
                await up
            self._tasks.discard(task)

    async def forward_requests(self, client_in: asyncio.StreamReader, server_out: asyncio.StreamWriter) -> None:
        while data := await client_in.read(CHUNK_BYTES):
            self.requests += data.count(b"GET /chat/stream")
            server_out.write(data)
            await server_out.drain()

    async def forward_answers(self, server_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        left: int | None = None
        while data := await server_in.read(CHUNK_BYTES):
            if left is None and self.cuts and b"text/event-stream" in data:
                left = data.index(HEAD_END) + len(HEAD_END) + self.cuts.pop(0)
            if left is not None:
                data, left = data[:left], left - len(data)
            client_out.write(data)
            await client_out.drain()
            if left is not None and left <= 0:
                self.cut += 1
                return

    async def serve(self, started: Event, stop: asyncio.Event) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self.connect, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await stop.wait()
        server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@contextmanager
def proxying(target_port: int, cuts: list[int] | None = None) -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(target_port, list(cuts or []))
    loop, started, stop = asyncio.new_event_loop(), Event(), asyncio.Event()
    thread = Thread(target=loop.run_until_complete, args=(proxy.serve(started, stop),))
    thread.start()
    started.wait()
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
