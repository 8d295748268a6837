import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.server import ROOT, wait_until
from uploads.errors import ProcessingCrashed, ProcessingFailed, ProcessingOutOfMemory, ProcessingTimedOut
from uploads.sandbox import Bounds, Sandbox

MIB = 1024 * 1024
HERE = "tests.uploads.sandboxed"
WITHIN_S = 60.0


class MakeSandbox(Protocol):
    def __call__(self, wall_s: float = 20, cpu_s: int = 10, max_processes: int = 2, **options: Any) -> Sandbox: ...


@pytest.fixture
async def sandbox() -> AsyncIterator[MakeSandbox]:
    made: list[Sandbox] = []

    def make(wall_s: float = 20, cpu_s: int = 10, max_processes: int = 2, **options: Any) -> Sandbox:
        made.append(Sandbox(Bounds(wall_s, cpu_s, 256 * MIB, reply_bytes=MIB // 2), max_processes, **options))
        return made[-1]

    yield make
    await asyncio.gather(*(one.close() for one in made))


async def wait_for(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(wait_until, condition, WITHIN_S, "the condition holds")


def is_alive(process_id: int) -> bool:
    """A process that has ended and waits to be reaped is not."""
    try:
        return ") Z" not in Path(f"/proc/{process_id}/stat").read_text()
    except FileNotFoundError:
        return False


async def test_the_result_comes_back_whatever_a_library_prints(sandbox: MakeSandbox) -> None:
    assert await sandbox().run(f"{HERE}:add", 1, 2) == 3


async def test_progress_arrives_in_order_before_the_result(sandbox: MakeSandbox) -> None:
    seen: list[tuple[int, int | None]] = []
    result = await sandbox().run(f"{HERE}:count", 3, on_progress=lambda done, total: seen.append((done, total)))
    assert (result, seen) == ("counted", [(1, 3), (2, 3), (3, 3)])


async def test_what_never_ends_is_ended_by_the_wall_clock(sandbox: MakeSandbox) -> None:
    with pytest.raises(ProcessingTimedOut):
        await sandbox(wall_s=0.5).run(f"{HERE}:sleep_for_ever")


async def test_what_computes_for_ever_is_ended_by_its_cpu_time(sandbox: MakeSandbox) -> None:
    with pytest.raises(ProcessingTimedOut):
        await sandbox(wall_s=WITHIN_S, cpu_s=1).run(f"{HERE}:compute_for_ever")


async def test_what_swells_is_out_of_memory(sandbox: MakeSandbox) -> None:
    with pytest.raises(ProcessingOutOfMemory):
        await sandbox().run(f"{HERE}:swell")


async def test_an_answer_that_is_too_large_is_refused(sandbox: MakeSandbox) -> None:
    with pytest.raises(ProcessingOutOfMemory):
        await sandbox().run(f"{HERE}:give_much")


@pytest.mark.parametrize("name", ["crash", "leave", "give_no_json", "raise_theirs", "not_there"])
async def test_what_ends_without_an_answer_has_crashed(sandbox: MakeSandbox, name: str) -> None:
    with pytest.raises(ProcessingCrashed):
        await sandbox().run(f"{HERE}:{name}")


async def test_an_error_of_ours_comes_back_as_it_was(sandbox: MakeSandbox) -> None:
    with pytest.raises(ProcessingFailed, match=r"^The file has a password\.$") as caught:
        await sandbox().run(f"{HERE}:raise_ours")
    assert type(caught.value) is ProcessingFailed


async def test_the_words_of_a_foreign_exception_reach_neither_the_log_nor_the_client(
    sandbox: MakeSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(ProcessingCrashed) as caught:
        await sandbox().run(f"{HERE}:raise_theirs")
    assert "KeyError" in caplog.text
    assert "stands in the file" not in caplog.text + caught.value.message


async def test_the_child_sees_no_secret_and_leaves_nothing(
    sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_DATABASE_URL", "postgresql://user:hidden@host/name")
    assert "hidden" not in str(await sandbox().run(f"{HERE}:environment"))
    found = await sandbox().run(f"{HERE}:surroundings")
    assert found["niceness"] > 0
    assert not await asyncio.to_thread(Path(found["folder"]).exists)


async def test_a_cancelled_wait_kills_the_child_and_its_helpers(sandbox: MakeSandbox, tmp_path: Path) -> None:
    told = tmp_path / "helper"
    waiting = asyncio.create_task(sandbox().run(f"{HERE}:start_a_helper", str(told)))
    await wait_for(lambda: told.exists() and told.read_text() != "")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await wait_for(lambda: not is_alive(int(told.read_text())))


async def test_only_so_many_run_at_once(sandbox: MakeSandbox, tmp_path: Path) -> None:
    narrow = sandbox(max_processes=1)
    first = asyncio.create_task(narrow.run(f"{HERE}:tell_own_id", str(tmp_path / "first")))
    await wait_for((tmp_path / "first").exists)
    second = asyncio.create_task(narrow.run(f"{HERE}:add", 1, 2))
    done, _ = await asyncio.wait([second], timeout=0.5)
    assert not done
    first.cancel()
    assert await second == 3


async def test_what_is_loaded_in_advance_is_there_in_every_child_and_none_can_change_it(sandbox: MakeSandbox) -> None:
    warm = sandbox(preload=f"{HERE}:load")
    assert [await warm.run(f"{HERE}:change_what_is_loaded") for _ in range(2)] == [["loaded"], ["loaded"]]
    assert await sandbox().run(f"{HERE}:change_what_is_loaded") == []


async def test_what_cannot_be_loaded_in_advance_breaks_only_who_needs_it(sandbox: MakeSandbox) -> None:
    assert await sandbox(preload=f"{HERE}:raise_theirs").run(f"{HERE}:add", 1, 2) == 3


async def test_children_come_from_one_server_which_ends_when_it_is_idle(sandbox: MakeSandbox) -> None:
    lasting, brief = sandbox(), sandbox(idle_s=0)
    assert await lasting.run(f"{HERE}:parent") == await lasting.run(f"{HERE}:parent")
    server = await brief.run(f"{HERE}:parent")
    await wait_for(lambda: not is_alive(server))
    assert await brief.run(f"{HERE}:parent") != server


async def test_a_server_that_dies_fails_what_runs_and_is_replaced(sandbox: MakeSandbox, tmp_path: Path) -> None:
    broken = sandbox()
    server = await broken.run(f"{HERE}:parent")
    running = asyncio.create_task(broken.run(f"{HERE}:tell_own_id", str(tmp_path / "child")))
    await wait_for(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text() != "")
    os.kill(server, signal.SIGKILL)
    with pytest.raises(ProcessingFailed):
        await running
    await wait_for(lambda: not is_alive(int((tmp_path / "child").read_text())))
    assert await broken.run(f"{HERE}:add", 1, 2) == 3


PARENT = """
import asyncio, sys
from uploads.sandbox import Bounds, Sandbox
asyncio.run(Sandbox(Bounds(60, 60, 1 << 28), 1).run(f"tests.uploads.sandboxed:tell_own_id", sys.argv[1]))
"""


def test_a_service_that_is_killed_leaves_no_child(tmp_path: Path) -> None:
    told = tmp_path / "child"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(told)], cwd=ROOT, env={**os.environ})
    wait_until(lambda: told.exists() and told.read_text() != "", WITHIN_S, "the child runs")
    child = int(told.read_text())
    assert is_alive(child)
    parent.kill()
    parent.wait()
    wait_until(lambda: not is_alive(child), WITHIN_S, "the child is gone")
