"""Jobs seen from outside. A request's state brings `jobs`, a `JobsBackend`, beside what `uploads.routes` needs."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from uploads.errors import JobEnded, JobNotDone, NoResult, UnknownJob
from uploads.job_backend import JobsBackend
from uploads.job_events import answer_events
from uploads.job_schemas import (
    JobAnswer,
    JobList,
    JobListQuery,
    answer_of,
    list_of,
)
from uploads.jobs import Cursor, Job, is_job_id, parse_cursor
from uploads.records import Upload
from uploads.responses import ContentResponse
from uploads.routes import CONTENT, NoParameters, TheOwner, refused

EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The progress.", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
    204: {"description": "Everything was sent and the job has ended."},
}
ENDED: dict[int | str, dict[str, Any]] = {409: {"description": "The job had ended otherwise."}}
RESULT: dict[int | str, dict[str, Any]] = {**CONTENT, 409: {"description": "The job has no result yet."}}

router = APIRouter(tags=["jobs"])


async def jobs_of(request: Request) -> JobsBackend:
    backend: JobsBackend = request.state.jobs
    return backend


TheJobs = Annotated[JobsBackend, Depends(jobs_of)]


@router.get("/jobs")
async def jobs(jobs: TheJobs, owner: TheOwner, query: Annotated[JobListQuery, Query()]) -> JobList:
    """The caller's jobs, the newest first, page by page."""
    return list_of(await jobs.store.page(owner, query.status, cursor_of(query), query.limit + 1), query.limit)


@router.get("/job/{job_id}")
@router.get("/jobs/{job_id}")
async def job_state(job_id: str, jobs: TheJobs, owner: TheOwner, _: NoParameters) -> JobAnswer:
    """How far the job is."""
    return answer_of(await find(jobs, job_id, owner))


@router.delete("/job/{job_id}", status_code=204, responses=ENDED)
@router.delete("/jobs/{job_id}", status_code=204, responses=ENDED)
async def cancel_job(job_id: str, jobs: TheJobs, owner: TheOwner, _: NoParameters) -> None:
    """Ends a job that waits or runs; doing it twice is no error. One that had ended otherwise is 409."""
    cancelled = await jobs.store.cancel(job_id, owner)
    if cancelled is None:
        raise unknown()
    if cancelled.job.state != "cancelled":
        raise JobEnded(f"The job has {cancelled.job.state} already.")


@router.get("/job/{job_id}/events", response_class=Response, responses=EVENTS)
@router.get("/jobs/{job_id}/events", response_class=Response, responses=EVENTS)
async def job_events(job_id: str, request: Request, jobs: TheJobs, owner: TheOwner, _: NoParameters) -> Response:
    """The progress as server-sent events, until the job has ended."""
    job = await find(jobs, job_id, owner)
    return answer_events(jobs, job, request.headers.get("last-event-id", ""))


@router.head("/job/{job_id}/result", include_in_schema=False)
@router.head("/jobs/{job_id}/result", include_in_schema=False)
@router.get("/job/{job_id}/result", response_class=Response, responses=RESULT)
@router.get("/jobs/{job_id}/result", response_class=Response, responses=RESULT)
async def job_result(job_id: str, request: Request, jobs: TheJobs, owner: TheOwner, _: NoParameters) -> Response:
    """The file that the job made, as an attachment; `Range` as for uploads."""
    job = await find(jobs, job_id, owner)
    if not job.has_ended:
        raise JobNotDone("The job has no result yet.")
    if job.result is None:
        raise NoResult("The job ended without a result.")
    read = partial(jobs.results.read, job.result)
    return ContentResponse(read, as_file(job), request.headers, jobs.send_timeout_s)


async def find(jobs: JobsBackend, job_id: str, owner: str) -> Job:
    job = await jobs.store.find(job_id, owner) if is_job_id(job_id) else None
    if job is None:
        raise unknown()
    return job


def unknown() -> UnknownJob:
    return UnknownJob("There is no job of this id.")


def cursor_of(query: JobListQuery) -> Cursor | None:
    if query.after is None:
        return None
    cursor = parse_cursor(query.after)
    if cursor is None:
        raise refused("after", "Give the `next` of a page before", "value_error", "query")
    return cursor


def as_file(job: Job) -> Upload:
    """What an answer with ranges and a tag needs to know. A blob's name never changes its meaning, as a hash."""
    assert job.result is not None  # noqa: S101  for the type checker: the caller has looked
    return Upload(
        id=job.id,
        owner=job.owner,
        filename=job.result.filename,
        size=job.result.size,
        sha256=job.result.blob,
        media_type=job.result.media_type,
        created_at=job.updated_at,
        blob=job.result.blob,
    )
