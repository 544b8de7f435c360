"""What a batch of circuits is run as by Qiskit's primitives, how it is sent, and what the answers mean.

A *PUB* is a circuit with a matrix of parameters. An Estimator estimates expectation values as weighted sums of Pauli
words. Importing this imports Qiskit, so it is imported when the first job is sent.
"""

from __future__ import annotations

import copy
import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
from pennylane.measurements import ExpectationMP, MeasurementProcess
from pennylane.pauli import PauliWord, compute_partition_indices
from pennylane.queuing import QueuingManager
from pennylane.tape import QuantumScript
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import EstimatorV2, SamplerV2

from pennylane_qexec.circuits.measurement_bases import Counter
from pennylane_qexec.circuits.qiskit.preparation import REGISTER, parametrised
from pennylane_qexec.circuits.readout import TABLE_WIRES, Readout
from pennylane_qexec.circuits.sampling import Cell
from pennylane_qexec.circuits.templates import Fused, Template, fuse, unfused
from pennylane_qexec.concurrency.once import Kept
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors.base import Binder
from pennylane_qexec.executors.counting import counted
from pennylane_qexec.executors.runtime.jobs import Flight, tags_of
from pennylane_qexec.executors.runtime.machines import Machine
from pennylane_qexec.executors.runtime.options import PrimitiveOptions
from pennylane_qexec.executors.runtime.sessions import Mode
from pennylane_qexec.executors.seeds import derived
from pennylane_qexec.job import Bound, Result

Pub = tuple[Any, ...]


def can_estimate(circuit: QuantumScript) -> bool:
    """Whether an Estimator can run a circuit: all that is asked are expectation values of sums of Pauli words."""
    return all(
        isinstance(measurement, ExpectationMP)
        and measurement.obs is not None
        and measurement.obs.pauli_rep is not None
        and any(len(word) for word in measurement.obs.pauli_rep)
        for measurement in circuit.measurements
    )


def words(measurement: MeasurementProcess) -> Iterator[tuple[dict[Any, str], float]]:
    """The Pauli words of an expectation value with their weights, but for the identity.

    Yields:
        For each word, its letter on each wire, and its weight.
    """
    for word, weight in measurement.obs.pauli_rep.items():
        if len(word):
            yield dict(word), float(np.real(weight))


def constant(measurement: MeasurementProcess) -> float:
    """The weight of the identity."""
    return sum((float(np.real(weight)) for word, weight in measurement.obs.pauli_rep.items() if not len(word)), 0.0)


def _groups(circuit: QuantumScript) -> int:
    found = dict.fromkeys([PauliWord(word) for measurement in circuit.measurements for word, _ in words(measurement)])
    with QueuingManager.stop_recording():
        return len(compute_partition_indices([word.operation() for word in found]))


estimated_together = Counter(_groups)
"""The groups of words, of all of a circuit's expectation values, that commute qubit by qubit."""


_ENTRIES = 2**22
"""How many counts are in memory at a time."""


@final
class Compiler:
    """Fits circuits to a backend.

    Args:
        backend: Qiskit's backend, looked up when the first circuit is compiled.
        optimization_level: of Qiskit's transpiler, 0 to 3.
        seed: of the transpiler's choices.
    """

    def __init__(self, backend: Callable[[], Any], optimization_level: int, seed: int) -> None:
        self._backend = backend
        self._level = optimization_level
        self._seed = seed
        # Qiskit's passes keep notes of the circuit they work on.
        self._lock = threading.Lock()

    def __call__(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """The circuit in the backend's instructions, on the backend's qubits.

        Raises:
            ConfigurationError: the backend has too few qubits.
        """
        backend = self._backend()
        if circuit.num_qubits > backend.num_qubits:
            raise ConfigurationError(
                f"{backend.name!r} has {backend.num_qubits} qubits, and a circuit has {circuit.num_qubits} wires."
            )
        with self._lock:
            return self._passes.run(circuit)

    @cached_property
    def _passes(self) -> Any:
        backend = self._backend()
        # Above level 1, Qiskit 2.3 panics over matrices beside some parametrised gates where it may keep matrices.
        level = min(self._level, 1) if "unitary" in backend.target.operation_names else self._level
        return generate_preset_pass_manager(level, backend=backend, seed_transpiler=self._seed)


class Program(ABC):
    """Circuits of one structure, with any number of shots, for one of the primitives.

    Attributes:
        primitive: ``"sampler"`` or ``"estimator"``.
    """

    primitive: str

    def __init__(self, template: Template, compiler: Compiler) -> None:
        self._template = template
        self._compiler = compiler

    @property
    @abstractmethod
    def size(self) -> int:
        """How many PUBs there are."""

    @abstractmethod
    def pubs(self, parameters: np.ndarray, shots: int) -> list[Pub]:
        """What to run.

        Args:
            parameters: of the circuits, ``(R, P)``.
            shots: of each of them.
        """

    @abstractmethod
    def results(self, answers: Sequence[Any], rows: int, shots: int, rng: np.random.Generator) -> list[Result]:
        """The results of ``R`` circuits.

        Args:
            answers: the primitive's answer for each PUB.
            rows: how many circuits there were.
            shots: of each of them.
            rng: puts samples in their order.
        """


@final
class Sampled(Program):
    """What the Sampler runs: a PUB for each group of measurements that are made together."""

    primitive = "sampler"

    @cached_property
    def _readout(self) -> Readout:
        return Readout(self._template.circuit)

    @property
    def size(self) -> int:
        return len(self._readout.cells)

    @cached_property
    def _compiled(self) -> list[QuantumCircuit]:
        return [self._compiler(self._measured(cell)) for cell in self._readout.cells]

    def pubs(self, parameters: np.ndarray, shots: int) -> list[Pub]:
        return [(circuit, _used(circuit, parameters), shots) for circuit in self._compiled]

    def results(self, answers: Sequence[Any], rows: int, shots: int, rng: np.random.Generator) -> list[Result]:
        packed = [_packed(answer, rows, shots) for answer in answers]
        widths = [len(cell.wires or ()) for cell in self._readout.cells]
        step = max(1, _ENTRIES >> min(TABLE_WIRES, max(widths)))
        results: list[Result] = []
        for start in range(0, rows, step):
            part = [counted(bits[start : start + step], width) for bits, width in zip(packed, widths, strict=True)]
            results += self._readout.results(part, rng)
        return results

    def _measured(self, cell: Cell) -> QuantumCircuit:
        template = self._template
        converted = parametrised(cell.circuit.operations, template.slots, template.circuit.wires)
        assert cell.wires is not None  # the binder leaves nothing that is not measured on wires
        return converted.measured(cell.wires)


@final
class Estimated(Program):
    """What the Estimator runs: one PUB, with all observables."""

    primitive = "estimator"

    @property
    def size(self) -> int:
        return 1

    @cached_property
    def _constants(self) -> np.ndarray:
        """What the identity adds to each expectation value, ``(O,)``."""
        return np.array([constant(measurement) for measurement in self._template.circuit.measurements])

    @cached_property
    def _compiled(self) -> tuple[QuantumCircuit, list[list[SparsePauliOp]]]:
        circuit = self._template.circuit
        converted = parametrised(circuit.operations, self._template.slots, circuit.wires)
        compiled = self._compiler(converted.circuit)
        observables = [_operator(measurement, circuit) for measurement in circuit.measurements]
        return compiled, [[one.apply_layout(compiled.layout, compiled.num_qubits)] for one in observables]

    def pubs(self, parameters: np.ndarray, shots: int) -> list[Pub]:
        circuit, observables = self._compiled
        return [(circuit, observables, _used(circuit, parameters), precision(shots))]

    def results(self, answers: Sequence[Any], rows: int, shots: int, rng: np.random.Generator) -> list[Result]:
        values = np.asarray(answers[0].data.evs)
        _compare(values.shape, (len(self._constants), rows))
        columns = values + self._constants[:, None]
        return list(columns[0]) if len(columns) == 1 else [tuple(row) for row in columns.T]


def precision(shots: int) -> float:
    """The precision that makes an Estimator run exactly so many shots.

    It runs ``ceil(1 / precision**2)``, which is one more than asked where rounding makes the quotient a little larger.
    """
    value = 1 / math.sqrt(shots)
    while math.ceil(1 / value**2) > shots:
        value = math.nextafter(value, 1)
    return value


def _used(circuit: QuantumCircuit, parameters: np.ndarray) -> np.ndarray:
    """The parameters that are left in a compiled circuit: those of gates that do nothing are not."""
    return parameters[:, [parameter.index for parameter in circuit.parameters]]


def _packed(answer: Any, rows: int, shots: int) -> np.ndarray:
    bits = answer.data[REGISTER]
    _compare((*bits.shape, bits.num_shots), (rows, shots))
    return np.asarray(bits.array)


def _compare(found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if found != expected:
        raise ConfigurationError(
            f"the job has results of shape {found}, and its circuits need {expected}: recover a job with the circuits "
            "that it was sent with, by an executor with the same options."
        )


def _operator(measurement: MeasurementProcess, circuit: QuantumScript) -> SparsePauliOp:
    place = {wire: index for index, wire in enumerate(circuit.wires)}
    terms = [("".join(word.values()), [place[wire] for wire in word], weight) for word, weight in words(measurement)]
    return SparsePauliOp.from_sparse_list(terms, num_qubits=len(place))


_KEPT_PROGRAMS = 256
_PRIMITIVES = {"estimator": EstimatorV2, "sampler": SamplerV2}


@dataclass(frozen=True)
class Plan:
    """What the circuits of a batch are run as.

    Attributes:
        bounds: the circuits, made ready.
        parts: the groups of those of one structure, with their programs.
        seed: of the order of samples.
    """

    bounds: Sequence[Bound]
    parts: Sequence[tuple[Fused, Program]]
    seed: np.random.SeedSequence

    @property
    def primitives(self) -> list[str]:
        """The primitives that are needed, each of which runs one job."""
        return sorted({program.primitive for _, program in self.parts})

    def pubs(self, primitive: str) -> list[Pub]:
        """All that one primitive has to run."""
        return [
            pub for fused, program in self._parts_of(primitive) for pub in program.pubs(fused.parameters, _shots(fused))
        ]

    def results(self, answers: Sequence[Sequence[Any]]) -> list[Result]:
        """The results of the circuits.

        Args:
            answers: for each primitive, its answers.
        """
        rng = np.random.default_rng(self.seed)
        groups = []
        for primitive, given in zip(self.primitives, answers, strict=True):
            remaining = list(given)
            self._check(primitive, len(remaining))
            for fused, program in self._parts_of(primitive):
                mine, remaining = remaining[: program.size], remaining[program.size :]
                groups.append((fused, program.results(mine, len(fused.indices), _shots(fused), rng)))
        results = iter(unfused(groups, sum(len(bound.circuits) for bound in self.bounds)))
        return [bound.postprocess([next(results) for _ in bound.circuits]) for bound in self.bounds]

    def _parts_of(self, primitive: str) -> list[tuple[Fused, Program]]:
        return [(fused, program) for fused, program in self.parts if program.primitive == primitive]

    def _check(self, primitive: str, number: int) -> None:
        expected = sum(program.size for _, program in self._parts_of(primitive))
        if number != expected:
            raise ConfigurationError(
                f"the job has {number} results, and its circuits need {expected}: recover a job with the circuits that "
                "it was sent with, by an executor with the same options."
            )


@final
class Planner:
    """Plans batches for one machine; what was compiled for it is kept.

    Args:
        machine: the machine.
        options: of the primitives, and which of them runs what.
        optimization_level: of Qiskit's transpiler.
        seed_transpiler: of its choices.
    """

    def __init__(
        self, machine: Machine, options: PrimitiveOptions, optimization_level: int, seed_transpiler: int
    ) -> None:
        self._options = options
        self._compiler = Compiler(machine.backend, optimization_level, seed_transpiler)
        self._programs: Kept[Program] = Kept(_KEPT_PROGRAMS)

    def plan(self, circuits: Sequence[QuantumScript], binder: Binder, seed: Sequence[int] | None) -> Plan:
        """What circuits are run as.

        Args:
            circuits: circuits with shots.
            binder: makes them ready for Qiskit.
            seed: of everything random; ``None`` for none.
        """
        bounds = [binder(circuit) for circuit in circuits]
        groups = fuse([one for bound in bounds for one in bound.circuits])
        parts = [(fused, self._program(fused.template)) for fused in groups]
        return Plan(bounds, parts, np.random.SeedSequence(seed))

    def _program(self, template: Template) -> Program:
        estimates = self._options.estimates and can_estimate(template.circuit)
        if not estimates and not self._options.samples:
            raise ConfigurationError(
                f"primitive='estimator', and {template.circuit.measurements} has to be sampled: take 'auto', or ask "
                "for expectation values of sums of Pauli words, without postselection."
            )
        kind = Estimated if estimates else Sampled
        return self._programs.get(_without_shots(template), lambda: kind(template, self._compiler))


def _shots(fused: Fused) -> int:
    return int(fused.template.circuit.shots.total_shots or 0)


def _without_shots(template: Template) -> Hashable:
    """The key of a template, equal for all numbers of shots."""
    return template.key and fuse([template.circuit.copy(shots=None)])[0].template.key


def send(plan: Plan, backend: Any, mode: Mode, options: PrimitiveOptions, seed: int | None, label: str = "") -> Flight:
    """Send a job for each primitive that a plan needs.

    Args:
        plan: what to run.
        backend: Qiskit's backend.
        mode: how jobs are scheduled.
        options: of the primitives.
        seed: of a simulator.
        label: what the jobs are to be found by; empty for nothing.

    Returns:
        The jobs. If the second cannot be sent, the first is cancelled.
    """
    jobs: list[Any] = []
    try:
        for number, name in enumerate(plan.primitives, 1):
            tags = tags_of(label, number, len(plan.primitives))
            own = seed if seed is None or number == 1 else derived(seed, number)
            jobs.append(_sent(name, plan.pubs(name), backend, mode, options.of(name, own, tags)))
    except BaseException:
        with suppress(Exception):  # what cannot be cancelled runs
            Flight(tuple(jobs), plan).cancel()
        raise
    return Flight(tuple(jobs), plan)


def drawing_by_shots(backend: Any) -> Any:
    """A simulated backend that draws circuits of other numbers of shots by other seeds, derived from that of the job.

    Qiskit's primitives run those with equal shots together, each such run with the job's own seed.
    """
    drawing, plainly = copy.copy(backend), backend.run

    def run(circuits: Any, **options: Any) -> Any:
        options["seed_simulator"] = derived(options["seed_simulator"], options["shots"])
        return plainly(circuits, **options)

    drawing.run = run
    return drawing


def _sent(name: str, pubs: list[Pub], backend: Any, mode: Mode, options: dict[str, Any]) -> Any:
    kind = _PRIMITIVES[name]
    return mode.send(backend, lambda where: kind(mode=where, options=options).run(pubs))
