"""The public tus 1.0 protocol under `/files`: a broken upload goes on where it stopped. See tus.io for the words."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.routing import APIRoute
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from uploads import tus
from uploads.parts import Chunk
from uploads.records import Part
from uploads.routes import BINARY, NoParameters, TheOwner, TheUploads, body_of, declared_bytes

OVERRIDES = ("DELETE", "HEAD", "PATCH")
UPLOAD_ID = "X-Upload-ID"
BYTES = {"requestBody": {"content": {tus.CHUNK_TYPE: BINARY}}}
NUMBER = {"type": "string", "pattern": "^[0-9]{1,18}$"}


def header(name: str, schema: Mapping[str, Any], *, is_required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": is_required, "schema": schema}


SPOKEN = [header("Tus-Resumable", {"const": tus.VERSION}, is_required=True)]
CHECKED = [*SPOKEN, header("Upload-Checksum", {"type": "string", "pattern": f"^({'|'.join(tus.ALGORITHMS)}) "})]
SPEAKS = {"parameters": SPOKEN}
CREATES = {
    **BYTES,
    "parameters": [
        *CHECKED,
        header("Upload-Length", NUMBER),
        header("Upload-Defer-Length", {"const": "1"}),
        header("Upload-Metadata", {"type": "string"}),
    ],
}
APPENDS = {
    **BYTES,
    "parameters": [
        *CHECKED,
        header("Upload-Offset", NUMBER, is_required=True),
        header("Upload-Length", NUMBER),
    ],
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    409: {"description": "The bytes do not go on where the upload stands."},
    410: {"description": "The upload has expired."},
    412: {"description": "Another version of the protocol, or none."},
    423: {"description": "Another request adds to the upload."},
    460: {"description": "The bytes have another checksum."},
}
ABILITIES = {
    "Tus-Version": tus.VERSION,
    "Tus-Extension": ",".join(tus.EXTENSIONS),
    "Tus-Checksum-Algorithm": ",".join(tus.ALGORITHMS),
}


class TusRoute(APIRoute):
    """Says the protocol's version on every answer, also on a refusal."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_version(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Tus-Resumable"] = tus.VERSION
                if message["status"] == 412:
                    headers["Tus-Version"] = tus.VERSION
            await send(message)

        await super().handle(scope, receive, send_with_version)


async def refuse_other_version(request: Request) -> None:
    tus.refuse_other_version(request.headers)


router = APIRouter(tags=["files"], route_class=TusRoute, responses=REFUSALS)
speaks_tus = [Depends(refuse_other_version)]


@router.options("/files", status_code=204, include_in_schema=False)
@router.options("/files/{part_id}", status_code=204, include_in_schema=False)
async def abilities(backend: TheUploads) -> Response:
    """What of the protocol is spoken here."""
    return Response(status_code=204, headers={**ABILITIES, "Tus-Max-Size": str(backend.uploads.parts.max_bytes)})


@router.post("/files", status_code=201, response_class=Response, dependencies=speaks_tus, openapi_extra=CREATES)
async def create_part(request: Request, backend: TheUploads, owner: TheOwner, _: NoParameters) -> Response:
    """Begins an upload, with its first bytes if the body has the type of bytes; `Location` is where it goes on."""
    backend.refuse_when_leaving()
    parts = backend.uploads.parts
    chunk = Chunk(0, declared_bytes(request), tus.checksum(request.headers))
    part = await parts.create(owner, tus.creation(request.headers))
    if tus.is_chunk(request.headers) or part.is_whole:
        try:
            part = await parts.append(part.id, owner, body_of(request, backend), chunk)
        except BaseException:
            await parts.remove(part.id, owner)  # nobody was told where it is, and it counts against the quota
            raise
    return answer(201, part, {"Location": f"/files/{part.id}"})


@router.head("/files/{part_id}", response_class=Response, dependencies=speaks_tus, openapi_extra=SPEAKS)
async def part_state(part_id: str, backend: TheUploads, owner: TheOwner, _: NoParameters) -> Response:
    """Where the upload stands."""
    return described(await backend.uploads.parts.status(part_id, owner))


@router.patch("/files/{part_id}", status_code=204, dependencies=speaks_tus, openapi_extra=APPENDS)
async def append_to_part(
    part_id: str, request: Request, backend: TheUploads, owner: TheOwner, _: NoParameters
) -> Response:
    """Adds bytes at `Upload-Offset`. The answer to the last of them names the upload that it became."""
    backend.refuse_when_leaving()
    headers = request.headers
    tus.refuse_other_type(headers)
    chunk = Chunk(
        tus.offset(headers), declared_bytes(request), tus.checksum(headers), tus.number(headers, "upload-length")
    )
    return answer(204, await backend.uploads.parts.append(part_id, owner, body_of(request, backend), chunk))


@router.delete("/files/{part_id}", status_code=204, dependencies=speaks_tus, openapi_extra=SPEAKS)
async def remove_part(part_id: str, backend: TheUploads, owner: TheOwner, _: NoParameters) -> Response:
    """Gives the upload up, also when it is whole."""
    await backend.uploads.parts.remove(part_id, owner)
    return Response(status_code=204)


@router.post("/files/{part_id}", include_in_schema=False, dependencies=speaks_tus)
async def overridden(
    part_id: str, request: Request, backend: TheUploads, owner: TheOwner, query: NoParameters
) -> Response:
    """For clients in networks that let no other methods pass."""
    match request.headers.get("x-http-method-override", "").upper():
        case "PATCH":
            return await append_to_part(part_id, request, backend, owner, query)
        case "DELETE":
            return await remove_part(part_id, backend, owner, query)
        case "HEAD":
            return await part_state(part_id, backend, owner, query)
    raise HTTPException(405, headers={"Allow": ", ".join(["OPTIONS", *OVERRIDES])})


def answer(status: int, part: Part, more: Mapping[str, str] | None = None) -> Response:
    headers = {"Upload-Offset": str(part.received), "Upload-Expires": tus.http_date(part.expires_at)}
    if part.upload_id is not None:
        headers[UPLOAD_ID] = part.upload_id
    return Response(status_code=status, headers={**headers, **(more or {})})


def described(part: Part) -> Response:
    length = {"Upload-Defer-Length": "1"} if part.length is None else {"Upload-Length": str(part.length)}
    metadata = {"Upload-Metadata": part.metadata} if part.metadata else {}
    return answer(200, part, {**length, **metadata, "Cache-Control": "no-store"})
