import importlib
import pkgutil
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Inspector, inspect
from sqlalchemy.exc import DBAPIError

import uploads.stores
from uploads.stores.database import metadata, open_database
from uploads.stores.migrate import FILE_NAME, FOLDER, apply, migrations, statements


def test_statements_end_where_sqlite_sees_their_end() -> None:
    script = """
-- a word about it
CREATE TABLE a (b TEXT DEFAULT ';');
CREATE TRIGGER t AFTER INSERT ON a BEGIN
    DELETE FROM a; SELECT 1;
END;
"""
    assert list(statements(script)) == [
        "CREATE TABLE a (b TEXT DEFAULT ';')",
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN\n    DELETE FROM a; SELECT 1;\nEND",
    ]


def test_a_statement_without_an_end_is_refused() -> None:
    with pytest.raises(ValueError, match="no end"):
        list(statements("CREATE TABLE a (b TEXT)"))


def test_a_dialect_takes_the_common_files_and_its_own_in_order(tmp_path: Path) -> None:
    for name in ("0002_b.sqlite.sql", "0002_b.postgresql.sql", "0001_a.sql", "0003_c.sqlite.sql"):
        (tmp_path / name).write_text("SELECT 1;")
    assert [one.name for one in migrations("sqlite", tmp_path)] == ["0001_a", "0002_b", "0003_c"]
    assert [one.name for one in migrations("postgresql", tmp_path)] == ["0001_a", "0002_b"]


def test_every_number_is_given_once() -> None:
    names = {found["name"] for path in FOLDER.iterdir() if (found := FILE_NAME.fullmatch(path.name))}
    assert len({name[:4] for name in names}) == len(names)


async def test_a_migration_that_fails_leaves_nothing(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("CREATE TABLE half_made (a TEXT);\nINSERT INTO not_there VALUES (1);\n")
    (broken,) = migrations("sqlite", tmp_path)
    database = await open_database(database_url)
    try:
        with pytest.raises(DBAPIError):
            async with database.write() as connection:
                await connection.run_sync(apply, broken)
        async with database.read() as connection:
            assert not await connection.run_sync(lambda one: inspect(one).has_table("half_made"))
    finally:
        await database.close()


async def test_the_migrations_make_the_tables_that_the_stores_describe(database_url: str) -> None:
    importlib.import_module("service.access.database")
    for module in pkgutil.iter_modules(uploads.stores.__path__):
        importlib.import_module(f"uploads.stores.{module.name}")
    database = await open_database(database_url)
    try:
        async with database.read() as connection:
            made = await connection.run_sync(shape_of_database)
    finally:
        await database.close()
    described = shape_of_metadata()
    assert {name: made.get(name) for name in described} == described


def shape_of_database(connection: Connection) -> dict[str, Any]:
    found: Inspector = inspect(connection)
    return {
        table: {
            "columns": {column["name"]: column["nullable"] for column in found.get_columns(table)},
            "key": found.get_pk_constraint(table)["constrained_columns"],
            "indexes": {one["name"]: (one["column_names"], bool(one["unique"])) for one in found.get_indexes(table)},
        }
        for table in found.get_table_names()
    }


def shape_of_metadata() -> dict[str, Any]:
    return {
        table.name: {
            "columns": {column.name: column.nullable for column in table.columns},
            "key": [column.name for column in table.primary_key.columns],
            "indexes": {one.name: ([column.name for column in one.columns], one.unique) for one in table.indexes},
        }
        for table in metadata.tables.values()
    }
