import numpy as np

from uploads.index import Vectors
from uploads.unfinished import Unfinished


def rows(count: int) -> Vectors:
    return np.zeros((count, 4), np.float32)


def test_what_was_put_away_is_given_once() -> None:
    unfinished = Unfinished()
    unfinished.put(("u1", "v"), [rows(2), rows(1)])
    assert unfinished.take(("u1", "other")) == []
    assert [len(batch) for batch in unfinished.take(("u1", "v"))] == [2, 1]
    assert unfinished.take(("u1", "v")) == []


def test_the_reading_that_came_further_is_kept() -> None:
    unfinished = Unfinished()
    for count in (2, 5, 3):
        unfinished.put(("u1", "v"), [rows(count)])
    assert len(unfinished.take(("u1", "v"))[0]) == 5


def test_it_is_bounded_and_forgets_the_oldest_first() -> None:
    unfinished = Unfinished(max_bytes=rows(5).nbytes)
    for name in ("u1", "u2", "u3"):
        unfinished.put((name, "v"), [rows(2)])
    assert unfinished.take(("u1", "v")) == []
    unfinished.put(("u4", "v"), [rows(6)])
    assert unfinished.take(("u4", "v")) == []
    assert [len(unfinished.take((name, "v"))) for name in ("u2", "u3")] == [1, 1]


def test_a_deleted_file_is_forgotten() -> None:
    unfinished = Unfinished()
    unfinished.put(("u1", "v"), [rows(1)])
    unfinished.forget("u1")
    assert unfinished.take(("u1", "v")) == []
