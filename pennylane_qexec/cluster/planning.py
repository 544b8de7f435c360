"""From circuits to jobs: who runs what with how many shots, prepared for each executor, and how outcomes are merged."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Protocol

from pennylane.devices import ExecutionConfig
from pennylane.devices.preprocess import validate_device_wires
from pennylane.math import Interface
from pennylane.ops import MidMeasure
from pennylane.tape import QuantumScript
from pennylane.wires import Wires

from pennylane_qexec.circuits.structure import (
    is_broadcasted,
    measures_everything,
    rows_of,
    sweep_of,
    wires_in_order,
    with_outcomes_in_order,
)
from pennylane_qexec.engine import ChainLock
from pennylane_qexec.errors import ConfigurationError, ExecutorError, NoExecutorError, PolicyError, QExecError
from pennylane_qexec.executors.base import Binder, Executor
from pennylane_qexec.executors.shots import refuse_shot_vector, remember
from pennylane_qexec.job import Affinity, Bound, Call, Job, Outcome, Postprocessing, Result, Share
from pennylane_qexec.policies import selectors, splits
from pennylane_qexec.policies.merges import Merge, Plan
from pennylane_qexec.policies.splits import apportion

Expanded = tuple[tuple[QuantumScript, ...], Postprocessing]
"""Circuits to run in place of one, and the function that makes its result of theirs."""


class Planner(Protocol):
    """What planning asks of a cluster."""

    @property
    def executors(self) -> Sequence[Executor]: ...
    @property
    def merge(self) -> Merge: ...
    @property
    def fails_over(self) -> bool: ...
    @property
    def binds_late(self) -> bool: ...
    def candidates(self, circuit: QuantumScript, refusals: dict[Executor, str]) -> list[Executor]: ...
    def keeps_sweeps(self, circuit: QuantumScript, candidates: Sequence[Executor]) -> bool: ...
    def prepares_late(self, executor: Executor, circuit: QuantumScript, later: bool) -> bool: ...
    def select(self, circuit: QuantumScript, candidates: list[Executor]) -> Executor: ...
    def shares(self, circuit: QuantumScript, candidates: list[Executor]) -> list[Share]: ...


class Preview:
    """A cluster as a dispatcher sees it, with copies of its policies, so that asking them has no consequences.

    Args:
        cluster: the cluster.
        choosing: the copies.
    """

    def __init__(self, cluster: Planner, choosing: Choosing) -> None:
        self.executors = cluster.executors
        self.merge = cluster.merge
        self.fails_over = cluster.fails_over
        self.binds_late = choosing.binds_late
        self._cluster = cluster
        self._choosing = choosing

    def candidates(self, circuit: QuantumScript, refusals: dict[Executor, str]) -> list[Executor]:
        """The executors that can run a circuit now."""
        return self._cluster.candidates(circuit, refusals)

    def keeps_sweeps(self, circuit: QuantumScript, candidates: Sequence[Executor]) -> bool:
        """Whether a circuit would go where those go that differ from it in numbers only."""
        return self._cluster.keeps_sweeps(circuit, candidates)

    def prepares_late(self, executor: Executor, circuit: QuantumScript, later: bool) -> bool:
        """Whether a circuit would be prepared in another process."""
        return self._cluster.prepares_late(executor, circuit, later)

    def select(self, circuit: QuantumScript, candidates: Sequence[Executor]) -> Executor:
        """Who would run a circuit."""
        return self._choosing.select(circuit, candidates)

    def shares(self, circuit: QuantumScript, candidates: Sequence[Executor]) -> list[Share]:
        """Who would run a circuit, with how many shots."""
        return self._choosing.shares(circuit, candidates)


@dataclass(frozen=True, eq=False)
class Choosing:
    """A selector and a split.

    Attributes:
        selector: who runs a circuit, whole.
        split: how a circuit's shots are shared out; ``None`` if they are not.
        lock: held while they are asked: they may have a memory.
    """

    selector: Any
    split: Any = None
    lock: ChainLock = field(default_factory=ChainLock)

    @property
    def binds_late(self) -> bool:
        """Whether circuits wait for whoever is free first."""
        return self.selector is selectors.least_loaded and self.split is None

    def is_split(self, circuit: QuantumScript) -> bool:
        """Whether the shots of a circuit are shared out."""
        return self.split is not None and bool(circuit.shots)

    def keeps_sweeps(self, circuit: QuantumScript) -> bool:
        """Whether who gets one circuit of a sweep gets them all, if that makes a difference.

        A function of the user's is asked for every circuit.
        """
        return splits.is_built_in(self.split) if self.is_split(circuit) else selectors.is_built_in(self.selector)

    def select(self, circuit: QuantumScript, candidates: Sequence[Executor]) -> Executor:
        """Ask the selector who is to run a circuit.

        Raises:
            PolicyError: it returned something that is not one of the candidates.
        """
        with self.lock.held():
            chosen = self.selector(circuit, candidates)
        if chosen not in candidates:
            names = ", ".join(repr(executor.name) for executor in candidates)
            raise PolicyError(
                f"the selector returned {chosen!r}, which is none of the executors that can run this circuit. "
                f"Return one of the executors it is given: {names}."
            )
        return chosen  # type: ignore[no-any-return]

    def shares(self, circuit: QuantumScript, candidates: Sequence[Executor]) -> list[Share]:
        """Ask the policy who is to run a circuit, and with how many shots.

        Raises:
            PolicyError: the policy returned something else.
        """
        total = circuit.shots.total_shots
        if self.split is None or total is None:
            return [Share(self.select(circuit, candidates), total or 0)]
        with self.lock.held():
            returned = self.split(circuit, candidates)
        return splits.checked(returned, total, candidates, adds_up=self.split is not splits.multiplier)

    def copy(self, kept: Iterable[Any]) -> Choosing:
        """Copies of the policies, which may be asked without changing what these say next.

        A function is its own copy: what it remembers somewhere else, it remembers.

        Args:
            kept: what the policies may know, and is not copied: the executors.

        Raises:
            ConfigurationError: a policy cannot be copied.
        """
        known = {id(one): one for one in kept}
        with self.lock.held():
            return replace(
                self, selector=_copied(self.selector, known), split=_copied(self.split, known), lock=ChainLock()
            )


def _copied(policy: Any, known: dict[int, Any]) -> Any:
    try:
        return copy.deepcopy(policy, dict(known))
    except Exception as error:
        raise ConfigurationError(
            f"the policy {policy!r} cannot be copied ({error}), and asking it would change what it says next: give its "
            "class a method __deepcopy__."
        ) from error


_PLAIN = ExecutionConfig()


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


def _is_tagged(circuit: QuantumScript) -> bool:
    return issubclass(type(circuit), _Tagged)


@cache
def _tagged(binding: int) -> type[_Tagged]:
    return type(f"_Tagged{binding}", (_Tagged,), {"binding": binding, "__module__": __name__})


class _RefusedError(Exception):
    """An executor turned out not to be able to run a circuit when it prepared it."""

    def __init__(self, executor: Executor, cause: Exception) -> None:
        super().__init__(executor, cause)
        self.executor = executor
        self.cause = cause


class Dispatcher:
    """Turns the circuits of one call into circuits for executors, and these into jobs.

    Args:
        cluster: whose executors and policies to use.
        config: the execution configuration that the call asks for; may be given later, before the first circuit.
        later: whether nobody waits for the call.

    Attributes:
        unwraps: whether circuits come with numbers of an interface, to be replaced by NumPy's.
        batches_are_calls: whether each batch of circuits is a call of its own, as in functions compiled by ``jax.jit``.
    """

    def __init__(self, cluster: Planner, config: ExecutionConfig | None = None, later: bool = False) -> None:
        self._cluster = cluster
        self._later = later
        self.unwraps = False
        self.batches_are_calls = False
        self.config = config or _PLAIN
        self._binders: dict[tuple[Executor, bool, bool], Binder] = {}
        self._bindings: list[tuple[Executor | None, Call]] = []
        self._numbers: dict[tuple[Executor | None, int], int] = {}
        self._calls: dict[tuple[int, str], Call] = {}
        self._unbound: Call | None = None
        self._answers: dict[tuple[Any, ...], Any] = {}
        self._adding = threading.Lock()

    def __call__(self, circuit: QuantumScript) -> Expanded:
        """The circuits that have to be run for one circuit, tagged, and what makes its result of theirs.

        Raises:
            NoExecutorError: no executor can run the circuit.
            PolicyError: the selector or the split returned something else than it should.
            ConfigurationError: the circuit has a shot vector, and an executor has shots of its own.
        """
        if circuit.shots.has_partitioned_shots:
            refuse_shot_vector(self._cluster.executors, circuit.shots)
        circuit = with_outcomes_in_order(self._with_measured_wires(circuit))
        late = self._cluster.binds_late and not self.config.use_device_gradient
        refusals: dict[Executor, Exception] = {}
        while True:
            candidates = self._candidates(circuit, refusals)
            try:
                return self._late(circuit, candidates[0]) if late else self._dispatch(circuit, candidates)
            except _RefusedError as refused:
                refusals[refused.executor] = refused.cause

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
        return _is_tagged(circuit) and circuit.binding < len(self._bindings)

    def rows(self, circuit: QuantumScript) -> Expanded:
        """The circuits for which one that was broadcasted after it was prepared stands; just itself if it was not.

        ``jax.vmap`` does that to circuits that were prepared when JAX traced them, for executors that differentiate.
        """
        if not is_broadcasted(circuit):
            return (circuit,), _first
        assert _is_tagged(circuit)
        circuits, postprocess = rows_of(circuit)
        return tuple([_retag(one, circuit.binding, circuit) for one in circuits]), postprocess

    def job(self, circuit: QuantumScript, method: str = "execute", vector: Any = None) -> Job:
        """The job of a circuit that :meth:`__call__` returned, or of a copy of it."""
        assert _is_tagged(circuit)
        number = circuit.binding
        executor, call = self._bindings[number]
        if method != "execute":
            call = self._calls.setdefault((number, method), replace(call, method=method))
        affinity = None
        if executor is None and self._cluster.keeps_sweeps(circuit, self._cluster.executors):
            affinity = self._said(circuit, (), Affinity)
        return Job(circuit, executor, call, vector, affinity=affinity)

    def _candidates(self, circuit: QuantumScript, refusals: dict[Executor, Exception]) -> list[Executor]:
        reasons = {executor: f"refuses it ({type(error).__name__}: {error})" for executor, error in refusals.items()}
        try:
            return self._cluster.candidates(circuit, reasons)
        except NoExecutorError as error:
            cause = next(reversed(refusals.values()), None)
            if len(error.reasons) == 1 and cause is not None:
                error = NoExecutorError(error.circuit, error.reasons, cause)
            raise error from cause

    def _dispatch(self, circuit: QuantumScript, candidates: list[Executor]) -> Expanded:
        shares = self._asked(self._cluster.shares, circuit, candidates)
        if len(shares) > 1:
            plan = self._cluster.merge.plan(circuit.copy(shots=circuit.shots.total_shots))
            if plan is not None:
                return self._split(circuit, shares, plan)
            return self._whole(circuit, self._asked(self._cluster.select, circuit, candidates))
        return self._whole(circuit, shares[0].executor)

    def _asked(self, ask: Callable[..., Any], circuit: QuantumScript, candidates: list[Executor]) -> Any:
        """What a policy says of a circuit; what it has said of one that goes with it, if that matters."""
        if not self._cluster.keeps_sweeps(circuit, candidates):
            return ask(circuit, candidates)
        return self._said(circuit, (ask.__name__, *candidates), lambda: ask(circuit, candidates))

    def _said(self, circuit: QuantumScript, question: tuple[Any, ...], ask: Callable[[], Any]) -> Any:
        # The circuits of a gradient may differ in more than numbers: Hadamard tests, and squares of observables, do.
        differentiated = callable(self.config.gradient_method) and self.config.interface is not Interface.NUMPY
        together = circuit.shots if differentiated else sweep_of(circuit)
        key = (threading.get_ident() if self.batches_are_calls else None, together, question)
        answer = self._answers.get(key)
        return self._answers.setdefault(key, ask()) if answer is None else answer

    def end_batch(self) -> None:
        """All circuits of a batch have become jobs. If the next one is another call, policies are asked anew."""
        if self.batches_are_calls and self._answers:
            thread = threading.get_ident()
            for key in [key for key in list(self._answers) if key[0] == thread]:  # others may add to it meanwhile
                del self._answers[key]

    def _whole(self, circuit: QuantumScript, executor: Executor) -> Expanded:
        """The circuit with its own measurements, prepared by its executor, or in the worker that runs it."""
        circuit = executor.with_shots(circuit)
        if not self.config.use_device_gradient and self._cluster.prepares_late(executor, circuit, self._later):
            self._check_first(circuit, executor, executor)
            return self._as_it_is(circuit, executor)
        bound = self._bind(circuit, executor)
        number = self._number(executor, bound.config)
        return tuple([_retag(one, number, circuit) for one in bound.circuits]), _named(executor, bound.postprocess)

    def _late(self, circuit: QuantumScript, candidate: Executor) -> Expanded:
        """The circuit for whoever is free first."""
        self._check_first(candidate.with_shots(circuit), candidate, None)
        return self._as_it_is(circuit, None)

    def _check_first(self, circuit: QuantumScript, candidate: Executor, executor: Executor | None) -> None:
        """See at once whether the first circuit of a call can be run; it is prepared again where it runs."""
        if (executor, id(self._late_call)) not in self._numbers or not self._cluster.fails_over:
            self._bind(circuit, candidate)

    def _bind(self, circuit: QuantumScript, executor: Executor) -> Bound:
        try:
            return self._binder(executor, circuit)(circuit)
        except Exception as error:
            raise _RefusedError(executor, error) from error

    def _as_it_is(self, circuit: QuantumScript, executor: Executor | None) -> Expanded:
        """The circuit as it is, to be prepared where it runs: by this executor, or by whoever is free first."""
        call = self._late_call
        number = self._numbers.get((executor, id(call)))
        if number is None:
            number = self._add(executor, id(call), call)
        return (_retag(circuit, number, circuit),), _first

    @property
    def _late_call(self) -> Call:
        if self._unbound is None:
            self._unbound = Call("execute", self.config).unbound()
        return self._unbound

    def _binder(self, executor: Executor, circuit: QuantumScript) -> Binder:
        measures = any(issubclass(kind, MidMeasure) for kind in set(map(type, circuit.operations)))
        key = (executor, bool(circuit.shots), measures)
        binder = self._binders.get(key)
        if binder is None:
            binder = self._binders[key] = executor.binder(self.config, circuit)
        return binder

    def _number(self, executor: Executor, config: ExecutionConfig) -> int:
        number = self._numbers.get((executor, id(config)))
        if number is not None:
            return number
        call = Call("execute", config, bound=True, outcomes=self.config.mcm_config)
        return self._add(executor, id(config), call)

    def _add(self, executor: Executor | None, key: int, call: Call) -> int:
        with self._adding:
            number = self._numbers.get((executor, key))
            if number is None:
                self._bindings.append((executor, call))
                number = self._numbers[executor, key] = len(self._bindings) - 1
            return number

    def _split(self, circuit: QuantumScript, shares: Sequence[Share], plan: Plan) -> Expanded:
        """The circuit in a form whose results add up, once for each share, prepared by the share's executor."""
        bins = _binned(list(circuit.shots), [share.shots for share in shares])
        parts: list[list[Expanded]] = []
        for index, share in enumerate(shares):
            shots = [row[index] for row in bins if row[index]]
            circuits = plan.share(index, shots if len(shots) > 1 else shots[0])
            parts.append([self._whole(one, share.executor) for one in circuits])

        def postprocess(results: Sequence[Result]) -> Result:
            remaining = iter(results)
            raw = [[post([next(remaining) for _ in circuits]) for circuits, post in part] for part in parts]
            outcomes = _by_bin(bins, shares, raw)
            joined = tuple(plan.join(each) for each in outcomes)
            return joined if circuit.shots.has_partitioned_shots else joined[0]

        return tuple(one for part in parts for circuits, _ in part for one in circuits), postprocess


def _binned(bins: Sequence[int], shares: Sequence[int]) -> list[list[int]]:
    """Share the shots of each bin of a shot vector out, so that rows and columns add up.

    Args:
        bins: ``B`` numbers of shots.
        shares: ``K`` numbers of shots, adding up to a multiple of the sum of ``bins``.

    Returns:
        ``B`` rows of ``K`` numbers; column ``k`` adds up to ``shares[k]``.
    """
    left, rest, rows = list(shares), sum(bins), []
    for size in bins:
        row = apportion(sum(left) * size // rest, left)
        left = [have - take for have, take in zip(left, row, strict=True)]
        rest -= size
        rows.append(row)
    return rows


def _by_bin(bins: Sequence[Sequence[int]], shares: Sequence[Share], raw: Sequence[Any]) -> list[list[Outcome]]:
    """For each bin, what every share that has shots in it measured there."""
    outcomes = []
    positions = [iter(range(len(bins))) for _ in shares]
    filled = [sum(1 for row in bins if row[index]) for index in range(len(shares))]
    for row in bins:
        outcomes.append(
            [
                Outcome(_results_of_bin(raw[index], filled[index], next(positions[index])), share.executor.name, shots)
                for index, (share, shots) in enumerate(zip(shares, row, strict=True))
                if shots
            ]
        )
    return outcomes


def _results_of_bin(results: Sequence[Result], bins: int, position: int) -> tuple[Result, ...]:
    return tuple(results) if bins == 1 else tuple(result[position] for result in results)


def _retag(circuit: QuantumScript, binding: int, origin: QuantumScript) -> QuantumScript:
    tagged = _tagged(binding)(
        circuit.operations, circuit.measurements, shots=circuit.shots, trainable_params=circuit.trainable_params
    )
    return remember(tagged, origin)


def _named(executor: Executor, postprocess: Postprocessing) -> Postprocessing:
    """Say of errors in what an executor's own program does with results whose they are."""

    def named(results: Sequence[Result]) -> Result:
        try:
            return postprocess(results)
        except QExecError:
            raise
        except Exception as error:
            raise ExecutorError(executor.name, 1, error) from error

    return named


def _first(results: Sequence[Result]) -> Result:
    return results[0]
