"""What became of each circuit of each job of an experiment, as records and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pennylane_qexec.engine import tables
from pennylane_qexec.job import JobState

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Record:
    """One circuit on one backend, as it is at the moment.

    Attributes:
        job: number of the dispatch's job that it belongs to, from 0.
        circuit: number of the circuit in the experiment, from 0.
        provider: name of the provider.
        backend: name of the backend.
        shots: the shots asked for.
        state: whether it waits, runs, is done, failed or cancelled.
        result: counts by bit string; for measurements other than counts, what PennyLane returns; ``None`` before it is
            done.
        submitted: when it was sent to its executor; UTC, in seconds since 1970, 0 if it was not.
        started: when it began to run.
        finished: when it ended.
        seconds: its part of the running time of its batch.
        cost: US dollars.
        attempt: attempts made.
        error: what went wrong, in words.
        instead_of: ``"provider/backend"`` whose failed shots these are, if they are run again.
    """

    job: int
    circuit: int
    provider: str
    backend: str
    shots: int
    state: JobState
    result: Any = None
    submitted: float = 0.0
    started: float = 0.0
    finished: float = 0.0
    seconds: float = 0.0
    cost: float = 0.0
    attempt: int = 0
    error: str | None = None
    instead_of: str | None = None

    @property
    def place(self) -> str:
        """The backend's full name, ``"provider/backend"``."""
        return f"{self.provider}/{self.backend}"


def to_dataframe(records: Sequence[Record]) -> pandas.DataFrame:
    """One row for each circuit of each job.

    Returns:
        A table with the columns ``job`` and ``circuit`` (their numbers, from 0), ``provider``, ``backend``, ``shots``,
        ``state``, ``submitted``, ``started``, ``finished`` (UTC; ``NaT`` where it has not come to that),
        ``seconds_queued`` (from submitted to started; ``NaN`` before), ``seconds_running`` (the circuit's part of its
        batch, so that they add up), ``cost`` (US dollars), ``attempt`` (how many were made), ``error`` (``""`` without
        one), ``instead_of`` (``"provider/backend"`` whose failed shots these are; ``""`` for others) and ``result``
        (counts by outcome, or what PennyLane returns; ``None`` without one).
    """
    return tables.to_dataframe(records, tables.OF_EXPERIMENT)
