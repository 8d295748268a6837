import pytest

from service.support import supporting
from streaming.events import Citation

PIECE = "The large pump BX-40 costs 1,250 euros. The buyer pays for the delivery within thirty days."
QUESTION = "What does the large pump cost?"


def quotes(answer: str, piece: str = PIECE, question: str = QUESTION) -> bool:
    found = Citation("u1", "a.pdf", 1, 0, len(piece), piece)
    return supporting([found], question, answer) == [found]


@pytest.mark.parametrize(
    "answer",
    [
        "The large pump BX-40 costs 1,250 euros.",
        "1,250 euros",
        "I do not know much about pumps. But the buyer pays for the delivery.",
        "It is 1,250 Euro.",
    ],
)
def test_a_sentence_that_stands_in_the_piece_is_quoted(answer: str) -> None:
    assert quotes(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "I don't know.",
        "I do not know what the large pump costs.",
        "I'm sorry, but the document does not mention the cost of the large pump.",
        "The provided text does not contain any information about the large pump or its price.",
        "The large pump?",
        "It costs 990 dollars in the shop of the northern harbour.",
        "Yes.",
        "",
    ],
)
def test_what_does_not_stand_there_carries_no_quote(answer: str) -> None:
    assert not quotes(answer)


def test_words_need_no_spaces_between_them() -> None:
    piece = "大型ポンプの価格は1250ユーロです。送料は買い手が支払います。"
    assert quotes("価格は1250ユーロです。", piece, "大型ポンプはいくらですか")
    assert not quotes("申し訳ありませんが、わかりません。", piece, "大型ポンプはいくらですか")


def test_quotes_keep_their_order() -> None:
    found = [
        Citation("u1", "a.pdf", n, 0, 5, text)
        for n, text in enumerate(["Delivery in May.", "Nothing.", "May delivery."])
    ]
    assert [one.page for one in supporting(found, "When?", "The delivery is in May.")] == [0, 2]
