"""`headwater users`: people who log in with a name and a password."""

import asyncio
import getpass
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.failing import FAILED, WRONGLY_ASKED, fail
from service.commands.keys import Scopes, checked_name, read_scopes, read_settings, when

if TYPE_CHECKING:
    from service.access.users import User
    from service.settings import Settings

app = typer.Typer(no_args_is_help=True, help="People who log in: set, list, remove.")
Name = Annotated[str, typer.Argument(help="The name to log in with; keys of this name belong to the same person.")]


@app.command("set")
def put(name: Name, scopes: Scopes = None) -> None:
    """Add somebody, or change the password and the scopes of somebody. The password is asked for, or read from a pipe.

    Tokens that were given out before are not valid any more.
    """
    from service.access.passwords import hash_password
    from service.access.users import User

    settings, scopes_given = read_settings(), read_scopes(scopes)
    user = User(checked_name(name), scopes_given, hash_password(read_password()), round(time.time(), 3))
    is_new = asyncio.run(keep(settings, user))
    typer.echo(f"{'added' if is_new else 'changed'} {name}")
    if settings.access.jwt_secret is None:
        typer.echo("note: nobody can log in until HEADWATER_ACCESS__JWT_SECRET is set", err=True)


@app.command("list")
def show() -> None:
    """Who may log in."""
    settings = read_settings()
    kept = asyncio.run(everybody(settings))
    typer.echo("name\tscopes\tchanged")
    for name, one in sorted(settings.access.users.items()):
        typer.echo(f"{name}\t{','.join(sorted(one.scopes))}\tin the settings")
    for user in kept:
        typer.echo(f"{user.name}\t{','.join(sorted(user.scopes))}\t{when(user.changed_at)}")


@app.command("remove")
def remove(name: Name) -> None:
    """Take somebody away. What that person made stays, for keys and a later user of the same name."""
    if not asyncio.run(forget(read_settings(), name)):
        fail(f"there is no user {name}; `headwater users list` shows all", FAILED)
    typer.echo(f"removed {name}")


@app.command("hash")
def show_hash() -> None:
    """Print the argon2id hash of a password, for HEADWATER_ACCESS__USERS."""
    from service.access.passwords import hash_password

    typer.echo(hash_password(read_password()))


def read_password() -> str:
    from service.access.passwords import fault_of

    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if getpass.getpass("Once more: ") != password:
            fail("the two are not the same", WRONGLY_ASKED)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if (fault := fault_of(password)) is not None:
        fail(fault, WRONGLY_ASKED)
    return password


async def keep(settings: "Settings", user: "User") -> bool:
    from service.commands.database import access_store

    async with access_store(settings) as store:
        return await store.put_user(user)


async def everybody(settings: "Settings") -> "list[User]":
    from service.commands.database import access_store

    async with access_store(settings) as store:
        return list(await store.users())


async def forget(settings: "Settings", name: str) -> bool:
    from service.commands.database import access_store

    async with access_store(settings) as store:
        return await store.remove_user(name)
