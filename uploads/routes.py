"""Files in and out. Who includes the router puts a `UploadsBackend` and the caller's `owner` into a request's state."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import JSONResponse, Response

from uploads.backend import UploadsBackend
from uploads.body import Body
from uploads.errors import NoFile
from uploads.intake import Intake
from uploads.multipart import FormPart, Multipart, is_multipart
from uploads.records import Cursor, Upload, parse_cursor
from uploads.responses import ContentResponse
from uploads.schemas import ListQuery, NoQuery, RawUploadQuery, UploadAnswer, UploadList, answer_of, list_of

FILE_FIELD = "file"
BINARY = {"schema": {"type": "string", "format": "binary"}}
FORM = {
    "type": "object",
    "required": [FILE_FIELD],
    "properties": {FILE_FIELD: {"type": "array", "items": {"type": "string", "format": "binary"}}},
}
ANY_BODY = {"requestBody": {"required": True, "content": {"application/octet-stream": BINARY}}}
FORM_OR_ANY_BODY = {
    "requestBody": {
        "required": True,
        "content": {"multipart/form-data": {"schema": FORM}, "application/octet-stream": BINARY},
    }
}
CONTENT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file with its own type, as an attachment.", "content": {"*/*": BINARY}},
    206: {"description": "The bytes of `Range`.", "content": {"*/*": BINARY}},
    304: {"description": "`If-None-Match` has the tag of this content."},
    416: {"description": "The content has no such `Range`."},
}

router = APIRouter(tags=["files"])


async def backend_of(request: Request) -> UploadsBackend:
    backend: UploadsBackend = request.state.uploads
    return backend


async def owner_of(request: Request) -> str:
    owner: str = request.state.owner
    return owner


TheUploads = Annotated[UploadsBackend, Depends(backend_of)]
TheOwner = Annotated[str, Depends(owner_of)]
NoParameters = Annotated[NoQuery, Query()]


@router.post(
    "/uploads", status_code=201, response_model=UploadAnswer | list[UploadAnswer], openapi_extra=FORM_OR_ANY_BODY
)
async def upload(
    request: Request, backend: TheUploads, owner: TheOwner, query: Annotated[RawUploadQuery, Query()]
) -> Response:
    """Takes files: as `multipart/form-data` any number in fields `file`, else the body as one file."""
    if not is_multipart(request.headers.get("content-type", "")):
        return created([await keep_body(request, backend, owner, query.filename)])
    if query.filename is not None:
        raise refused("filename", "In a form each file has its own name", "value_error", "query")
    return created(await keep_form(request, backend, owner))


@router.put("/uploads/{filename:path}", status_code=201, response_model=UploadAnswer, openapi_extra=ANY_BODY)
async def upload_named(
    filename: str, request: Request, backend: TheUploads, owner: TheOwner, _: NoParameters
) -> Response:
    """Takes the body as a file of this name, as `curl -T` sends it. Each call makes another upload."""
    return created([await keep_body(request, backend, owner, filename)])


@router.get("/uploads")
async def uploads(backend: TheUploads, owner: TheOwner, query: Annotated[ListQuery, Query()]) -> UploadList:
    """The caller's uploads, the newest first, page by page."""
    found = await backend.uploads.page(owner, cursor_of(query), query.limit + 1)
    return list_of(found, query.limit)


@router.get("/uploads/{upload_id}")
async def upload_state(upload_id: str, backend: TheUploads, owner: TheOwner, _: NoParameters) -> UploadAnswer:
    """What is known of one upload."""
    return answer_of(await backend.uploads.find(upload_id, owner))


@router.head("/uploads/{upload_id}/content", include_in_schema=False)
@router.get("/uploads/{upload_id}/content", response_class=Response, responses=CONTENT)
async def upload_content(
    upload_id: str, request: Request, backend: TheUploads, owner: TheOwner, _: NoParameters
) -> Response:
    """The bytes, as an attachment; `Range` and `If-Range` as RFC 9110 has them."""
    found = await backend.uploads.find(upload_id, owner)
    return ContentResponse(partial(backend.uploads.read, found), found, request.headers, backend.send_timeout_s)


@router.delete("/uploads/{upload_id}", status_code=204)
async def delete_upload(upload_id: str, backend: TheUploads, owner: TheOwner, _: NoParameters) -> None:
    """Takes the upload away; its bytes go with the last upload that has them."""
    await backend.delete(upload_id, owner)


async def keep_body(request: Request, backend: UploadsBackend, owner: str, filename: str | None) -> Upload:
    backend.refuse_when_leaving()
    body = body_of(request, backend)
    async with backend.uploads.intake(owner) as intake:
        await intake.add(body, filename, declared_bytes(request))
        (kept,) = await intake.commit()
    return kept


async def keep_form(request: Request, backend: UploadsBackend, owner: str) -> list[Upload]:
    backend.refuse_when_leaving()
    body = body_of(request, backend)
    async with backend.uploads.intake(owner) as intake:
        async for part in Multipart(body, request.headers["content-type"]):
            if part.name != FILE_FIELD:
                raise refused(part.name, "Extra inputs are not permitted", "extra_forbidden")
            await take_file(part, intake)
        if intake.is_empty:
            raise NoFile(f"The form has no field `{FILE_FIELD}` with a file.")
        return await intake.commit()


async def take_file(part: FormPart, intake: Intake) -> None:
    """A field `file` of a form. Raises `NoFile` for text, which is most often a path without curl's `@`."""
    if part.is_text:
        raise NoFile(f"The field `{FILE_FIELD}` has text and no file; curl sends a file as `-F {FILE_FIELD}=@name`.")
    if part.filename != "":  # browsers send such a part when no file was chosen
        await intake.add(part, part.filename)


def body_of(request: Request, backend: UploadsBackend) -> Body:
    return Body(request.receive, backend.uploads.limits.idle_timeout_s)


def declared_bytes(request: Request) -> int:
    declared = request.headers.get("content-length", "")
    return int(declared[:20]) if declared.isdecimal() else 0


def cursor_of(query: ListQuery) -> Cursor | None:
    if query.after is None:
        return None
    cursor = parse_cursor(query.after)
    if cursor is None:
        raise refused("after", "Give the `next` of a page before", "value_error", "query")
    return cursor


def created(kept: list[Upload]) -> Response:
    answers = [answer_of(one).model_dump() for one in kept]
    if len(answers) > 1:
        return JSONResponse(answers, 201, {"Location": "/uploads"})
    return JSONResponse(answers[0], 201, {"Location": f"/uploads/{kept[0].id}"})


def refused(field: str, message: str, kind: str, where: str = "body") -> RequestValidationError:
    return RequestValidationError([{"loc": (where, field), "msg": message, "type": kind}])
