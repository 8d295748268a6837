"""What the routes need from whoever puts the service together."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from uploads.uploads import Uploads


@dataclass(frozen=True, slots=True)
class UploadsBackend:
    """`delete` takes an upload of an owner away, with all that is known of it. `refuse_when_leaving` raises
    `UploadsClosing` once no new work is taken."""

    uploads: Uploads
    delete: Callable[[str, str], Awaitable[None]]
    refuse_when_leaving: Callable[[], None]
    send_timeout_s: float
