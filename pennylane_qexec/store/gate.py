"""The way to a database: transactions, each of which is made whole or not at all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import quote

from sqlalchemy import URL, Connection

from pennylane_qexec.closing import Closing
from pennylane_qexec.errors import StoreError
from pennylane_qexec.scrubbing import SHOWN, is_secret_option

T = TypeVar("T")


def shown(url: URL) -> str:
    """A URL as it may be shown: ``***`` in place of its password, and of parameters that are named like secrets."""
    parameters = {name: SHOWN if is_secret_option(name) else value for name, value in url.query.items()}
    return url.set(query=parameters).render_as_string(hide_password=True).replace(quote(SHOWN), SHOWN)


class LostStoreError(StoreError):
    """What is open is not the store any more that the next program would find."""


class Gate(Closing, ABC):
    """Runs functions in transactions, from any thread, and in a process that was forked too.

    What a function does in a transaction may have to be done again, if nobody knows whether it was done: it must do no
    harm to do it twice. A database's own errors come out as :class:`~pennylane_qexec.StoreError`.
    """

    url: str
    """Where the database is, without secrets."""

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
