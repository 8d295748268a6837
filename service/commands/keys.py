"""`headwater keys`: give keys to those who use the service, see them, and take them back."""

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.failing import FAILED, WRONGLY_ASKED, fail

if TYPE_CHECKING:
    from service.access.keys import ApiKey
    from service.access.principal import Scope
    from service.settings import Settings

DAY_S = 86_400

app = typer.Typer(no_args_is_help=True, help="Keys to the service: create, list, revoke.")

Name = Annotated[str, typer.Argument(help="Whose key it is. Keys of one name see the same uploads, streams and jobs.")]
Scopes = Annotated[
    list[str] | None,
    typer.Option("--scope", help="What it may do: predict, upload, metrics, admin; predict and upload if not given."),
]


@app.command("create")
def create(
    name: Name,
    scopes: Scopes = None,
    expires_in_days: Annotated[
        float | None, typer.Option(min=0.001, max=36_500, help="How long it is valid; for ever if not given.")
    ] = None,
) -> None:
    """Print a new key. It is shown once: only its SHA-256 is kept.

    From the first key on the service asks everybody for one.
    """
    from service.access.keys import mint

    expires_at = None if expires_in_days is None else round(time.time() + expires_in_days * DAY_S, 3)
    settings = read_settings()
    text, key = mint(checked_name(name), read_scopes(scopes), expires_at)
    asyncio.run(add(settings, key))
    typer.echo(f"The key {key.id} of {name} may {' and '.join(sorted(key.scopes))}. It is not shown again:", err=True)
    typer.echo(text)


@app.command("list")
def show() -> None:
    """Every key there has been: its id, whose it is, and what has become of it."""
    keys = asyncio.run(every_key(read_settings()))
    typer.echo("id\tname\tscopes\tcreated\texpires\tlast used\tstate")
    for key in keys:
        cells = [key.id, key.name, ",".join(sorted(key.scopes)), when(key.created_at), when(key.expires_at)]
        typer.echo("\t".join([*cells, when(key.last_used_at), state_of(key)]))


@app.command("revoke")
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, as `list` shows it.")]) -> None:
    """End a key. A running service notices within HEADWATER_ACCESS__REFRESH_S."""
    if asyncio.run(end(read_settings(), key_id)) is None:
        fail(f"there is no key {key_id}; `headwater keys list` shows all", FAILED)
    typer.echo(f"revoked {key_id}")


async def add(settings: "Settings", key: "ApiKey") -> None:
    from service.commands.database import access_store

    async with access_store(settings) as store:
        await store.add_key(key)


async def every_key(settings: "Settings") -> "list[ApiKey]":
    from service.commands.database import access_store

    async with access_store(settings) as store:
        return list(await store.keys())


async def end(settings: "Settings", key_id: str) -> "ApiKey | None":
    from service.commands.database import access_store

    async with access_store(settings) as store:
        return await store.revoke_key(key_id, round(time.time(), 3))


def read_settings() -> "Settings":
    from service.settings_load import SettingsError, load_settings

    try:
        return load_settings()
    except SettingsError as error:
        fail(error.message, WRONGLY_ASKED)


def checked_name(name: str) -> str:
    from service.access.users import NAME_RULE, is_name

    if not is_name(name):
        fail(f"a name is {NAME_RULE}", WRONGLY_ASKED)
    return name


def read_scopes(given: list[str] | None) -> "frozenset[Scope]":
    from service.access.principal import DEFAULT_SCOPES, SCOPES

    if unknown := sorted(set(given or ()) - set(SCOPES)):
        fail(f"{unknown[0]} is no scope; there are {', '.join(SCOPES)}", WRONGLY_ASKED)
    return frozenset(scope for scope in SCOPES if scope in given) if given else DEFAULT_SCOPES


def state_of(key: "ApiKey") -> str:
    if key.is_revoked:
        return f"revoked {when(key.revoked_at)}"
    return "expired" if key.is_expired(time.time()) else "valid"


def when(moment: float | None) -> str:
    return "-" if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
