"""What of an upload is on the wire."""

from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from uploads.records import Cursor, Upload

CURSORS = r"^[0-9]{1,12}\.[0-9]{1,6}-u[0-9a-f]{32}$"  # told; what is taken is decided by `parse_cursor`
PageAfter: TypeAlias = Annotated[str, Field(max_length=100, json_schema_extra={"pattern": CURSORS})]


class UploadAnswer(BaseModel):
    upload_id: str
    filename: str
    size: int
    sha256: str
    media_type: str
    created_at: int


class UploadList(BaseModel):
    uploads: list[UploadAnswer]
    next: str | None = Field(description="The `after` of the next page; null on the last one.")


class NoQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RawUploadQuery(NoQuery):
    filename: str | None = Field(None, max_length=4096, description="What to call a raw body.")


class ListQuery(NoQuery):
    limit: int = Field(50, ge=1, le=1000)
    after: PageAfter | None = Field(None, description="The `next` of the page before.")


def answer_of(upload: Upload) -> UploadAnswer:
    return UploadAnswer(
        upload_id=upload.id,
        filename=upload.filename,
        size=upload.size,
        sha256=upload.sha256,
        media_type=upload.media_type,
        created_at=int(upload.created_at),
    )


def list_of(uploads: list[Upload], limit: int) -> UploadList:
    """`uploads` holds one more than is shown, if there is one more."""
    shown = uploads[:limit]
    following = str(Cursor(shown[-1].created_at, shown[-1].id)) if len(uploads) > limit else None
    return UploadList(uploads=[answer_of(upload) for upload in shown], next=following)
