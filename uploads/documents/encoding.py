"""Which characters the bytes of a text file stand for: its mark, UTF-8, UTF-16 without a mark, then the likeliest."""

import codecs

from charset_normalizer import from_bytes

from uploads.documents.errors import UnsupportedDocument

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SAMPLE_BYTES = 64 * 1024
WORD_BYTES = 64
# What people's programs write. A wider choice finds exotic code pages in short files.
CANDIDATES = [
    "cp1252",
    "cp1250",
    "cp1251",
    "koi8_r",
    "cp1253",
    "cp1254",
    "cp932",
    "euc_jp",
    "gb18030",
    "big5",
    "euc_kr",
    "iso8859_2",
]
COMMONEST = "cp1252"
AS_CLEAN = 0.01  # texts of western Europe decode as cleanly with the page of central Europe
CONTROLS = frozenset(range(0x20)) - frozenset(b"\t\n\r\f\x1b")
CONTROLS_MIN, CONTROLS_MAX = 2, 0.01  # a text may hold a few: more than two of them and than this part are none


def decode(content: bytes) -> str:
    """Raises `UnsupportedDocument` for bytes that are no text."""
    encoding = next((name for mark, name in MARKS if content.startswith(mark)), None) or _unmarked(content)
    return content.decode(encoding, "replace")


def _unmarked(content: bytes) -> str:
    sample = content[:SAMPLE_BYTES]
    if b"\0" in sample:
        return _wide(sample)
    if sum(byte in CONTROLS for byte in sample) > max(CONTROLS_MIN, CONTROLS_MAX * len(sample)):
        raise UnsupportedDocument("The file is not text.")
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        return _likeliest(content, error.start)
    return "utf-8"


def _wide(sample: bytes) -> str:
    """UTF-16 without a mark: most files have spaces, digits and line ends, whose high bytes are zero."""
    encoding = "utf-16-le" if sample[1::2].count(0) > sample[0::2].count(0) else "utf-16-be"
    text = sample[: len(sample) // 2 * 2].decode(encoding, "replace")
    if any(ord(character) in CONTROLS for character in text):
        raise UnsupportedDocument("The file is not text.")
    return encoding


def _likeliest(content: bytes, first: int) -> str:
    """Judged from the word on in which the first letter is no UTF-8; before it there may be a lot of plain ASCII."""
    start = first - len((content[max(0, first - WORD_BYTES) : first] + b"x").split()[-1]) + 1
    found = from_bytes(content[start : start + SAMPLE_BYTES], cp_isolation=CANDIDATES, enable_fallback=False)
    best = found.best()
    if best is None:
        raise UnsupportedDocument("The file is not text, or in an encoding that is not known.")
    equals = [match for match in found if match.chaos <= best.chaos + AS_CLEAN]
    return COMMONEST if any(COMMONEST in match.could_be_from_charset for match in equals) else best.encoding
