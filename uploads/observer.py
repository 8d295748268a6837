"""Who counts what comes in. The default counts nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Observer(Protocol):
    """Called on the event loop, often: it never blocks and never raises."""

    def received(self, n_bytes: int) -> None:
        """So many bytes of a file came in, whatever becomes of it."""

    def kept(self, files: int) -> None:
        """So many files are durable."""

    def broken_off(self, error: BaseException) -> None:
        """A request that brought files has ended with this."""


class Unobserved:
    def received(self, n_bytes: int) -> None:
        pass

    def kept(self, files: int) -> None:
        pass

    def broken_off(self, error: BaseException) -> None:
        pass


UNOBSERVED = Unobserved()


@contextmanager
def observed(observer: Observer) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        observer.broken_off(error)
        raise
