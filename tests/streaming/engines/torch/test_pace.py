"""The pace finds the faster way on a machine that is told: quiet, busy, and changing between the two."""

from collections.abc import Callable

import pytest

from streaming.engines.torch.pace import LONGEST_PATIENCE_STEPS, Pace

QUIET = {2: 0.013, 1: 0.021}
BUSY = {2: 0.090, 1: 0.023}


def steps(pace: Pace, machine: dict[int, float], count: int, rows: Callable[[int], int] = lambda _: 4) -> list[int]:
    used = []
    for number in range(count):
        used.append(pace.threads(rows(number)))
        pace.took(machine[used[-1]])
    return used


@pytest.fixture
def pace() -> Pace:
    return Pace(2)


def test_on_a_quiet_machine_all_threads_compute(pace: Pace) -> None:
    used = steps(pace, QUIET, 1000)
    assert used.count(1) <= 20
    assert 1 in used, "the other way has to be tried"


def test_beside_others_one_thread_computes(pace: Pace) -> None:
    used = steps(pace, BUSY, 1000)
    assert used.count(2) <= 100


def test_when_others_come_it_is_noticed_within_a_few_steps(pace: Pace) -> None:
    steps(pace, QUIET, 2000)
    used = steps(pace, BUSY, 40)
    assert 1 in used[:12]
    assert used[15:] == [1] * 25


def test_when_others_leave_it_is_noticed_at_the_next_trial(pace: Pace) -> None:
    steps(pace, BUSY, 2000)
    used = steps(pace, QUIET, LONGEST_PATIENCE_STEPS + 100)
    assert used[-1] == 2


def test_steps_of_different_sizes_are_not_compared(pace: Pace) -> None:
    """Two threads take longer for 32 rows than one for a single row: no reason to change."""
    for number in range(200):
        rows = 32 if number % 20 < 10 else 1
        threads = pace.threads(rows)
        pace.took(QUIET[threads] * (6 if rows == 32 else 1))
    assert pace.threads(1) == 2
