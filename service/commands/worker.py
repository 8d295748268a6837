"""`headwater worker`: take jobs from the store that `headwater serve` adds to, until told to leave."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from service.commands.failing import WRONGLY_ASKED, fail
from service.commands.serve import have_models


def worker(
    models: Annotated[
        Path | None, typer.Option(help="The file that lists the models; the built-in list if not given.")
    ] = None,
    engine: Annotated[
        Literal["torch", "echo"] | None, typer.Option(help="What runs the models; echo needs none.")
    ] = None,
    pull: Annotated[bool, typer.Option("--pull", help="First fetch the models that are missing.")] = False,
) -> None:
    """Run background jobs in a process of its own, beside `headwater serve` on the same data or database."""
    from service.settings_load import SettingsError, load_settings

    try:
        settings = load_settings(models=models, engine=engine)
    except SettingsError as error:
        fail(error.message, WRONGLY_ASKED)
    if settings.engine == "torch":
        have_models(settings, pull)

    from service.worker import run

    raise typer.Exit(run(settings))
