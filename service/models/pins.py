"""Which versions are pinned, kept over restarts in a small file of the service's own data."""

import json
import os
from pathlib import Path

from service.models.errors import InvalidModels

FILE = "model-pins.json"


class Pins:
    """Blocks; used by one process, which saves one at a time."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE

    def load(self) -> dict[str, str]:
        """Model names with their versions. Raises `InvalidModels`."""
        try:
            content = json.loads(self._path.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise InvalidModels(f"{self._path}: cannot be read: {error}") from error
        if not isinstance(content, dict) or not all(isinstance(version, str) for version in content.values()):
            raise InvalidModels(f"{self._path}: is no table of versions; remove it, and nothing is pinned")
        return content

    def save(self, name: str, version: str | None) -> None:
        """None takes the pin away."""
        pins = {key: value for key, value in {**self.load(), name: version}.items() if value is not None}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".new")
        with draft.open("w", encoding="utf-8") as file:
            json.dump(pins, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
