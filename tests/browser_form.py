"""A form as a browser sends it, byte for byte; httpx leaves out what a browser sends of a file that was not chosen."""

from collections.abc import Mapping
from typing import Any

BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"


def browser_form(fields: Mapping[str, str], *files: tuple[str, bytes]) -> dict[str, Any]:
    """Two inputs for files, one of them always left empty, and an input for each field. For httpx."""
    texts = [part(f'name="{name}"', value.encode()) for name, value in fields.items()]
    chosen = [part(f'name="file"; filename="{name}"', content, "text/plain") for name, content in files]
    empty = part('name="file"; filename=""', b"", "application/octet-stream")
    content = b"".join([empty, *texts, *chosen]) + f"--{BOUNDARY}--\r\n".encode()
    return {"content": content, "headers": {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}}


def part(disposition: str, content: bytes, media_type: str = "") -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n"
    kind = f"Content-Type: {media_type}\r\n" if media_type else ""
    return f"{head}{kind}\r\n".encode() + content + b"\r\n"
