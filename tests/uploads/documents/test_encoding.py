from pathlib import Path

import pytest

from uploads.documents.encoding import decode
from uploads.documents.limits import DocumentLimits
from uploads.documents.parse import parse

TEXTS = {
    "de": "Die Rechnung für Müller & Söhne beträgt 1.249 Euro. Zahlbar in 30 Tagen, größere Beträge in Raten.",
    "fr": "La réunion a été reportée à mardi prochain à cause de la grève des transports. Le délai est dépassé.",
    "es": "¿Cuánto cuesta el envío a España? El año próximo subirá.",
    "pl": "Umowa została podpisana w środę. Zażółć gęślą jaźń. Płatność w ciągu 30 dni.",
    "ru": "Договор поставки номер пять. Оплата в течение тридцати дней после получения товара.",
    "ja": "会議の議事録。来月の予算について話し合いました。支払いは三十日以内です。",
    "zh": "会议记录。下个月的预算。付款应在三十天内完成。合同由双方签字。",
}
PAGES = [
    *[("de", name) for name in ("cp1252", "latin-1", "utf-16-le", "utf-16-be")],
    *[("fr", name) for name in ("cp1252", "latin-1")],
    ("es", "cp1252"),
    *[("pl", name) for name in ("cp1250", "iso8859-2")],
    *[("ru", name) for name in ("cp1251", "koi8-r")],
    *[("ja", name) for name in ("shift_jis", "euc_jp")],
    ("zh", "gb18030"),
]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("language", TEXTS)
def test_unicode_is_read_exactly(language: str, encoding: str) -> None:
    assert decode(TEXTS[language].encode(encoding)) == TEXTS[language]


@pytest.mark.parametrize(("language", "encoding"), PAGES)
@pytest.mark.parametrize("times", [1, 50])
def test_a_code_page_is_told_from_the_text(language: str, encoding: str, times: int) -> None:
    text = TEXTS[language] * times
    assert decode(text.encode(encoding)) == text


def test_letters_far_from_the_beginning_count() -> None:
    text = "plain words only. " * 20_000 + TEXTS["de"]
    assert decode(text.encode("cp1252")) == text


def test_a_broken_mark_does_not_break_the_text() -> None:
    assert decode(b"\xef\xbb\xbfab\xffc") == "ab\ufffdc"


def test_a_document_can_always_be_written_as_utf8(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": "\\ud800 \\u0000 x"}')
    assert parse(str(path), "", "a.json", DocumentLimits()).text.encode() == b"a: ?  x"
