"""The way to a database: transactions, each of which is made whole or not at all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from pennylane_qexec.closing import Closing
from pennylane_qexec.errors import StoreError

T = TypeVar("T")


class LostStoreError(StoreError):
    """What is open is not the store any more that the next program would find."""


class Gate(Closing, ABC):
    """Runs functions in transactions, from any thread, and in a process that was forked too.

    What a function does in a transaction may have to be done again, if nobody knows whether it was done: it must do no
    harm to do it twice. A database's own errors come out as :class:`~pennylane_qexec.StoreError`.
    """

    url: str
    """Where the database is, without a password."""

    @abstractmethod
    def write(self, work: Callable[[Connection], T], *, durable: bool = False) -> T:
        """Run a function that changes something.

        Args:
            work: the function.
            durable: whether what it changed must be safe from a power cut before this returns.
        """

    @abstractmethod
    def read(self, work: Callable[[Connection], T]) -> T:
        """Run a function that changes nothing."""

    @abstractmethod
    def once(self, work: Callable[[Connection], T]) -> T:
        """Run a function that changes tables, while nobody else does, and without trying again."""

    def check(self) -> None:
        """See that what is open is what the next program would find.

        Raises:
            LostStoreError: it was deleted, moved or replaced. What is written now is lost with this process.
        """
