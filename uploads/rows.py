"""Tables of a batch job: read from CSV (with a header), JSON lines or plain lines, written as CSV or JSON lines.

A row that cannot be used is a row with an error, in its place. What cannot be read as a table at all is `InvalidBatch`.
"""

import csv
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, TextIO, TypeAlias

from uploads.errors import InvalidBatch

TableFormat: TypeAlias = Literal["csv", "jsonl", "lines"]
ResultFormat: TypeAlias = Literal["csv", "jsonl"]
RowInput: TypeAlias = Literal["text", "columns"]
"""What a model takes of a row: one column's text, or all columns by their names."""
FORMATS: Mapping[str, TableFormat] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".txt": "lines",
    "": "lines",
}
MEDIA_TYPES: Mapping[ResultFormat, str] = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}
DEFAULT_COLUMN = "text"
ADDED_COLUMNS = ("prediction", "confidence", "error")
MAX_LINE_CHARS = 1_048_576
TOO_LONG = f"A line is longer than {MAX_LINE_CHARS} characters."
MAX_COLUMNS = 1_000
OTHER_DELIMITERS = {";", "\t"}  # a spreadsheet's, where numbers have a comma
OTHER_ENCODINGS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Table:
    """`column` holds the text, where that is read; None takes `text`, or the only column of a CSV."""

    path: Path
    format: TableFormat
    column: str | None = None
    reads: RowInput = "text"


@dataclass(frozen=True, slots=True)
class Row:
    """`values` is what the file says, as far as it could be read; `text` what is read of it, if that is a text."""

    values: Mapping[str, Any]
    text: str = ""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one row."""

    prediction: str | None
    confidence: float | None = None
    error: str | None = None


def format_of(filename: str) -> TableFormat:
    found = FORMATS.get(Path(filename).suffix.lower())
    if found is None:
        raise InvalidBatch("The name does not say what the file is: add `format`, one of csv, jsonl, lines.")
    return found


def count_rows(table: Table, wanted: ResultFormat, max_rows: int) -> int:
    """Reads the table once. Raises `InvalidBatch` for what is wrong with it as a whole, also with its result."""
    count = 0
    columns = Columns()
    with opened(table) as (known, rows):
        for row in rows:
            count += 1
            if count > max_rows:
                raise InvalidBatch(f"A batch has at most {max_rows} rows.")
            if wanted == "csv" and not known:
                columns.add(row)
    if not count:
        raise InvalidBatch("The file has no rows.")
    return count


@contextmanager
def opened(table: Table) -> Iterator[tuple[Sequence[str], Iterator[Row]]]:
    """The columns that are known beforehand, and the rows."""
    refuse_other_encodings(table.path)
    with table.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        match table.format:
            case "csv":
                yield csv_table(file, table)
            case "jsonl":
                yield (), json_rows(file, None if table.reads == "columns" else table.column or DEFAULT_COLUMN)
            case "lines":
                yield (DEFAULT_COLUMN,), plain_rows(file)


def refuse_other_encodings(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(2) in OTHER_ENCODINGS:
            raise InvalidBatch("The file is not UTF-8; save it as UTF-8.")


def lines_of(file: TextIO) -> Iterator[str | None]:
    """None for a line that is too long: it is read, and not kept."""
    while line := file.readline(MAX_LINE_CHARS + 1):
        if len(line) <= MAX_LINE_CHARS:
            yield line
            continue
        while line and not line.endswith(("\n", "\r")):
            line = file.readline(MAX_LINE_CHARS)
        yield None


class CsvLines:
    """Lines for a reader of CSV, which asks for one more only in the middle of a quoted field."""

    def __init__(self, file: TextIO) -> None:
        self._lines = lines_of(file)
        self.have_ended = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        line = next(self._lines, "")
        if line is None:  # nobody knows where the next row begins
            raise InvalidBatch(TOO_LONG)
        if not line:
            self.have_ended = True
            raise StopIteration
        return line


def plain_rows(file: TextIO) -> Iterator[Row]:
    for line in lines_of(file):
        if line is None:
            yield Row({}, error=TOO_LONG)
        else:
            text = line.rstrip("\r\n")
            yield text_row({DEFAULT_COLUMN: text}, text)


def csv_table(file: TextIO, table: Table) -> tuple[Sequence[str], Iterator[Row]]:
    lines = CsvLines(file)
    reader = csv.reader(lines)
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise InvalidBatch("The header row of the CSV cannot be read.") from error
    if not any(header) or len(set(header)) < len(header) or len(header) > MAX_COLUMNS:
        raise InvalidBatch(f"A CSV begins with a row of column names, all different and at most {MAX_COLUMNS}.")
    if table.column is None and len(header) == 1 and OTHER_DELIMITERS & set(header[0]):
        raise InvalidBatch("The columns of a CSV are parted by commas, and the header of this one has none.")
    if taken := sorted(set(header) & set(ADDED_COLUMNS)):
        raise InvalidBatch(f"The result adds the column {taken[0]}, which the file already has; rename it.")
    column = None if table.reads == "columns" else text_column(header, table.column)
    return header, csv_rows(reader, lines, header, column)


def text_column(header: Sequence[str], wanted: str | None) -> str:
    column = wanted or (DEFAULT_COLUMN if DEFAULT_COLUMN in header or len(header) > 1 else header[0])
    if column not in header:
        raise InvalidBatch(f"The file has no column {column}; `text_column` says which one holds the text.")
    return column


def csv_rows(reader: Iterator[list[str]], lines: CsvLines, header: Sequence[str], column: str | None) -> Iterator[Row]:
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield Row({}, error="The row cannot be read as CSV.")
            continue
        values = dict(zip(header, cells, strict=False))
        if lines.have_ended:
            yield Row(values, error="A quotation mark in the row is not closed: it holds the rest of the file.")
        elif cells and len(cells) != len(header):
            yield Row(values, error=f"The row has {len(cells)} fields, the header {len(header)}.")
        elif cells:  # a blank line is no row
            yield row_of(values, column)


def json_rows(file: TextIO, column: str | None) -> Iterator[Row]:
    for line in lines_of(file):
        if line is None:
            yield Row({}, error=TOO_LONG)
            continue
        if not line.strip():
            continue
        try:
            values = json.loads(line, parse_constant=finite, parse_float=finite)
        except (ValueError, RecursionError):
            yield Row({}, error="The line is not JSON.")
            continue
        if not isinstance(values, dict) or len(values) > MAX_COLUMNS:
            yield Row({}, error="The line is not a JSON object.")
        elif taken := sorted(set(values) & set(ADDED_COLUMNS)):
            kept = {key: value for key, value in values.items() if key not in ADDED_COLUMNS}
            yield Row(kept, error=f"The result adds the field {taken[0]}, which the line already has.")
        elif column is not None and not isinstance(values.get(column), str):
            yield Row(values, error=f"The line has no string {column}.")
        else:
            yield row_of(values, column)


def finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("JSON has no such number")
    return number


def row_of(values: Mapping[str, Any], column: str | None) -> Row:
    """Without a column all of them are read."""
    if column is not None:
        return text_row(values, values[column])
    faults = (fault_of("A value", value) for value in values.values() if isinstance(value, str))
    return Row(values, error=next(filter(None, faults), None))


def text_row(values: Mapping[str, Any], text: str) -> Row:
    error = fault_of("The text", text) if text.strip() else "The text is empty."
    return Row(values, error=error) if error else Row(values, text)


def fault_of(name: str, text: str) -> str | None:
    if "\0" in text:
        return f"{name} has a NUL character."
    try:
        text.encode()
    except UnicodeEncodeError:
        return f"{name} is not UTF-8."
    return None


def write_results(table: Table, outcomes: Iterator[Outcome], target: Path, wanted: ResultFormat) -> None:
    """The rows of the table again, each with its outcome. What was not UTF-8 stays so from CSV or lines to CSV; JSON
    cannot carry it, and has surrogates that stand for no byte."""
    errors = "surrogateescape" if wanted == "csv" and table.format != "jsonl" else "replace"
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with (
        os.fdopen(descriptor, "w", encoding="utf-8", errors=errors, newline="") as file,
        opened(table) as (columns, rows),
    ):
        pairs = zip(rows, outcomes, strict=True)
        if wanted == "jsonl":
            for row, outcome in pairs:
                added = zip(ADDED_COLUMNS, cells_of(outcome), strict=True)
                file.write(json.dumps({**row.values, **dict(added)}, ensure_ascii=False) + "\n")
            return
        names = columns or columns_of(table)
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*names, *ADDED_COLUMNS])
        for row, outcome in pairs:
            writer.writerow([*(csv_cell(row.values.get(name)) for name in names), *cells_of(outcome)])


def columns_of(table: Table) -> list[str]:
    columns = Columns()
    with opened(table) as (_, rows):
        for row in rows:
            columns.add(row)
    return [*columns.names]


class Columns:
    """Of JSON lines as a CSV: every field that any line has, in the order in which they appear."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}

    def add(self, row: Row) -> None:
        """Raises `InvalidBatch`."""
        self.names.update(dict.fromkeys(row.values))
        if len(self.names) > MAX_COLUMNS:
            raise InvalidBatch(f"A CSV has at most {MAX_COLUMNS} columns; ask for `result_format=jsonl`.")


def cells_of(outcome: Outcome) -> tuple[str | None, float | None, str | None]:
    return outcome.prediction, outcome.confidence, outcome.error


def csv_cell(value: Any) -> Any:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
