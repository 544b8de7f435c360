"""One list of columns for all tables of jobs: of a history, a store, an experiment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pandas


class JobRecord(Protocol):
    """What every record of a job says: a row of a history, a job of a store, a circuit of an experiment.

    Attributes:
        backend: name of the backend.
        shots: the shots that were run for it, or are asked for; 0 if analytic.
        attempt: attempts made.
        state: what has become of it.
        submitted: when it was asked for; UTC, in seconds since 1970, 0 if it was not.
        started: when it began to run.
        finished: when it ended.
        seconds: its part of the running time of its batch, so that these add up.
        cost: US dollars.
        error: what went wrong; nothing, or an empty text, if nothing did.
    """

    @property
    def backend(self) -> str: ...
    @property
    def shots(self) -> int: ...
    @property
    def attempt(self) -> int: ...
    @property
    def state(self) -> str: ...
    @property
    def submitted(self) -> float: ...
    @property
    def started(self) -> float: ...
    @property
    def finished(self) -> float | None: ...
    @property
    def seconds(self) -> float: ...
    @property
    def cost(self) -> float: ...
    @property
    def error(self) -> str | None: ...


_MOMENTS = ("submitted", "started", "finished")
_USE = (*_MOMENTS, "seconds_queued", "seconds_running", "cost")

OF_HISTORY = ("fingerprint", "executor", "backend", "shots", "batch", "attempt", "state", *_USE, "error")
"""The columns of a history."""

OF_EXPERIMENT = (
    *("job", "circuit", "provider", "backend", "shots", "state", *_USE),
    *("attempt", "error", "instead_of", "result"),
)
"""The columns of an experiment."""


def shown(job: JobRecord, columns: Sequence[str]) -> dict[str, Any]:
    """What a table shows of a job, by column: times in UTC, ``None`` where it has not come to that."""
    return {name: _column(name, [job])[0] for name in columns}


def to_dataframe(jobs: Sequence[JobRecord], columns: Sequence[str]) -> pandas.DataFrame:
    """A table with one row for each job."""
    import pandas

    table = pandas.DataFrame({name: _column(name, jobs) for name in columns}, dtype=None if jobs else object)
    for name in _MOMENTS:
        if table[name].dtype == object:  # it has not come to that for any job
            table[name] = pandas.to_datetime(table[name], utc=True)
    table["seconds_queued"] = table["seconds_queued"].astype(float)
    return table


def _column(name: str, jobs: Sequence[Any]) -> list[Any]:
    if name in _MOMENTS:
        return [datetime.fromtimestamp(one, UTC) if one else None for one in map(attrgetter(name), jobs)]
    if name == "seconds_queued":
        return [job.started - job.submitted if job.submitted and job.started else None for job in jobs]
    if name == "seconds_running":
        return [job.seconds for job in jobs]
    if name == "state":
        return [str(job.state) for job in jobs]
    if name in ("error", "instead_of"):
        return [one or "" for one in map(attrgetter(name), jobs)]
    return list(map(attrgetter(name), jobs))
