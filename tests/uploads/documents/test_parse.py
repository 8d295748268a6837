"""Every format gives the text that a reader sees, with pages and headings."""

from pathlib import Path

import pytest
from PIL import Image, ImageOps

from tests.uploads.documents.files import Page, csv_text, picture_of, write_docx, write_pdf, write_scan
from uploads.documents.document import Document
from uploads.documents.errors import UnsupportedDocument
from uploads.documents.limits import DocumentLimits
from uploads.documents.parse import kind_of, parse

LIMITS = DocumentLimits()
INVOICE = ("Invoice 2041", "Total due: 1,249.50 EUR", "Please pay within 30 days.")


def read(path: Path, name: str = "", media_type: str = "", limits: DocumentLimits = LIMITS) -> Document:
    return parse(str(path), media_type, name or path.name, limits)


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def headings(document: Document) -> list[tuple[str, str]]:
    """Each heading with the first line below it."""
    return [(span.heading, document.text[span.start : span.end].partition("\n")[0]) for span in document.spans]


def test_plain_text_is_its_own_text(tmp_path: Path) -> None:
    text = "First line.\n\n  Second, with\ttab — and dash.\n"
    document = read(written(tmp_path, "a.txt", text))
    assert document.text == text
    assert document.spans[0].end == len(text)


def test_line_ends_become_one_kind_and_control_characters_go(tmp_path: Path) -> None:
    assert read(written(tmp_path, "a.txt", "a\r\nb\rc\x0bd\x7fe\ufeff")).text == "a\nb\ncde"


def test_markdown_is_kept_and_its_headings_are_found(tmp_path: Path) -> None:
    text = (
        "Intro\n\n# Contract\n\nBody\n\n```\n# no heading\n```\n\n## Payment *terms*\n\nIn 30 days.\n\n# Annex\n\nEnd"
    )
    document = read(written(tmp_path, "a.md", text))
    assert document.text == text
    assert headings(document) == [
        ("", "Intro"),
        ("Contract", "# Contract"),
        ("Contract > Payment *terms*", "## Payment *terms*"),
        ("Annex", "# Annex"),
    ]


def test_html_is_what_a_reader_sees(tmp_path: Path) -> None:
    page = (
        "<!doctype html><html><head><title>Shop</title><style>p{}</style></head><body><h1>Prices &amp; more</h1>"
        "<p>All <b>prices</b> are\nin euro.</p><table><tr><th>Item</th><th>Price</th></tr><tr><td>Pump</td><td>12</td>"
        "</tr></table><script>let x = '<p>no</p>'</script><h2>Old</h2><div>one</div>two<br>three</body></html>"
    )
    document = read(written(tmp_path, "page.txt", page))
    assert document.text == (
        "Prices & more\n\nAll prices are in euro.\n\nItem | Price\nPump | 12\n\nOld\n\none\ntwo\nthree"
    )
    assert headings(document) == [("Shop > Prices & more", "Prices & more"), ("Shop > Prices & more > Old", "Old")]


def test_html_says_its_own_encoding(tmp_path: Path) -> None:
    page = '<html><head><meta charset="iso-8859-5"></head><body><p>Договор</p></body></html>'
    assert read(written(tmp_path, "a.html", page.encode("iso-8859-5"))).text == "Договор"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_each_row_of_a_csv_file_names_its_cells(tmp_path: Path, delimiter: str) -> None:
    rows = [["Item", "Price", "City"], ["Pump, large", "12.5", "Bern"], ["Valve", "", "Ulm"], ["Seal", "3", "Graz"]]
    document = read(written(tmp_path, "a.csv", csv_text(rows, delimiter)))
    assert document.text.split("\n") == [
        "Item: Pump, large; Price: 12.5; City: Bern",
        "Item: Valve; City: Ulm",
        "Item: Seal; Price: 3; City: Graz",
    ]


def test_a_csv_file_without_a_header_keeps_every_row(tmp_path: Path) -> None:
    rows = [["2031-01-02", "12.5"], ["2031-01-03", "13.0"]]
    assert read(written(tmp_path, "a.csv", csv_text(rows))).text == "2031-01-02 | 12.5\n2031-01-03 | 13.0"


def test_json_gives_every_value_with_its_path(tmp_path: Path) -> None:
    text = '{"order": {"id": 7, "lines": [{"item": "Pump", "price": 12.50}, {"item": "Seal"}]}, "tags": ["a", true]}'
    lines = read(written(tmp_path, "a.json", text)).text.split("\n")
    assert [line for line in lines if line] == [
        "order.id: 7",
        "order.lines[0].item: Pump",
        "order.lines[0].price: 12.50",
        "order.lines[1].item: Seal",
        "tags: a, true",
    ]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_each_line_of_json_lines_is_a_paragraph(tmp_path: Path, name: str) -> None:
    assert read(written(tmp_path, name, '{"a": 1}\n\n{"a": 2}\n')).text == "a: 1\n\na: 2"


def test_a_pdf_has_pages_and_tables(tmp_path: Path) -> None:
    pages: list[Page] = [
        ["Prices", "All in euro.", [["Pump", "12.50"], ["Seal", "3.00"]]],
        ["Terms", "Pay in 30 days."],
    ]
    document = read(write_pdf(tmp_path / "a.pdf", pages))
    assert document.pages == 2
    assert [span.page for span in document.spans] == [1, 2]
    first, second = (document.text[span.start : span.end] for span in document.spans)
    assert "Prices\nAll in euro." in first
    assert "Pump 12.50\nSeal 3.00" in first
    assert second == "Terms\nPay in 30 days."


def test_a_word_document_has_headings_and_tables_in_their_order(tmp_path: Path) -> None:
    text = "# Contract\n\nBetween us.\n\n## Prices\n\n| Item | Price |\n| Pump | 12 |\n\nThat is all."
    document = read(write_docx(tmp_path / "a.docx", text))
    assert document.text == "Contract\n\nBetween us.\n\nPrices\n\nItem | Price\nPump | 12\n\nThat is all."
    assert [heading for heading, _ in headings(document)] == ["Contract", "Contract > Prices"]


@pytest.mark.parametrize(
    ("kind", "mode"), [("png", "RGB"), ("png", "L"), ("png", "P"), ("jpeg", "RGB"), ("webp", "RGB")]
)
def test_text_is_read_from_a_picture(tmp_path: Path, kind: str, mode: str) -> None:
    path = tmp_path / f"a.{kind}"
    picture_of(INVOICE).convert(mode).save(path)
    document = read(path)
    assert document.text.split("\n") == list(INVOICE)
    assert (document.pages, document.spans[0].page) == (1, 1)


def test_text_is_read_from_a_transparent_picture(tmp_path: Path) -> None:
    ink = ImageOps.invert(picture_of(INVOICE, mode="L"))
    image = Image.new("RGB", ink.size)
    image.putalpha(ink)
    image.save(tmp_path / "a.png")
    assert read(tmp_path / "a.png").text.split("\n") == list(INVOICE)


def test_each_page_of_a_tiff_is_a_page(tmp_path: Path) -> None:
    first, second = picture_of(["First page"]), picture_of(["Second page"])
    first.save(tmp_path / "a.tiff", save_all=True, append_images=[second])
    document = read(tmp_path / "a.tiff")
    assert [(span.page, document.text[span.start : span.end]) for span in document.spans] == [
        (1, "First page"),
        (2, "Second page"),
    ]


def test_what_stands_side_by_side_in_a_picture_is_one_line(tmp_path: Path) -> None:
    image = picture_of(["Pump", "Seal"])
    image.paste(picture_of(["12.50", "3.00"]), (500, 0))
    image.save(tmp_path / "a.png")
    assert read(tmp_path / "a.png").text == "Pump  12.50\nSeal  3.00"


def test_a_picture_that_lies_on_its_side_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to see it upright
    picture_of(INVOICE).rotate(90, expand=True).save(tmp_path / "a.jpg", exif=exif)
    assert read(tmp_path / "a.jpg").text.split("\n") == list(INVOICE)


def test_a_scanned_page_of_a_pdf_is_read_like_a_picture(tmp_path: Path) -> None:
    document = read(write_scan(tmp_path / "scan.pdf", INVOICE))
    assert document.text.split("\n") == list(INVOICE)
    assert document.spans[0].page == 1


@pytest.mark.parametrize(
    ("content", "name", "media_type", "kind"),
    [
        (b"%PDF-1.7\n", "notes.txt", "text/plain", "pdf"),
        (b"\x89PNG\r\n\x1a\n", "notes.pdf", "application/pdf", "picture"),
        (b"  <!DOCTYPE HTML><p>x", "x.txt", "text/plain", "html"),
        (b"# x", "x.md", "", "markdown"),
        (b"# x", "x", "text/markdown; charset=utf-8", "markdown"),
        (b"a,b", "x.CSV", "", "csv"),
        (b"{}", "x.json", "", "json"),
        (b"{}", "x.ndjson", "", "jsonl"),
        (b"hello", "x.pdf", "application/pdf", "text"),
        (b"", "x.txt", "", "text"),
    ],
)
def test_the_bytes_tell_the_kind_and_the_name_only_that_of_a_text(
    tmp_path: Path, content: bytes, name: str, media_type: str, kind: str
) -> None:
    assert kind_of(written(tmp_path, "file", content), media_type, name) == kind


@pytest.mark.parametrize(
    "content", [b"\x7fELF\x02\x01\x01\0\0\0", b"\x1f\x8b\x08\0\0\0\0\0\0\x03", bytes(range(256)) * 40, b"\0" * 100]
)
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UnsupportedDocument):
        read(written(tmp_path, "a.txt", content))
