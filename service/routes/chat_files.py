"""`curl -F file=@report.pdf -F prompt=… /chat/stream`: files and a question about them in one form.

The files are kept as uploads, then it is a stream like any other with `upload_id`.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from streaming.resume import GoOn
from streaming.routes import POST_GRACE_S, TheCaller, refused, start
from streaming.schemas import ChatForm
from uploads.intake import Intake
from uploads.multipart import Multipart, is_multipart
from uploads.routes import FILE_FIELD, TheUploads, body_of, take_file

FORM_PATH = "/chat/stream"
FIELD_MAX_BYTES = 1024 * 1024
FIELDS_MAX = 64
LISTS = ("stop", "upload_id", "upload_ids")


class FormRoute(APIRoute):
    """Only for forms: JSON on the same path goes to the next route."""

    policy_suffix = " as a form"  # in service/access/policies.py
    takes_files = True  # for service/limits

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return super().matches(scope) if is_form(scope) else (Match.NONE, {})


def is_form(scope: Scope) -> bool:
    headers: list[tuple[bytes, bytes]] = scope.get("headers", [])
    return any(name == b"content-type" and is_multipart(value.decode("latin-1")) for name, value in headers)


async def stream_of_form(request: Request, caller: TheCaller, backend: TheUploads) -> Response:
    """Answers `prompt` from the files in fields `file`; every other field is an option."""
    if caller.last_event_id:
        return caller.resume(caller.last_event_id, caller.find)
    backend.refuse_when_leaving()
    async with backend.uploads.intake(caller.owner) as intake:
        form = await read_form(request, intake, Multipart(body_of(request, backend), request.headers["content-type"]))
        kept = [] if intake.is_empty else await intake.commit()
    ids = [upload.id for upload in kept]
    try:
        asked = form.model_copy(update={"upload_id": [*ids, *(form.upload_id or ())]})
        stream = await start(caller.backend, caller.owner, asked, POST_GRACE_S)
    except BaseException:
        for upload_id in ids:
            await backend.delete(upload_id, caller.owner)
        raise
    return caller.answer(GoOn(stream, -1))


async def read_form(request: Request, intake: Intake, parts: Multipart) -> ChatForm:
    """Receives the files. Options may also stand in the query string. An empty field is not there."""
    fields: dict[str, list[str]] = {name: request.query_params.getlist(name) for name in request.query_params}
    room = FIELD_MAX_BYTES
    async for part in parts:
        if part.name == FILE_FIELD:
            await take_file(part, intake)
            continue
        value = await part.text(room)
        if not value:
            continue
        room -= len(value.encode())
        fields.setdefault(part.name, []).append(value)
        if len(fields[part.name]) > FIELDS_MAX or len(fields) > FIELDS_MAX:
            raise refused("form", f"At most {FIELDS_MAX} fields are taken", "too_long", "body")
    return form_of(fields)


def form_of(fields: Mapping[str, list[str]]) -> ChatForm:
    given: dict[str, Any] = {}
    for name, values in fields.items():
        if len(values) > 1 and name not in LISTS:
            raise refused(name, "Give it once", "value_error", "body")
        given[name] = values if name in LISTS else values[0]
    try:
        return ChatForm.model_validate(given)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in found]) from None
