"""How batches run with JAX: which structures are compiled, when, and what runs another way meanwhile.

Which of several ways of doing the same is the fastest is found out on real work, by size.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TypeVar

import numpy as np
from pennylane.devices import ExecutionConfig
from pennylane.measurements import ProbabilityMP, StateMeasurement
from pennylane.operation import Operation, StatePrepBase
from pennylane.ops import Conditional, MidMeasure, Projector, Snapshot
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.readout import Readout
from pennylane_qexec.circuits.sampling import SHADOWS, can_pool
from pennylane_qexec.circuits.structure import is_broadcasted
from pennylane_qexec.circuits.templates import Fused, Template
from pennylane_qexec.concurrency.once import OnceCache
from pennylane_qexec.executors.base import Binder
from pennylane_qexec.executors.jax import functions as jax_functions
from pennylane_qexec.executors.jax.compiler import CompileQueue, Functions, Platform, bytes_needed, padded
from pennylane_qexec.executors.jax.functions import Sampler, Traced
from pennylane_qexec.executors.pennylane.executor import DeviceExecutor
from pennylane_qexec.job import Result, Sweep, Work

T = TypeVar("T")

_SIZES = 1024
_TRIALS = 3
_CLEARLY = 1.5
_LONG = 0.02
_FIRST_RECHECK = 64
_MOST_PATIENCE = 4096


@dataclass
class _Standing:
    """What was measured for one size.

    Attributes:
        seconds: for each way, the seconds per circuit that it took the last few times.
        lasted: for each way, all the seconds that it ran.
        runs: how often something of this size ran since a slower way was last tried again.
        patience: runs until a slower way is tried again.
        turn: counts trials.
    """

    seconds: list[list[float]]
    lasted: list[float]
    runs: int = 0
    patience: int = _FIRST_RECHECK
    turn: int = 0


class Contest:
    """Lets several ways compete. Safe to use from several threads; remembers the sizes that were used last.

    For a size that is new, the ways take turns. Then the fastest one is taken, by the best of its last few times:
    what else the machine does can only make it slower. The others are tried again, ever more seldom.

    Args:
        clock: returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._standings: OrderedDict[Hashable, _Standing] = OrderedDict()

    def run(self, size: Hashable, circuits: int, ways: Sequence[Callable[[], T]]) -> T:
        """Do something by one of the ways, and remember how long that took.

        Args:
            size: what the time per circuit depends on.
            circuits: how many circuits it is done for.
            ways: the ways, always in the same order.
        """
        way = self._choose(size, len(ways))
        start = self._clock()
        result = ways[way]()
        self._note(size, way, circuits, self._clock() - start)
        return result

    def settled(self, size: Hashable) -> int | None:
        """The way that is the fastest for a size; ``None`` as long as that is not known."""
        with self._lock:
            standing = self._standings.get(size)
            return None if standing is None else _fastest(standing)

    def _choose(self, size: Hashable, number: int) -> int:
        with self._lock:
            standing = self._standings.setdefault(size, _Standing([[] for _ in range(number)], [0.0] * number))
            self._standings.move_to_end(size)
            if len(self._standings) > _SIZES:
                self._standings.popitem(last=False)
            fastest = _fastest(standing)
            if fastest is None:
                return min(range(number), key=lambda way: len(standing.seconds[way]))
            standing.runs += 1
            if standing.runs < standing.patience or number == 1:
                return fastest
            standing.runs = 0
            standing.patience = min(2 * standing.patience, _MOST_PATIENCE)
            standing.turn += 1
            return (fastest + 1 + standing.turn % (number - 1)) % number

    def _note(self, size: Hashable, way: int, circuits: int, seconds: float) -> None:
        with self._lock:
            standing = self._standings.get(size)
            if standing is None:
                return
            before = _fastest(standing)
            standing.lasted[way] += seconds
            standing.seconds[way] = [*standing.seconds[way][1 - _TRIALS :], seconds / circuits]
            if before is not None and _fastest(standing) != before:
                standing.patience = _FIRST_RECHECK


def _fastest(standing: _Standing) -> int | None:
    """The fastest way, as soon as all had enough trials, or it is that much faster that no more are needed."""
    if not all(standing.seconds):
        return None
    best = list(map(min, standing.seconds))
    fastest = best.index(min(best))
    clearly = all(other >= _CLEARLY * best[fastest] for way, other in enumerate(best) if way != fastest)
    tried = min(map(len, standing.seconds)) >= _TRIALS or (clearly and min(standing.lasted) >= _LONG)
    return fastest if tried else None


_NOT_TRACED = (Conditional, MidMeasure, Projector, Snapshot)


class Structure:
    """Circuits of one structure, all with shots or all without.

    Args:
        template: the structure.
        functions: gives the compiled functions that belong to a function to trace; structures that differ in nothing
            but the number of shots share them.

    Attributes:
        times: how often such circuits have come.
        sampling: whether they have shots.
        rows_alone: the most circuits that run one by one before it is looked if something is compiled.
        clear: the padded numbers of circuits for which nothing can be faster than the compiled function.
        refused: whether the fastest simulator has refused such circuits.
    """

    def __init__(self, template: Template, functions: Callable[[Template, Callable[[], Traced]], Functions]) -> None:
        self._template = template
        self._shots = template.circuit.shots.total_shots
        self._get_functions = functions
        self.times = 0
        self.clear: set[int] = set()
        self.refused = False
        self.sampling = self._shots is not None
        self.rows_alone = max(1, min(_ROWS_ALONE, _NUMBERS_ALONE >> len(template.circuit.wires)))
        self._is_native: bool | None = None

    def native(self, binder: Callable[[ExecutionConfig, QuantumScript], Binder], config: ExecutionConfig) -> bool:
        """Whether a simulator's program would leave such circuits as they are, so that they need not go through it.

        Args:
            binder: makes what prepares circuits for the simulator.
            config: the configuration that the call asks for.
        """
        if config.gradient_method is not None:
            return False
        if self._is_native is None:
            bound = binder(config, self._template.circuit)(self._template.circuit)
            self._is_native = len(bound.circuits) == 1 and bound.circuits[0] is self._template.circuit
        return self._is_native

    @cached_property
    def readout(self) -> Readout:
        """How circuits with shots are measured."""
        return Readout(self._template.circuit)

    @cached_property
    def traceable(self) -> bool:
        """Whether circuits are worth tracing by JAX, and nothing speaks against it before it is tried."""
        template, circuit = self._template, self._template.circuit
        if template.key is None or not template.slots or circuit.shots.has_partitioned_shots or is_broadcasted(circuit):
            return False
        _, *others = circuit.operations
        if not all(isinstance(one, Operation) and not isinstance(one, _NOT_TRACED) for one in circuit.operations):
            return False
        if any(isinstance(one, StatePrepBase) for one in others):
            return False
        if circuit.shots:
            return can_pool(circuit) and not any(isinstance(one, SHADOWS) for one in circuit.measurements)
        return all(isinstance(one, StateMeasurement) and one.mv is None for one in circuit.measurements)

    @cached_property
    def functions(self) -> Functions:
        """The compiled functions."""
        if self._shots is None:
            return self._get_functions(self._template, lambda: jax_functions.exact(self._template))
        cells = self.readout.cells
        return self._get_functions(self._template, lambda: jax_functions.probabilities(self._template, cells))

    def compiled(self, parameters: np.ndarray, sampler: Sampler, numbers: Sequence[int], rows: int) -> list[Result]:
        """The results of ``R`` circuits, by a compiled function.

        Args:
            parameters: an array ``(R, P)``.
            sampler: draws the shots.
            numbers: of the circuits.
            rows: the number of rows for which there is a function, at least ``R``.
        """
        results: list[Result] = []
        for arrays in self.functions.run(parameters, rows):
            if self._shots is None:
                own = [np.array(each) for each in arrays]  # JAX's cannot be written to
                results.extend(own[0] if len(own) == 1 else zip(*own, strict=True))
            else:
                chosen = numbers[len(results) : len(results) + len(arrays[0])]
                results += sampler.results(self.readout, arrays, self._shots, chosen)
        return results

    @cached_property
    def exact(self) -> list[Template]:
        """Circuits without shots: the circuit itself, or those that have the probabilities of what is sampled."""
        template = self._template
        if self._shots is None:
            return [template]
        length, key = len(template.circuit.operations), template.key or ()
        made = []
        for number, cell in enumerate(self.readout.cells):
            operations = [*template.circuit.operations, *cell.circuit.operations[length:]]
            analytic = QuantumScript(operations, [ProbabilityMP(wires=cell.wires)])
            made.append(Template(analytic, template.slots, (number, *key[:-1], None)))
        return made

    def sampled(self, results: Sequence[Sequence[Result]], sampler: Sampler, numbers: Sequence[int]) -> list[Result]:
        """The results of circuits with shots, of probabilities that were computed one by one.

        Args:
            results: those of :attr:`exact`, for all circuits.
            sampler: draws the shots, the same as for :meth:`compiled`.
            numbers: of the circuits.
        """
        assert self._shots is not None
        tables = [np.clip(result, 0, None) for result in results]
        return sampler.results(
            self.readout, [table / table.sum(axis=1, keepdims=True) for table in tables], self._shots, numbers
        )


_KEPT_STRUCTURES = 1024
_KEPT_FUNCTIONS = 256
_WORTH_COMPILING = 16

_ROWS_ALONE = 128
_NUMBERS_ALONE = 2**22
"""How many circuits run one by one at a time, if their outcomes are no more numbers than that."""

_UNBEATABLE = 1.5e-4
"""Seconds per circuit that no simulator which takes circuits one by one falls below, however small they are."""

_NEVER_TOO_LARGE = 20


class Fusion:
    """Runs circuits of one structure together, in compiled functions that are kept.

    Args:
        platform: where to compute.
        sampler: draws shots.
        compile: ``"background"``, ``"now"`` or ``"never"``.
        chunk: the most circuits at once, or ``None``.

    Attributes:
        platform: where to compute.
        sampler: draws shots.
        queue: where functions are compiled in the background.
    """

    def __init__(self, platform: Platform, sampler: Sampler, compile: str, chunk: int | None) -> None:
        self.sampler = sampler
        self.queue = CompileQueue()
        self.platform = platform
        self._compile = compile
        self._chunk = chunk
        self._structures: OnceCache[Structure] = OnceCache(_KEPT_STRUCTURES)
        self._functions: OnceCache[Functions] = OnceCache(_KEPT_FUNCTIONS)
        self._contest = Contest()
        self._fast = DeviceExecutor("lightning.qubit")
        self._sure = DeviceExecutor("default.qubit")

    def too_large(self, wires: int) -> str | None:
        """Why the state of this many wires cannot be computed, as the end of a sentence; ``None`` if it can."""
        if wires <= _NEVER_TOO_LARGE:
            return None
        needed, free = bytes_needed(wires), self.platform.free_bytes()
        if needed <= free:
            return None
        return f"needs {needed / 2**30:.3g} GiB of memory for {wires} wires, and {free / 2**30:.3g} GiB are free"

    def structure(self, group: Fused) -> Structure:
        """What is kept of circuits of one structure."""
        return self._structures.get(
            group.template.key, lambda: Structure(group.template.with_own_arrays(), self._functions_of)
        )

    def results(self, structure: Structure, group: Fused, numbers: Sequence[int]) -> list[Result]:
        """The results of circuits of one structure.

        What is compiled while some of them run one by one, the others run with.

        Args:
            structure: the structure, which must be traceable.
            group: their parameters.
            numbers: of the circuits, for the sampler.
        """
        structure.times += 1
        rows, parameters, done = len(numbers), group.parameters, list[Result]()
        while not self._is_compiled(structure, rows):
            part = slice(len(done), len(done) + structure.rows_alone)
            done += self._one_by_one(structure, parameters[part], numbers[part])
            if len(done) == rows:
                return done
        compiled = partial(structure.compiled, parameters[len(done) :], self.sampler, numbers[len(done) :], rows)
        if done:
            return done + compiled()
        return self._faster(structure, rows, compiled, partial(self._one_by_one, structure, parameters, numbers))

    def _functions_of(self, template: Template, make: Callable[[], Traced]) -> Functions:
        """The functions of a structure, whatever its number of shots."""
        key = bool(template.circuit.shots), template.key_without_shots
        return self._functions.get(key, lambda: Functions(make, self.platform, self._chunk))

    def _is_compiled(self, structure: Structure, rows: int) -> bool:
        """Whether there is a function for this many circuits. If it is worth it, one will be."""
        if self._compile == "never":
            return False
        if self._compile == "background" and structure.times == 1 and rows < _WORTH_COMPILING:
            return False
        functions = structure.functions
        if not functions.ready(rows) and not functions.broken:
            compile = partial(functions.compile, rows)
            if self._compile == "now":
                compile()
            else:
                self.queue.add((functions, padded(rows)), compile)
        return functions.ready(rows)

    def _faster(
        self,
        structure: Structure,
        rows: int,
        compiled: Callable[[], list[Result]],
        one_by_one: Callable[[], list[Result]],
    ) -> list[Result]:
        """Run one of two ways; they compete, unless it is clear which is faster."""
        size = padded(rows)
        if size in structure.clear:
            return compiled()

        def timed() -> list[Result]:
            start = time.perf_counter()
            results = compiled()
            if time.perf_counter() - start < _UNBEATABLE * rows:
                structure.clear.add(size)
            return results

        return self._contest.run((structure, size), rows, [timed, one_by_one])

    def _one_by_one(self, structure: Structure, parameters: np.ndarray, numbers: Sequence[int]) -> list[Result]:
        results: list[Result] = []
        for start in range(0, len(parameters), structure.rows_alone):
            part = slice(start, start + structure.rows_alone)
            sweeps = [Sweep(one.circuit, parameters[part], one.slots, one.key) for one in structure.exact]
            exact = self._exactly(structure, Work(tuple([one.template for one in sweeps]), sweeps=tuple(sweeps)))
            if structure.sampling:
                results += structure.sampled(exact, self.sampler, numbers[part])
            else:
                results += map(_of_numpy, exact[0])
        return results

    def _exactly(self, structure: Structure, work: Work) -> Sequence[Sequence[Result]]:
        if not structure.refused:
            try:
                return self._fast.perform_sweeps(work)
            except Exception:  # each simulator has its own ways to refuse
                structure.refused = True
        return self._sure.perform_sweeps(work)


def _of_numpy(result: Result) -> Result:
    """A result with NumPy's numbers, as compiled functions give them, in place of Python's."""
    if isinstance(result, tuple):
        return tuple([_of_numpy(one) for one in result])
    return np.float64(result) if type(result) is float else result
