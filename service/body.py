"""Bodies are JSON and say so.

That is more than neatness: what says it is a form or plain text may be sent by a page of any origin without asking.
"""

from fastapi import Request
from starlette.exceptions import HTTPException

WANTED = "Send JSON with the header `Content-Type: application/json`; curl's -d alone says that it is a form."


async def refuse_other_than_json(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json")):
        return
    if request.method == "POST" and await request.body():
        raise HTTPException(415, WANTED)
