"""The documents of a company that makes pumps, in the formats that such a company has, and questions about them.

`company/files` holds their texts. A name with a second suffix says what is made of the text: `x.pdf.md` becomes x.pdf.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

from tests.uploads.documents.files import Page, picture_of, write_docx, write_pdf

CORPUS = Path(__file__).parent / "company"
PAGE_BREAK = "\n---\n"


@dataclass(frozen=True)
class Question:
    """A piece of `file` answers it when it holds every string of `answer`."""

    text: str
    file: str
    answer: tuple[str, ...]

    def is_answered_by(self, file: str, text: str) -> bool:
        plain = " ".join(text.split())
        return file == self.file and all(part in plain for part in self.answer)


def questions() -> list[Question]:
    rows = [json.loads(line) for line in (CORPUS / "questions.jsonl").read_text().splitlines()]
    return [Question(row["question"], row["file"], tuple(row["answer"])) for row in rows]


def write_corpus(folder: Path) -> list[Path]:
    return [write_document(source, folder) for source in sorted((CORPUS / "files").iterdir())]


def write_document(source: Path, folder: Path) -> Path:
    text, name = source.read_text(), source.name.removesuffix(".md")
    path = folder / name
    match path.suffix:
        case ".docx":
            return write_docx(path, text)
        case ".pdf":
            return write_pdf(path, [page_of(part) for part in text.split(PAGE_BREAK)])
        case ".html":
            path.write_text(
                f"<!doctype html><title>{path.stem}</title>" + MarkdownIt().enable("table").render(ruled(text))
            )
        case ".png":
            picture_of(text.strip().split("\n")).save(path)
        case _:
            path = folder / source.name
            path.write_text(text)
    return path


def page_of(text: str) -> Page:
    """Paragraphs and tables, the first one the heading."""
    parts: list[str | list[list[str]]] = []
    for block in text.strip().split("\n\n"):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.split("\n")]
        parts.append(rows if block.startswith("|") else block.removeprefix("# "))
    return parts


def ruled(markdown: str) -> str:
    """With the line below the head of a table that Markdown asks for."""
    lines: list[str] = []
    for line in markdown.split("\n"):
        if line.startswith("|") and (len(lines) < 1 or not lines[-1].startswith("|")):
            lines += [line, "|" + "---|" * (line.count("|") - 1)]
        else:
            lines.append(line)
    return "\n".join(lines)
