"""A pull in a process of its own, that says what it does and dies where the test wants it.

Arguments: folder of models, entry as JSON, then nothing | `hold` (waits for SIGUSR1 at the first step) |
`kill-at STEP` | `interrupt-at STEP` | `kill-everywhere`.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

import httpx  # noqa: F401  # loaded before forking: each fork then takes milliseconds

import service.models.fetch
import service.models.prepare
import service.models.sources.npm  # noqa: F401
from service.models.config import ModelEntry
from service.models.store import WORK, ModelStore

CHANGES = {
    "open",
    "os.rename",
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rmdir",
    "shutil.rmtree",
    "os.listdir",
    "os.scandir",
}


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Talking:
    def __init__(self, mode: str, at: str) -> None:
        self.mode, self.at = mode, at

    def step(self, label: str, total_bytes: int | None = None) -> None:
        say(f"step {label}")
        if self.mode == "hold":
            self.mode = ""
            signal.sigwait({signal.SIGUSR1})
        if self.mode == "kill-at" and label == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.mode == "interrupt-at" and label == self.at:
            os.kill(os.getpid(), signal.SIGINT)

    def advance(self, n_bytes: int) -> None:
        pass

    def say(self, line: str) -> None:
        say(f"say {line}")


def die_at(change: int, folder: str) -> None:
    """Kills this process when it is about to make its n-th change in `folder`."""
    seen = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event in CHANGES and folder in str(arguments):
            seen += 1
            if seen == change:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def pull_and_die(store: ModelStore, entry: ModelEntry, change: int) -> bool:
    """True when the pull was killed, False when it got to its end before."""
    child = os.fork()
    if child == 0:
        die_at(change, str(store.models_dir))
        store.pull(entry)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def kill_everywhere(store: ModelStore, entry: ModelEntry) -> int:
    change = 1
    while pull_and_die(store, entry, change):
        left = store.prepared(entry)
        visible = [path for path in store.models_dir.glob("[!.]*") if left is None or path != left.path]
        assert not visible, f"half visible after a kill at change {change}: {visible}"
        assert store.pull(entry) == store.prepared(entry)
        work = list((store.models_dir / WORK).iterdir())
        assert not work, f"left over after a kill at change {change}: {work}"
        shutil.rmtree(store.models_dir)
        change += 1
    return change - 1


def main() -> None:
    store = ModelStore(Path(sys.argv[1]))
    entry = ModelEntry.model_validate_json(sys.argv[2])
    mode, at = [*sys.argv[3:], "", ""][:2]
    if mode == "kill-everywhere":
        say(str(kill_everywhere(store, entry)))
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    say(store.pull(entry, Talking(mode, at)).version)


if __name__ == "__main__":
    main()
