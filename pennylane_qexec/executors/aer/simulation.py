"""Runs the circuits of many templates in Aer at a time, and estimates what computing and memory they take.

Importing this imports Qiskit and Aer, so it is imported when the first circuit is run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.tape import QuantumScript
from qiskit import QuantumCircuit
from qiskit_aer import AerSimulator
from qiskit_aer.backends.aer_compiler import generate_aer_config
from qiskit_aer.backends.backend_utils import cpp_execute_circuits
from qiskit_aer.backends.controller_wrappers import AerConfig, aer_controller_execute

from pennylane_qexec.circuits.qiskit.noise import FakeMachine, together
from pennylane_qexec.circuits.structure import batch_size
from pennylane_qexec.concurrency.resources import free_memory
from pennylane_qexec.executors.aer.sampled import STEP, Compiled, Program, Seeds

THREADED_WIRES = 18
"""The fewest qubits for which threads are worth waking: with fewer, they have taken up to ten times longer than one."""

BOUND_QUBITS = 13
"""The most qubits (of a density matrix, two for each) with which Aer copies no circuit for each row, but binds
parameters as it runs: half the time with few. With more it makes few gates of many, which it cannot do then."""

_BOUND_METHODS = ("automatic", "statevector", "density_matrix")
"""Methods for which it gives the same to the last bit; others have crashed."""

SAVED_WIRES = 20
"""The most qubits of which something exact is always saved by the state's amplitudes."""

OF_RUNS = ("target_gpus",)
"""Options that Aer takes for a run, but not when a simulator is made."""

Outputs = list[list[list[Any]]]
"""For each template, for each of its program's circuits, for each row: what Aer has counted, by hexadecimal number, or
what it has saved, by label."""


@dataclass(frozen=True)
class Planned:
    """Circuits of one template that are to be run.

    Attributes:
        program: the template for Aer.
        rows: their parameters, ``(R, P)``.
        numbers: their numbers, which decide on their seeds.
    """

    program: Program
    rows: np.ndarray
    numbers: Sequence[int]


@dataclass(frozen=True)
class _Segment:
    """Some rows of one circuit of a plan."""

    plan: int
    cell: int
    rows: list[int]


@dataclass(frozen=True)
class _Run:
    """What Aer runs at once."""

    segments: list[_Segment]
    shots: int | None
    seed: int


class Simulation:
    """Aer with its options.

    Args:
        options: options of ``AerSimulator``.
        machine: where noise comes from; ``None`` for none but that of the options.
    """

    def __init__(self, options: Mapping[str, Any], machine: FakeMachine | None) -> None:
        self._options = AerSimulator(**{name: options[name] for name in options if name not in OF_RUNS}).options
        self._options.update_options(**{name: options[name] for name in OF_RUNS if name in options})
        self._controller = aer_controller_execute()
        self._machine = machine
        self._noise = options.get("noise_model")
        self._mixed = machine is not None or options.get("noise_model") is not None
        self._free_threads = options.get("max_parallel_threads") is None
        self._free_method = options.get("method", "automatic") == "automatic"
        left_free = options.get("device", "CPU") == "CPU" and "runtime_parameter_bind_enable" not in options
        self._binds_rows = left_free and options.get("method", "automatic") in _BOUND_METHODS

    def outputs(self, plans: Sequence[Planned], seeds: Seeds) -> Outputs:
        """Run all circuits of all plans, in as few runs as possible.

        Raises:
            RuntimeError: Aer has failed.
        """
        outputs: Outputs = [[[None] * len(plan.rows) for _ in plan.program.circuits] for plan in plans]
        for run in _runs(plans, seeds, self._goes_alone):
            found = iter(self._run(run, plans))
            for segment in run.segments:
                for row in segment.rows:
                    outputs[segment.plan][segment.cell][row] = next(found)
        return outputs

    def _goes_alone(self, program: Program, cell: int) -> bool:
        """Whether a circuit must not run beside others: its shots would be among theirs.

        Aer draws shot ``i`` of a circuit with noise by the seed plus ``i``, if it simulates the shots one by one, and
        circuits of one run by seeds that are :data:`STEP` apart.
        """
        shots = program.shots or 0
        # Where it may choose, it takes a density matrix for more shots than this.
        by_shots = not self._free_method or shots <= 2 ** (program.circuits[cell].width + 1)
        return self._mixed and shots > STEP and by_shots

    def counted(self, circuit: Compiled, shots: int, seed: int) -> dict[str, int]:
        """What Aer counts of one circuit without parameters, by hexadecimal number.

        Raises:
            RuntimeError: Aer has failed.
        """
        (counts,) = self._executed([circuit], [circuit.bound(np.empty((1, 0)))], shots, seed)
        return dict(counts)

    def _run(self, run: _Run, plans: Sequence[Planned]) -> list[Any]:
        compiled, parameters = [], []
        for segment in run.segments:
            plan = plans[segment.plan]
            one = plan.program.circuits[segment.cell]
            compiled.append(one)
            parameters.append(one.bound(plan.rows[segment.rows]))
        return self._executed(compiled, parameters, run.shots, run.seed)

    def _executed(
        self, compiled: Sequence[Compiled], parameters: Sequence[Any], shots: int | None, seed: int | None
    ) -> list[Any]:
        config = self._config(compiled, shots, seed)
        config.parameterizations = parameters
        noise = self._machine.noise(together(one.used for one in compiled)) if self._machine else self._noise
        output = cpp_execute_circuits(self._controller, list(map(attrgetter("circuit"), compiled)), noise, config)
        if not output["success"]:
            failed = next((one["status"] for one in output["results"] if not one["success"]), "")
            raise RuntimeError(f"Aer says: {output['status']} {failed}".strip())
        data = map(itemgetter("data"), output["results"])
        return list(data if shots is None else map(itemgetter("counts"), data))

    def _config(self, compiled: Sequence[Compiled], shots: int | None, seed: int | None) -> AerConfig:
        """The options of a run, in Aer's own form."""
        options: dict[str, Any] = {"shots": shots or 1, "seed_simulator": seed}
        width = max(map(attrgetter("width"), compiled))
        if shots is None and self._machine is None:
            # Aer leaves out what cannot matter for what is saved, and then loses the X and Y of expectation values.
            options["enable_truncation"] = False
        if shots is None and self._free_method:
            options.update(method_of_exact_results(self._mixed, width))
        if self._free_threads and width < THREADED_WIRES:
            options["max_parallel_threads"] = 1
        if shots is None and self._binds_rows and width * (2 if self._mixed else 1) <= BOUND_QUBITS:
            options["runtime_parameter_bind_enable"] = not any(map(attrgetter("has_phase"), compiled))
        largest = QuantumCircuit(*map(max, zip(*map(attrgetter("size"), compiled), strict=True)))
        return generate_aer_config([largest], self._options, **options)


def method_of_exact_results(mixed: bool, width: int) -> dict[str, Any]:
    """Aer's method where something exact is saved, if it need not be left to Aer.

    Aer would take that for stabilizers where it can, which saves nothing but states with few amplitudes fast.
    """
    if mixed:
        return {"method": "density_matrix"}
    return {"method": "statevector"} if width <= SAVED_WIRES else {}


def _runs(plans: Sequence[Planned], seeds: Seeds, alone: Callable[[Program, int], bool]) -> Iterator[_Run]:
    """Exact circuits run together, and without a seed all others with the same shots too.

    With a seed, what Aer counts is run in the order of the circuits' numbers, since Aer adds the same to the seed from
    one circuit of a run to the next. Circuits that must not run beside others have a run for each of their rows.
    """
    together: dict[int | None, list[_Segment]] = {}
    by_cell: dict[int, list[int]] = {}
    apart: list[_Run] = []
    for plan, planned in enumerate(plans):
        shots = planned.program.shots
        for cell in range(len(planned.program.circuits)):
            if alone(planned.program, cell):
                for row, number in enumerate(planned.numbers):
                    apart.append(_Run([_Segment(plan, cell, [row])], shots, seeds.apart(number, cell)))
            elif shots is None or seeds.seed is None:
                together.setdefault(shots, []).append(_Segment(plan, cell, list(range(len(planned.rows)))))
            else:
                by_cell.setdefault(cell, []).append(plan)
    for shots, segments in together.items():
        yield _Run(segments, shots, seeds.fresh() if seeds.seed is None else seeds.aer(plans[0].numbers[0], 0))
    for cell in sorted(by_cell):
        yield from _in_order(by_cell[cell], cell, plans, seeds)
    yield from apart


def _in_order(chosen: Sequence[int], cell: int, plans: Sequence[Planned], seeds: Seeds) -> Iterator[_Run]:
    """One circuit of some plans, for all rows: a run for each stretch of numbers with the same shots."""
    rows = sorted((number, plan, row) for plan in chosen for row, number in enumerate(plans[plan].numbers))

    def stretch_of(placed: tuple[int, tuple[int, int, int]]) -> tuple[int, int | None]:
        place, (number, plan, _) = placed
        return number - place, plans[plan].program.shots  # the first is the same as long as numbers follow each other

    for (_, shots), stretch in groupby(enumerate(rows), stretch_of):
        found = [row for _, row in stretch]
        parts = groupby(found, itemgetter(1))
        segments = [_Segment(plan, cell, [row for _, _, row in part]) for plan, part in parts]
        yield _Run(segments, shots, seeds.aer(found[0][0], cell))


_CLIFFORD = frozenset(
    {qml.Identity, qml.X, qml.Y, qml.Z, qml.H, qml.S, qml.SX, qml.CNOT, qml.CY, qml.CZ, qml.SWAP, qml.BasisState}
)
_PER_CIRCUIT = 75_000.0
"""What Aer takes for any circuit, measured: 0.15 ms."""

_PER_AMPLITUDE = 1.6

_PER_ERROR = 25.0
"""How much longer an operation with its errors takes on a density matrix than a gate, measured."""

_PER_TRAJECTORY = 1000.0
"""What an operation takes in every shot that is simulated by itself, beside the amplitudes: 3 us."""

_BYTES = {"double": 16, "single": 8}


def effort(circuit: QuantumScript, number: int, noisy: bool, method: str) -> float:
    """How much computing a circuit is, in amplitude updates."""
    shots, operations = circuit.shots.total_shots or 0, len(circuit.operations)
    size = 2.0**number
    if _stays_small(circuit, method):
        size = float(number**2)
    elif noisy and (method == "density_matrix" or not shots or shots > size):
        size = size**2 * _PER_ERROR
    elif noisy:
        size = shots * (size + _PER_TRAJECTORY)
    return (_PER_CIRCUIT + _PER_AMPLITUDE * size * operations + number * shots) * batch_size(circuit)


def too_large(circuit: QuantumScript, number: int, noisy: bool, options: Mapping[str, Any]) -> str | None:
    """Why a circuit does not fit into memory, as the end of a sentence; ``None`` if it does."""
    method = options["method"]
    if _stays_small(circuit, method):
        return None
    mixed = method == "density_matrix" or (noisy and not circuit.shots)
    bits = number * (2 if mixed else 1)
    most = _memory(options)
    needed = _BYTES[options.get("precision", "double")]
    while bits and needed <= most:
        needed, bits = 2 * needed, bits - 1
    if not bits and needed <= most:
        return None
    what = "density matrix" if mixed else "state"
    return f"has {most / 2**30:.1f} GiB of memory free, and the {what} of {number} qubits does not fit"


def _stays_small(circuit: QuantumScript, method: str) -> bool:
    """Whether what Aer computes with does not double with every qubit, or need not."""
    if method in ("automatic", "statevector", "density_matrix", "unitary", "superop"):
        return method == "automatic" and bool(circuit.shots) and _CLIFFORD.issuperset(map(type, circuit.operations))
    return True


def _memory(options: Mapping[str, Any]) -> float:
    """The memory there is, in bytes."""
    if options.get("max_memory_mb"):
        return float(options["max_memory_mb"]) * 2**20
    return free_memory()
