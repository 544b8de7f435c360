"""What executors of all vendors have in common: circuits are planned, sent, asked for, adopted and cancelled here."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, Generic, TypeVar, Unpack

import numpy as np
from pennylane.devices import ExecutionConfig
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.templates import Fused, Template, fuse, fused, joined
from pennylane_qexec.concurrency.once import OnceCache
from pennylane_qexec.errors import ConfigurationError, JobCancelledError, JobFailedError, checked_seed
from pennylane_qexec.executors.base import Binder
from pennylane_qexec.executors.options import QueueOptions, check_options, lists_options, wires_from
from pennylane_qexec.executors.pennylane.preparation import PreparingExecutor
from pennylane_qexec.executors.queued import QueuedExecutor
from pennylane_qexec.executors.remote.jobs import (
    RemoteBackend,
    RemoteJob,
    RemoteJobs,
    VendorJob,
    abandon,
    batch_with_label,
)
from pennylane_qexec.executors.remote.plans import BatchPlan, PlannedGroup, TemplateProgram, WrongCountsError
from pennylane_qexec.executors.validation import objection_to_counting, objection_to_wires
from pennylane_qexec.job import Bound, Call, JobState, Result, Status, Sweep, Work, only

_MOST_PROGRAMS = 256
_AS_ASKED = Call()

P = TypeVar("P", bound=TemplateProgram)
B = TypeVar("B", bound=RemoteBackend)


class RemoteExecutor(PreparingExecutor, QueuedExecutor, Generic[B, P]):
    """Runs circuits at a vendor in the cloud. Subclass it for a vendor.

    Circuits of one structure are converted once. A batch becomes one or several of the vendor's jobs, which have one id
    here. If one of them cannot be sent, or fails, the others are cancelled.

    A vendor needs:

    - a :class:`RemoteBackend`: ``find`` and ``ask``, to look the backend up and to ask how it is;
    - a :class:`VendorJob`: ``job_id``, ``ask``, ``stop`` and ``download``;
    - a :class:`TemplateProgram`: what circuits of one structure are run as, and what the answers mean, which
      :class:`CountsProgram` knows where outcomes are counted;
    - of the executor: :meth:`program`, :meth:`send` and :meth:`find_job`;
    - if the vendor keeps labels of jobs, such as tags: ``labels``, :meth:`jobs_with_label`, and :attr:`VendorJob.tags`.

    The contract is :class:`pennylane_qexec.testing.QueuedExecutorContract`.

    Args:
        machine: the backend.
        wires: the wires of the executor, a number or labels; ``None`` for whatever wires a circuit has.
        seed: makes the order of samples repeatable.
        options: name, by default the backend's, workers, max_circuits, max_shots, batch_window and cost: see
            :class:`Executor`.
    """

    @lists_options(QueueOptions)
    def __init__(
        self, machine: B, *, wires: Any = None, seed: int | None = None, **options: Unpack[QueueOptions]
    ) -> None:
        check_options(self, options, QueueOptions)
        options["name"] = options.get("name") or machine.name
        super().__init__(**options)
        self.wires = wires_from(wires)
        self.machine = machine
        self._seed = checked_seed(seed)
        self._replica = 0
        self._start()

    @abstractmethod
    def program(self, template: Template) -> P:
        """What circuits of one structure, with any number of shots, are run as. Made once, and kept."""

    @abstractmethod
    def send(self, plan: BatchPlan[P], label: str) -> Iterator[VendorJob]:
        """Send what a batch needs, job by job.

        Args:
            plan: what to run.
            label: what the jobs are to be found by; empty for nothing.

        Yields:
            Each of the vendor's jobs once it is sent. Those sent before one that cannot be sent are cancelled then.
        """

    @abstractmethod
    def find_job(self, job_id: str) -> VendorJob:
        """One of the vendor's jobs that another process has sent.

        Raises:
            ConfigurationError: there is no such job, or the vendor does not find jobs by their ids.
        """

    def jobs_with_label(self, label: str) -> Sequence[VendorJob]:
        """The vendor's jobs with a label, in the order in which they were sent, by whichever process."""
        return ()

    def request_key(self, group: PlannedGroup[P]) -> Hashable:
        """What circuits that are sent together have in common: here, the number of shots."""
        return group.shots

    def batch_seed(self, numbers: Sequence[int]) -> Sequence[int] | None:
        """The seed of what is random in the next batch; ``None`` for none. Here, numbers of circuits do not matter."""
        return None if self._seed is None else [self._seed, self._replica, next(self._numbers)]

    def wrong_number(self, found: int, expected: int) -> Exception:
        """The error when there are not as many answers as the circuits of a job need."""
        return WrongCountsError(f"{found} circuits were counted, and {expected} were asked for")

    def check_adoption(self, job: RemoteJob[P], plan: BatchPlan[P]) -> None:
        """Refuse circuits that a job of another process cannot have been sent with, as far as that is known now.

        Raises:
            ConfigurationError: it has other circuits.
        """

    @property
    def backend(self) -> str:
        """The backend's name."""
        return self.machine.name

    def repeats(self, circuit: QuantumScript) -> bool:
        """No: what the vendor draws has no seed here."""
        return False

    @property
    def has_seed(self) -> bool:
        """Whether the order of samples has one."""
        return self._seed is not None

    def reseed(self, seed: int) -> None:
        """Order samples by this seed."""
        self._seed = seed

    def become_replica(self, number: int) -> None:
        """Draw from a stream of random numbers of this replica's own."""
        self._replica = number + 1

    def status(self) -> Status:
        """What the backend said of itself at most half a minute ago; nothing is asked before the first job."""
        return self.machine.status()

    def rejects(self, circuit: QuantumScript) -> str | None:
        """Why the backend cannot run this circuit, as far as can be told without asking anybody."""
        objection = objection_to_counting(self, circuit) or objection_to_wires(self.wires, circuit)
        return objection or self.machine.objection(circuit)

    def binder(self, config: ExecutionConfig, circuit: QuantumScript) -> Binder:
        """What makes circuits such that Qiskit can express them."""
        from pennylane_qexec.circuits.qiskit.preparation import QiskitBinder

        return QiskitBinder(config, self.wires, exact_shots=True)

    def plan(self, work: Work, seed: Sequence[int] | None = None) -> BatchPlan[P]:
        """What a batch of circuits, or of sweeps, is run as.

        Args:
            work: the batch.
            seed: of what is random in results.
        """
        batches = list(map(self._prepared, work.sweeps)) if work.sweeps else [self._prepared_circuits(work.circuits)]
        bounds = [bound for found, _ in batches for bound in found]
        requests: dict[Hashable, list[PlannedGroup[P]]] = {}
        for group in joined([groups for _, groups in batches]):
            planned = PlannedGroup(group, self._program(group.template))
            requests.setdefault(self.request_key(planned), []).append(planned)
        return BatchPlan(bounds, requests, np.random.SeedSequence(seed))

    def _prepared(self, sweep: Sweep) -> tuple[Sequence[Bound], Sequence[Fused]]:
        """What a sweep is run as: one group, unless its circuits have to be changed for the backend."""
        ready = self.prepared_sweep(sweep, _AS_ASKED)
        if ready is None:
            return self._prepared_circuits(sweep.circuits())
        return [Bound((ready.template,), _AS_ASKED.config, only)] * len(ready), [fused(ready)]

    def _prepared_circuits(self, circuits: Sequence[QuantumScript]) -> tuple[Sequence[Bound], Sequence[Fused]]:
        circuits = [self.with_shots(circuit) for circuit in circuits]
        prepare = self.binder(_AS_ASKED.config, circuits[0])
        bounds = [prepare(circuit) for circuit in circuits]
        return bounds, fuse([one for bound in bounds for one in bound.circuits])

    def submit(self, circuits: Sequence[QuantumScript]) -> str:
        """Send circuits, and return the vendor's id; several, joined by ``+``, if they become several jobs there.

        Raises:
            ConfigurationError: there is no such backend, no access to it, or a circuit does not fit it.
        """
        return self.submit_numbered(circuits, "", ())

    def submit_labelled(self, circuits: Sequence[QuantumScript], label: str) -> str:
        """Send circuits as :meth:`submit` does; the vendor keeps the label, if it can."""
        return self.submit_numbered(circuits, label, ())

    def submit_numbered(self, circuits: Sequence[QuantumScript], label: str, numbers: Sequence[int]) -> str:
        """Send circuits as :meth:`submit_labelled` does, with their numbers; see :meth:`batch_seed`."""
        return self.submit_work(Work(tuple(circuits), numbers=tuple(numbers)), label)

    def submit_work(self, work: Work, label: str = "") -> str:
        """Send a batch of circuits, or of sweeps; of those, templates with matrices, where the vendor takes them."""
        plan = self.plan(work, self.batch_seed(work.row_numbers()))
        sent: list[VendorJob] = []
        try:
            for job in self.send(plan, label if self.labels else ""):
                sent.append(job)
        except BaseException:
            abandon(sent)
            raise
        return self._jobs.add(RemoteJob(sent, plan))

    def perform(self, work: Work) -> Sequence[Result]:
        """Send a batch, wait for it, and fetch the results."""
        if not work.numbers or work.call.method != "execute":
            return super().perform(work)
        return self._awaited(self.submit_work(work))

    def find(self, label: str) -> str | None:
        """The id of the first job with a label, whoever sent it, that has not failed and was not cancelled.

        If a batch needs several jobs, and the sender ended between one and the next, there is no such job, and what
        there is of it is cancelled: the batch has to be sent again.
        """
        return batch_with_label(self.jobs_with_label(label))

    def poll(self, job_id: str) -> JobState:
        """The state of a job, whoever sent it."""
        return self._jobs.get(job_id).state()

    def fetch(self, job_id: str) -> Sequence[Result]:
        """The results of a job that is done; :meth:`adopt` it first if another process sent it.

        Raises:
            JobFailedError: the job failed, or its answers are not those of what was asked for.
            JobCancelledError: the job was cancelled.
            ConfigurationError: it is not known which circuits the job has, or the vendor withholds its results.
        """
        try:
            results = self._results(self._jobs.get(job_id))
        except (JobFailedError, JobCancelledError):
            self._jobs.end(job_id)
            raise
        self._jobs.end(job_id)
        return results

    def cancel(self, job_id: str) -> None:
        """Ask the vendor to stop a job, whoever sent it. Nothing happens if it has ended."""
        self._jobs.get(job_id).cancel()
        self._jobs.end(job_id)

    def adopt(self, job_id: str, circuits: Sequence[QuantumScript]) -> None:
        """Take over a job that another process sent, so that it can be polled and fetched here.

        Args:
            job_id: what :meth:`submit` returned there.
            circuits: the circuits that the job was sent with, in their order.

        Raises:
            ConfigurationError: there is no such job, it cannot be found by its id, or it has other circuits, as far as
                can be told now.
        """
        self.adopt_work(job_id, Work(tuple(circuits)))

    def adopt_work(self, job_id: str, work: Work) -> None:
        """Take over a job of another process that was sent by :meth:`submit_work`; see :meth:`adopt`."""
        plan = self.plan(work, self.batch_seed(()))
        job = self._jobs.get(job_id)
        self.check_adoption(job, plan)
        job.plan = plan

    def _program(self, template: Template) -> P:
        return self._programs.get(template.key_without_shots, lambda: self.program(template.with_own_arrays()))

    def _results(self, job: RemoteJob[P]) -> Sequence[Result]:
        if job.plan is None:
            raise ConfigurationError(
                f"job {job.job_id!r} was sent by another process, and its circuits are not known here: use "
                "recover(job_id, circuits), or adopt(job_id, circuits) before poll and fetch."
            )
        answers = job.answers(self.backend)
        try:
            if len(answers) != job.plan.size:
                raise self.wrong_number(len(answers), job.plan.size)
            return job.plan.results(answers)
        except WrongCountsError as error:
            raise JobFailedError(self.backend, job.job_id, str(error)) from error

    def _start(self) -> None:
        """Begin without jobs, here or in the process that it was sent to."""
        self._jobs: RemoteJobs[P] = RemoteJobs(self.find_job)
        self._programs: OnceCache[P] = OnceCache(_MOST_PROGRAMS)
        self._numbers = itertools.count()

    def __getstate__(self) -> dict[str, Any]:
        dropped = ("_jobs", "_programs", "_numbers")
        return {key: value for key, value in super().__getstate__().items() if key not in dropped}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._start()
