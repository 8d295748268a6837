"""How a command ends that cannot do what it was asked: one line, and an exit code."""

from typing import NoReturn

import typer

FAILED = 1
WRONGLY_ASKED = 2
INTERRUPTED = 130


def fail(message: str, code: int = FAILED) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(code)
