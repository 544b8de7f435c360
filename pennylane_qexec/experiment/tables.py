"""An experiment's jobs as a table."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

    from pennylane_qexec.experiment.record import Record

COLUMNS = (
    *("job", "circuit", "provider", "backend", "shots", "state", "submitted", "started", "finished"),
    *("seconds_queued", "seconds_running", "cost", "attempt", "error", "instead_of", "result"),
)
"""The columns of :func:`to_dataframe`."""

_TIMES = ("submitted", "started", "finished")


def to_dataframe(records: Iterable[Record]) -> pandas.DataFrame:
    """One row for each circuit of each job.

    Returns:
        A table with the columns ``job`` and ``circuit`` (their numbers, from 0), ``provider``, ``backend``, ``shots``,
        ``state``, ``submitted``, ``started``, ``finished`` (UTC; ``NaT`` where it has not come to that),
        ``seconds_queued`` (from submitted to started; ``NaN`` before), ``seconds_running`` (the circuit's part of its
        batch, so that they add up), ``cost`` (US dollars), ``attempt`` (how many were made), ``error`` (``""`` without
        one), ``instead_of`` (``"provider/backend"`` whose failed shots these are; ``""`` for others) and ``result``
        (counts by outcome, or what PennyLane returns; ``None`` without one).
    """
    import pandas

    table = pandas.DataFrame([_row(record) for record in records], columns=list(COLUMNS))
    for time in _TIMES:
        table[time] = pandas.to_datetime(table[time], utc=True)
    table["seconds_queued"] = table["seconds_queued"].astype(float)
    return table


def _row(record: Record) -> dict[str, Any]:
    queued = record.started - record.submitted if record.submitted and record.started else None
    return {
        "job": record.job,
        "circuit": record.circuit,
        "provider": record.provider,
        "backend": record.backend,
        "shots": record.shots,
        "state": str(record.state),
        "submitted": _time(record.submitted),
        "started": _time(record.started),
        "finished": _time(record.finished),
        "seconds_queued": queued,
        "seconds_running": record.seconds,
        "cost": record.cost,
        "attempt": record.attempt,
        "error": record.error or "",
        "instead_of": record.instead_of or "",
        "result": record.result,
    }


def _time(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
