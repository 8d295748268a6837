"""Files that become jobs. A request's state brings `uploads` and `jobs`, as for the routes of both."""

import time
from typing import Any

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from uploads.batch import KIND as BATCH
from uploads.batch import BatchArguments, BatchOptions
from uploads.errors import InvalidBatch, NoFile, TooManyFiles
from uploads.ingest import KIND as INGEST
from uploads.job_backend import JobsBackend
from uploads.job_routes import TheJobs
from uploads.job_schemas import BatchAnswer, BatchForm, IngestAnswer
from uploads.jobs import Job, new_job_id
from uploads.multipart import Multipart, is_multipart
from uploads.records import Upload
from uploads.routes import FILE_FIELD, NoParameters, TheOwner, TheUploads, body_of, refused, take_file
from uploads.rows import RowInput, Table, count_rows, format_of

FIELD_MAX_BYTES = 1000
FILE = {"type": "string", "format": "binary"}


def form_of(properties: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "required": [FILE_FIELD], "properties": {FILE_FIELD: FILE, **properties}}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


router = APIRouter(tags=["jobs"])


@router.post(
    "/process-batch",
    status_code=202,
    response_model=BatchAnswer,
    openapi_extra=form_of(BatchForm.model_json_schema()["properties"]),
)
async def process_batch(
    request: Request, uploads: TheUploads, jobs: TheJobs, owner: TheOwner, _: NoParameters
) -> BatchAnswer:
    """A prediction for every row of `file`: CSV with a header, JSON lines, or plain lines."""
    upload, fields = await keep_form(request, uploads, owner)
    try:
        form = batch_form(fields)
        arguments = batch_arguments(upload, form, jobs.check_model(form.model))
        rows = await count(uploads, upload, arguments, jobs.limits.batch_max_rows)
        job = await add_job(jobs, BATCH, owner, arguments.as_json(), rows)
    except BaseException:
        await uploads.uploads.delete(upload.id, owner)
        raise
    return BatchAnswer(job_id=job.id)


@router.post("/process-file", status_code=202, response_model=IngestAnswer, openapi_extra=form_of({}))
async def process_file(
    request: Request, uploads: TheUploads, jobs: TheJobs, owner: TheOwner, _: NoParameters
) -> IngestAnswer:
    """Keeps `file` and makes it searchable in the background."""
    upload, fields = await keep_form(request, uploads, owner)
    try:
        refuse_fields(fields)
        job = await add_job(jobs, INGEST, owner, {"upload_id": upload.id}, None)
    except BaseException:
        await uploads.uploads.delete(upload.id, owner)
        raise
    return IngestAnswer(job_id=job.id, upload_id=upload.id)


@router.post("/uploads/{upload_id}/process", status_code=202, response_model=IngestAnswer)
async def process_upload(
    upload_id: str, uploads: TheUploads, jobs: TheJobs, owner: TheOwner, _: NoParameters
) -> IngestAnswer:
    """Makes a file that is here already searchable in the background."""
    upload = await uploads.uploads.find(upload_id, owner)
    job = await add_job(jobs, INGEST, owner, {"upload_id": upload.id}, None)
    return IngestAnswer(message="Processing in background", job_id=job.id, upload_id=upload.id)


async def keep_form(request: Request, backend: TheUploads, owner: str) -> tuple[Upload, dict[str, str]]:
    """One file, durable, and the other fields as text. An empty one is not there: browsers send all that a form has."""
    if not is_multipart(request.headers.get("content-type", "")):
        raise NoFile(f"Send a form (multipart/form-data) with the file in `{FILE_FIELD}`.")
    backend.refuse_when_leaving()
    body, fields = body_of(request, backend), dict[str, str]()
    async with backend.uploads.intake(owner) as intake:
        async for part in Multipart(body, request.headers["content-type"]):
            if part.name == FILE_FIELD:
                if part.filename != "" and not intake.is_empty:
                    raise TooManyFiles("Send one file at a time.")
                await take_file(part, intake)
            elif part.name in fields:
                raise refused(part.name, "Give it once", "value_error")
            elif value := await part.text(FIELD_MAX_BYTES):
                fields[part.name] = value
        if intake.is_empty:
            raise NoFile(f"The form has no field `{FILE_FIELD}` with a file.")
        (upload,) = await intake.commit()
    return upload, fields


def refuse_fields(fields: dict[str, str]) -> None:
    for name in fields:
        raise refused(name, "Extra inputs are not permitted", "extra_forbidden")


def batch_form(fields: dict[str, str]) -> BatchForm:
    try:
        return BatchForm.model_validate(fields)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in found]) from None


def batch_arguments(upload: Upload, form: BatchForm, reads: RowInput) -> BatchArguments:
    table_format = form.format or format_of(upload.filename)
    if table_format == "lines" and form.text_column is not None:
        raise InvalidBatch("Plain lines have no columns: leave `text_column` out.")
    if reads == "columns" and (table_format == "lines" or form.text_column is not None):
        raise InvalidBatch(
            f"The model {form.model} takes columns by their names: send CSV or JSON lines, without `text_column`."
        )
    return BatchArguments(
        upload_id=upload.id,
        format=table_format,
        text_column=form.text_column,
        result_format=form.result_format or ("jsonl" if table_format == "jsonl" else "csv"),
        options=BatchOptions(form.model, form.max_tokens, form.temperature, form.seed),
        reads=reads,
    )


async def count(uploads: TheUploads, upload: Upload, arguments: BatchArguments, max_rows: int) -> int:
    async with uploads.uploads.local_path(upload) as path:
        table = Table(path, arguments.format, arguments.text_column, arguments.reads)
        return await run_in_threadpool(count_rows, table, arguments.result_format, max_rows)


async def add_job(jobs: JobsBackend, kind: str, owner: str, arguments: dict[str, Any], total: int | None) -> Job:
    """Durable when it returns."""
    now = round(time.time(), 6)
    job = Job(new_job_id(), owner, kind, arguments, jobs.limits.max_attempts, now, now, total=total)
    await jobs.store.add(job, jobs.limits.max_waiting)
    jobs.wake()
    return job
