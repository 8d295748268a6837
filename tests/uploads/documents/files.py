"""Files of every kind, made from text: what people send, without binary files in the repository."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import docx
from PIL import Image, ImageDraw, ImageFont
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, PageBreak, Paragraph, SimpleDocTemplate, Table

Page = Sequence[str | Sequence[Sequence[str]]]


def write_pdf(path: Path, pages: Sequence[Page], password: str = "") -> Path:
    """On each page the first line is a heading; a list of rows is a table."""
    styles = getSampleStyleSheet()
    flow: list[Flowable] = []
    for page in pages:
        for number, part in enumerate(page):
            style = styles["BodyText" if number else "Heading1"]
            flow.append(Paragraph(part, style) if isinstance(part, str) else Table([list(row) for row in part]))
        flow.append(PageBreak())
    encryption = StandardEncryption(password) if password else None
    SimpleDocTemplate(str(path), encrypt=encryption, invariant=1).build(flow)
    return path


def write_scan(path: Path, lines: Sequence[str]) -> Path:
    """A PDF that is nothing but a picture of text."""
    canvas = Canvas(str(path), pagesize=(595, 842))
    canvas.drawImage(ImageReader(picture_of(lines)), 0, 442, width=595, height=357)
    canvas.showPage()
    canvas.save()
    return path


def picture_of(lines: Sequence[str], size: tuple[int, int] = (1000, 600), mode: str = "RGB") -> Image.Image:
    image = Image.new(mode, size, "white")
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((40, 40 + number * 60), line, fill="black", font=ImageFont.load_default(30))
    return image


def write_docx(path: Path, markdown: str) -> Path:
    """From lines as in Markdown: `# ` begins a heading, `| a | b |` a row of a table, all else is a paragraph."""
    document = docx.Document()
    rows: list[list[str]] = []
    for line in [*markdown.split("\n"), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
            continue
        if rows:
            _add_table(document, rows)
            rows = []
        if line.startswith("#"):
            depth = len(line) - len(line.lstrip("#"))
            document.add_heading(line.lstrip("# "), level=depth)
        elif line.strip():
            document.add_paragraph(line)
    document.save(str(path))
    return path


def _add_table(document: "docx.document.Document", rows: list[list[str]]) -> None:
    table = document.add_table(len(rows), len(rows[0]))
    for row, cells in zip(table.rows, rows, strict=True):
        for cell, text in zip(row.cells, cells, strict=True):
            cell.text = text


def csv_text(rows: Sequence[Sequence[str]], delimiter: str = ",") -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(rows)
    return out.getvalue()
