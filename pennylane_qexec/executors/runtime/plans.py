"""What a batch of circuits is run as by Qiskit's primitives, how it is sent, and what the answers mean.

A *PUB* is a circuit with a matrix of parameters. An Estimator estimates expectation values as weighted sums of Pauli
words. Importing this imports Qiskit, so it is imported when the first job is sent.
"""

from __future__ import annotations

import copy
import math
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, final

import numpy as np
from pennylane.measurements import MeasurementProcess
from pennylane.tape import QuantumScript
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import EstimatorV2, SamplerV2

from pennylane_qexec.circuits.measurement_bases import can_estimate, identity_weight, pauli_words
from pennylane_qexec.circuits.qiskit.preparation import REGISTER, parametrised
from pennylane_qexec.circuits.readout import TABLE_WIRES, Readout
from pennylane_qexec.circuits.sampling import SamplingCircuit
from pennylane_qexec.circuits.templates import Template
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors.identity import derived
from pennylane_qexec.executors.remote.plans import PlannedGroup, TemplateProgram, counted
from pennylane_qexec.executors.runtime.options import PrimitiveOptions
from pennylane_qexec.executors.runtime.sessions import Mode
from pennylane_qexec.job import Result

Pub = tuple[Any, ...]

_PRIMITIVES = {"estimator": EstimatorV2, "sampler": SamplerV2}

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


class PrimitiveProgram(TemplateProgram):
    """Circuits of one structure, with any number of shots, for one of the primitives.

    Attributes:
        primitive: ``"sampler"`` or ``"estimator"``.
    """

    primitive: str

    def __init__(self, template: Template, compiler: Compiler) -> None:
        self._template = template
        self._compiler = compiler

    @abstractmethod
    def pubs(self, parameters: np.ndarray, shots: int) -> list[Pub]:
        """What to run.

        Args:
            parameters: of the circuits, ``(R, P)``.
            shots: of each of them.
        """


@final
class SamplerProgram(PrimitiveProgram):
    """What the Sampler runs: a PUB for each group of measurements that are made together."""

    primitive = "sampler"

    @cached_property
    def _readout(self) -> Readout:
        return Readout(self._template.circuit)

    def size(self, rows: int) -> int:
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
            results += self._readout.results(part, [rng] * len(part[0]))
        return results

    def _measured(self, cell: SamplingCircuit) -> QuantumCircuit:
        template = self._template
        converted = parametrised(cell.circuit.operations, template.slots, template.circuit.wires)
        assert cell.wires is not None  # the binder leaves nothing that is not measured on wires
        return converted.measured(cell.wires)


@final
class EstimatorProgram(PrimitiveProgram):
    """What the Estimator runs: one PUB, with all observables."""

    primitive = "estimator"

    def size(self, rows: int) -> int:
        return 1

    @cached_property
    def _constants(self) -> np.ndarray:
        """What the identity adds to each expectation value, ``(O,)``."""
        return np.array([identity_weight(measurement) for measurement in self._template.circuit.measurements])

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
    terms = [
        ("".join(word.values()), [place[wire] for wire in word], weight) for word, weight in pauli_words(measurement)
    ]
    return SparsePauliOp.from_sparse_list(terms, num_qubits=len(place))


def program(template: Template, compiler: Compiler, options: PrimitiveOptions) -> PrimitiveProgram:
    """What the circuits of one structure are run as, by the primitive that the options say.

    Raises:
        ConfigurationError: they have to be sampled, and only the Estimator is wanted.
    """
    estimates = options.estimates and can_estimate(template.circuit)
    if not estimates and not options.samples:
        raise ConfigurationError(
            f"primitive='estimator', and {template.circuit.measurements} has to be sampled: take 'auto', or ask "
            "for expectation values of sums of Pauli words, without postselection."
        )
    return EstimatorProgram(template, compiler) if estimates else SamplerProgram(template, compiler)


def pubs(groups: Iterable[PlannedGroup[PrimitiveProgram]]) -> list[Pub]:
    """All that one primitive has to run."""
    return [pub for group in groups for pub in group.program.pubs(group.parameters, group.shots)]


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


def send(primitive: str, pubs: list[Pub], backend: Any, mode: Mode, options: dict[str, Any]) -> Any:
    """Send a job.

    Args:
        primitive: what runs it.
        pubs: what to run.
        backend: Qiskit's backend.
        mode: how jobs are scheduled.
        options: of the primitive.

    Returns:
        The job of Qiskit Runtime, or of its local mode.
    """
    kind = _PRIMITIVES[primitive]
    return mode.send(backend, lambda where: kind(mode=where, options=options).run(pubs))
