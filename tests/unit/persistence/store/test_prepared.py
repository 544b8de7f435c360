"""Statements that run for many rows are compiled once, and give what SQLAlchemy gives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, bindparam, create_engine, insert, select, update
from sqlalchemy.sql import ClauseElement

from pennylane_qexec.persistence.store.database import PreparedStatement
from pennylane_qexec.persistence.store.tables import workers


@pytest.fixture
def connection() -> Iterator[Connection]:
    with create_engine("sqlite://").connect() as opened:
        workers.create(opened)
        opened.execute(insert(workers), [{"id": name, "beat": 1, "lease": 2.0} for name in "abc"])
        yield opened


def test_each_row_gives_its_values_and_the_statement_those_that_stay(connection: Connection) -> None:
    own = update(workers).where(workers.c.id == bindparam("me"), workers.c.beat == 1).values(lease=5.0)
    prepared = PreparedStatement(lambda _: own, ["me", "beat"])
    assert prepared.change(connection, [("a", 7), ("c", 8), ("d", 9)]) == 2
    assert connection.execute(select(workers)).all() == [("a", 7, 5.0), ("b", 1, 2.0), ("c", 8, 5.0)]


def test_what_is_selected_comes_as_rows(connection: Connection) -> None:
    prepared = PreparedStatement(lambda _: select(workers.c.lease).where(workers.c.id == bindparam("me")), ["me"])
    assert prepared.select(connection, ("b",)).all() == [(2.0,)]
    assert prepared.select(connection, ("d",)).first() is None


def test_a_statement_is_made_once_for_each_kind_of_database(connection: Connection) -> None:
    made = []

    def statement(of: Connection) -> ClauseElement:
        made.append(of.dialect.name)
        return select(workers.c.id)

    prepared = PreparedStatement(statement, [])
    assert [len(prepared.select(connection, ()).all()) for _ in range(3)] == [3, 3, 3]
    assert made == ["sqlite"]
