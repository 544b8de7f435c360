"""What a backend has executed: a table in this process, and a file that survives it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pennylane_qexec.executors.rehearsal.record import Record, Stop, state_at
from pennylane_qexec.job import JobState


@dataclass(frozen=True)
class Entry:
    """A job in the ledger. Times are those of the executor's clock.

    Attributes:
        job_id: the job's id.
        executor: the executor's name.
        fingerprints: of the job's circuits, in order.
        shots: that were asked for, by circuit.
        state: of the job.
        submitted: when it was submitted.
        started: when it left the queue; ``None`` if it has not.
        ended: when it ended; ``None`` if it has not.
        executed: the shots that were really run.
        cost: what is charged, in US dollars.
        reason: why it failed or was cancelled.
        fetched: whether its results were.
        label: what it was submitted with; empty if with none.
    """

    job_id: str
    executor: str
    fingerprints: tuple[str, ...]
    shots: tuple[int, ...]
    state: JobState
    submitted: float
    started: float | None
    ended: float | None
    executed: int
    cost: float
    reason: str
    fetched: bool
    label: str = ""


def entry(record: Record, stop: Stop | None, fetched: bool, moment: float) -> Entry:
    """A job as it is at a moment."""
    state = state_at(record, stop, moment)
    if stop is not None and moment >= stop.at:
        over, reason = stop.at, stop.reason
        run = record.progress(over)
        cost = record.charge * run if stop.charged else 0.0
    else:
        over, reason = record.done, record.reason if state.final else ""
        run = record.progress(moment)
        cost = record.charge if state.final else 0.0
    return Entry(
        record.job_id,
        record.executor,
        record.fingerprints,
        record.shots,
        state,
        record.submitted,
        record.started if min(moment, over) >= record.started else None,
        over if state.final else None,
        int(run * record.executed),
        cost,
        reason,
        fetched,
        record.label,
    )


class LedgerFile:
    """Writes what happens, a line for each event, each of which is on the disk before anything else happens.

    Args:
        path: of the file, which is appended to; ``None`` to write nothing.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self._path = None if path is None else Path(path)

    def write(self, event: str, **content: Any) -> None:
        """Add a line."""
        if self._path is None:
            return
        line = json.dumps({"event": event, **content}) + "\n"
        with self._path.open("a+b", buffering=0) as file:
            file.write((_end_of_torn_line(file) + line).encode())
            os.fsync(file.fileno())

    def job_ids(self) -> set[str]:
        """The ids of the jobs that are written there."""
        if self._path is None or not self._path.exists():
            return set()
        return {job.job_id for job in read_ledger(self._path)}


def _end_of_torn_line(file: Any) -> str:
    """What has to be written first if the last process was killed in the middle of a line."""
    if file.seek(0, os.SEEK_END) == 0:
        return ""
    file.seek(-1, os.SEEK_END)
    return "" if file.read(1) == b"\n" else "\n"


def read_ledger(path: str | os.PathLike[str], moment: float = math.inf) -> list[Entry]:
    """What a rehearsal has written to its ledger, whether its process lives or not.

    Args:
        path: of the file.
        moment: the time at which the jobs are looked at; default: after all of them have ended.

    Returns:
        The jobs, in the order in which they were submitted.
    """
    records: dict[str, Record] = {}
    stops: dict[str, Stop] = {}
    fetched: set[str] = set()
    for line in Path(path).read_bytes().splitlines():
        try:
            event: Mapping[str, Any] = json.loads(line)
        except ValueError:
            continue  # the writer was killed in the middle of it, before anything came of it
        if event["event"] == "submitted":
            records[event["job"]["job_id"]] = Record.of_plain(event["job"])
        elif event["event"] == "stopped":
            stops.setdefault(event["job_id"], Stop.of_plain(event["stop"]))
        elif event["event"] == "fetched":
            fetched.add(event["job_id"])
    return [entry(record, stops.get(job_id), job_id in fetched, moment) for job_id, record in records.items()]
