"""A TCP proxy that breaks uploads: it resets chosen connections after so many bytes of what the client sent."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.e2e.process import HOST

CHUNK_BYTES = 65536


@dataclass
class Cutter:
    """`cuts`: sizes; a connection that carries so many bytes is reset, and the next cut waits for the next one."""

    target_port: int
    cuts: list[int]
    port: int = 0
    made: int = 0
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def connect(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        server_in, server_out = await asyncio.open_connection(HOST, self.target_port)
        back = asyncio.create_task(self.pump(server_in, client_out))
        try:
            with suppress(ConnectionError, asyncio.CancelledError):
                await self.forward(client_in, server_out)
        finally:
            client_out.transport.abort()
            server_out.transport.abort()
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)
            self._tasks.discard(task)

    async def forward(self, client_in: asyncio.StreamReader, server_out: asyncio.StreamWriter) -> None:
        carried = 0
        while data := await client_in.read(CHUNK_BYTES):
            if self.cuts and carried + len(data) >= self.cuts[0]:
                server_out.write(data[: self.cuts.pop(0) - carried])
                await server_out.drain()
                self.made += 1
                return
            carried += len(data)
            server_out.write(data)
            await server_out.drain()

    async def pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(CHUNK_BYTES):
                sink.write(data)
                await sink.drain()
        sink.transport.abort()

    async def serve(self, started: threading.Event, stop: asyncio.Event) -> None:
        server = await asyncio.start_server(self.connect, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await stop.wait()
        server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@contextmanager
def cutting(target_port: int, cuts: list[int]) -> Iterator[Cutter]:
    cutter = Cutter(target_port, cuts)
    loop, started, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(cutter.serve(started, stop),))
    thread.start()
    started.wait()
    try:
        yield cutter
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
