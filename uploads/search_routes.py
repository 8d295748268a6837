"""Questions to the documents. Who includes the router puts a `SearchBackend` and `owner` into a request's state."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Query, Request

from uploads.library import Library
from uploads.routes import TheOwner, refused
from uploads.search_schemas import SearchAnswer, SearchBody, SearchQuery, answer_of

router = APIRouter(tags=["search"])


@dataclass(frozen=True, slots=True)
class SearchBackend:
    library: Library
    max_query_chars: int
    max_top_k: int
    max_upload_ids: int


async def backend_of(request: Request) -> SearchBackend:
    backend: SearchBackend = request.state.search
    return backend


TheSearch = Annotated[SearchBackend, Depends(backend_of)]


@router.post("/search", response_model_exclude_none=True)
async def search(
    backend: TheSearch,
    owner: TheOwner,
    query: Annotated[SearchQuery, Query()],
    body: Annotated[SearchBody | None, Body()] = None,
) -> SearchAnswer:
    """The pieces of the caller's documents that answer best, the best first. Takes JSON or a query string."""
    where = "query" if body is None else "body"
    asked: SearchQuery | SearchBody = query if body is None else body
    if body is not None and query.model_fields_set:
        raise refused("query", "Give either a JSON body or a query string, not both", "value_error", "query")
    if asked.query is None:
        raise refused("query", "Field required", "missing", where)
    refuse_excess(asked, backend, where)
    ids = None if asked.upload_ids is None else frozenset(asked.upload_ids)
    return answer_of(await backend.library.search(asked.query, owner, ids, asked.top_k))


def refuse_excess(asked: SearchQuery | SearchBody, backend: SearchBackend, where: str) -> None:
    if len(asked.query or "") > backend.max_query_chars:
        raise refused("query", f"at most {backend.max_query_chars} characters are taken", "string_too_long", where)
    if asked.top_k > backend.max_top_k:
        raise refused("top_k", f"must be at most {backend.max_top_k}", "less_than_equal", where)
    if len(asked.upload_ids or ()) > backend.max_upload_ids:
        raise refused("upload_ids", f"at most {backend.max_upload_ids} are taken", "too_long", where)
