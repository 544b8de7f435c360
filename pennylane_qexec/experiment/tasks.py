"""What an experiment runs: a task for each circuit of each job, checked before anything is sent.

A circuit's *share plan* says in which form its shares are run, so that what comes back can be put together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.frameworks import Program, read
from pennylane_qexec.circuits.frameworks.builder import Bits, Order
from pennylane_qexec.engine import AskedFuture
from pennylane_qexec.errors import ConfigurationError, ExecutorError, PolicyError, QExecError
from pennylane_qexec.executors import Executor
from pennylane_qexec.experiment.dispatch import Dispatch
from pennylane_qexec.job import JobState, Outcome, Result
from pennylane_qexec.policies import merges
from pennylane_qexec.providers import Backend
from pennylane_qexec.redaction import scrub

ShareResult = tuple[Result, ...]
"""What the circuits of one share returned."""


def with_shots(circuit: QuantumScript, shots: int | None) -> QuantumScript:
    """The circuit with shots, of the same operators: PennyLane's ``copy`` would copy each of them."""
    return QuantumScript(circuit.operations, circuit.measurements, shots=shots)


class SharePlan:
    """How the shares of a circuit are run and put together: as it is, with results that cannot be put together.

    Args:
        circuit: the circuit.

    Attributes:
        circuit: the same.
    """

    def __init__(self, circuit: QuantumScript) -> None:
        self.circuit = circuit
        self._with_shots: dict[int | None, QuantumScript] = {}

    def circuits(self, shots: int | None, share: int) -> list[QuantumScript]:
        """What to run for one share of the circuit's shots.

        Args:
            shots: the share's shots; ``None`` for an analytic circuit.
            share: number of the share; classical shadows of different shares draw different recipes.
        """
        if shots not in self._with_shots:
            self._with_shots[shots] = with_shots(self.circuit, shots)
        return [self._with_shots[shots]]

    def joined(self, parts: Sequence[ShareResult]) -> Result:
        """The result of one or more shares together: exactly that of one backend with all their shots.

        Raises:
            PolicyError: results of this circuit cannot be put together.
        """
        if len(parts) > 1:
            raise PolicyError(
                f"results of {self.circuit.measurements} cannot be put together: merge 'per_backend', or send the "
                "circuit to one backend."
            )
        return parts[0][0]


class CountsPlan(SharePlan):
    """A circuit of which outcomes are counted.

    Args:
        circuit: the circuit.
        bits: how its outcomes are written.
        order: in which order of bits.

    Attributes:
        bits: how its outcomes are written.
        order: in which order of bits.
    """

    def __init__(self, circuit: QuantumScript, bits: Bits, order: Order) -> None:
        super().__init__(circuit)
        self.bits, self.order = bits, order

    def joined(self, parts: Sequence[ShareResult]) -> dict[str, int]:
        total: Counter[str] = Counter()
        for (counts,) in parts:
            total.update({outcome: int(number) for outcome, number in counts.items() if number})
        return dict(sorted(self.bits.write(total, self.order).items()))


class SamplesPlan(SharePlan):
    """A circuit whose measurements are evaluated on the samples of all its shares.

    Args:
        circuit: the circuit.
        plan: how shares are run and joined.
    """

    def __init__(self, circuit: QuantumScript, plan: merges.Plan) -> None:
        super().__init__(circuit)
        self._plan = plan

    def circuits(self, shots: int | None, share: int) -> list[QuantumScript]:
        return self._plan.share(share, shots)

    def joined(self, parts: Sequence[ShareResult]) -> Result:
        return self._plan.join([Outcome(part, "", 0) for part in parts])


class RecordedPlan(SharePlan):
    """A circuit of which nothing but results is known.

    Args:
        circuit: its number.
    """

    def __init__(self, circuit: int) -> None:
        self._number = circuit

    def circuits(self, shots: int | None, share: int) -> list[QuantumScript]:
        raise PolicyError("a merge (circuit, outcomes) -> result needs the circuits, and only results are known here.")

    def joined(self, parts: Sequence[ShareResult]) -> Result:
        results = [result for (result,) in parts]
        if len(results) == 1:
            return results[0]
        if not all(isinstance(result, Mapping) for result in results):
            raise PolicyError(
                f"circuit {self._number} has several results that are no counts, and its samples were not kept."
            )
        total: Counter[str] = Counter()
        for counts in results:
            total.update(counts)
        return dict(sorted(total.items()))


def plan_of(program: Program, shots: int | None, order: Order) -> SharePlan:
    """How the shares of a circuit are run.

    Args:
        program: the circuit.
        shots: all its shots; ``None`` if it is analytic.
        order: how bit strings are written.
    """
    if program.bits is not None:
        return CountsPlan(program.circuit, program.bits, order)
    plan = merges.pooled.plan(program.circuit.copy(shots=shots)) if shots else None
    return SharePlan(program.circuit) if plan is None else SamplesPlan(program.circuit, plan)


_LONGEST = 400


@dataclass(frozen=True)
class Record:
    """One circuit on one backend, as it is at the moment.

    Attributes:
        job: number of the dispatch's job that it belongs to, from 0.
        circuit: number of the circuit in the experiment, from 0.
        provider: name of the provider.
        backend: name of the backend.
        shots: the shots asked for.
        state: whether it waits, runs, is done, failed or cancelled.
        result: counts by bit string; for measurements other than counts, what PennyLane returns; ``None`` before it is
            done.
        submitted: when it was sent to its executor; UTC, in seconds since 1970, 0 if it was not.
        started: when it began to run.
        finished: when it ended.
        seconds: its part of the running time of its batch.
        cost: US dollars.
        attempt: attempts made.
        error: what went wrong, in words.
        instead_of: ``"provider/backend"`` whose failed shots these are, if they are run again.
    """

    job: int
    circuit: int
    provider: str
    backend: str
    shots: int
    state: JobState
    result: Any = None
    submitted: float = 0.0
    started: float = 0.0
    finished: float = 0.0
    seconds: float = 0.0
    cost: float = 0.0
    attempt: int = 0
    error: str | None = None
    instead_of: str | None = None

    @property
    def place(self) -> str:
        """The backend's full name, ``"provider/backend"``."""
        return f"{self.provider}/{self.backend}"


@dataclass(eq=False)
class CircuitTask:
    """One circuit of one job: what is asked, and what has become of it until now. Changed by its submission alone.

    Attributes:
        job: number of the job.
        circuit: number of the circuit.
        backend: where it runs.
        shots: how many are asked for; ``None`` for an analytic circuit.
        config: options of the backend.
        plan: how the circuit's shares are run.
        share: number of the share among those of the circuit.
        instead_of: ``"provider/backend"`` whose failed shots these are.
        state: what has become of it.
        returned: what came back.
        outcomes: who ran it, when, at what cost.
        error: why it failed.
        futures: of its circuits, once they are sent.
        sent: when it was sent to its executor; UTC, in seconds since 1970, 0 if it was not.
        ended: when it came to its end.
        reruns: tasks that run its shots again, since it has failed.
        saved: it as a file has it.
    """

    job: int
    circuit: int
    backend: Backend
    shots: int | None
    config: Mapping[str, Any]
    plan: SharePlan
    share: int = 0
    instead_of: str | None = None
    state: JobState = JobState.WAITING
    returned: ShareResult | None = None
    outcomes: tuple[Outcome, ...] = ()
    error: BaseException | None = None
    futures: list[AskedFuture[Outcome]] = field(default_factory=list)
    sent: float = 0.0
    ended: float = 0.0
    reruns: list[CircuitTask] = field(default_factory=list)
    saved: Record | None = None

    @property
    def place(self) -> str:
        """The backend's full name."""
        return str(self.backend)

    @property
    def done(self) -> bool:
        """Whether it has a result."""
        return self.state is JobState.DONE

    @property
    def made_good(self) -> bool:
        """Whether all its shots were run: here, or elsewhere after it had failed here."""
        return self.done or (bool(self.reruns) and all(task.made_good for task in self.reruns))

    def circuits(self) -> list[QuantumScript]:
        """What its executor is to run."""
        return self.plan.circuits(self.shots, self.share)

    def record(self) -> Record:
        """It as it is now."""
        if self.saved is not None:
            return self.saved
        outcomes, attempt = self.outcomes, self.error.attempt if isinstance(self.error, ExecutorError) else 0
        began = min((future.started for future in self.futures if future.started is not None), default=0.0)
        return Record(
            job=self.job,
            circuit=self.circuit,
            provider=self.backend.provider,
            backend=self.backend.name,
            shots=self.shots or 0,
            state=JobState.RUNNING if began and not self.state.final else self.state,
            result=self.plan.joined([self.returned]) if self.returned is not None else None,
            submitted=min((one.submitted for one in outcomes), default=self.sent),
            started=min((one.started for one in outcomes), default=began),
            finished=max((one.finished for one in outcomes), default=self.ended),
            seconds=sum(one.seconds for one in outcomes),
            cost=sum(one.cost for one in outcomes),
            attempt=max((one.attempt for one in outcomes), default=attempt),
            error=None if self.error is None else in_words(self.error),
            instead_of=self.instead_of,
        )


def in_words(error: BaseException) -> str:
    """An error in one line of some length; for what an executor raised, that."""
    if isinstance(error, ExecutorError):
        error = error.cause
    words = scrub(f"{type(error).__name__}: {' '.join(str(error).split())}")
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}..."


def tasks_of(
    dispatch: Dispatch, programs: Mapping[int, Program], find: Callable[[str, str], Backend], order: Order
) -> list[CircuitTask]:
    """The tasks of a dispatch, in its order.

    Args:
        dispatch: the jobs.
        programs: programs that were read already, by the identity of their circuits.
        find: finds a backend by the names of its provider and its own.
        order: how bit strings are written.

    Raises:
        ConfigurationError: the dispatch is empty, a circuit cannot be read or has no shots, or there is no such
            backend or option.
    """
    if not len(dispatch):
        raise ConfigurationError("the dispatch has no jobs: add some with add_job(...).")
    backends = {job.place: find(job.provider_name, job.backend_name) for job in dispatch}
    for job in dispatch:
        backends[job.place].check(job.config)
    known = {
        id(circuit): program
        for job in dispatch
        for circuit, program in zip(job.circuits, job.programs, strict=False)
        if program is not None
    } | dict(programs)
    shots = _totals(dispatch, known)
    plans: dict[tuple[int, int], SharePlan] = {}
    tasks = []
    shares: Counter[int] = Counter()
    for number, job in enumerate(dispatch):
        for circuit, wanted, place in zip(job.circuits, job.shots, job.numbers, strict=True):
            program = known[id(circuit)]
            key = (place, id(circuit))
            if key not in plans:
                plans[key] = plan_of(program, shots[place], order)
            own = program.shots if wanted is None else wanted
            _check(program, own, place)
            tasks.append(CircuitTask(number, place, backends[job.place], own, job.config, plans[key], shares[place]))
            shares[place] += 1
    return tasks


def tasks_of_records(records: Sequence[Record]) -> list[CircuitTask]:
    """The tasks that records are of, as far as these say; none of them can be run again."""
    tasks = [_task_of(record) for record in records]
    again: dict[tuple[int, int], list[CircuitTask]] = {}
    for task in tasks:
        if task.instead_of is not None and task.done:
            again.setdefault((task.job, task.circuit), []).append(task)
    for task in tasks:
        done = again.get((task.job, task.circuit), [])
        if sum(one.shots or 1 for one in done) >= (task.shots or 1):
            task.reruns = done
    return tasks


def _task_of(record: Record) -> CircuitTask:
    return CircuitTask(
        record.job,
        record.circuit,
        Backend(record.provider, record.backend, Executor),
        record.shots,
        {},
        RecordedPlan(record.circuit),
        instead_of=record.instead_of,
        state=record.state,
        returned=(record.result,) if record.state is JobState.DONE else None,
        error=None if record.error is None else QExecError(record.error),
        saved=record,
    )


def _totals(dispatch: Dispatch, known: dict[int, Program]) -> dict[int, int | None]:
    """All the shots of each circuit; circuits that are not known yet are read."""
    totals: dict[int, int | None] = {}
    for job in dispatch:
        for circuit, wanted, number in zip(job.circuits, job.shots, job.numbers, strict=True):
            if id(circuit) not in known:
                known[id(circuit)] = read(circuit)
            own = known[id(circuit)].shots if wanted is None else wanted
            totals[number] = (totals.get(number) or 0) + own if own is not None else totals.get(number)
    return totals


def _check(program: Program, shots: int | None, number: int) -> None:
    if shots is None and program.bits is not None:
        raise ConfigurationError(
            f"circuit {number} has its outcomes counted, and no shots: give shots=, a number or one for each circuit."
        )
