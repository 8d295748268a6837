"""`file:` a GGUF file, or a folder in the hub's layout, that is already on this machine. Nothing is copied."""

from dataclasses import dataclass
from pathlib import Path

from service.models.errors import NotAtSource
from service.models.progress import Progress
from service.models.reference import Reference
from service.models.sources import Wanted


@dataclass(frozen=True, slots=True)
class LocalSource:
    reference: Reference

    def pin(self) -> Reference:
        return self.reference

    def fetch(self, wanted: Wanted, destination: Path, progress: Progress) -> Path:
        path = self.reference.path
        if not path.exists():
            raise NotAtSource(f"{self.reference}: no such file or folder")
        return path
