"""Any executor, rehearsed as a QPU in the cloud."""

from __future__ import annotations

import secrets
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import astuple
from typing import Any, Unpack, final

from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.measurement_bases import together
from pennylane_qexec.circuits.mid_circuit import qubits_of
from pennylane_qexec.errors import ConfigurationError, JobCancelledError, JobFailedError, checked_seed
from pennylane_qexec.executors.identity import identity_of
from pennylane_qexec.executors.options import QueueOptions, check_options, lists_options
from pennylane_qexec.executors.queued import QueuedExecutor
from pennylane_qexec.executors.rehearsal import conditions as drifting
from pennylane_qexec.executors.rehearsal.backend import RefusedError, RehearsedBackend, TimelinePlanner
from pennylane_qexec.executors.rehearsal.clocks import clock_of
from pennylane_qexec.executors.rehearsal.conditions import (
    Drift,
    Duration,
    Faults,
    Outages,
    duration,
    faults_of,
    seconds,
)
from pennylane_qexec.executors.rehearsal.jobs import InnerExecutor, RehearsedJob, RehearsedJobs, fingerprint_of
from pennylane_qexec.executors.rehearsal.records import Entry, Location, Records
from pennylane_qexec.executors.shots import objection_to_shots, reshot_sweep
from pennylane_qexec.job import JobState, Result, Status, Usage, Work

_VIRTUAL_POLLS = 0.001  # seconds, in which other threads may submit what they have

Seconds = float | tuple[float, float] | Duration


@final
class Rehearsal(QueuedExecutor):
    """Makes any executor a QPU in the cloud: jobs wait, run for some time, fail, get lost, and are paid for.

    What becomes of a job is settled when it is submitted. Results are computed by the inner executor when they are
    fetched. With a seed, both follow from what the job is, and not from when it comes or which thread brings it: the
    queue time and the faults from the seed, the name, the circuits of the job, and how often they were submitted
    together before; the result of a circuit with shots from the seed, the name (or ``stream``), the circuit, and how
    many results of equal circuits there are. So a program that has crashed and runs again gets the very results, bit
    for bit, that it would have got, in whatever batches its circuits come. For that, the inner executor must be given
    as a spec, and take a ``seed``, as ``"lightning.qubit"``, ``"default.qubit"``, ``"aer"`` and ``"jax"`` do: one is
    built for each circuit with shots. Results of other executors are as repeatable as they make them.

    Args:
        inner: what computes the results: a spec or an executor.
        queue: seconds in the queue: a number, a range ``(low, high)``, or a function of a NumPy generator, such as
            :func:`~pennylane_qexec.executors.rehearsal.lognormal`.
        overhead: seconds that each job takes to start and end, in the same ways.
        shot_time: seconds for each shot.
        circuit_time: seconds for each circuit.
        capacity: how many jobs run at the same time, first come, first served; ``None`` for any number.
        failure_rate: the rate of jobs that fail after they have run; or
            :class:`~pennylane_qexec.executors.rehearsal.Faults` or its arguments, for faults of all kinds.
        outages: pairs ``(begin, end)`` of seconds after the beginning: the backend is offline, submissions are
            refused, and what runs waits. The beginning is that of the virtual clock, of the folder, or of this object.
        outages_kill: what runs when an outage begins fails.
        drift: a :class:`~pennylane_qexec.executors.rehearsal.Drift` or its arguments: bits are read the wrong way
            round, more and more of them. Circuits must have shots then.
        qubits: the most wires of a circuit; ``None`` for any number.
        cost: what jobs are charged, see :class:`Cost`; also those that fail after they have run. One that is
            cancelled is charged for what it has run.
        clock: ``"real"``, or a :class:`VirtualClock`, with which nobody has to wait.
        seed: makes everything repeatable.
        stream: what results are drawn by, in place of the name. Rehearsals with one seed and one stream return the
            same result for the same circuit, whichever of them runs it; do not split shots over them.
        ledger: a file to which every job is written, line by line; see
            :func:`~pennylane_qexec.executors.rehearsal.read_ledger`.
        folder: a folder that plays the provider's part: jobs in it go on when this process ends, and another one with
            the same folder can poll, fetch and cancel them by their ids. One folder for each rehearsal. A seed that is
            not given is drawn, and kept there.
        wires: the wires of an inner executor that is built here and has none of its own.
        name, workers, max_circuits, max_shots, batch_window: see :class:`Executor`; the name's default is
            ``"rehearsal:"`` and the inner executor's name.

    Raises:
        ConfigurationError: an option makes no sense.
    """

    @lists_options(QueueOptions)
    def __init__(
        self,
        inner: Any,
        *,
        queue: Seconds = 0.0,
        overhead: Seconds = 0.0,
        shot_time: float = 0.0,
        circuit_time: float = 0.0,
        capacity: int | None = 1,
        failure_rate: float | Faults | Mapping[str, Any] = 0.0,
        outages: Iterable[tuple[float, float]] = (),
        outages_kill: bool = False,
        drift: Drift | Mapping[str, float] | None = None,
        qubits: int | None = None,
        clock: Any = "real",
        seed: int | None = None,
        stream: str | None = None,
        ledger: Location | None = None,
        folder: Location | None = None,
        wires: Any = None,
        **options: Unpack[QueueOptions],
    ) -> None:
        check_options(self, options, QueueOptions)
        self._seed, repeatable = checked_seed(seed), seed is not None or folder is not None
        self._inner = InnerExecutor(inner, wires, repeatable)
        options["name"] = options.get("name") or f"rehearsal:{self._inner.executor.name}"
        super().__init__(**options)
        self.wires, self.shots = self._inner.executor.wires, self._inner.executor.shots
        self._clock = clock_of(clock)
        if self._clock.virtual:
            self.poll_interval = self.poll_interval_max = _VIRTUAL_POLLS
        self._qubits = _positive(qubits, "qubits")
        self._drift = drifting.drift_of(drift)
        self._stream = stream
        self._faults = faults_of(failure_rate)
        self._records = Records(folder, ledger)
        self._given = repeatable
        began = self._settle_beginning()
        planner = TimelinePlanner(
            began,
            duration(queue, "queue"),
            duration(overhead, "overhead"),
            seconds(shot_time, "shot_time"),
            seconds(circuit_time, "circuit_time"),
            _positive(capacity, "capacity"),
            self._faults,
            Outages(outages),
            outages_kill,
            self._drift,
        )
        self._backend = RehearsedBackend(planner, RehearsedJobs(self._records), self._clock, self.seed)

    @property
    def backend(self) -> str:
        """The name of the inner executor's backend."""
        return self._inner.executor.backend

    @property
    def identity(self) -> str | None:
        """That of the inner executor, the drift, and what chance follows from."""
        inner = self._inner.executor.identity
        if inner is None:
            return None
        drift = None if self._drift is None else astuple(self._drift)
        chance = [self._seed, self._stream or self.name] if self._inner.seeded else None
        return identity_of(self, "rehearsal", (), inner, drift, chance)

    @property
    def dynamic(self) -> bool:
        """Whether the executor inside runs circuits that PennyLane cannot say."""
        return self._drift is None and self._inner.executor.dynamic

    @property
    def equivalence(self) -> Hashable:
        """That of the inner executor, if nothing drifts; else its own."""
        return self._inner.executor.equivalence if self._drift is None else id(self)

    def repeats(self, circuit: QuantumScript) -> bool:
        """Whether nothing drifts, and chance follows from a seed, or is not in the results at all."""
        return self._drift is None and (self._inner.seeded or self._inner.executor.repeats(circuit))

    @property
    def seed(self) -> int:
        """The seed, given or drawn."""
        return self._seed or 0

    @property
    def has_seed(self) -> bool:
        """Whether a seed was given, here or to the inner executor; or there is a folder, which keeps one."""
        return self._given or self._inner.executor.has_seed

    @property
    def streams(self) -> frozenset[Hashable]:
        """The seed with the name. Whoever has given a ``stream`` wants equal results wherever it is."""
        if not self._given or self._stream is not None:
            return self._inner.executor.streams
        return frozenset({("rehearsal", self._seed, self.name)})

    def reseed(self, seed: int) -> None:
        """Have all chance follow from this seed, unless there is a folder, which keeps its own."""
        if self._records.shared:
            return
        if not self._inner.reseed():
            self._inner.executor.reseed(seed)
        self._seed = self._backend.seed = seed
        self._given = True

    @property
    def ledger(self) -> list[Entry]:
        """Every job there was, as it is now, in the order in which they were submitted."""
        return self._backend.entries()

    def usage(self, circuit: QuantumScript) -> Usage:
        """What the inner executor runs for a circuit, at this one's ``cost``; with drift, what is run to be misread."""
        circuit = self.with_shots(circuit)
        if self._drift is not None and drifting.objection(circuit) is None:
            return self.billed(drifting.runs(circuit))
        usage = self._inner.executor.usage(circuit)
        return self.billed((usage.circuits, usage.shots))

    def status(self) -> Status:
        """Whether it is up, how many jobs wait, and how long the next one probably will."""
        return self._backend.status()

    def rejects(self, circuit: QuantumScript) -> str | None:
        """Why this circuit cannot run here, as far as the backend says it before."""
        objection = objection_to_shots(self, circuit)
        if objection is not None:
            return objection
        if self._qubits is not None and qubits_of(circuit) > self._qubits:
            return f"has {self._qubits} qubits"
        circuit = self.with_shots(circuit)
        reason = None if self._drift is None else drifting.objection(circuit)
        return reason or self._inner.executor.rejects(circuit)

    def submit(self, circuits: Sequence[QuantumScript]) -> str:
        """Submit circuits as one job, and settle what will become of it.

        Raises:
            ConnectionError: the backend is offline, or does not take the submission.
            ValueError: it will never take one of the circuits.
        """
        return self.submit_labelled(circuits, "")

    @property
    def labels(self) -> bool:
        """Jobs keep their labels: in the folder for all processes, else in this one."""
        return True

    def submit_labelled(self, circuits: Sequence[QuantumScript], label: str) -> str:
        """Submit circuits as one job, which is found by its label; see :meth:`submit`."""
        return self.submit_work(Work(tuple(circuits)), label)

    def submit_work(self, work: Work, label: str = "") -> str:
        """Submit circuits, or sweeps, as one job; see :meth:`submit`. A row of a sweep counts as its circuit does."""
        sweeps = [reshot_sweep(sweep, self) for sweep in work.sweeps]
        circuits = [circuit for sweep in sweeps for circuit in sweep.circuits()]
        counted = [(sweep.template, len(sweep)) for sweep in sweeps]
        if not sweeps:
            circuits = list(map(self.with_shots, work.circuits))
            counted = [(circuit, 1) for circuit in circuits]
        for circuit in circuits:
            self._check(circuit)
        fingerprints = tuple(fingerprint_of(circuit) for circuit in circuits)
        usages = [(self.usage(circuit), rows) for circuit, rows in counted]
        runs = together([(usage.circuits * rows, usage.shots * rows) for usage, rows in usages])
        job = self._backend.submit(self.name, circuits, fingerprints, runs, self.cost, label)
        job.sweeps = sweeps
        return job.record.job_id

    def find(self, label: str) -> str | None:
        """The id of the first job with a label, whoever submitted it, that has not failed and was not cancelled."""
        return self._backend.find(label)

    def poll(self, job_id: str) -> JobState:
        """The state of a job, whoever submitted it.

        Raises:
            ConnectionError: the backend does not answer, this time.
            ConfigurationError: there is no such job.
        """
        job = self._backend.get(job_id)
        if not job.state(self._clock.now()).final:
            self._clock.waited_for(job, job.end)
            if not self._backend.answers(job):
                raise ConnectionError(f"{self.name!r} did not answer when it was asked how job {job_id!r} is.")
        return job.state(self._clock.now())

    def fetch(self, job_id: str) -> Sequence[Result]:
        """The results of a job that is done.

        Raises:
            ConnectionError: the backend does not answer, this time; or the job is not done yet.
            JobFailedError: the job failed.
            JobCancelledError: the job was cancelled.
            ConfigurationError: there is no such job, or its circuits are not known: see :meth:`adopt`.
        """
        job = self._backend.get(job_id)
        state = job.state(self._clock.now())
        if not state.final:
            raise ConnectionError(f"job {job_id!r} is {state} at {self.name!r}: poll until it is done.")
        if state is not JobState.DONE:
            self._backend.given_up(job)
            if state is JobState.CANCELLED:
                raise JobCancelledError(f"job {job_id!r} was cancelled at {self.name!r}.")
            raise JobFailedError(self.name, job_id, job.reason)
        if not self._backend.answers_with_results(job):
            raise ConnectionError(f"{self.name!r} did not answer when it was asked for the results of job {job_id!r}.")
        with self._clock.standing(), job.computing:
            results = job.results = self._results_of(job) if job.results is None else job.results
        self._backend.delivered(job)
        return results

    def cancel(self, job_id: str) -> None:
        """Stop a job, whoever submitted it. Nothing happens if it has ended."""
        self._backend.cancel(job_id)

    def ran_nothing(self, error: BaseException) -> bool:
        """Whether there was no job, or one that failed before it ran."""
        if isinstance(error, JobFailedError) and error.backend == self.name:
            return not self._backend.get(error.job_id).ran
        return isinstance(error, RefusedError)

    def adopt(self, job_id: str, circuits: Sequence[QuantumScript]) -> None:
        """Take over a job that another process submitted, so that its results can be computed here.

        Raises:
            ConfigurationError: there is no such job, or it has other circuits.
        """
        job = self._backend.get(job_id)
        circuits = [self.with_shots(circuit) for circuit in circuits]
        if tuple(map(fingerprint_of, circuits)) != job.record.fingerprints:
            raise ConfigurationError(f"job {job_id!r} has other circuits: give those that it was submitted with.")
        job.circuits, job.ours = circuits, True

    def close(self) -> None:
        """Close the inner executor. Jobs that are in flight go on, as those of a real backend do."""
        self._inner.executor.close()

    def __reduce__(self) -> Any:
        raise TypeError(
            f"rehearsal {self.name!r} has jobs, and cannot be copied or sent to another process: build it there, with "
            "the same folder= if it is to find them."
        )

    def _results_of(self, job: RehearsedJob) -> Sequence[Result]:
        """The results of a job: those that are kept, or else computed now."""
        record = job.record
        results = self._records.results(record.job_id)
        if results is not None:
            return results
        circuits = job.circuits or self._records.circuits(record.job_id)
        if circuits is None:
            raise ConfigurationError(
                f"the circuits of job {record.job_id!r} are not known here: use recover(job_id, circuits), or "
                "adopt(job_id, circuits) before fetch."
            )
        stream = record.executor if self._stream is None else self._stream
        numbered = zip(record.fingerprints, record.numbers, strict=True)
        chances = [(self.seed, stream, one, number) for one, number in numbered]
        flips = None if self._drift is None else record.flips
        results = self._inner.results(circuits, chances, flips, job.sweeps)
        self._records.keep_results(record.job_id, results)
        return results

    def _check(self, circuit: QuantumScript) -> None:
        """Refuse what the backend does not take."""
        reason = self.rejects(circuit)
        if reason is not None:
            raise ValueError(f"{self.name!r} does not take the circuit: it {reason}.")
        if self._faults.rejected is not None and self._faults.rejected(circuit):
            raise ValueError(f"{self.name!r} rejects this circuit of {len(circuit.operations)} operations.")

    def _settle_beginning(self) -> float:
        """When the backend began; in a folder, what is written there, with the seed."""
        began = 0.0 if self._clock.virtual else self._clock.now()
        given = self._seed
        if given is None:
            self._seed = secrets.randbits(63)
        began, self._seed = self._records.beginning(began, self.seed)
        if given not in (None, self._seed):
            raise ConfigurationError(f"seed={given}: the jobs in the folder of {self.name!r} have another one.")
        return began


def _positive(value: Any, option: str) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ConfigurationError(f"{option}={value!r} must be a whole number of at least 1, or None for no limit.")
    return value
