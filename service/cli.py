"""The `headwater` command. Imports stay lean here: each command loads what it needs when it runs.

Exit codes: 0 done, 1 it failed, 2 it was asked for wrongly.
"""

from typing import Annotated

import typer

from service.commands import chat, keys, models, serve, upload, users, worker

app = typer.Typer(
    name="headwater",
    help="A streaming text service: a language model behind a plain EventSource.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("serve", cls=serve.ServeCommand)(serve.serve)
app.command("worker")(worker.worker)
app.command("chat")(chat.chat)
app.command("upload")(upload.upload)
app.add_typer(models.app, name="models")
app.add_typer(keys.app, name="keys")
app.add_typer(users.app, name="users")


def show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"headwater {version('headwater')}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None: ...
