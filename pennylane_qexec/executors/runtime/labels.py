"""Labels of jobs at Qiskit Runtime: tags, by which another process finds what was sent."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any

from pennylane_qexec.executors.runtime.jobs import state_of
from pennylane_qexec.executors.underway import joined
from pennylane_qexec.job import JobState

_PART = re.compile(r"part-(\d+)-of-(\d+)")
_LOST = (JobState.FAILED, JobState.CANCELLED)

logger = logging.getLogger("pennylane_qexec")


def tags_of(label: str, part: int, parts: int) -> list[str]:
    """The tags of one of the jobs that are sent for a batch.

    Args:
        label: of the batch; empty for none.
        part: which of the jobs it is, from 1.
        parts: how many there are.
    """
    if not label:
        return []
    return [label] if parts == 1 else [label, f"part-{part}-of-{parts}"]


def found(jobs: Sequence[Any]) -> str | None:
    """The id of the first batch that has not failed; parts of one that is not complete are cancelled.

    Args:
        jobs: the jobs with the label of the batch, in the order in which they were sent.
    """
    alive = [job for job in jobs if state_of(job) not in _LOST]
    parts: dict[int, Any] = {}
    needed = 0
    for job in alive:
        number, needed = _part(job)
        parts.setdefault(number, job)
    if len(parts) == needed:
        return joined(parts[number].job_id() for number in sorted(parts)) or None
    for job in alive:
        _cancel(job)
    return None


def _part(job: Any) -> tuple[int, int]:
    """Which part of its batch a job is, and of how many."""
    for tag in job.tags or ():
        if match := _PART.fullmatch(tag):
            return int(match[1]), int(match[2])
    return 1, 1


def _cancel(job: Any) -> None:
    try:
        if not state_of(job).final:
            job.cancel()
    except Exception as error:  # it runs for nothing, which is no reason not to send the batch again
        logger.warning("job %r is of no use any more, and could not be cancelled (%r)", job.job_id(), error)
