"""`/docs` and `/redoc`: the description of the API to read and to try, from files of our own.

FastAPI's pages load their scripts from elsewhere, and so stay empty on a network without the internet, and run what
somebody else's server sends. These files are in `vendor/`, packed; its README says what they are.
"""

import asyncio
import gzip
from importlib.resources import files
from typing import Literal, TypeAlias

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

Asset: TypeAlias = Literal["swagger-ui-bundle.js", "swagger-ui.css", "redoc.standalone.js", "docs.js", "redoc.js"]
MEDIA_TYPES = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}
PACKED = ("swagger-ui-bundle.js", "swagger-ui.css", "redoc.standalone.js")
KEEP = "public, max-age=86400"

OWN_ONLY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; font-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
POLICIES = {  # both write style elements, and Redoc searches in a worker that it makes
    "/docs": f"{OWN_ONLY}; style-src 'self' 'unsafe-inline'",
    "/redoc": f"{OWN_ONLY}; style-src 'self' 'unsafe-inline'; worker-src blob:",
}
SCRIPTS = {
    "docs.js": "SwaggerUIBundle({url: 'openapi.json', dom_id: '#page', deepLinking: true});\n",
    "redoc.js": "Redoc.init('openapi.json', {}, document.getElementById('page'));\n",
}
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Headwater: {title}</title>
{style}<body>
<div id="page"></div>
<script src="docs/assets/{library}"></script>
<script src="docs/assets/{script}"></script>
</body>
</html>
"""

router = APIRouter(include_in_schema=False)


@router.api_route("/docs", methods=["GET", "HEAD"])
async def docs() -> HTMLResponse:
    style = '<link rel="stylesheet" href="docs/assets/swagger-ui.css">\n'
    return HTMLResponse(PAGE.format(title="try it", style=style, library="swagger-ui-bundle.js", script="docs.js"))


@router.api_route("/redoc", methods=["GET", "HEAD"])
async def redoc() -> HTMLResponse:
    return HTMLResponse(PAGE.format(title="reference", style="", library="redoc.standalone.js", script="redoc.js"))


@router.api_route("/docs/assets/{name}", methods=["GET", "HEAD"])
async def asset(name: Asset, request: Request) -> Response:
    headers = {"Cache-Control": KEEP, "Vary": "Accept-Encoding"}
    media_type = MEDIA_TYPES[name.rpartition(".")[2]]
    if name not in PACKED:
        return Response(SCRIPTS[name], media_type=media_type, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        packed = await asyncio.to_thread(read_packed, name)
        return Response(packed, media_type=media_type, headers={**headers, "Content-Encoding": "gzip"})
    content = await asyncio.to_thread(lambda: gzip.decompress(read_packed(name)))
    return Response(content, media_type=media_type, headers=headers)


def read_packed(name: Asset) -> bytes:
    return files("service.pages").joinpath("vendor", f"{name}.gz").read_bytes()
