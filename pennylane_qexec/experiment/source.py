"""What a collector asks of where its results come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from pennylane_qexec.experiment.gathered import Gathered
from pennylane_qexec.experiment.record import Record

Errors = dict[str, dict[str, list[BaseException]]]
"""What went wrong, by provider and backend."""


class Source(ABC):
    """Where a collector's results come from: an experiment under way, or a file."""

    @property
    @abstractmethod
    def over(self) -> bool:
        """Whether everything has ended."""

    @property
    @abstractmethod
    def records(self) -> list[Record]:
        """What has become of each circuit of each job, in the dispatch's order."""

    @property
    @abstractmethod
    def errors(self) -> Errors:
        """What went wrong."""

    @property
    @abstractmethod
    def missing(self) -> list[Record]:
        """What was asked for and has not been run, neither where it was to run nor elsewhere."""

    @abstractmethod
    def gathered(self) -> Gathered:
        """What is done."""

    @abstractmethod
    def wait(self, timeout: float | None) -> bool:
        """Wait until everything has ended, or for some seconds; returns whether it has."""

    @abstractmethod
    def cancel(self) -> None:
        """Give up what has not ended."""

    @abstractmethod
    def rerun(self, backends: Any) -> None:
        """Run the shots of what has failed again."""

    @abstractmethod
    def listen(self, listener: Callable[[], None]) -> None:
        """Have a function called whenever something has ended."""
