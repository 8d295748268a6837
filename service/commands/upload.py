"""`headwater upload`: put files into a running server, however often the connection breaks."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.chat import API_KEY_VARIABLE, DEFAULT_URL
from service.commands.failing import FAILED, INTERRUPTED

if TYPE_CHECKING:
    from service.upload.client import Transfer, UploadClient
    from service.upload.terminal import UploadTerminal

Files = Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, readable=True, help="What to upload.")]


def upload(
    files: Files,
    url: Annotated[str, typer.Option(help="Where the server listens.")] = DEFAULT_URL,
    process: Annotated[bool, typer.Option("--process", help="Make each file searchable, and wait for it.")] = False,
    resume: Annotated[str | None, typer.Option(help="Go on with this interrupted upload of the same file.")] = None,
    api_key: Annotated[str | None, typer.Option(envvar=API_KEY_VARIABLE, help="The key to say who asks.")] = None,
) -> None:
    """Upload files to a running server. A connection that breaks is taken up again.

    Prints the id of each upload with its path and, with --process, the same of its job. Ctrl-C stops and says how to
    go on. Exit code 1: a file was not taken, or could not be read.
    """
    from service.upload.client import Unreachable, UploadClient, UploadError, transfer_of
    from service.upload.terminal import UploadTerminal

    if resume is not None and len(files) > 1:
        raise typer.BadParameter("it goes on with one file", param_hint="--resume")
    try:
        client = UploadClient(url, api_key)
    except UploadError as error:
        raise typer.BadParameter(str(error), param_hint="--url") from None
    terminal, failed = UploadTerminal(), False
    try:
        for path in files:
            transfer = transfer_of(path, resume)
            try:
                failed |= not one(client, terminal, transfer, process=process)
            except KeyboardInterrupt:
                terminal.say(how_to_go_on(transfer, url, "interrupted"))
                raise typer.Exit(INTERRUPTED) from None
            except (UploadError, OSError) as error:
                terminal.say(how_to_go_on(transfer, url, str(error)))
                failed = True
                if isinstance(error, Unreachable):
                    break
    finally:
        client.close()
    if failed:
        raise typer.Exit(FAILED)


def one(client: "UploadClient", terminal: "UploadTerminal", transfer: "Transfer", *, process: bool) -> bool:
    """False when it came in, but its job failed."""
    with terminal.sending(transfer.path.name, transfer.size) as show:
        upload_id = client.upload(transfer, show)
    transfer.part = None  # whole: there is nothing to go on with
    typer.echo(f"{upload_id}\t{transfer.path}")
    return not process or searchable(client, terminal, transfer.path, upload_id)


def searchable(client: "UploadClient", terminal: "UploadTerminal", path: Path, upload_id: str) -> bool:
    job_id = client.process(upload_id)
    typer.echo(f"{job_id}\t{path}")
    try:
        job = terminal.follow(path.name, client.follow(job_id))
    except KeyboardInterrupt:
        terminal.say(f"the job goes on; GET /jobs/{job_id} tells how far it is, DELETE stops it")
        raise
    if job["status"] != "succeeded":
        terminal.say(f"{path.name}: {job['error']['message'] if job['error'] else 'the job was cancelled'}")
    return bool(job["status"] == "succeeded")


def how_to_go_on(transfer: "Transfer", url: str, why: str) -> str:
    if transfer.part is None:
        return f"{transfer.path.name}: {why}"
    command = ["headwater", "upload", "--resume", transfer.part]
    command += [] if url == DEFAULT_URL else ["--url", url]
    done = f"{transfer.safe} of {transfer.size} bytes are known to be safe"
    return f"{transfer.path.name}: {why}; {done}. Go on with: {shlex.join([*command, str(transfer.path)])}"
