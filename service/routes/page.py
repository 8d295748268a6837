"""`/`, the built-in page, and its files. They are the same for everybody, and know no secret."""

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from service.page import Asset, PageFiles

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-src 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types dompurify headwater",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
REVALIDATE = "no-cache"
FOREVER = "public, max-age=31536000, immutable"
WORKER = "worker.js"

router = APIRouter(include_in_schema=False)


def files_of(request: Request) -> PageFiles:
    files: PageFiles = request.app.state.page
    return files


@router.head("/")
@router.get("/")
async def page(request: Request) -> Response:
    return answer(request, files_of(request).index, REVALIDATE)


@router.head("/worker.js")
@router.get("/worker.js")
async def worker(request: Request) -> Response:
    """The page's service worker: it answers for the whole page, so its address has to be beside it."""
    return answer(request, files_of(request).assets[WORKER], REVALIDATE)


@router.head("/ui/{version}/{path:path}")
@router.get("/ui/{version}/{path:path}")
async def page_file(version: str, path: str, request: Request) -> Response:
    """A page that was opened before a new version gets the new files, and they are not kept under the old address."""
    files = files_of(request)
    found = files.assets.get(path)
    if found is None:
        raise HTTPException(404, "The page has no such file.")
    return answer(request, found, FOREVER if version == files.version else REVALIDATE)


def answer(request: Request, found: Asset, caching: str) -> Response:
    headers = {**HEADERS, "ETag": found.etag, "Cache-Control": caching}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if found.etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(found.content, headers=headers, media_type=found.media_type)
