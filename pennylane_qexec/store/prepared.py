"""Statements that run for many rows: compiled once for each kind of database, then given to its driver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, cast, final

from sqlalchemy import Connection, CursorResult
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler

Values = tuple[Any, ...]


class _Ready(NamedTuple):
    """A statement as a driver takes it."""

    text: str
    constants: Values
    """Values that are the same for all rows."""
    arranged: Callable[[Values], Any]
    """Arranges the values of a row, followed by the constants, as the statement has them."""


@final
class Prepared:
    """A statement to which each row gives values.

    SQLAlchemy keeps what it has compiled too, but handles each value of each row by itself, which takes it longer than
    it takes the database. Here the driver gets them as they are: numbers, texts and ``None``, nothing that needs
    a conversion.

    Args:
        statement: makes the statement for a connection.
        names: of the values of a row, in their order.
    """

    def __init__(self, statement: Callable[[Connection], ClauseElement], names: Sequence[str]) -> None:
        self._statement = statement
        self._names = names
        self._ready: dict[str, _Ready] = {}

    def change(self, connection: Connection, rows: Sequence[Values]) -> int:
        """Run it once for each row. Returns how many rows of the table were changed."""
        text, constants, arranged = self._for(connection)
        given = [arranged(row + constants) for row in rows]
        return connection.exec_driver_sql(text, given if len(given) > 1 else given[0]).rowcount

    def select(self, connection: Connection, values: Values) -> CursorResult[Any]:
        """Run it once, and give what it finds."""
        text, constants, arranged = self._for(connection)
        return connection.exec_driver_sql(text, arranged(values + constants))

    def _for(self, connection: Connection) -> _Ready:
        name = connection.dialect.name
        if name not in self._ready:
            self._ready[name] = self._compiled(connection)
        return self._ready[name]

    def _compiled(self, connection: Connection) -> _Ready:
        statement = self._statement(connection)
        options: dict[str, Any] = {"column_keys": list(self._names), "for_executemany": True}
        compiled = cast(SQLCompiler, statement.compile(dialect=connection.dialect, **options))
        constants = {key: bind.value for key, bind in compiled.binds.items() if key not in self._names}
        arranged = _arranged([*self._names, *constants], compiled.positiontup)
        return _Ready(str(compiled), tuple(constants.values()), arranged)


def _arranged(names: Sequence[str], order: Sequence[str] | None) -> Callable[[Values], Any]:
    """Arranges values, by the order in which the statement has them; by their names if it has none."""
    if order is None:
        return lambda values: dict(zip(names, values, strict=True))
    places = [names.index(name) for name in order]
    if len(places) < 2:  # of a single place, an itemgetter gives the bare value
        return lambda values: tuple(values[place] for place in places)
    return itemgetter(*places)
