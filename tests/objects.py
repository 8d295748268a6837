"""A real S3 server for tests: moto's, in this process, with an empty bucket for each test."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}


@dataclass
class ObjectServer:
    endpoint: str
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def new_bucket(self) -> str:
        """Its URL."""
        name = f"bucket-{next(self._numbers)}"
        httpx.put(f"{self.endpoint}/{name}").raise_for_status()
        return f"s3://{name}"


@contextmanager
def object_server() -> Iterator[ObjectServer]:
    from moto.server import ThreadedMotoServer  # noqa: PLC0415  slow to import, and most test runs need none

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield ObjectServer(f"http://{host}:{port}")
    finally:
        server.stop()
