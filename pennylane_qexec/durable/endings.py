"""What is written down of how jobs end: results as text, and what all attempts have cost."""

from __future__ import annotations

import logging

from pennylane_qexec.durable.entry import Entry
from pennylane_qexec.durable.replayed import UNRECORDED
from pennylane_qexec.errors import ConfigurationError, ExecutorError
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.job import Job, Outcome
from pennylane_qexec.store import Ended, StoredJob
from pennylane_qexec.written import result_text

logger = logging.getLogger("pennylane_qexec")


def ended(row: StoredJob, outcome: Outcome, before: int | None = None) -> Ended:
    """How a job ended.

    Args:
        row: the job.
        outcome: what came of it.
        before: attempts made before those of this process; ``None`` if it made none, but fetched what was there.
    """
    attempts = max(1, outcome.attempt)  # 0 from a cache, at no cost
    result, error = _result_text(outcome)
    return Ended(
        row.id,
        result,
        error,
        started=float(outcome.started),
        finished=float(outcome.finished),
        seconds=float(outcome.seconds),
        cost=float(outcome.cost) * (1 if before is None else attempts),
        executor=outcome.executor,
        backend=outcome.backend,
        attempt=attempts + (before or 0),
        shots=int(outcome.shots),
        circuits=int(outcome.circuits),
    )


def failed(entry: Entry, error: BaseException) -> Ended:
    """How an entry failed: each attempt counts as what it would have cost.

    Args:
        entry: the entry.
        error: what its caller is told.
    """
    if not isinstance(error, ExecutorError):
        return Ended(entry.row.id, error=repr(error))
    executor = entry.asking.engine.executor(error.executor)
    price = 0.0
    if executor is not None:
        price = _price(executor, entry.job)
    return Ended(
        entry.row.id,
        error=repr(error),
        cost=float(price) * error.attempt,
        executor=error.executor,
        backend=None if executor is None else executor.backend,
        attempt=max(1, error.attempt + (entry.before or 0)),
    )


def _price(executor: Executor, job: Job) -> float:
    """What an attempt costs, whatever time it takes."""
    usage, charges = executor.usage_of(job.circuit, job.call), executor.charges(job.circuit, job.call)
    return charges.of(usage.circuits, usage.shots, 0.0) if charges.per_second or usage.cost is None else usage.cost


def _result_text(outcome: Outcome) -> tuple[str | None, str]:
    """A result as text; or why it has none."""
    try:
        return result_text(outcome.result), ""
    except ConfigurationError as error:
        logger.warning("a result cannot be recorded, and its circuit will run again: %s", error)
        return None, f"{UNRECORDED}: {error}"
