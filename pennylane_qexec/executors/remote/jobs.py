"""A vendor's backend, and jobs there: how they are going, what came back, how another process finds them."""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from pennylane.tape import QuantumScript

from pennylane_qexec.errors import ConfigurationError, JobCancelledError, JobFailedError
from pennylane_qexec.executors.remote.plans import BatchPlan, TemplateProgram
from pennylane_qexec.job import JobState, Status

_FRESH = 30.0  # seconds for which what a backend says of itself is believed

logger = logging.getLogger("pennylane_qexec")


class RemoteBackend(ABC):
    """A vendor's backend, which is looked up when the first job is sent, and kept.

    Args:
        name: its name.
        found: the vendor's object, if it is known already.

    Attributes:
        name: its name, for tables.
    """

    def __init__(self, name: str, found: Any = None) -> None:
        self.name = name
        self._lock = threading.RLock()
        self._found = found
        self._asked = -math.inf
        self._status = Status()

    @abstractmethod
    def find(self) -> Any:
        """Look it up at the vendor, or build it.

        Raises:
            ConfigurationError: there is none, or no access to it.
        """

    @abstractmethod
    def ask(self) -> Status:
        """Ask the vendor how it is, once it is known."""

    def backend(self) -> Any:
        """The vendor's object."""
        with self._lock:
            if self._found is None:
                self._found = self.find()
            return self._found

    @property
    def known(self) -> Any:
        """The vendor's object; ``None`` if the vendor would have to be asked for it."""
        return self._found

    def status(self) -> Status:
        """What it said of itself at most half a minute ago; nothing is asked before the first job."""
        if self._found is None or time.monotonic() - self._asked < _FRESH:
            return self._status
        self._asked = time.monotonic()
        try:
            self._status = self.ask()
        except Exception as error:  # the network; a job that is sent now will say more
            logger.warning("backend %r did not say how it is (%s)", self.name, type(error).__name__)
        return self._status

    def objection(self, circuit: QuantumScript) -> str | None:
        """Why a circuit does not fit it, as far as is known without asking the vendor."""
        known = self.known
        if known is None or known.num_qubits is None or len(circuit.wires) <= known.num_qubits:
            return None
        return f"has {known.num_qubits} qubits"


STATES = {
    "INITIALIZING": JobState.WAITING,
    "QUEUED": JobState.WAITING,
    "VALIDATING": JobState.WAITING,
    "RUNNING": JobState.RUNNING,
    "CANCELLED": JobState.CANCELLED,
}
"""What Qiskit Runtime and qBraid both call states of jobs."""

_JOINT = "+"
_PART = re.compile(r"part-(\d+)-of-(\d+)")
_LOST = (JobState.FAILED, JobState.CANCELLED)
_REMEMBERED = 8

P = TypeVar("P", bound=TemplateProgram)


class VendorJob(ABC):
    """One job at a vendor. One that has ended is not asked any more.

    For a vendor, give :attr:`job_id`, :meth:`ask`, :meth:`stop` and :meth:`download`. Besides: :attr:`tags` if it keeps
    labels of jobs, and :meth:`reason` if it says elsewhere than in its error why a job has failed.

    Attributes:
        polled_together: whether it is asked for even while a job before it goes on, so that its failure is known at
            once; here it is not, for a batch may have become many jobs.
    """

    polled_together = False

    def __init__(self) -> None:
        self._state = JobState.WAITING

    @property
    @abstractmethod
    def job_id(self) -> str:
        """The vendor's id of it."""

    @abstractmethod
    def ask(self) -> JobState:
        """Ask the vendor how it is going."""

    @abstractmethod
    def stop(self) -> None:
        """Ask the vendor to stop it."""

    @abstractmethod
    def download(self, backend: str) -> Sequence[Any] | None:
        """Ask the vendor for its answers: one for each thing that was sent, in order; ``None`` if there are none.

        Args:
            backend: the backend's name, for errors.

        Raises:
            ConfigurationError: the vendor withholds them, so that asking again is of no use.
        """

    @property
    def tags(self) -> Sequence[str]:
        """The tags that it was sent with, see :func:`label_tags`."""
        return ()

    @property
    def is_lost(self) -> bool:
        """Whether it had failed, or was cancelled, when it was last asked for."""
        return self._state in _LOST

    @property
    def has_ended(self) -> bool:
        """Whether it need not be asked any more how it is."""
        return self._state.final

    def reason(self, error: Exception | None) -> str:
        """Why it has failed.

        Args:
            error: what :meth:`download` raised, if it did.
        """
        return "" if error is None else str(error)

    def state(self) -> JobState:
        """How it is going."""
        if not self.has_ended:
            self._state = self.ask()
        return self._state

    def cancel(self) -> None:
        """Stop it, unless it has ended."""
        if not self.state().final:
            self.stop()

    def answers(self, backend: str) -> Sequence[Any]:
        """Its answers.

        Args:
            backend: the backend's name, for errors.

        Raises:
            JobFailedError: it failed.
            JobCancelledError: it was cancelled.
            ConfigurationError: the vendor withholds them.
        """
        state = self.state()
        if state is JobState.CANCELLED:
            raise JobCancelledError(f"job {self.job_id!r} was cancelled at {backend!r}.")
        try:
            found = self.download(backend)
        except ConfigurationError:
            raise
        except Exception as error:
            if state is not JobState.FAILED:
                raise
            raise JobFailedError(backend, self.job_id, self.reason(error)) from error
        if found is None or state is JobState.FAILED:
            raise JobFailedError(backend, self.job_id, self.reason(None))
        return found


class RemoteJob(Generic[P]):
    """What was sent for a batch: one or several jobs at the vendor, with one id.

    Args:
        parts: the vendor's jobs, in the order in which they were sent.
        plan: what they run; ``None`` if that is not known here.
    """

    def __init__(self, parts: Sequence[VendorJob], plan: BatchPlan[P] | None) -> None:
        self.parts = parts
        self.plan = plan

    @property
    def job_id(self) -> str:
        """The vendor's id; several, joined, where there are several jobs."""
        return _joined(self.parts)

    def state(self) -> JobState:
        """How it is going. All jobs have to be done, and one that fails is enough; see :class:`VendorJob`."""
        states: list[JobState] = []
        for part in self.parts:
            if states and states[-1] is not JobState.DONE and not part.polled_together:
                break
            states.append(part.state())
        lost = [state for state in states if state in _LOST]
        if lost or len(set(states)) == 1:
            return (lost or states)[0]
        return JobState.RUNNING

    def cancel(self) -> None:
        """Stop what has not ended. What hinders one from being stopped is raised when the others are."""
        failures = []
        for part in self.parts:
            try:
                part.cancel()
            except Exception as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def answers(self, backend: str) -> list[Any]:
        """The answers of all jobs. If one has failed, those that go on are not waited for, but cancelled.

        Raises:
            JobFailedError: a job failed.
            JobCancelledError: a job was cancelled.
            ConfigurationError: the vendor withholds them.
        """
        try:
            order = sorted(range(len(self.parts)), key=lambda index: not self.parts[index].is_lost)
            answers = {index: self.parts[index].answers(backend) for index in order}
            return [answer for index in sorted(answers) for answer in answers[index]]
        except (JobFailedError, JobCancelledError):
            abandon(self.parts)
            raise


class RemoteJobs(Generic[P]):
    """What was sent, by its id; of what has ended, only the last ones are remembered.

    Args:
        find: finds one of the vendor's jobs, which another process has sent, by its id.
    """

    def __init__(self, find: Callable[[str], VendorJob]) -> None:
        self._find = find
        self._lock = threading.Lock()
        self._going: dict[str, RemoteJob[P]] = {}
        self._ended: OrderedDict[str, RemoteJob[P]] = OrderedDict()

    def add(self, job: RemoteJob[P]) -> str:
        """Remember what was sent, and return its id."""
        job_id = job.job_id
        with self._lock:
            self._going[job_id] = job
        return job_id

    def get(self, job_id: str) -> RemoteJob[P]:
        """What was sent with an id, by whichever process."""
        with self._lock:
            job = self._going.get(job_id) or self._ended.get(job_id)
        if job is None:
            job = RemoteJob([self._find(one) for one in job_id.split(_JOINT)], None)
            self.add(job)
        return job

    def end(self, job_id: str) -> None:
        """It need not be remembered for long."""
        with self._lock:
            job = self._going.pop(job_id, None)
            if job is not None:
                self._ended[job_id] = job
            while len(self._ended) > _REMEMBERED:
                self._ended.popitem(last=False)


def abandon(jobs: Iterable[VendorJob]) -> None:
    """Cancel jobs that nobody waits for. What cannot be cancelled runs for nothing, and hinders nobody."""
    for job in jobs:
        try:
            job.cancel()
        except Exception as error:
            logger.warning("job %r is of no use any more, and could not be cancelled (%r)", job.job_id, error)


def label_tags(label: str, part: int, parts: int) -> list[str]:
    """The tags of one of the jobs that are sent for a batch, by which :func:`batch_with_label` finds them.

    Args:
        label: of the batch; empty for none.
        part: which of the jobs it is, from 1.
        parts: how many there are.
    """
    if not label:
        return []
    return [label] if parts == 1 else [label, f"part-{part}-of-{parts}"]


def batch_with_label(jobs: Iterable[VendorJob]) -> str | None:
    """The id of the first batch that has not failed; parts of one that is not complete are cancelled.

    Args:
        jobs: the jobs with the label of the batch, in the order in which they were sent.
    """
    alive = [job for job in jobs if job.state() not in _LOST]
    parts: dict[int, VendorJob] = {}
    needed = 0
    for job in alive:
        number, needed = _part(job)
        parts.setdefault(number, job)
    if len(parts) == needed:
        return _joined([parts[number] for number in sorted(parts)]) or None
    abandon(alive)
    return None


def _part(job: VendorJob) -> tuple[int, int]:
    """Which part of its batch a job is, and of how many."""
    for tag in job.tags:
        if match := _PART.fullmatch(tag):
            return int(match[1]), int(match[2])
    return 1, 1


def _joined(jobs: Iterable[VendorJob]) -> str:
    return _JOINT.join(job.job_id for job in jobs)
