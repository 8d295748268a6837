"""What of a search is on the wire."""

from collections.abc import Sequence
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from uploads.index import Hit

UPLOAD_ID_CHARS_MAX = 100


def refuse_unsafe(text: str) -> str:
    """JSON can write lone surrogates, which no UTF-8 can carry."""
    if "\0" in text:
        raise ValueError("must not contain NUL")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must not contain lone surrogates") from None
    return text


def refuse_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


Asked: TypeAlias = Annotated[
    str, AfterValidator(refuse_unsafe), AfterValidator(refuse_blank), Field(json_schema_extra={"pattern": r"\S"})
]
UploadId: TypeAlias = Annotated[str, Field(max_length=UPLOAD_ID_CHARS_MAX), AfterValidator(refuse_unsafe)]


class SearchQuery(BaseModel):
    """In the query string; `upload_ids` may be repeated."""

    model_config = ConfigDict(extra="forbid")

    query: Asked | None = Field(None, description="What is looked for.")
    top_k: int = Field(10, ge=1, description="How many pieces at most.")
    upload_ids: list[UploadId] | None = Field(None, description="Only in these uploads.")


class SearchBody(SearchQuery):
    """In JSON a number is a number: neither a string nor true."""

    model_config = ConfigDict(strict=True)


class SearchResult(BaseModel):
    upload_id: str
    filename: str
    chunk: int = Field(description="Which piece of its document, from 0.")
    text: str
    score: float = Field(description="0 to 1; 1 is the first by its words and by its meaning.")
    page: int | None = Field(None, description="From 1; only where a document has pages.")
    start: int = Field(description="The piece is the document's text from here, in characters,")
    end: int = Field(description="to before here.")


class SearchAnswer(BaseModel):
    results: list[SearchResult]


def answer_of(hits: Sequence[Hit]) -> SearchAnswer:
    return SearchAnswer(
        results=[
            SearchResult(
                upload_id=hit.upload_id,
                filename=hit.filename,
                chunk=hit.piece.number,
                text=hit.piece.text,
                score=round(hit.score, 6),
                page=hit.piece.page,
                start=hit.piece.start,
                end=hit.piece.end,
            )
            for hit in hits
        ]
    )
