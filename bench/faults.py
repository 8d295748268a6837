"""Twelve faults of the kind that breaks such systems, planted one by one: `make faults`. Each must turn the suite red.

A fault is an exact replacement in a copy of the tree, so it fails loudly when the code has moved on; with it come the
tests that have to notice it. Without any fault the same tests pass: that is checked first.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PASSED, FAILED = 0, 1  # pytest's exit codes; any other says that it could not run
RUN_WITHIN_S = 400


@dataclass(frozen=True, slots=True)
class Change:
    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Fault:
    name: str
    changes: tuple[Change, ...]
    tests: tuple[str, ...]
    mark: str = "not e2e and not soak"


class DoesNotApply(Exception):
    """The code that a fault replaces is no longer there, or there more than once."""


FAULTS = (
    Fault(
        "no fsync",
        (Change("uploads/files.py", "await self._disk.run(os.fsync, self._lock)", "await self._disk.run(int, 0)"),),
        ("tests/e2e/test_durability.py::test_an_answer_goes_out_after_everything_is_on_the_disk",),
        mark="e2e",
    ),
    Fault(
        "resume off by one",
        (
            Change(
                "streaming/resume.py",
                "return GoOn(stream, event_id.position)",
                "return GoOn(stream, event_id.position + 1)",
            ),
        ),
        ("tests/streaming/test_resume.py::test_every_position_of_a_finished_answer_gives_its_rest",),
    ),
    Fault(
        "owner check missing",
        (
            Change(
                "streaming/streams.py",
                "return stream if stream is not None and stream.owner == owner else None",
                "return stream",
            ),
        ),
        ("tests/streaming/test_streams.py::test_somebody_elses_stream_is_like_an_unknown_one",),
    ),
    Fault(
        "== on a key",
        (
            Change(
                "service/access/keys.py",
                "hmac.compare_digest(NOBODYS_DIGEST if key is None else key.digest, digest_of(secret))",
                "(NOBODYS_DIGEST if key is None else key.digest) == digest_of(secret)",
            ),
        ),
        ("tests/service/access/test_constant_time.py",),
    ),
    Fault(
        "no isfinite",
        (Change("uploads/rows.py", "if not math.isfinite(number):", "if number is None:"),),
        ("tests/uploads/test_rows.py",),
    ),
    Fault(
        "slot leaked on cancel",
        (
            Change(
                "streaming/engines/echo/engine.py",
                "if run.is_over:\n                self._free(run)",
                "if run.is_over and not run.is_cancelled:\n                self._free(run)",
            ),
        ),
        ("tests/streaming/test_disconnect.py::test_500_disconnects_leave_nothing_behind",),
    ),
    Fault(
        "fixed window",
        (
            Change(
                "service/limits/memory.py",
                "self._current(key, now - expiry)\n        if len(window)",
                "self._current(key, now // expiry * expiry)\n        if len(window)",
            ),
        ),
        ("tests/service/limits/test_memory.py",),
    ),
    Fault(
        "route without a policy",
        (Change("service/access/policies.py", '    "POST /predict": PREDICT,\n', ""),),
        ("tests/service/test_app.py::test_health_before_anything_else",),
    ),
    Fault(
        "echoed Last-Event-ID",
        (
            Change(
                "streaming/routes.py",
                "        return answer(self.backend.streams, resumption, self.wanted, self.backend.pace)\n",
                "        told = answer(self.backend.streams, resumption, self.wanted, self.backend.pace)\n"
                "        if body := getattr(told, 'body', b''):\n"
                "            body = body.replace(b'id: ', b'id: ' + self.last_event_id.encode('latin-1'))\n"
                "            return Response(body, media_type='text/event-stream')\n"
                "        return told\n",
            ),
        ),
        ("tests/streaming/test_resume.py::test_an_id_that_cannot_be_resumed_is_a_gap",),
    ),
    Fault(
        "raw exception text",
        (
            Change(
                "service/middleware.py",
                "except Exception:  # noqa: BLE001  the outermost handler",
                "except Exception as error:",
            ),
            Change("service/middleware.py", '"The service failed on this request."', "str(error)"),
        ),
        ("tests/service/test_app.py::test_what_nobody_expected_is_logged_once_and_not_told",),
    ),
    Fault(
        "limit after the read",
        (
            Change(
                "service/middleware.py",
                "if declared.isdecimal() and int(declared[:20]) > max_bytes:",
                "if not declared:",
            ),
        ),
        ("tests/service/test_app.py::test_a_body_that_is_too_large_has_cors_headers",),
    ),
    Fault(
        "no send timeout",
        (Change("streaming/responses.py", "send_timeout=pace.send_timeout_s", "send_timeout=None"),),
        ("tests/streaming/test_responses.py::test_a_send_that_nobody_takes_is_cut_at_its_timeout",),
    ),
)


def plant(fault: Fault, tree: Path) -> None:
    """Raises `DoesNotApply`."""
    for change in fault.changes:
        path = tree / change.path
        text = path.read_text() if path.is_file() else ""
        if text.count(change.old) != 1:
            raise DoesNotApply(f"{change.path} has {text.count(change.old)} times {change.old!r}, not once")
        path.write_text(text.replace(change.old, change.new))


def copy_tree(target: Path) -> None:
    """What git knows, as it stands here."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)


def run_tests(tree: Path, tests: Sequence[str], mark: str) -> int:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", mark, *tests]
    try:
        return subprocess.run(command, cwd=tree, capture_output=True, timeout=RUN_WITHIN_S, check=False).returncode
    except subprocess.TimeoutExpired:
        return FAILED  # a test that waits for ever is red


def outcome(fault: Fault) -> str:
    with tempfile.TemporaryDirectory(prefix="headwater-fault-") as folder:
        tree = Path(folder)
        copy_tree(tree)
        if (code := run_tests(tree, fault.tests, fault.mark)) != PASSED:
            return f"its tests do not pass without it (pytest says {code})"
        plant(fault, tree)
        code = run_tests(tree, fault.tests, fault.mark)
    return {FAILED: "caught", PASSED: "NOT CAUGHT"}.get(code, f"its tests could not run (pytest says {code})")


def chosen(words: Sequence[str]) -> Iterator[Fault]:
    yield from (fault for fault in FAULTS if not words or any(word in fault.name for word in words))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of the names of faults; all if not given")
    caught = total = 0
    for fault in chosen(parser.parse_args().names):
        began = time.monotonic()
        try:
            found = outcome(fault)
        except DoesNotApply as error:
            found = f"DOES NOT APPLY: {error}"
        total, caught = total + 1, caught + (found == "caught")
        print(f"{fault.name:<24} {found} ({time.monotonic() - began:.0f} s)", flush=True)
    print(f"{caught} of {total} caught")
    return 0 if caught == total else 1


if __name__ == "__main__":
    sys.exit(main())
