"""The `headwater` command, also as `python -m service`.

Whoever is told to leave leaves with 0, also in the first moments, before the server listens to signals itself. So the
handler stands before everything that takes time to import.
"""

import gc
import signal
import sys
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130


def leave(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        signal.signal(signal.SIGTERM, leave)
        gc.disable()  # what is imported stays; `service.server.run` turns it on again
    try:
        from service.cli import app  # noqa: PLC0415  the handler comes first

        app()
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


if __name__ == "__main__":
    main()
