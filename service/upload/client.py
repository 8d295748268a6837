"""A file over the public wire: by tus, so that a cut costs what was under way and no more, else by one PUT.

The server says how much is safe; whenever that is not certain, it is asked.
"""

import os
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from time import sleep
from typing import Any, BinaryIO, TypeAlias
from urllib.parse import quote

import httpx

from service.chat.client import problem

TIMEOUT = httpx.Timeout(10, read=60, write=60)  # the answer to the last byte comes when the whole file is summed up
RETRY_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
RETRY_AFTER_MAX_S = 30
BLOCK_BYTES = 256 * 1024
POLL_S = 0.5
TUS = {"Tus-Resumable": "1.0.0"}
CHUNK = {**TUS, "Content-Type": "application/offset+octet-stream"}
BUSY = {408, 409, 423, 429, 502, 503, 504}  # ask where it stands, and go on
GONE = {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
NO_TUS = {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}
FINAL_STATES = {"succeeded", "failed", "cancelled"}
Show: TypeAlias = Callable[[int], None]
"""Told how many bytes have been sent; less than before when some of them were lost."""


class UploadError(Exception):
    """What went wrong, in words for the person at the terminal."""


class Unreachable(UploadError):
    """Nobody answers at this address any more."""


class Again(Exception):
    """The server is busy, or does not agree where the upload stands."""

    def __init__(self, said: str, after_s: float) -> None:
        super().__init__(said)
        self.after_s = after_s


class NoTus(Exception):
    """This server takes a file only in one piece."""


@dataclass(slots=True)
class Transfer:
    """`part` is the id of the resumable upload once there is one; `offset` is None where only the server knows it."""

    path: Path
    size: int
    part: str | None = None
    offset: int | None = None
    safe: int = 0


class UploadClient:
    """Making one raises `UploadError` for an address that is none."""

    def __init__(self, url: str, api_key: str | None) -> None:
        headers = {} if api_key is None else {"X-API-Key": api_key}
        self._url = url
        try:
            self._http = httpx.Client(base_url=url, timeout=TIMEOUT, headers=headers)
        except httpx.InvalidURL as error:
            raise UploadError(f"{url} is no address of a server.") from error

    def close(self) -> None:
        self._http.close()

    def upload(self, transfer: Transfer, show: Show) -> str:
        """The id of the upload. Raises `UploadError`; `transfer.part` can then be gone on with, if it is there."""
        with transfer.path.open("rb") as file:
            try:
                return self._by_steps(transfer, lambda: self._step(transfer, file, show))
            except NoTus:
                return self._put(transfer, file, show)

    def process(self, upload_id: str) -> str:
        """The id of the job that makes it searchable."""
        try:
            answer = self._http.post(f"/uploads/{upload_id}/process")
        except httpx.TransportError as error:
            raise self._lost() from error
        if answer.status_code != HTTPStatus.ACCEPTED:
            raise UploadError(problem(answer))
        return str(answer.json()["job_id"])

    def follow(self, job_id: str) -> Iterator[dict[str, Any]]:
        """The job as it is, again and again until it has ended."""
        failures = 0
        while True:
            try:
                answer = self._http.get(f"/jobs/{job_id}")
                if answer.status_code not in BUSY and answer.status_code != HTTPStatus.OK:
                    raise UploadError(problem(answer))
                if answer.status_code == HTTPStatus.OK:
                    job, failures = answer.json(), 0
                    yield job
                    if job["status"] in FINAL_STATES:
                        return
            except httpx.TransportError as error:
                failures += 1
                if failures > len(RETRY_PAUSES_S):
                    raise self._lost() from error
            sleep(POLL_S if not failures else RETRY_PAUSES_S[failures - 1])

    def _by_steps(self, transfer: Transfer, step: Callable[[], str | None]) -> str:
        """Until there is an id. Failures are counted anew whenever more is safe than before."""
        failures, safe = 0, transfer.safe
        while True:
            try:
                upload_id = step()
                if upload_id is not None:
                    return upload_id
                continue
            except Again as error:
                said, pause_s = str(error), error.after_s
            except httpx.TransportError as error:
                if transfer.part is None:
                    raise self._unreachable() from error
                said, pause_s = str(self._lost()), 0.0
            failures = 0 if transfer.safe > safe else failures + 1
            safe = transfer.safe
            if failures > len(RETRY_PAUSES_S):
                raise Unreachable(said)
            sleep(max(pause_s, RETRY_PAUSES_S[max(failures - 1, 0)]))

    def _step(self, transfer: Transfer, file: BinaryIO, show: Show) -> str | None:
        """Begins, asks or sends, whatever comes next; the upload's id when it is whole."""
        if transfer.part is None:
            answer = self._begin(transfer)
        elif transfer.offset is None:
            answer = self._ask(transfer)
        else:
            offset, transfer.offset = transfer.offset, None  # until the answer nobody here knows what arrived
            headers = {**CHUNK, "Upload-Offset": str(offset), "Content-Length": str(transfer.size - offset)}
            body = blocks(file, offset, transfer.size, show)
            answer = self._checked(self._http.patch(f"/files/{transfer.part}", content=body, headers=headers))
        transfer.offset = transfer.safe = int(answer.headers["Upload-Offset"])
        show(transfer.safe)
        upload_id: str | None = answer.headers.get("X-Upload-ID")
        return upload_id

    def _begin(self, transfer: Transfer) -> httpx.Response:
        name = b64encode(transfer.path.name.encode(errors="replace")).decode()
        headers = {**TUS, "Upload-Length": str(transfer.size), "Upload-Metadata": f"filename {name}"}
        answer = self._http.post("/files", headers=headers)
        if answer.status_code in NO_TUS:
            raise NoTus
        self._checked(answer)
        transfer.part = answer.headers["Location"].rpartition("/")[2]
        return answer

    def _ask(self, transfer: Transfer) -> httpx.Response:
        answer = self._http.head(f"/files/{transfer.part}", headers=TUS)
        if answer.status_code in GONE:
            gone, transfer.part = transfer.part, None  # nothing is left to go on with
            raise UploadError(f"The server no longer has the upload {gone}; begin it again.")
        self._checked(answer)
        if answer.headers.get("Upload-Length") != str(transfer.size):
            raise UploadError(f"The upload {transfer.part} was begun with a file of another size.")
        return answer

    def _put(self, transfer: Transfer, file: BinaryIO, show: Show) -> str:
        path = f"/uploads/{quote(transfer.path.name, safe='')}"
        headers = {"Content-Length": str(transfer.size)}
        try:
            answer = self._http.put(path, content=blocks(file, 0, transfer.size, show), headers=headers)
        except httpx.TransportError as error:
            raise Unreachable(f"{self._lost()} It takes files only whole: begin again.") from error
        if answer.status_code != HTTPStatus.CREATED:
            raise UploadError(problem(answer))
        return str(answer.json()["upload_id"])

    def _checked(self, answer: httpx.Response) -> httpx.Response:
        """Raises `Again` for what may pass, and `UploadError` in the server's words for what will not."""
        if answer.status_code in BUSY:
            raise Again(problem(answer), retry_after_s(answer))
        if answer.is_error:
            raise UploadError(problem(answer))
        if "Upload-Offset" not in answer.headers:
            raise UploadError(f"{self._url} does not answer as Headwater does.")
        return answer

    def _unreachable(self) -> Unreachable:
        return Unreachable(
            f"No Headwater answers at {self._url}. Start it with `make serve`, or name another with --url."
        )

    def _lost(self) -> Unreachable:
        return Unreachable(f"The connection to {self._url} was lost and did not come back.")


def blocks(file: BinaryIO, start: int, end: int, show: Show) -> Iterator[bytes]:
    file.seek(start)
    while start < end:
        block = file.read(min(BLOCK_BYTES, end - start))
        if not block:
            raise UploadError("The file became shorter while it was read.")
        yield block
        start += len(block)
        show(start)


def retry_after_s(answer: httpx.Response) -> float:
    said = answer.headers.get("Retry-After", "")
    return min(int(said), RETRY_AFTER_MAX_S) if said.isdecimal() else 0.0


def transfer_of(path: Path, part: str | None = None) -> Transfer:
    return Transfer(path, os.stat(path).st_size, part)
