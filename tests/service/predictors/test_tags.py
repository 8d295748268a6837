"""Tags to entities, in every scheme that models are trained with."""

import pytest

from service.predictors.tags import Entity, Word, entities_of


def found(tags: str) -> list[tuple[str, int, int]]:
    """Each tag stands for a word of one character; `.` is an O."""
    words = [Word(place, place + 1, "O" if tag == "." else tag, 0.5) for place, tag in enumerate(tags.split())]
    return [(one.label, one.start, one.end) for one in entities_of(words)]


@pytest.mark.parametrize(
    ("tags", "entities"),
    [
        ("", []),
        (". . .", []),
        ("B-P I-P . B-L", [("P", 0, 2), ("L", 3, 4)]),
        ("B-P B-P I-P", [("P", 0, 1), ("P", 1, 3)]),
        ("I-P I-P . I-P", [("P", 0, 2), ("P", 3, 4)]),
        ("I-P I-L", [("P", 0, 1), ("L", 1, 2)]),
        ("B-P I-L", [("P", 0, 1), ("L", 1, 2)]),
        ("U-P U-P", [("P", 0, 1), ("P", 1, 2)]),
        ("B-P I-P L-P U-P", [("P", 0, 3), ("P", 3, 4)]),
        ("B-P L-P I-P", [("P", 0, 2), ("P", 2, 3)]),
        ("B-P E-P S-L S-L", [("P", 0, 2), ("L", 2, 3), ("L", 3, 4)]),
        ("P P . L", [("P", 0, 2), ("L", 3, 4)]),
        ("B_P I_P", [("P", 0, 2)]),
        ("B-X-Y I-X-Y", [("X-Y", 0, 2)]),
    ],
)
def test_words_of_one_entity_are_joined(tags: str, entities: list[tuple[str, int, int]]) -> None:
    assert found(tags) == entities


def test_the_score_is_the_mean_of_the_words() -> None:
    words = [Word(0, 3, "B-P", 0.5), Word(4, 7, "I-P", 1.0)]
    assert entities_of(words) == [Entity(0, 7, "P", 0.75)]
