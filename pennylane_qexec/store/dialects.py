"""What the databases do not do alike, and what they do not take as it comes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import BindParameter, Connection, Table, bindparam
from sqlalchemy.dialects import postgresql, sqlite

T = TypeVar("T")

_MOST = 1000  # SQLite takes 32766 values in one statement, PostgreSQL 65535


def insert_into(connection: Connection, table: Table) -> Any:
    """An insertion that can say what to do about rows that are there already."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def list_of(name: str) -> BindParameter[Any]:
    """A list to be given to a statement, which is written once, under a name."""
    return bindparam(name, expanding=True)


def pieces(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """A sequence, in parts that fit into a statement."""
    return (items[start : start + _MOST] for start in range(0, len(items), _MOST))


def plain(text: str) -> str:
    """A text that every database stores: without the zero character and halves of characters."""
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")
