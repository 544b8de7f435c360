"""What a rehearsal records: each job when it is submitted, and what the backend has executed."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.serialization import circuit_of, circuit_text, result_of, result_text
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.job import JobState, Result

Location = str | os.PathLike[str]

_JOB, _STOP, _FETCHED, _RESULTS = ".job.json", ".stopped.json", ".fetched.json", ".results.json"
_BACKEND = "backend.json"


@dataclass(frozen=True)
class JobRecord:
    """A job and its timeline, as it will be if nothing stops it. Times are those of the executor's clock.

    Attributes:
        job_id: the job's id.
        executor: the executor's name.
        fingerprints: of the circuits, in order.
        numbers: of each circuit, how many results of equal circuits are drawn already.
        shots: of each circuit; 0 for an analytic one.
        submitted: when it was submitted.
        started: when it leaves the queue.
        ended: when it has run.
        done: when that is known.
        fate: the state it ends in.
        reason: why it fails.
        ran: whether it runs at all, or in part.
        executed: the shots that it runs, all together.
        charge: what that costs, in US dollars.
        unanswered: how often its results cannot be fetched.
        flips: the probability that a bit is read the wrong way round.
        label: what it was submitted with; empty if with none.
    """

    job_id: str
    executor: str
    fingerprints: tuple[str, ...]
    numbers: tuple[int, ...]
    shots: tuple[int, ...]
    submitted: float
    started: float
    ended: float
    done: float
    fate: JobState
    reason: str
    ran: bool
    executed: int
    charge: float
    unanswered: int
    flips: float
    label: str = ""
    runs: tuple[int, int] = (0, 0)

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> JobRecord:
        """The record that was written."""
        lists = {name: tuple(plain[name]) for name in ("fingerprints", "numbers", "shots", "runs") if name in plain}
        return cls(**{**plain, **lists, "fate": JobState(plain["fate"])})

    def progress(self, moment: float) -> float:
        """How much of its run is over at a moment, from 0 to 1."""
        if moment >= self.ended:
            return 1.0
        return 0.0 if moment <= self.started else (moment - self.started) / (self.ended - self.started)


@dataclass(frozen=True)
class Stop:
    """What ends a job before its time.

    Attributes:
        at: when.
        state: the state it is in from then on.
        reason: why.
        charged: whether what it has run until then has to be paid for.
    """

    at: float
    state: JobState
    reason: str
    charged: bool

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> Stop:
        """The stop that was written."""
        return cls(**{**plain, "state": JobState(plain["state"])})


def state_at(record: JobRecord, stop: Stop | None, moment: float) -> JobState:
    """The state of a job at a moment."""
    if stop is not None and moment >= stop.at:
        return stop.state
    if moment >= record.done:
        return record.fate
    return JobState.RUNNING if moment >= record.started else JobState.WAITING


class Records:
    """What outlives the process of jobs: files in a folder, where others find them, and lines in a ledger.

    In the folder, every file is written once and never changed, and is there as a whole or not at all, so that no
    process has to wait for another one: of two that write the same file, the first one counts. In the ledger, a line is
    added for each event, which is on the disk before anything else happens.

    Args:
        folder: the folder's path, which is made if need be; ``None`` for none: then there are no jobs of others.
        ledger: the ledger's path, which is appended to; ``None`` to write none.
    """

    def __init__(self, folder: Location | None = None, ledger: Location | None = None) -> None:
        self._folder = None if folder is None else Path(folder)
        self._ledger = None if ledger is None else Path(ledger)
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)

    @property
    def shared(self) -> bool:
        """Whether other processes may have jobs of the same backend."""
        return self._folder is not None

    def beginning(self, began: float, seed: int) -> tuple[float, int]:
        """When the backend began, and its seed: those given, unless others have begun before."""
        self._write_file(_BACKEND, {"began": began, "seed": seed})
        said = self._read_file(_BACKEND) or {"began": began, "seed": seed}
        return said["began"], said["seed"]

    def ids(self) -> list[str]:
        """The ids of all jobs, in no order."""
        names = [] if self._folder is None else os.listdir(self._folder)
        return [unquote(name.removesuffix(_JOB)) for name in names if name.endswith(_JOB)]

    def add(self, record: JobRecord, circuits: Sequence[QuantumScript]) -> bool:
        """Keep a job; says whether it is the first of its id. Circuits that cannot be written are not kept."""
        texts = _texts(circuit_text, circuits) if self.shared else None
        first = self._write_file(_file(record.job_id, _JOB), {"job": asdict(record), "circuits": texts})
        if first:
            self._log("submitted", job=asdict(record))
        return first

    def complete(self, records: Iterable[JobRecord]) -> None:
        """Note the jobs of processes that were killed before they could."""
        ledger = self._ledger
        noted = {job.job_id for job in read_ledger(ledger)} if ledger is not None and ledger.exists() else set()
        for record in records:
            if record.job_id not in noted:
                self._log("submitted", job=asdict(record))

    def stop(self, job_id: str, stop: Stop) -> Stop:
        """Stop a job. Returns what really stopped it: somebody may have done so before."""
        self._write_file(_file(job_id, _STOP), asdict(stop))
        real = self.stopped(job_id) or stop
        self._log("stopped", job_id=job_id, stop=asdict(real))
        return real

    def fetch(self, job_id: str) -> None:
        """Note that the results of a job were fetched."""
        self._write_file(_file(job_id, _FETCHED), {})
        self._log("fetched", job_id=job_id)

    def keep_results(self, job_id: str, results: Sequence[Result]) -> None:
        """Keep the results of a job, if there is a folder, and they can be written."""
        texts = _texts(result_text, results) if self.shared else None
        if texts is not None:
            self._write_file(_file(job_id, _RESULTS), texts)

    def job(self, job_id: str) -> JobRecord | None:
        """A job; ``None`` if there is no such job."""
        said = self._read_file(_file(job_id, _JOB))
        return None if said is None else JobRecord.of_plain(said["job"])

    def circuits(self, job_id: str) -> list[QuantumScript] | None:
        """The circuits of a job; ``None`` if they are not kept."""
        texts = (self._read_file(_file(job_id, _JOB)) or {}).get("circuits")
        return None if texts is None else [circuit_of(text) for text in texts]

    def results(self, job_id: str) -> list[Result] | None:
        """The results of a job; ``None`` if they are not kept."""
        texts = self._read_file(_file(job_id, _RESULTS))
        return None if texts is None else [result_of(text) for text in texts]

    def stopped(self, job_id: str) -> Stop | None:
        """What stopped a job."""
        said = self._read_file(_file(job_id, _STOP))
        return None if said is None else Stop.of_plain(said)

    def fetched(self, job_id: str) -> bool:
        """Whether the results of a job were fetched."""
        return self._folder is not None and (self._folder / _file(job_id, _FETCHED)).exists()

    def _read_file(self, name: str) -> Any:
        """What a file in the folder says; ``None`` if there is none."""
        if self._folder is None:
            return None
        try:
            return json.loads((self._folder / name).read_bytes())
        except FileNotFoundError:
            return None

    def _write_file(self, name: str, content: Any) -> bool:
        """Write a file unless it is there; says whether it was not. Without a folder, it never is."""
        if self._folder is None:
            return True
        handle, draft = tempfile.mkstemp(dir=self._folder, suffix=".draft")
        try:
            with os.fdopen(handle, "w") as file:
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, self._folder / name)
        except FileExistsError:
            return False
        finally:
            os.unlink(draft)
        return True

    def _log(self, event: str, **content: Any) -> None:
        """Add a line to the ledger."""
        if self._ledger is None:
            return
        line = json.dumps({"event": event, **content}) + "\n"
        with self._ledger.open("a+b", buffering=0) as file:
            file.write((_end_of_torn_line(file) + line).encode())
            os.fsync(file.fileno())


def _file(job_id: str, suffix: str) -> str:
    return quote(job_id, safe="") + suffix


def _texts(write: Callable[[Any], str], values: Sequence[Any]) -> list[str] | None:
    try:
        return [write(value) for value in values]
    except ConfigurationError:
        return None


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


def entry(record: JobRecord, stop: Stop | None, fetched: bool, moment: float) -> Entry:
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


def _end_of_torn_line(file: Any) -> str:
    """What has to be written first if the last process was killed in the middle of a line."""
    if file.seek(0, os.SEEK_END) == 0:
        return ""
    file.seek(-1, os.SEEK_END)
    return "" if file.read(1) == b"\n" else "\n"


def read_ledger(path: Location, moment: float = math.inf) -> list[Entry]:
    """What a rehearsal has written to its ledger, whether its process lives or not.

    Args:
        path: of the file.
        moment: the time at which the jobs are looked at; default: after all of them have ended.

    Returns:
        The jobs, in the order in which they were submitted.
    """
    records: dict[str, JobRecord] = {}
    stops: dict[str, Stop] = {}
    fetched: set[str] = set()
    for line in Path(path).read_bytes().splitlines():
        try:
            event: Mapping[str, Any] = json.loads(line)
        except ValueError:
            continue  # the writer was killed in the middle of it, before anything came of it
        if event["event"] == "submitted":
            records[event["job"]["job_id"]] = JobRecord.of_plain(event["job"])
        elif event["event"] == "stopped":
            stops.setdefault(event["job_id"], Stop.of_plain(event["stop"]))
        elif event["event"] == "fetched":
            fetched.add(event["job_id"])
    return [entry(record, stops.get(job_id), job_id in fetched, moment) for job_id, record in records.items()]
