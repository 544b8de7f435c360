"""Results that a durable run has recorded, checked as those of executors are: a store may have been changed since."""

from __future__ import annotations

from typing import NoReturn

from pennylane_qexec.durable.entry import Entry
from pennylane_qexec.errors import ConfigurationError, ResultError, StoreError
from pennylane_qexec.job import Outcome, Result, Work
from pennylane_qexec.results import check_kept
from pennylane_qexec.store import StoredJob
from pennylane_qexec.written import result_of

UNRECORDED = "done, but its result cannot be recorded"
"""How the error begins of a circuit that is done without a result in the store."""


def outcome_of(entry: Entry, run: str) -> Outcome | None:
    """The recorded outcome of an entry; ``None`` if its result could not be recorded.

    Args:
        entry: the entry, which is done.
        run: name of its run.

    Raises:
        StoreError: what is recorded cannot be the result of its circuit.
    """
    row = entry.row
    if row.result is None:
        if row.error.startswith(UNRECORDED):
            return None
        _refuse(row, run, "is empty")
    return Outcome(
        _result(entry, row.result, run),
        row.executor,
        row.shots,
        attempt=row.attempt,
        submitted=row.submitted,
        started=row.started,
        finished=row.finished or 0.0,
        cost=row.cost,
        backend=row.backend,
        seconds=row.seconds,
        circuits=row.circuits,
    )


def _result(entry: Entry, text: str, run: str) -> Result:
    """A result, as the executor that is recorded with it may return it."""
    job, executor = entry.job, entry.asking.engine.executor(entry.row.executor)
    work = Work.of([job])
    try:
        result = result_of(text)
        if executor is None:
            check_kept(work, [job.circuit], [result])
        else:
            executor.check_kept(work, [result])
    except ConfigurationError as error:
        _refuse(entry.row, run, f"cannot be read: {error}", error)
    except ResultError as error:
        _refuse(entry.row, run, f"is not that of {error.what}: {error.difference}", error)
    return result


def _refuse(row: StoredJob, run: str, why: str, error: Exception | None = None) -> NoReturn:
    raise StoreError(
        f"the 'result' of circuit {row.number + 1} of the durable run {run!r} in the store {why.rstrip('.')}. Somebody "
        "has changed the database, or it is damaged. Restore it from a backup, or begin a run with another name."
    ) from error
