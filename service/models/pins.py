"""Which versions are pinned, kept over restarts in a small file of the service's own data."""

import json
import os
import threading
from pathlib import Path

from service.models.errors import InvalidModels

FILE = "model-pins.json"


class Pins:
    """Used by one process. `load` and `save` block, and any number of threads may save at once: what is told to
    `change` first is never written over what was told later."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE
        self._changed: dict[str, str | None] = {}
        self._turn = threading.Lock()

    def load(self) -> dict[str, str]:
        """Model names with their versions. Raises `InvalidModels`."""
        try:
            content = json.loads(self._path.read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):  # the storage says what is wrong with the folder
            return {}
        except (OSError, ValueError) as error:
            raise InvalidModels(f"{self._path}: cannot be read: {error}") from error
        if not isinstance(content, dict) or not all(isinstance(version, str) for version in content.values()):
            raise InvalidModels(f"{self._path}: is no table of versions; remove it, and nothing is pinned")
        return content

    def change(self, name: str, version: str | None) -> None:
        """None takes the pin away. It is kept once `save` has come back."""
        self._changed[name] = version

    def save(self) -> None:
        """Raises `InvalidModels` and `OSError`."""
        with self._turn:
            pins = {**self.load(), **self._changed}
            self._write({name: version for name, version in pins.items() if version is not None})

    def _write(self, pins: dict[str, str]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".new")
        with draft.open("w", encoding="utf-8") as file:
            json.dump(pins, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
