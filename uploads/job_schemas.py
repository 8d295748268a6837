"""What of a job is on the wire."""

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from uploads.jobs import Cursor, Job, JobState
from uploads.schemas import NoQuery

MAX_TOKENS_MAX = 1_048_576
SEED_BITS = 53


class JobFailure(BaseModel):
    code: str
    message: str


class ResultAnswer(BaseModel):
    url: str
    filename: str
    media_type: str
    size: int


class JobAnswer(BaseModel):
    job_id: str
    kind: str
    status: JobState
    progress: float = Field(description="From 0 to 1; 1 only when it has succeeded.")
    done: int
    total: int | None
    attempts: int
    created_at: int
    updated_at: int
    upload_id: str | None = Field(description="The file that it works on.")
    result: ResultAnswer | None
    error: JobFailure | None


class JobList(BaseModel):
    jobs: list[JobAnswer]
    next: str | None = Field(description="The `after` of the next page; null on the last one.")


CURSORS = r"^[0-9]{1,12}\.[0-9]{1,6}-j[0-9a-f]{32}$"  # told; what is taken is decided by `parse_cursor`
PageAfter: TypeAlias = Annotated[str, Field(max_length=100, json_schema_extra={"pattern": CURSORS})]


class JobListQuery(NoQuery):
    limit: int = Field(50, ge=1, le=1000)
    after: PageAfter | None = Field(None, description="The `next` of the page before.")
    status: JobState | None = Field(None, description="Only jobs in this state.")


class BatchAnswer(BaseModel):
    job_id: str
    status: Literal["processing"] = "processing"


class IngestAnswer(BaseModel):
    message: str = "File uploaded, processing in background"
    job_id: str
    upload_id: str


def refuse_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain NUL")
    return text


Word = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(refuse_nul)]


class BatchForm(BaseModel):
    """The fields beside `file`. What is left out is the model's default, or told from the file."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    model: Annotated[Word, Field(max_length=64)] = "default"
    max_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS_MAX, description="The longest answer, in tokens.")
    temperature: float | None = Field(None, ge=0, le=2, description="0 always takes the likeliest token.")
    seed: int | None = Field(None, ge=0, lt=2**SEED_BITS, description="The same seed gives the same answers.")
    text_column: Word | None = Field(None, description="The column or field with the text; `text` if not given.")
    format: Literal["csv", "jsonl", "lines"] | None = Field(None, description="Told from the file's name if not given.")
    result_format: Literal["csv", "jsonl"] | None = Field(None, description="As the file; CSV for plain lines.")


def answer_of(job: Job) -> JobAnswer:
    result = job.result
    return JobAnswer(
        job_id=job.id,
        kind=job.kind,
        status=job.state,
        progress=progress_of(job),
        done=job.done,
        total=job.total,
        attempts=job.attempts,
        created_at=int(job.created_at),
        updated_at=int(job.updated_at),
        upload_id=job.arguments.get("upload_id"),
        result=None
        if result is None
        else ResultAnswer(
            url=f"/jobs/{job.id}/result", filename=result.filename, media_type=result.media_type, size=result.size
        ),
        error=None if job.error is None else JobFailure(code=job.error.code, message=job.error.message),
    )


def progress_of(job: Job) -> float:
    if job.state == "succeeded":
        return 1.0
    return min(round(job.done / job.total, 4), 0.9999) if job.total else 0.0


def list_of(jobs: list[Job], limit: int) -> JobList:
    """`jobs` holds one more than is shown, if there is one more."""
    shown = jobs[:limit]
    following = str(Cursor(shown[-1].created_at, shown[-1].id)) if len(jobs) > limit else None
    return JobList(jobs=[answer_of(job) for job in shown], next=following)
