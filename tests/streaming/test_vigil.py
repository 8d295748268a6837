"""Hung or busy: the judgement, without threads and without clocks."""

from collections.abc import Iterable

from streaming.heart import Look
from streaming.vigil import Patience, Vigil

PATIENCE = Patience(hang_s=1.5, step_max_s=60.0, interval_s=0.2)


def looks(seconds: float, *, cpu_share: float, every_s: float = 0.2, start_s: float = 0.0) -> Iterable[Look]:
    """Of a thread that does not end its step."""
    for number in range(round(seconds / every_s) + 1):
        at = start_s + number * every_s
        yield Look(at, 7, is_resting=False, cpu_s=at * cpu_share)


def stuck_after(seen: Iterable[Look]) -> float | None:
    vigil = Vigil(PATIENCE)
    return next((look.at for look in seen if vigil.is_stuck(look)), None)


def test_a_thread_that_uses_no_processor_is_stuck_within_two_seconds() -> None:
    found = stuck_after(looks(5, cpu_share=0))
    assert found is not None
    assert 1.5 <= found < 1.8


def test_on_a_crowded_machine_it_is_given_ten_times_as_long() -> None:
    crowded = [look._replace(queued_s=0.95 * look.at) for look in looks(30, cpu_share=0)]
    found = stuck_after(crowded)
    assert found is not None
    assert 15 <= found < 15.3


def test_company_that_takes_half_of_the_processors_changes_nothing() -> None:
    found = stuck_after(look._replace(queued_s=0.5 * look.at) for look in looks(5, cpu_share=0))
    assert found is not None
    assert found < 1.8


def test_a_long_step_is_not_stuck_while_it_computes_even_beside_others() -> None:
    assert stuck_after(looks(59, cpu_share=0.05)) is None


def test_a_step_without_an_end_is_stuck_at_last() -> None:
    found = stuck_after(looks(70, cpu_share=1))
    assert found is not None
    assert 60 <= found < 60.3


def test_a_thread_that_stops_in_the_middle_of_a_long_step_is_found_as_soon() -> None:
    busy = list(looks(10, cpu_share=1))
    then = [look._replace(cpu_s=10.0) for look in looks(5, cpu_share=0, start_s=10.2)]
    found = stuck_after([*busy, *then])
    assert found is not None
    assert found < 12


def test_waiting_for_work_is_no_hanging() -> None:
    assert stuck_after(look._replace(is_resting=True) for look in looks(100, cpu_share=0)) is None


def test_each_turn_begins_anew() -> None:
    seen = (look._replace(beats=number // 5) for number, look in enumerate(looks(100, cpu_share=0)))
    assert stuck_after(seen) is None


def test_a_process_that_got_no_time_itself_blames_nobody() -> None:
    """Stopped, swapped out or suspended: the pause says nothing of the engine."""
    assert stuck_after(looks(100, cpu_share=0, every_s=5.0)) is None


def test_without_a_clock_of_threads_only_the_long_limit_holds() -> None:
    found = stuck_after(look._replace(cpu_s=None) for look in looks(70, cpu_share=0))
    assert found is not None
    assert found >= 60
