"""What the routes need from whoever puts the service together."""

from collections.abc import Callable
from dataclasses import dataclass

from uploads.uploads import Uploads


@dataclass(frozen=True, slots=True)
class UploadsBackend:
    """`refuse_when_leaving` raises `UploadsClosing` once no new work is taken."""

    uploads: Uploads
    refuse_when_leaving: Callable[[], None]
    send_timeout_s: float
