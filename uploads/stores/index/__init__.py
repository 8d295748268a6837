"""The search index on a local disk: for each owner an SQLite file for text and words, and a file of vectors."""

from uploads.stores.index.index import SqliteIndex

__all__ = ["SqliteIndex"]
