"""From circuits to jobs: who runs what with how many shots, prepared for each executor, and how outcomes are merged."""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import repeat
from typing import Any, Protocol

import numpy as np
from pennylane.devices import ExecutionConfig
from pennylane.devices.preprocess import validate_device_wires
from pennylane.math import Interface
from pennylane.ops import MidMeasure
from pennylane.tape import QuantumScript
from pennylane.wires import Wires

from pennylane_qexec.circuits.evolutions import with_factors
from pennylane_qexec.circuits.structure import (
    is_broadcasted,
    measures_everything,
    rows_of,
    structure_of,
    wires_in,
    wires_in_order,
    with_outcomes_in_order,
)
from pennylane_qexec.circuits.templates import outline_of
from pennylane_qexec.cluster.derivatives import Limit, ends_records
from pennylane_qexec.cluster.selection import Selection
from pennylane_qexec.errors import ExecutorError, QExecError
from pennylane_qexec.executors import Executor
from pennylane_qexec.executors.base import Binder
from pennylane_qexec.executors.shots import Reshot, refuse_shot_vector, remember
from pennylane_qexec.job import Affinity, Bound, Call, Job, Postprocessing, Result, Share, Sweep, only
from pennylane_qexec.policies.merges import Merge, Plan
from pennylane_qexec.policies.splits import binned, by_bin

Expanded = tuple[tuple[QuantumScript, ...], Postprocessing]
"""Circuits to run in place of one, and the function that makes its result of theirs."""


def run_together(
    expanded: Sequence[Expanded],
) -> tuple[list[QuantumScript], Callable[[Sequence[Result]], list[Result]]]:
    """The circuits that are run for several, and what makes the results of these of theirs."""

    def postprocess(results: Sequence[Result]) -> list[Result]:
        remaining = iter(results)
        return [post([next(remaining) for _ in batch]) for batch, post in expanded]

    return [one for batch, _ in expanded for one in batch], postprocess


Ready = dict[Executor, ExecutionConfig]
"""Executors that go by structure and take the circuits of one as they are, with the configuration to run them with."""


class Planner(Protocol):
    """What planning asks of a cluster."""

    @property
    def executors(self) -> Sequence[Executor]: ...
    @property
    def merge(self) -> Merge: ...
    @property
    def fails_over(self) -> bool: ...
    @property
    def selection(self) -> Selection: ...
    def candidates(
        self, circuit: QuantumScript, refusals: Mapping[Executor, Exception], fitting: Container[Executor] = ()
    ) -> list[Executor]: ...
    def keeps_sweeps(self, circuit: QuantumScript, candidates: Sequence[Executor]) -> bool: ...
    def prepares_late(self, executor: Executor, circuit: QuantumScript, later: bool) -> bool: ...


@dataclass(frozen=True, eq=False)
class Settings:
    """What calls of one kind have in common, and what they have found out about circuits for those that follow.

    Attributes:
        config: the execution configuration that the executors are asked for.
        limit: how often the results can be differentiated.
        unwraps: whether circuits come with numbers of an interface, to be replaced by NumPy's.
        batches_are_calls: whether each batch of circuits is a call of its own, as in functions compiled by ``jax.jit``.
        by_shifts: whether the device differentiates circuits by parameter shifts.
        shift_options: how: options of PennyLane's ``param_shift``.
        ends_records: whether circuits come to be executed from where interfaces have stopped recording, or may go on.
        binders: what prepares circuits for executors that go by structure, by executor, and whether they have shots
            and mid-circuit measurements.
    """

    config: ExecutionConfig = field(default_factory=ExecutionConfig)
    limit: Limit = field(default_factory=Limit)
    unwraps: bool = False
    batches_are_calls: bool = False
    by_shifts: bool = False
    shift_options: Mapping[str, Any] = field(default_factory=dict)
    ends_records: bool = field(init=False)
    binders: dict[tuple[Executor, bool, bool], Binder] = field(default_factory=dict)
    _ready: dict[Hashable, Ready] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ends_records", ends_records(self.config))

    def ready(self, circuit: QuantumScript, structure: Hashable = None) -> Ready:
        """Who takes circuits of a circuit's structure as they are; whom this is noted of later, will be in it too.

        Args:
            circuit: the circuit.
            structure: what is equal for circuits of its structure, if that is known.
        """
        if isinstance(circuit, Reshot):
            return {}
        structure = structure_of(circuit) if structure is None else structure
        if structure is None:
            return {}
        if len(self._ready) >= _KEPT_STRUCTURES:
            self._ready.clear()
        return self._ready.setdefault(structure, {})


_KEPT_STRUCTURES = 256
_PARTS = 2  # of a sweep for each executor, where these take them when they are free
_SURELY_FITS = 20  # wires: whether the state of a wider circuit fits into memory depends on what else is there


class _LikeAnyScript(type):
    """Lets ``qml.equal(tagged, script)`` compare the two: it asks first for one class."""

    def __instancecheck__(cls, circuit: Any) -> bool:
        return isinstance(circuit, QuantumScript)


class _Tagged(QuantumScript, metaclass=_LikeAnyScript):
    """A circuit that knows which binding of its dispatcher prepared it. The tag survives PennyLane's copies."""

    binding = 0

    @property
    def hash(self) -> int:
        """That of the circuit for the first executor of a call, so that it is found in a cache of the user's.

        Equal circuits of other executors have others: PennyLane's cache must not merge their shots.
        """
        return hash((super().hash, self.binding)) if self.binding else super().hash


@cache
def _tagged(binding: int) -> type[_Tagged]:
    return type(f"_Tagged{binding}", (_Tagged,), {"binding": binding, "__module__": __name__})


class RefusedError(Exception):
    """An executor turned out not to be able to run a circuit when it prepared it."""

    def __init__(self, executor: Executor, cause: Exception) -> None:
        super().__init__(executor, cause)
        self.executor = executor
        self.cause = cause


class CallPlanner:
    """Turns the circuits of one call into circuits for executors, and these into jobs.

    PennyLane hands a device nothing of a call but circuits and their configuration. So the dispatcher travels in the
    configuration's device options, and what it knows of a circuit that it has prepared in the circuit's class, which is
    all that PennyLane's copies keep.

    Args:
        cluster: whose executors and policies to use.
        settings: what the call asks for.
        later: whether nobody waits for the call.
        selection: policies to ask in place of the cluster's: copies of them, if asking is to have no consequences.
    """

    def __init__(
        self,
        cluster: Planner,
        settings: Settings | None = None,
        later: bool = False,
        selection: Selection | None = None,
    ) -> None:
        self._cluster = cluster
        self._later = later
        self._selection = selection
        self.settings = settings or Settings()
        self.config = self.settings.config
        self._binders: dict[tuple[Executor, bool, bool], Binder] = {}
        self._bindings: list[tuple[Executor | None, Call]] = []
        self._numbers: dict[tuple[Executor | None, int], int] = {}
        self._calls: dict[tuple[int, str], Call] = {}
        self._unbound: Call | None = None
        self._answers: dict[tuple[Any, ...], Any] = {}
        self._adding = threading.Lock()

    def __call__(self, circuit: QuantumScript, structure: Hashable = None) -> Expanded:
        """The circuits that have to be run for one circuit, tagged, and what makes its result of theirs.

        Args:
            circuit: the circuit.
            structure: what is equal for circuits of its structure, if that is known.

        Raises:
            NoExecutorError: no executor can run the circuit.
            PolicyError: the selector or the split returned something else than it should.
            ConfigurationError: the circuit has a shot vector, and an executor has shots of its own.
        """
        selection = self._selection or self._cluster.selection
        ready = self.settings.ready(circuit, structure)
        if not ready:
            circuit, ready = self._unambiguous(circuit, ready)
        late = selection.binds_late and not self.config.use_device_gradient
        refusals: dict[Executor, Exception] = {}
        while True:
            candidates = self._cluster.candidates(circuit, refusals, ready)
            try:
                if late:
                    return self._late(circuit, candidates[0], None)
                return self._dispatch(circuit, candidates, selection, ready)
            except RefusedError as refused:
                refusals[refused.executor] = refused.cause

    def _unambiguous(self, circuit: QuantumScript, ready: Ready) -> tuple[QuantumScript, Ready]:
        """The circuit as it means the same to all executors, and where to note who takes it as it is.

        Raises:
            ConfigurationError: the circuit has a shot vector, and an executor has shots of its own.
        """
        if circuit.shots.has_partitioned_shots:
            refuse_shot_vector(self._cluster.executors, circuit.shots)
        changed = with_outcomes_in_order(self._with_measured_wires(with_factors(circuit)))
        return changed, ready if changed is circuit else {}

    def _with_measured_wires(self, circuit: QuantumScript) -> QuantumScript:
        """The circuit, with wires in measurements of all wires, where executors and merges might order them otherwise.

        They are measured in the order that one PennyLane device would use: its own, or that of numbers from 0 on.
        """
        if not any(map(measures_everything, circuit.measurements)) or not circuit.wires:
            return circuit
        # A user's executor may mean a number by its wires, which is none of its labels.
        given = (executor.wires for executor in self._cluster.executors if isinstance(executor.wires, Wires))
        in_order = wires_in_order(circuit)
        wires = next((own for own in given if own.contains_wires(circuit.wires)), in_order)
        if wires == in_order == circuit.wires and wires.labels == tuple(range(len(wires))):
            return circuit  # in any other order, wires are another one's when their gates have been decomposed
        return validate_device_wires(circuit, wires=wires)[0][0]

    def prepared(self, circuit: QuantumScript) -> bool:
        """Whether a circuit, or what it is a copy of, was returned by :meth:`__call__`."""
        kind: Any = type(circuit)
        return issubclass(kind, _Tagged) and kind.binding < len(self._bindings)

    def rows(self, circuit: QuantumScript) -> Expanded:
        """The circuits for which one that was broadcasted after it was prepared stands; just itself if it was not.

        ``jax.vmap`` does that to circuits that were prepared when JAX traced them, for executors that differentiate.
        """
        if not is_broadcasted(circuit):
            return (circuit,), only
        binding: int = circuit.binding
        circuits, postprocess = rows_of(circuit)
        return tuple([_retag(one, binding, circuit) for one in circuits]), postprocess

    def jobs(self, circuits: Iterable[QuantumScript], method: str = "execute") -> list[Job]:
        """The jobs of all circuits of a batch. If the next one is another call, policies are asked anew."""
        jobs = list(map(self.job, circuits, repeat(method)))
        if self.settings.batches_are_calls and self._answers:
            thread = threading.get_ident()
            for key in [key for key in list(self._answers) if key[0] == thread]:  # others may add to it meanwhile
                del self._answers[key]
        return jobs

    def job(self, circuit: QuantumScript, method: str = "execute", vector: Any = None) -> Job:
        """The job of a circuit that :meth:`__call__` returned, or of a copy of it."""
        number = circuit.binding
        executor, call = self._bindings[number]
        if method != "execute":
            call = self._calls.setdefault((number, method), replace(call, method=method))
        affinity = None
        if executor is None and self._cluster.keeps_sweeps(circuit, self._cluster.executors):
            affinity = self._said(circuit, (), Affinity)
        return Job(circuit, executor, call, vector, affinity=affinity)

    def shared_out(self, sweep: Sweep) -> list[tuple[list[int], Expanded]]:
        """Which rows of a sweep go together, and what is run for its template there. Equivalent executors share them.

        Returns:
            Nothing, if an executor does not take sweeps, or a policy has to be asked for each circuit.

        Raises:
            NoExecutorError, PolicyError, ConfigurationError: as for the template.
        """
        executors, template, rows = self._cluster.executors, sweep.template, list(range(len(sweep)))
        selection = self._selection or self._cluster.selection
        if sweep.key is None or not all(executor.takes_sweeps for executor in executors):
            return []
        if not (selection.keeps_sweeps(template) or (len(executors) == 1 and selection.of_one)):
            return []
        if len(executors) == 1 or selection.is_split(template) or self._cluster.keeps_sweeps(template, executors):
            return [(rows, self(template, sweep.key))]
        if selection.binds_late:
            parts = np.array_split(rows, min(len(rows), _PARTS * len(executors)))
            return [(part.tolist(), self(template, sweep.key)) for part in parts]
        template, ready = self._unambiguous(template, self.settings.ready(template, sweep.key))
        candidates, chosen = self._cluster.candidates(template, {}, ready), dict[Executor, list[int]]()
        for row in rows:
            chosen.setdefault(selection.select(template, candidates), []).append(row)
        return [(own, self._whole(template, executor, ready)) for executor, own in chosen.items()]

    def _dispatch(
        self, circuit: QuantumScript, candidates: list[Executor], selection: Selection, ready: Ready
    ) -> Expanded:
        if len(self._cluster.executors) == 1 and selection.of_one:
            return self._whole(circuit, candidates[0], ready)
        shares = self._asked(selection.shares, circuit, candidates)
        if len(shares) > 1:
            whole = QuantumScript(circuit.operations, circuit.measurements, circuit.shots.total_shots)
            plan = self._cluster.merge.plan(whole)
            if plan is not None:
                return self._split(circuit, shares, plan)
            return self._whole(circuit, self._asked(selection.select, circuit, candidates), ready)
        return self._whole(circuit, shares[0].executor, ready)

    def _asked(self, ask: Callable[..., Any], circuit: QuantumScript, candidates: list[Executor]) -> Any:
        """What a policy says of a circuit; what it has said of one that goes with it, if that matters."""
        if not self._cluster.keeps_sweeps(circuit, candidates):
            return ask(circuit, candidates)
        return self._said(circuit, (ask.__name__, *candidates), lambda: ask(circuit, candidates))

    def _said(self, circuit: QuantumScript, question: tuple[Any, ...], ask: Callable[[], Any]) -> Any:
        # The circuits of a gradient may differ in more than numbers: Hadamard tests, and squares of observables, do.
        by_transform = callable(self.config.gradient_method) and self.config.interface is not Interface.NUMPY
        differentiated = by_transform or self.settings.by_shifts
        together = circuit.shots if differentiated else outline_of(circuit)
        key = (threading.get_ident() if self.settings.batches_are_calls else None, together, question)
        answer = self._answers.get(key)
        return self._answers.setdefault(key, ask()) if answer is None else answer

    def _whole(self, circuit: QuantumScript, executor: Executor, ready: Ready) -> Expanded:
        """The circuit with its own measurements, prepared by its executor, or in the worker that runs it."""
        given, config = circuit, ready.get(executor)
        if config is None:
            circuit = executor.with_shots(circuit)
        if not self.config.use_device_gradient and self._cluster.prepares_late(executor, circuit, self._later):
            return self._late(circuit, executor, executor)
        if config is not None:
            return (_tagged_copy(circuit, self._number(executor, config)),), only
        bound = self._bind(circuit, executor)
        unchanged = bound.postprocess is only and bound.circuits[0] is given
        if unchanged and executor.by_structure and len(wires_in(circuit)) <= _SURELY_FITS:
            ready[executor] = bound.config
        number = self._number(executor, bound.config)
        return tuple([_retag(one, number, circuit) for one in bound.circuits]), _named(executor, bound.postprocess)

    def _late(self, circuit: QuantumScript, candidate: Executor, executor: Executor | None) -> Expanded:
        """The circuit as it is, to be prepared where it runs; of a call, the first is prepared here as well.

        So it is seen at once whether it can be run.

        Args:
            circuit: the circuit.
            candidate: who can run it.
            executor: who is to run it; ``None`` for whoever is free first.
        """
        config = self._late_call.config
        if (executor, id(config)) not in self._numbers or not self._cluster.fails_over:
            self._bind(candidate.with_shots(circuit), candidate)
        return (_retag(circuit, self._number(executor, config), circuit),), only

    def _bind(self, circuit: QuantumScript, executor: Executor) -> Bound:
        try:
            return self._binder(executor, circuit)(circuit)
        except Exception as error:
            raise RefusedError(executor, error) from error

    @property
    def _late_call(self) -> Call:
        if self._unbound is None:
            self._unbound = Call("execute", self.config).unbound()
        return self._unbound

    def _binder(self, executor: Executor, circuit: QuantumScript) -> Binder:
        measures = any(issubclass(kind, MidMeasure) for kind in set(map(type, circuit.operations)))
        key = (executor, bool(circuit.shots), measures)
        binders = self.settings.binders if executor.by_structure else self._binders
        binder = binders.get(key)
        if binder is None:
            binder = binders[key] = executor.binder(self.config, circuit)
        return binder

    def _number(self, executor: Executor | None, config: ExecutionConfig) -> int:
        """The number of what circuits are tagged with: their executor, and the configuration that they are run with."""
        key = (executor, id(config))
        with self._adding:
            if key not in self._numbers:
                call = self._unbound
                if call is None or call.config is not config:
                    call = Call("execute", config, bound=True, outcomes=self.config.mcm_config)
                self._bindings.append((executor, call))
                self._numbers[key] = len(self._bindings) - 1
            return self._numbers[key]

    def _split(self, circuit: QuantumScript, shares: Sequence[Share], plan: Plan) -> Expanded:
        """The circuit in a form whose results add up, once for each share, prepared by the share's executor."""
        bins = binned(list(circuit.shots), [share.shots for share in shares])
        parts: list[list[Expanded]] = []
        for index, share in enumerate(shares):
            shots = [row[index] for row in bins if row[index]]
            circuits = plan.share(index, shots if len(shots) > 1 else shots[0])
            parts.append([self._whole(one, share.executor, {}) for one in circuits])

        def postprocess(results: Sequence[Result]) -> Result:
            remaining = iter(results)
            raw = [[post([next(remaining) for _ in circuits]) for circuits, post in part] for part in parts]
            outcomes = by_bin(bins, shares, raw)
            joined = tuple(plan.join(each) for each in outcomes)
            return joined if circuit.shots.has_partitioned_shots else joined[0]

        return tuple(one for part in parts for circuits, _ in part for one in circuits), postprocess


def _tagged_copy(circuit: QuantumScript, binding: int) -> QuantumScript:
    return _tagged(binding)(
        circuit.operations, circuit.measurements, shots=circuit.shots, trainable_params=circuit.trainable_params
    )


def _retag(circuit: QuantumScript, binding: int, origin: QuantumScript) -> QuantumScript:
    return remember(_tagged_copy(circuit, binding), origin)


def _named(executor: Executor, postprocess: Postprocessing) -> Postprocessing:
    """Say of errors in what an executor's own program does with results whose they are."""
    if postprocess is only:
        return only

    def named(results: Sequence[Result]) -> Result:
        try:
            return postprocess(results)
        except QExecError:
            raise
        except Exception as error:
            raise ExecutorError(executor.name, 1, error) from error

    return named
