from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from uploads.errors import InvalidBatch
from uploads.rows import (
    MAX_COLUMNS,
    MAX_LINE_CHARS,
    Outcome,
    Row,
    Table,
    TableFormat,
    count_rows,
    format_of,
    opened,
    write_results,
)


def table_of(folder: Path, content: str | bytes, table_format: TableFormat, column: str | None = None) -> Table:
    path = folder / "rows"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return Table(path, table_format, column)


def rows_of(table: Table) -> list[Row]:
    with opened(table) as (_, rows):
        return list(rows)


def texts(table: Table) -> list[str | None]:
    return [None if row.error else row.text for row in rows_of(table)]


def result(table: Table, wanted: Any, outcomes: Iterator[Outcome] | None = None) -> str:
    target = table.path.with_name("result")
    write_results(table, outcomes or (Outcome("said", 0.5) for _ in rows_of(table)), target, wanted)
    return target.read_bytes().decode(errors="surrogateescape")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", "csv"),
        ("a.CSV", "csv"),
        ("a.jsonl", "jsonl"),
        ("a.ndjson", "jsonl"),
        ("a.txt", "lines"),
        ("a", "lines"),
    ],
)
def test_the_format_is_told_from_the_name(name: str, expected: str) -> None:
    assert format_of(name) == expected


def test_a_name_that_says_nothing_needs_a_format() -> None:
    with pytest.raises(InvalidBatch, match="format"):
        format_of("a.xlsx")


def test_csv_takes_quotes_line_breaks_and_a_byte_order_mark(tmp_path: Path) -> None:
    content = '\ufeffid,text\r\n1,"a, ""b""\r\nc"\r\n2,d\r\n'
    assert rows_of(table_of(tmp_path, content, "csv")) == [
        Row({"id": "1", "text": 'a, "b"\r\nc'}, 'a, "b"\r\nc'),
        Row({"id": "2", "text": "d"}, "d"),
    ]


def test_a_csv_with_one_column_needs_no_name_for_it(tmp_path: Path) -> None:
    assert texts(table_of(tmp_path, "question\nwhy\n", "csv")) == ["why"]
    assert texts(table_of(tmp_path, "id,question\n1,why\n", "csv", "question")) == ["why"]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_columns_that_no_comma_parts_are_refused_unless_they_are_meant(tmp_path: Path, delimiter: str) -> None:
    content = f"id{delimiter}text\n1{delimiter}a\n"
    with pytest.raises(InvalidBatch, match="commas"):
        rows_of(table_of(tmp_path, content, "csv"))
    assert texts(table_of(tmp_path, content, "csv", f"id{delimiter}text")) == [f"1{delimiter}a"]


def test_bad_rows_of_a_csv_stay_in_their_place(tmp_path: Path) -> None:
    content = (
        b"id,text\n1,one\n2\n3,three,3\n4,\n5,nul\0\n6,\xff\xfe\n7,seven\n" + b"8," + b"x" * 200_000 + b"\n9,nine\n"
    )
    table = table_of(tmp_path, content, "csv")
    assert texts(table) == ["one", None, None, None, None, None, "seven", None, "nine"]
    errors = [row.error for row in rows_of(table)]
    assert errors[1] == "The row has 1 fields, the header 2."
    assert errors[3] == "The text is empty."
    assert errors[5] == "The text is not UTF-8."


def test_a_quote_that_never_ends_costs_its_row_and_no_more_than_the_field_limit(tmp_path: Path) -> None:
    rows = rows_of(table_of(tmp_path, 'text\n"' + "word\n" * 100_000 + '"\n', "csv"))
    assert rows[0].error == "The row cannot be read as CSV."


@pytest.mark.parametrize(
    ("content", "column", "says"),
    [
        (b"", None, "column names"),
        (b"a,a\n1,2\n", None, "column names"),
        (b"id,words\n1,2\n", None, "no column text"),
        (b"id,text\n1,2\n", "other", "no column other"),
        (b"text,prediction\n1,2\n", None, "adds the column prediction"),
        (b"text\n", None, "no rows"),
        ("text\nwhy\n".encode("utf-16"), None, "UTF-8"),
        (b"text\n" + b"x" * (MAX_LINE_CHARS + 1), None, "longer than"),
    ],
)
def test_what_is_no_table_is_refused_with_the_reason(
    tmp_path: Path, content: bytes, column: str | None, says: str
) -> None:
    with pytest.raises(InvalidBatch, match=says):
        count_rows(table_of(tmp_path, content, "csv", column), "csv", 1000)


def test_too_many_rows_are_refused_and_as_many_as_allowed_are_not(tmp_path: Path) -> None:
    assert count_rows(table_of(tmp_path, "a\nb\nc", "lines"), "csv", 3) == 3
    with pytest.raises(InvalidBatch, match="at most 2 rows"):
        count_rows(table_of(tmp_path, "a\nb\nc", "lines"), "csv", 2)


def test_too_many_fields_for_a_csv_are_refused_before_any_row_is_predicted(tmp_path: Path) -> None:
    table = table_of(tmp_path, "".join(f'{{"text": "a", "field {n}": 1}}\n' for n in range(MAX_COLUMNS)), "jsonl")
    assert count_rows(table, "jsonl", MAX_COLUMNS) == MAX_COLUMNS
    with pytest.raises(InvalidBatch, match="result_format=jsonl"):
        count_rows(table, "csv", MAX_COLUMNS)


def test_bad_json_lines_stay_in_their_place(tmp_path: Path) -> None:
    lines = [
        '{"text": "one", "id": 1}',
        "",
        "{broken",
        '"a string"',
        '{"id": 2}',
        '{"text": 3}',
        '{"text": "four", "n": NaN}',
        '{"text": "five", "n": 1e400}',
        '{"text": "six", "error": "mine"}',
        '{"text": "\\ud800"}',
        "[" * 100_000,
        '{"text": "ten"}',
    ]
    table = table_of(tmp_path, "\n".join(lines), "jsonl")
    assert texts(table) == ["one", *[None] * 9, "ten"]
    assert rows_of(table)[0].values == {"text": "one", "id": 1}


def test_plain_lines_keep_their_numbers(tmp_path: Path) -> None:
    assert texts(table_of(tmp_path, "one\r\n\nthree\u2028still\n", "lines")) == ["one", None, "three\u2028still"]


def test_csv_results_have_the_columns_of_the_file_and_three_more(tmp_path: Path) -> None:
    table = table_of(tmp_path, b'id,text\n1,"a\nb"\n2,\n\xff,c\n', "csv")
    outcomes = iter([Outcome('x, "y"', 0.25), Outcome(None, error="empty"), Outcome("z", None)])
    assert result(table, "csv", outcomes).encode(errors="surrogateescape") == (
        b'id,text,prediction,confidence,error\n1,"a\nb","x, ""y""",0.25,\n2,,,,empty\n\xff,c,z,,\n'
    )


def test_json_results_keep_every_field(tmp_path: Path) -> None:
    table = table_of(tmp_path, '{"text": "é", "more": {"a": [1, 2.5]}}\n{broken\n', "jsonl")
    outcomes = iter([Outcome("x", 0.5), Outcome(None, error="no JSON")])
    assert result(table, "jsonl", outcomes) == (
        '{"text": "é", "more": {"a": [1, 2.5]}, "prediction": "x", "confidence": 0.5, "error": null}\n'
        '{"prediction": null, "confidence": null, "error": "no JSON"}\n'
    )


def test_json_lines_become_csv_with_every_field_that_any_line_has(tmp_path: Path) -> None:
    table = table_of(tmp_path, '{"text": "a", "n": 1}\n{"text": "b", "list": [1, "x"]}\n', "jsonl")
    assert result(table, "csv") == (
        'text,n,list,prediction,confidence,error\na,1,,said,0.5,\nb,,"[1, ""x""]",said,0.5,\n'
    )


@pytest.mark.parametrize(
    ("content", "table_format"),
    [(b"a,b\n1,\n2,\xff\n3,\0\n", "csv"), (b'{"a": "1"}\n{"b": "\\ud800"}\n{"b": "\\u0000"}', "jsonl")],
)
def test_without_a_text_every_value_must_be_one(tmp_path: Path, content: bytes, table_format: TableFormat) -> None:
    table = replace(table_of(tmp_path, content, table_format), reads="columns")
    ok, *faulty = rows_of(table)
    assert (ok.values["a"], ok.error) == ("1", None)
    assert [row.error for row in faulty] == ["A value is not UTF-8.", "A value has a NUL character."]


@pytest.mark.parametrize("wanted", ["csv", "jsonl"])
def test_a_surrogate_in_json_lines_costs_its_own_character_alone(tmp_path: Path, wanted: str) -> None:
    table = table_of(tmp_path, b'{"text": "a\\ud800b", "\\udfff": 1}\n{"text": "c\xff"}\n{"text": "d"}\n', "jsonl")
    written = result(table, wanted)
    assert "a?b" in written
    assert "c?" in written
    assert written.encode().count(b"\n") == 3 + (wanted == "csv")


def test_lines_become_a_column_of_text(tmp_path: Path) -> None:
    assert result(table_of(tmp_path, "a\n", "lines"), "csv") == "text,prediction,confidence,error\na,said,0.5,\n"


def test_a_result_is_private(tmp_path: Path) -> None:
    table = table_of(tmp_path, "a\n", "lines")
    result(table, "jsonl")
    assert (tmp_path / "result").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("table_format", ["lines", "jsonl"])
def test_a_line_that_is_too_long_is_a_row_with_an_error(tmp_path: Path, table_format: TableFormat) -> None:
    short = '{"text": "ok"}'
    content = f"{short}\n{'x' * (2 * MAX_LINE_CHARS + 7)}\r\n{short}\n{'y' * (MAX_LINE_CHARS + 1)}"
    errors = [row.error and "longer than" in row.error for row in rows_of(table_of(tmp_path, content, table_format))]
    assert errors == [None, True, None, True]


@pytest.mark.parametrize("content", ['text\nok\n"begun\nrest\nof it\n', 'text\nok\n"begun'])
def test_a_quotation_mark_that_is_never_closed_is_an_error(tmp_path: Path, content: str) -> None:
    ok, rest = rows_of(table_of(tmp_path, content, "csv"))
    assert (ok.text, ok.error) == ("ok", None)
    assert rest.error
    assert "not closed" in rest.error
