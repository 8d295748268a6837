"""Deltas joined are the whole text; characters are never broken; stop strings are found across borders."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.engines.torch.detokenize import Detokenizer, StopFilter
from tests.streaming.engines.torch.tiny import VOCABULARY, make_tokenizer

TOKENIZER = make_tokenizer().backend_tokenizer


def decode(tokens: list[int]) -> str:
    text: str = TOKENIZER.decode(tokens, skip_special_tokens=True)
    return text


def deltas_of(tokens: list[int]) -> list[str]:
    detokenizer = Detokenizer(decode)
    return [*[detokenizer.push(token) for token in tokens], detokenizer.flush()]


@given(st.text(max_size=60))
def test_deltas_joined_are_the_text(text: str) -> None:
    tokens = TOKENIZER.encode(text, add_special_tokens=False).ids
    assert "".join(deltas_of(tokens)) == decode(tokens)


@given(st.lists(st.integers(0, VOCABULARY - 40), max_size=60))
def test_deltas_of_any_tokens_joined_are_the_text(tokens: list[int]) -> None:
    assert "".join(deltas_of(tokens)) == decode(tokens)


def test_an_emoji_arrives_whole() -> None:
    tokens = TOKENIZER.encode("a🧑‍🚀b", add_special_tokens=False).ids
    deltas = deltas_of(tokens)
    assert len(tokens) > len("a🧑‍🚀b")
    assert "".join(deltas) == "a🧑‍🚀b"
    assert not any("\ufffd" in delta for delta in deltas)


@pytest.mark.parametrize("kept", range(1, 12))
def test_of_a_character_that_is_cut_nothing_is_shown(kept: int) -> None:
    tokens = TOKENIZER.encode("aé🧑b", add_special_tokens=False).ids[:kept]
    detokenizer = Detokenizer(decode)
    text = "".join([*map(detokenizer.push, tokens), detokenizer.flush(is_cut=True)])
    whole = bytes("aé🧑b", "utf-8")[: len(tokens)]
    assert text == whole.decode(errors="ignore")


def test_an_unfinished_character_that_the_model_ended_with_is_shown_as_generate_does() -> None:
    tokens = TOKENIZER.encode("a🧑", add_special_tokens=False).ids[:-1]
    assert "".join(deltas_of(tokens)) == decode(tokens) == "a\ufffd"


def sentencepiece_like(tokens: list[int]) -> str:
    """Leading spaces vanish at the beginning of a text, as tokenizers of that kind decode."""
    words = {1: " the", 2: " sea", 3: "s", 4: " "}
    return "".join(words[token] for token in tokens).removeprefix(" ")


def test_leading_spaces_stay_between_tokens() -> None:
    detokenizer = Detokenizer(sentencepiece_like)
    assert [detokenizer.push(token) for token in (1, 2, 3, 1, 4, 1)] == ["the", " sea", "s", " the", " ", " the"]


def pushed(stops: tuple[str, ...], parts: list[str]) -> tuple[str, bool]:
    """All text that came through, and whether a stop string ended it."""
    stop_filter, text = StopFilter(stops), ""
    for part in parts:
        cut = stop_filter.push(part)
        text += cut.text
        if cut.is_stopped:
            return text, True
    return text + stop_filter.flush(), False


@pytest.mark.parametrize(
    ("stops", "parts", "expected"),
    [
        (("END",), ["one E", "N", "D two"], ("one ", True)),
        (("END",), ["one E", "N", "E two"], ("one ENE two", False)),
        (("END",), ["EN"], ("EN", False)),
        (("aab",), ["aaa", "ab"], ("aa", True)),
        (("\n\n", "stop"), ["st", "o", "\n", "\n"], ("sto", True)),
        (("b", "abc"), ["xabc"], ("x", True)),
        ((), ["any", "thing"], ("anything", False)),
    ],
)
def test_stop_strings(stops: tuple[str, ...], parts: list[str], expected: tuple[str, bool]) -> None:
    assert pushed(stops, parts) == expected


@given(st.text(alphabet="ab", max_size=40), st.text(alphabet="ab", min_size=1, max_size=4), st.integers(1, 5))
def test_a_stop_string_is_found_however_the_text_is_cut(text: str, stop: str, size: int) -> None:
    parts = [text[at : at + size] for at in range(0, len(text), size)]
    whole = text.partition(stop)
    assert pushed((stop,), parts) == (whole[0], bool(whole[1]))
