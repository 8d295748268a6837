"""What each route asks of its caller. A new route is put into the table, or the service is not built.

Keys are method and path as the route declares them; HEAD needs what GET needs. The decision is made from the route that
was matched, before its body is read and before anything is done for it (`gate.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from service.access.principal import Scope


@dataclass(frozen=True, slots=True)
class Policy:
    """All of `scopes` are needed; `needs_name`: also while the service is open; `takes_tickets`: or a ticket."""

    scopes: frozenset[Scope] = frozenset()
    is_public: bool = False
    needs_name: bool = False
    takes_tickets: bool = False


PUBLIC = Policy(is_public=True)
NAMED = Policy(needs_name=True)
PREDICT = Policy(frozenset(("predict",)))
PREDICT_OR_TICKET = Policy(frozenset(("predict",)), takes_tickets=True)
UPLOAD = Policy(frozenset(("upload",)))
BOTH = Policy(frozenset(("predict", "upload")))
METRICS = Policy(frozenset(("metrics",)))
ADMIN = Policy(frozenset(("admin",)))

POLICIES: Mapping[str, Policy] = {
    # Whether it lives, and how to use it.
    "GET /livez": PUBLIC,
    "GET /readyz": PUBLIC,
    "GET /health": PUBLIC,
    "GET /docs": PUBLIC,
    "GET /docs/assets/{name}": PUBLIC,
    "GET /redoc": PUBLIC,
    "GET /openapi.json": PUBLIC,
    "GET /metrics": METRICS,
    # The page, which knows no secret; what it asks for is asked in its caller's name.
    "GET /": PUBLIC,
    "GET /worker.js": PUBLIC,
    "GET /ui/{version}/{path:path}": PUBLIC,
    # Who asks.
    "POST /login": PUBLIC,
    "GET /protected": NAMED,
    # Text.
    "GET /chat/stream": PREDICT_OR_TICKET,
    "POST /chat/stream": PREDICT,
    "POST /chat/stream as a form": BOTH,
    "POST /chat/streams": PREDICT,
    "GET /chat/streams/{stream_id}": PREDICT,
    "DELETE /chat/streams/{stream_id}": PREDICT,
    "GET /chat/streams/{stream_id}/events": PREDICT_OR_TICKET,
    "POST /predict": PREDICT,
    "POST /predict/{model_name}": PREDICT,
    "POST /predict-batch": PREDICT,
    "POST /classify": PREDICT,
    "POST /embed": PREDICT,
    "POST /embed-cached": PREDICT,
    "POST /invocations": PREDICT,
    "GET /ping": PUBLIC,
    # Models.
    "GET /models": PREDICT,
    "GET /models/{name}": PREDICT,
    "POST /models/{name}/reload": ADMIN,
    # Files, and what is known of them.
    "POST /uploads": UPLOAD,
    "PUT /uploads/{filename:path}": UPLOAD,
    "GET /uploads": UPLOAD,
    "GET /uploads/{upload_id}": UPLOAD,
    "GET /uploads/{upload_id}/content": UPLOAD,
    "DELETE /uploads/{upload_id}": UPLOAD,
    "POST /uploads/{upload_id}/process": UPLOAD,
    "OPTIONS /files": UPLOAD,
    "OPTIONS /files/{part_id}": UPLOAD,
    "POST /files": UPLOAD,
    "HEAD /files/{part_id}": UPLOAD,
    "PATCH /files/{part_id}": UPLOAD,
    "DELETE /files/{part_id}": UPLOAD,
    "POST /files/{part_id}": UPLOAD,
    "POST /upload-image": BOTH,
    "POST /search": PREDICT,
    # Jobs.
    "POST /process-file": UPLOAD,
    "POST /process-batch": BOTH,
    "GET /jobs": UPLOAD,
    "GET /job/{job_id}": UPLOAD,
    "GET /jobs/{job_id}": UPLOAD,
    "DELETE /job/{job_id}": UPLOAD,
    "DELETE /jobs/{job_id}": UPLOAD,
    "GET /job/{job_id}/events": UPLOAD,
    "GET /jobs/{job_id}/events": UPLOAD,
    "GET /job/{job_id}/result": UPLOAD,
    "GET /jobs/{job_id}/result": UPLOAD,
}
