"""How a pull tells what it is doing. The command line draws it; tests and libraries keep silent."""

from typing import Protocol


class Progress(Protocol):
    """Steps follow each other; `advance` belongs to the latest one. Called from one thread at a time."""

    def step(self, label: str, total_bytes: int | None = None) -> None:
        """A new step begins. Without `total_bytes` nobody knows how long it takes."""

    def advance(self, n_bytes: int) -> None: ...

    def say(self, line: str) -> None:
        """One line that a person should see."""


class SilentProgress:
    def step(self, label: str, total_bytes: int | None = None) -> None:
        pass

    def advance(self, n_bytes: int) -> None:
        pass

    def say(self, line: str) -> None:
        pass
