"""`headwater serve`: read the settings, fetch what is missing if asked to, then serve until told to leave."""

import asyncio
import os
import socket
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from service.commands.failing import FAILED, WRONGLY_ASKED, fail

if TYPE_CHECKING:
    from service.settings import Settings


class ServeCommand(TyperCommand):
    """Its help ends with all settings, read from the code."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        super().format_help(ctx, formatter)
        from service.settings_doc import rows

        typer.echo(" Every setting, as a variable; docs/settings.md says more:\n")
        for row in rows():
            typer.echo(f"   {row.variable}={row.default}\n       {row.description}")


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default=False)] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.", show_default=False)] = None,
    models: Annotated[
        Path | None, typer.Option(help="The file that lists the models; the built-in list if not given.")
    ] = None,
    engine: Annotated[
        Literal["torch", "echo"] | None, typer.Option(help="What runs the models; echo needs none.")
    ] = None,
    pull: Annotated[bool, typer.Option("--pull", help="First fetch the models that are missing.")] = False,
) -> None:
    """Serve the models over HTTP until Ctrl-C or SIGTERM, which let running answers finish."""
    from service.settings_load import SettingsError, load_settings

    reread = partial(load_settings, host=host, port=port, models=models, engine=engine)
    try:
        settings = reread()
    except SettingsError as error:
        fail(error.message, WRONGLY_ASKED)
    settings = settings.model_copy(update={"port": free_port(settings)})
    have_data_folder(settings.data_dir)
    refuse_open_network(settings)
    if settings.engine == "torch":
        have_models(settings, pull)

    from service.commands.announce import announced
    from service.server import run

    with announced(settings) as load:
        code = run(settings, load, reread)
    raise typer.Exit(code)


def free_port(settings: "Settings") -> int:
    """The port to listen on. One that is taken is said now, before a model is loaded for nothing."""
    host = settings.host.strip("[]")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except OSError as error:
        reason = error.strerror or str(error)
        fail(f"cannot listen on {host} port {settings.port}: {reason}; choose another with --port or --host", FAILED)


def have_data_folder(folder: Path) -> None:
    """Makes it. One that cannot be used is said now, before a model is loaded for nothing."""
    from uploads.files import make_folder

    try:
        make_folder(folder)
        os.listdir(folder)
        reason = "" if os.access(folder, os.W_OK | os.X_OK) else "it cannot be written to"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        fail(f"the data folder {folder} cannot be used: {reason}; choose another with HEADWATER_DATA_DIR", FAILED)


def refuse_open_network(settings: "Settings") -> None:
    """The service refuses as well; here that comes before its models are loaded, and as one line."""
    from service.access import opening

    if not opening.is_open_network(settings):
        return
    try:
        opening.refuse_open_network(settings, has_keys=asyncio.run(has_keys(settings)))
    except opening.CannotOpen as error:
        fail(str(error), FAILED)


async def has_keys(settings: "Settings") -> bool:
    """Or had some: a service that was closed once stays closed."""
    from service.commands.database import access_store

    async with access_store(settings) as store:
        return await store.version() != 0


def have_models(settings: "Settings", pull: bool) -> None:
    """Fetches what is missing if that was asked for; else names it and ends."""
    from service.commands import models
    from service.models.config import load_models, pull_command
    from service.models.errors import ModelsError
    from service.models.store import ModelStore

    try:
        store = ModelStore(settings.models_dir)
        wanted = [entry for entry in load_models(settings.models).values() if entry.load and entry.references]
        missing = [entry for entry in wanted if store.prepared(entry) is None]
    except ModelsError as error:
        fail(error.message, FAILED)
    names = [entry.name for entry in missing]
    if missing and pull:
        models.pull(names, settings.models, settings.models_dir)
    elif missing:
        told = f"not here yet: {', '.join(names)}; run `{pull_command(settings.models)}`, or serve with --pull"
        if any(entry.kind == "language" for entry in missing):
            fail(told, FAILED)
        typer.echo(f"note: {told}; until then what needs it is not available", err=True)
