"""The records that travel: shares, jobs, outcomes, costs and what bounds a call. All of them are frozen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import accumulate, chain, islice
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

import numpy as np
import pennylane as qml
from pennylane.devices import ExecutionConfig, MCMConfig
from pennylane.math import Interface
from pennylane.operation import _UNSET_BATCH_SIZE, Operator
from pennylane.ops.functions import bind_new_parameters
from pennylane.queuing import QueuingManager
from pennylane.tape import QuantumScript

from pennylane_qexec.errors import ConfigurationError, coerce

CACHE = "cache"
"""The name of the backend, in outcomes and histories, of what was not run."""


class Times(NamedTuple):
    """When a job was submitted and started, in seconds since 1970, and how many attempts it took.

    Attributes:
        submitted: when it was.
        started: when its last attempt was.
        attempt: how many attempts there were.
        division: of a part of a sweep, a number that all its parts have; else 0.
    """

    submitted: float
    started: float
    attempt: int = 1
    division: int = 0


@dataclass(frozen=True, slots=True)
class Bound:
    """A circuit made ready for one executor.

    Attributes:
        circuits: what to run.
        config: the configuration to run it with.
        postprocess: makes the circuit's result of the results of ``circuits``.
    """

    circuits: tuple[QuantumScript, ...]
    config: ExecutionConfig
    postprocess: Postprocessing


def postprocessed(bounds: Iterable[Bound], results: Iterable[Result]) -> list[Result]:
    """The results of circuits, of those of all that was made of them, in order."""
    remaining = iter(results)
    return [bound.postprocess([next(remaining) for _ in bound.circuits]) for bound in bounds]


# Costs


@dataclass(frozen=True)
class Cost:
    """What an executor's backend charges, in US dollars.

    Attributes:
        per_shot: dollars per shot.
        per_circuit: dollars per circuit, whatever its shots.
        per_second: dollars per second of running time.
    """

    per_shot: float = 0.0
    per_circuit: float = 0.0
    per_second: float = 0.0

    def __post_init__(self) -> None:
        if min(self.per_shot, self.per_circuit, self.per_second) < 0:
            raise ConfigurationError(f"{self!r} has a negative price: prices are US dollars, at least 0.")

    def of(self, circuits: int, shots: int, seconds: float) -> float:
        """The price of running ``circuits`` circuits with ``shots`` shots together, for ``seconds`` seconds."""
        return circuits * self.per_circuit + shots * self.per_shot + seconds * self.per_second


def cost_of(cost: Any) -> Cost:
    """The prices that a user's value means: ``None`` for nothing, a mapping for the arguments of :class:`Cost`.

    Raises:
        ConfigurationError: the value is no price.
    """
    given = Cost() if cost is None else cost
    return coerce(Cost, given, f"cost={cost!r} is no price: give Cost(per_shot=..., per_circuit=..., per_second=...).")


# Configurations of calls

DERIVATIVES = ("adjoint", "backprop", "device")
"""Differentiation methods that a device does itself."""


def for_device(config: ExecutionConfig) -> ExecutionConfig:
    """What a sub-device has to know of a call: parameters are numbers already, but for backprop."""
    derivative = config.gradient_method in (*DERIVATIVES, "best")
    return replace(
        config,
        device_options={},
        interface=config.interface if config.gradient_method == "backprop" else Interface.NUMPY,
        gradient_method=config.gradient_method if derivative else None,
        gradient_keyword_arguments=config.gradient_keyword_arguments if derivative else {},
        use_device_gradient=config.use_device_gradient if derivative else None,
        grad_on_execution=config.grad_on_execution if derivative else None,
    )


def without_derivatives(config: ExecutionConfig) -> ExecutionConfig:
    """The configuration of a call that nobody differentiates."""
    return replace(
        config,
        device_options={},
        gradient_method=None,
        gradient_keyword_arguments={},
        use_device_gradient=False,
        use_device_jacobian_product=False,
        grad_on_execution=None,
    )


Result = Any
"""What PennyLane returns for one circuit: an array, or nested tuples, dicts and lists of them."""

Postprocessing = Callable[[Sequence[Result]], Result]


def only(results: Sequence[Result]) -> Result:
    """The postprocessing of a circuit that was left as it is."""
    return results[0]


# Records


class Costs(Protocol):
    """What running a batch costs, in US dollars."""

    def of(self, circuits: int, shots: int, seconds: float) -> float: ...


class Usage(NamedTuple):
    """What circuits use of a backend: what it is going to bill, or has billed.

    Attributes:
        circuits: the circuits that the backend runs: one for each basis in which a circuit is measured, and for each
            circuit that has to be run in place of it.
        shots: their shots, all together; 0 without shots.
        cost: US dollars; ``None`` if it depends on a running time that nobody knows.
        seconds: running time; ``None`` if nobody knows it.
    """

    circuits: int = 1
    shots: int = 0
    cost: float | None = 0.0
    seconds: float | None = None


class Status(NamedTuple):
    """What a backend says of itself.

    Attributes:
        online: whether it takes jobs.
        queue_length: jobs waiting at the backend.
        expected_wait: seconds until a job sent now would start.
    """

    online: bool = True
    queue_length: int = 0
    expected_wait: float = 0.0


class Candidate(Protocol):
    """What a policy may ask of an executor. Every :class:`~pennylane_qexec.Executor` is one."""

    @property
    def name(self) -> str: ...
    @property
    def cost(self) -> Costs: ...
    def status(self) -> Status: ...
    def rejects(self, circuit: QuantumScript) -> str | None: ...


class Load(NamedTuple):
    """What the engine has seen of an executor until now.

    Attributes:
        waiting: circuits that wait for it or run on it.
        circuits_per_second: circuits per second of running time; 0 before the first batch.
        shots_per_second: shots per second of running time, in all bases; 0 before the first batch with shots.
    """

    waiting: int = 0
    circuits_per_second: float = 0.0
    shots_per_second: float = 0.0


class Share(NamedTuple):
    """Some of a circuit's shots, for one executor. Also equal to the plain tuple ``(executor, shots)``."""

    executor: Any
    shots: int


class JobState(StrEnum):
    """The life of a job: waiting, running, then done, failed or cancelled."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether a job in this state changes no more."""
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """Circuits that differ in nothing but the numbers of gates: one template, and one row of numbers per circuit.

    Attributes:
        template: one of the circuits, or one like them; it stands for all. All have its shots.
        parameters: an array ``(R, P)`` of real numbers, radians for rotations: ``P`` for each of ``R`` circuits.
        slots: the operations of the template that have parameters, by their index. The numbers in their data, one after
            the other, are the ``P`` parameters.
        key: equal for templates of one structure, whose shots it has last; ``None`` if it cannot be compared.
    """

    template: QuantumScript
    parameters: np.ndarray
    slots: tuple[int, ...]
    key: tuple[Any, ...] | None = None

    def __len__(self) -> int:
        return len(self.parameters)

    def circuit(self, row: int) -> QuantumScript:
        """The circuit of a row."""
        return bound_template(self.template, self.slots, self.parameters[row].tolist())

    def circuits(self) -> list[QuantumScript]:
        """The circuits of all rows, in order. Gates that have the numbers they have in the first are its gates."""
        operations, values = self.template.operations, self.parameters
        sizes = [len(operations[index].data) for index in self.slots]
        owners = np.repeat(np.array(self.slots, dtype=int), sizes)
        starts = dict(zip(self.slots, accumulate(sizes, initial=0), strict=False))
        numbers = list(chain.from_iterable([operations[index].data for index in self.slots]))
        as_it_is = {float}.issuperset(map(type, numbers)) and numbers == values[0].tolist()
        first, made = self.template if as_it_is else self.circuit(0), []
        for row, differs in zip(values.tolist(), values != values[0], strict=True):
            changed = list(dict.fromkeys(owners[differs].tolist()))
            spans = [slice(starts[index], starts[index] + len(operations[index].data)) for index in changed]
            made.append(bound_template(first, changed, chain.from_iterable([row[span] for span in spans])))
        return made

    def part(self, rows: Any) -> Sweep:
        """Some of the circuits.

        Args:
            rows: which, as NumPy takes them: a slice, or indices.
        """
        return replace(self, parameters=self.parameters[rows])


ROTATIONS = frozenset(
    {qml.RX, qml.RY, qml.RZ, qml.PhaseShift, qml.Rot, qml.U1, qml.U2, qml.U3}
    | {qml.IsingXX, qml.IsingYY, qml.IsingZZ, qml.IsingXY, qml.SingleExcitation, qml.DoubleExcitation}
)
"""Kinds of gates that consist of wires and numbers, and remember nothing else that depends on their numbers."""


def _bound(operation: Operator, parameters: Sequence[Any]) -> Operator:
    """An operation with other numbers; of most kinds in a tenth of the time that PennyLane's own copy takes."""
    if type(operation) in ROTATIONS:
        bound: Operator = object.__new__(type(operation))
        vars(bound).update(vars(operation), data=tuple(parameters))
    else:
        bound = bind_new_parameters(operation, parameters)
    # What is copied remembers whether the original was broadcasted.
    vars(bound).update(_batch_size=_UNSET_BATCH_SIZE, _ndim_params=_UNSET_BATCH_SIZE)
    return bound


def bound_template(template: QuantumScript, slots: Sequence[int], parameters: Iterable[Any]) -> QuantumScript:
    """A circuit with other numbers in some of its gates.

    Args:
        template: the circuit.
        slots: its operations that get other numbers, by their index.
        parameters: the numbers in their data, one after the other, or what stands for numbers: tracers, symbols.
    """
    remaining = iter(parameters)
    operations = list(template.operations)
    with QueuingManager.stop_recording():
        for index in slots:
            operation = operations[index]
            operations[index] = _bound(operation, [next(remaining) for _ in operation.data])
    return type(template)(operations, template.measurements, shots=template.shots)


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked of the circuits, besides the circuits: equal calls may share a batch.

    Attributes:
        method: a method of :class:`pennylane.devices.Device`, ``"execute"`` or one of the derivatives.
        config: the execution configuration. For bound circuits, resolved for the executor's backend.
        bound: whether the circuits were made ready by the executor's own ``bind``. An executor given circuits
            that are not bound prepares them itself.
        outcomes: how the user wants mid-circuit measurements to be made, where the configuration has what the executor
            has settled for; ``None`` where it has the user's wish.
    """

    method: str = "execute"
    config: ExecutionConfig = field(default_factory=ExecutionConfig)
    bound: bool = False
    outcomes: MCMConfig | None = None

    def unbound(self) -> Call:
        """The same call for an executor that has to prepare the circuits itself, in another process perhaps."""
        by_device = isinstance(self.config.gradient_method, str)
        config = replace(
            self.config,
            device_options={},
            gradient_method=self.config.gradient_method if by_device else None,
            gradient_keyword_arguments=self.config.gradient_keyword_arguments if by_device else {},
            mcm_config=self.config.mcm_config if self.outcomes is None else self.outcomes,
        )
        return replace(self, bound=False, config=config, outcomes=None)


@dataclass(frozen=True, slots=True)
class Work:
    """A batch for one executor.

    Attributes:
        circuits: the circuits, all with the same ``call``.
        call: what is asked of them.
        vectors: for Jacobian products, one (co)tangent for each circuit; else empty.
        numbers: in a durable run, the number of each circuit in the run, at least 0 and below ``2**63``; else empty. An
            executor with a seed draws the shots of a circuit by its number then, and not by what it has run before. The
            rows of a sweep have its number and those that follow.
        sweeps: empty, or for each circuit, which is a template then, its sweep; the result of each is the list of the
            results of its rows.
    """

    circuits: tuple[QuantumScript, ...]
    call: Call = Call()
    vectors: tuple[Any, ...] = ()
    numbers: tuple[int, ...] = ()
    sweeps: tuple[Sweep, ...] = ()

    @classmethod
    def of(cls, jobs: Sequence[Job]) -> Work:
        """The batch of jobs that share a call."""
        vectors = tuple(job.vector for job in jobs) if jobs[0].vector is not None else ()
        numbers = tuple(map(attrgetter("number"), jobs))
        sweeps = tuple(map(attrgetter("sweep"), jobs)) if jobs[0].sweep is not None else ()
        circuits = tuple(map(attrgetter("circuit"), jobs))
        return cls(circuits, jobs[0].call, vectors, () if None in numbers else numbers, sweeps)

    def part(self, indices: Sequence[int]) -> Work:
        """Some of the circuits, with what belongs to them."""
        vectors = tuple([self.vectors[index] for index in indices]) if self.vectors else ()
        numbers = tuple([self.numbers[index] for index in indices]) if self.numbers else ()
        sweeps = tuple([self.sweeps[index] for index in indices]) if self.sweeps else ()
        return Work(tuple([self.circuits[index] for index in indices]), self.call, vectors, numbers, sweeps)

    @property
    def rows(self) -> int:
        """How many circuits it is."""
        return sum(map(len, self.sweeps)) if self.sweeps else len(self.circuits)

    def expanded(self) -> Work:
        """The batch with a circuit for each row of its sweeps, one sweep after the other."""
        if not self.sweeps:
            return self
        circuits = tuple([circuit for sweep in self.sweeps for circuit in sweep.circuits()])
        return Work(circuits, self.call, (), self.row_numbers())

    def row_numbers(self) -> tuple[int, ...]:
        """The numbers of the circuits of :meth:`expanded`; empty if the batch has none."""
        if not self.sweeps or not self.numbers:
            return self.numbers
        pairs = zip(self.numbers, self.sweeps, strict=True)
        return tuple([first + row for first, sweep in pairs for row in range(len(sweep))])

    def chunks(self, rows: int) -> Iterator[Work]:
        """The batch as batches of one sweep each.

        Args:
            rows: the most rows of each.
        """
        for index, sweep in enumerate(self.sweeps):
            for first in range(0, len(sweep), rows):
                numbers = (self.numbers[index] + first,) if self.numbers else ()
                part = sweep.part(slice(first, first + rows))
                yield Work((sweep.template,), self.call, (), numbers, (part,))

    def by_template(self) -> Work:
        """The batch with the template in place of the circuit of each row, for what does not depend on numbers."""
        templates = [one.template for one in self.sweeps for _ in range(len(one))]
        return Work(tuple(templates), self.call)

    def by_sweep(self, results: Sequence[Result]) -> list[list[Result]]:
        """What came for the circuits of :meth:`expanded`, as one list for each sweep.

        Raises:
            RuntimeError: it is not one result for each row.
        """
        rows = sum(map(len, self.sweeps))
        if len(results) != rows:
            raise RuntimeError(f"{len(results)} results were returned for the {rows} circuits of a sweep")
        remaining = iter(results)
        return [list(islice(remaining, len(sweep))) for sweep in self.sweeps]


class OutgoingJobs(Protocol):
    """Jobs that are being sent to a backend with a queue."""

    @property
    def label(self) -> str:
        """A label for the backend's job, unlike any other."""

    @property
    def may_be_there(self) -> bool:
        """Whether they were sent with this label before, and nobody knows if they have arrived."""

    def sent(self, remote_id: str) -> None:
        """They were sent, and this is the backend's id of the job."""


class SubmissionListener(Protocol):
    """Is told of jobs on their way to a backend with a queue, so that they can be found there again."""

    def sending(self, jobs: Sequence[Job], executor: Any) -> AbstractContextManager[OutgoingJobs]:
        """What to send jobs in, as one job of an executor's backend."""

    def leaves(self, jobs: Sequence[Job]) -> bool:
        """Whether jobs that are given up are left at the backend, to be asked for later."""


@dataclass(eq=False, slots=True)
class Affinity:
    """Jobs with the same one go to the same executor, if they are left to whoever is free first.

    Attributes:
        lane: that of the executor which has taken the first of them; ``None`` until then.
    """

    lane: Any = None


@dataclass(frozen=True, slots=True)
class Job:
    """One circuit, or one sweep, one executor, some shots (those of the circuit).

    Attributes:
        circuit: the circuit to run; of a sweep, its template.
        executor: who is to run it; ``None`` leaves it to whoever of the cluster is free first.
        call: what is asked.
        vector: the (co)tangent of a Jacobian product.
        number: its number in a durable run; ``None`` in none.
        follower: who is told of its way to a backend with a queue; jobs with different ones share no batch.
        affinity: with which others it goes, if no executor is given; ``None`` if with none.
        sweep: the circuits to run, if they are a sweep: the result is the list of theirs. They have the job's number,
            and those that follow.
        alike: whether others may differ from it in numbers only, so that a batch looks for such.
    """

    circuit: QuantumScript
    executor: Any = None
    call: Call = Call()
    vector: Any = None
    number: int | None = None
    follower: SubmissionListener | None = None
    affinity: Affinity | None = None
    sweep: Sweep | None = None
    alike: bool = False

    @property
    def rows(self) -> int:
        """How many circuits it is."""
        return 1 if self.sweep is None else len(self.sweep)

    @property
    def shots(self) -> int:
        """All the shots of the circuit together, whatever number of bases it is measured in; 0 for an analytic one."""
        return (self.circuit.shots.total_shots or 0) * self.rows

    def part(self, start: int, stop: int) -> Job:
        """Some of the circuits of its sweep, those from ``start`` to before ``stop``, with their numbers."""
        assert self.sweep is not None
        number = None if self.number is None else self.number + start
        return replace(self, sweep=self.sweep.part(slice(start, stop)), number=number)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job, or of a share of one.

    Attributes:
        result: what PennyLane returns for the circuit.
        executor: name of the executor that ran it.
        shots: the shots that were run for the result, in all bases that are measured.
        batch: number of the batch it ran in.
        attempt: attempts made, the good one included.
        submitted: when it was asked for; UTC, in seconds since 1970.
        started: when its batch began.
        finished: when its batch ended.
        cost: US dollars, for the attempt that the result is of.
        backend: name of the executor's backend.
        seconds: its part of the running time of its batch.
        circuits: the circuits that the backend ran for the result; 0 if a cache knew it.
    """

    result: Result
    executor: str
    shots: int
    batch: int = 0
    attempt: int = 1
    submitted: float = 0.0
    started: float = 0.0
    finished: float = 0.0
    cost: float = 0.0
    backend: str = ""
    seconds: float = 0.0
    circuits: int = 1

    @classmethod
    def of_parts(cls, outcomes: Sequence[Outcome], results: list[Result]) -> Outcome:
        """The outcome of a sweep, of those of the parts in which it ran: what they have used is added up.

        Args:
            outcomes: of its parts; the last says who ran it.
            results: those of its rows.
        """
        return replace(
            outcomes[-1],
            result=results,
            shots=sum(outcome.shots for outcome in outcomes),
            attempt=max(outcome.attempt for outcome in outcomes),
            submitted=min(outcome.submitted for outcome in outcomes),
            started=min(outcome.started for outcome in outcomes),
            finished=max(outcome.finished for outcome in outcomes),
            cost=sum(outcome.cost for outcome in outcomes),
            seconds=sum(outcome.seconds for outcome in outcomes),
            circuits=sum(outcome.circuits for outcome in outcomes),
        )


def together(usages: Sequence[Usage]) -> Usage:
    """The sum of what was used; what nobody knows counts as nothing."""
    return Usage(
        sum(usage.circuits for usage in usages),
        sum(usage.shots for usage in usages),
        sum(usage.cost or 0.0 for usage in usages),
        sum(usage.seconds or 0.0 for usage in usages),
    )


def shared_out(usage: Usage, parts: Sequence[int]) -> list[Usage]:
    """What circuits have used together, by parts of so many circuits each; what is left over is the last part's."""
    whole = sum(parts)
    given, shares = Usage(0, 0, 0.0, 0.0), []
    for number in parts[:-1]:
        share = Usage(
            usage.circuits * number // whole,
            usage.shots * number // whole,
            (usage.cost or 0.0) * number / whole,
            (usage.seconds or 0.0) * number / whole,
        )
        given = together([given, share])
        shares.append(share)
    left = [(of_all or 0) - (of_others or 0) for of_all, of_others in zip(usage, given, strict=True)]
    return [*shares, Usage(int(left[0]), int(left[1]), *left[2:])]


def used_by(outcomes: Sequence[Outcome]) -> Usage:
    """What jobs have used together."""
    return together([Usage(one.circuits, one.shots, one.cost, one.seconds) for one in outcomes])
