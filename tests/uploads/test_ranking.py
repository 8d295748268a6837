import pytest

from uploads.ranking import fuse


def test_what_two_lists_agree_on_goes_before_what_is_first_in_one() -> None:
    assert list(fuse([(1, [1, 2, 3]), (1, [4, 2, 5])])) == [2, 1, 4, 3, 5]


def test_first_in_every_list_is_one() -> None:
    assert fuse([(1, [7]), (1.5, [7, 8])])[7] == 1
    assert fuse([(1, [7]), (1.5, [8])]) == {8: pytest.approx(0.6), 7: pytest.approx(0.4)}


def test_equal_scores_have_an_order_of_their_own() -> None:
    assert list(fuse([(1, [9]), (1, [3])])) == [3, 9]


def test_nothing_ranked_is_nothing_found() -> None:
    assert fuse([(1, []), (1, [])]) == {}
