"""One Aer simulator with its options, checked before anything runs, and what has been compiled for it.

Importing this imports Qiskit and Aer, so it is imported when the first Aer executor is built.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from pennylane.measurements import StateMeasurement
from pennylane.tape import QuantumScript
from pennylane.wires import Wires
from qiskit_aer import AerSimulator
from qiskit_ibm_runtime.fake_provider.fake_backend import FakeBackendV2

from pennylane_qexec.circuits.mid_circuit import QiskitCircuit, dynamic_part, qubits_of
from pennylane_qexec.circuits.qiskit.noise import FakeMachine, fake_machine
from pennylane_qexec.circuits.sampling import POOLED, can_pool
from pennylane_qexec.circuits.structure import wires_in, wires_in_order
from pennylane_qexec.circuits.templates import Template, fuse, fused, unfused
from pennylane_qexec.concurrency.once import OnceCache
from pennylane_qexec.errors import ConfigurationError, refuse_unknown, unknown
from pennylane_qexec.executors.aer.dynamic import CountedAsItIs
from pennylane_qexec.executors.aer.exact import Exact, ExactWithNoise
from pennylane_qexec.executors.aer.sampled import STEP, CountedByAer, Drawn, Program, Seeds
from pennylane_qexec.executors.aer.simulation import OF_RUNS, Planned, Simulation, effort, too_large
from pennylane_qexec.executors.validation import objection_to_wires
from pennylane_qexec.job import Result, Sweep

# Options

_OURS = {
    "shots": "circuits are run with their own shots: give them to the QNode with qml.set_shots",
    "seed_simulator": "give it as seed=, which makes results the same in whatever batches circuits come",
    "memory": "what is counted is all that is needed of the shots",
    "executor": "workers= and parallel= say what runs at the same time",
    "max_job_size": "batches are cut where that saves memory; max_circuits= makes them smaller",
    "max_shot_size": "max_shots= limits the shots of a batch",
}


def checked_options(options: Mapping[str, Any], backend: str | FakeBackendV2 | None) -> dict[str, Any]:
    """Options of ``AerSimulator`` that go together and can be had on this machine.

    Args:
        options: as the user gave them; ``"method"`` is one of them.
        backend: a fake backend, or its name, which has noise of its own.

    Raises:
        ConfigurationError: there is no such option, method or device, or it is decided on elsewhere.
    """
    simulator = AerSimulator()
    known = known_options(simulator)
    for option in options:
        if option in _OURS:
            raise ConfigurationError(f"{option}={options[option]!r}: {_OURS[option]}.")
        refuse_unknown("option of AerExecutor", [option], known)
    if options["method"] not in simulator.available_methods():
        raise ConfigurationError(unknown("method of Aer", options["method"], simulator.available_methods()))
    device = options.get("device", "CPU")
    if device not in simulator.available_devices():
        raise ConfigurationError(
            f"device={device!r}: Aer has {', '.join(simulator.available_devices())} here. For 'GPU' install "
            "qiskit-aer-gpu in place of qiskit-aer, on a machine with a GPU."
        )
    gpus = options.get("target_gpus")
    if gpus is not None and (device != "GPU" or not isinstance(gpus, list) or not gpus):
        raise ConfigurationError(
            f"target_gpus={gpus!r}: give a list of numbers of GPUs, of which the first is 0, and device='GPU'."
        )
    if backend and options.get("noise_model") is not None:
        raise ConfigurationError(f"noise_model= and backend={backend!r} were given: the backend has noise of its own.")
    return dict(options)


def known_options(simulator: AerSimulator | None = None) -> list[str]:
    """The options of ``AerSimulator`` that users may give."""
    return [option for option in (*vars((simulator or AerSimulator()).options), *OF_RUNS) if option not in _OURS]


# The simulator

_KEPT_TEMPLATES = 256
_CIRCUITS_AT_ONCE = 500
_NUMBERS_AT_ONCE = 2**24
_UNFIT = ("break_loop", "continue_loop", "store", "while_loop")
"""Control flow that Qiskit's compiler does not fit to machines."""

_DRAWN_WIRES = 20
"""The most wires for which probabilities are saved and shots drawn from them."""

_WITH_PROBABILITIES = ("automatic", "statevector", "density_matrix")


class AerBackend:
    """Aer with options, wires and a seed.

    Args:
        backend: a fake backend, or its name, or ``None``.
        wires: the wires, or ``None`` for those of a circuit.
        seed: see :class:`AerExecutor`.
        options: options of ``AerSimulator``.
        transpiler: the optimization level and the seed of Qiskit's transpiler.

    Attributes:
        options: options of ``AerSimulator``.
    """

    def __init__(
        self,
        backend: str | FakeBackendV2 | None,
        wires: Wires | None,
        seed: int | None,
        options: Mapping[str, Any],
        transpiler: tuple[int, int | None],
    ) -> None:
        self._arguments = (backend, wires, seed, options, transpiler)
        self.wires = wires
        self._seeds = Seeds(seed)
        self.options = checked_options(options, backend)
        machine = fake_machine(backend) if isinstance(backend, str) else backend
        self._machine = FakeMachine(machine, *transpiler) if machine is not None else None
        if self._machine is not None and wires is not None and len(wires) > self._machine.qubits:
            raise ConfigurationError(f"wires: {len(wires)} wires, and {backend!r} has {self._machine.qubits} qubits.")
        self._noisy = self._machine is not None or self.options.get("noise_model") is not None
        self._simulation = Simulation(self.options, self._machine)
        self._programs: OnceCache[Program] = OnceCache(_KEPT_TEMPLATES)

    def results(self, circuits: Sequence[QuantumScript], numbers: Sequence[int] = ()) -> list[Result]:
        """Run circuits that have been prepared, a limited number at a time.

        Args:
            circuits: the circuits.
            numbers: which decide on their seeds; if there are none, they are numbered as they come.
        """
        seeds = self._seeds.by_number if numbers else self._seeds
        if not numbers:
            first = seeds.take(len(circuits))
            numbers = range(first, first + len(circuits))
        results: list[Result] = []
        step = self._at_once(circuits) if len(circuits) > 1 else 1
        for start in range(0, len(circuits), step):
            part = slice(start, start + step)
            results += self._some(circuits[part], numbers[part], seeds)
        return results

    def _some(self, circuits: Sequence[QuantumScript], numbers: Sequence[int], seeds: Seeds) -> list[Result]:
        groups = fuse(circuits)
        plans = []
        for group in groups:
            given = tuple(map(numbers.__getitem__, group.indices))
            plans.append(Planned(self._program(group.template), group.parameters, given))
        return unfused(zip(groups, self._outcomes(plans, seeds), strict=True), len(circuits))

    def sweep_results(self, sweep: Sweep, number: int | None = None) -> list[Result]:
        """Run the rows of a sweep that has been prepared, a limited number at a time.

        Args:
            sweep: the sweep.
            number: that of the first row, which decides on its seed, and those of the others follow; if there is none,
                rows are numbered as they come.
        """
        seeds = self._seeds if number is None else self._seeds.by_number
        first = seeds.take(len(sweep)) if number is None else number
        program, step = self._program(fused(sweep).template), self._at_once([sweep.template])
        results: list[Result] = []
        for start in range(0, len(sweep), step):
            rows = sweep.parameters[start : start + step]
            numbers = range(first + start, first + start + len(rows))
            results += self._outcomes([Planned(program, rows, numbers)], seeds)[0]
        return results

    def _outcomes(self, plans: Sequence[Planned], seeds: Seeds) -> list[list[Result]]:
        """Run plans; for each, the results of its rows."""
        outputs = zip(plans, self._simulation.outputs(plans, seeds), strict=True)
        return [plan.program.results(output, seeds.generators(plan.numbers)) for plan, output in outputs]

    def _program(self, template: Template) -> Program:
        return self._programs.get(template.key, lambda: self._compile(template.with_own_arrays()))

    def _at_once(self, circuits: Sequence[QuantumScript]) -> int:
        """How many circuits are run at a time, so that what they save has a place in memory."""
        wires = max(map(len, map(wires_in, circuits)), default=1)
        return max(1, min(_CIRCUITS_AT_ONCE, _NUMBERS_AT_ONCE >> wires))

    def _compile(self, template: Template) -> Program:
        circuit = template.circuit
        if dynamic_part(circuit) is not None:
            return CountedAsItIs(template, self.options["method"], self._machine, self._simulation)
        wires = self._wires_of(circuit)
        noisy, method = self._noisy, self.options["method"]
        if not circuit.shots:
            if self._machine is not None:
                return ExactWithNoise(template, wires, self._machine)
            return Exact(template, wires, method, mixed=noisy or method == "density_matrix")
        if not can_pool(circuit):
            raise ConfigurationError(f"{circuit.measurements} cannot be measured by counting shots: leave shots out.")
        if noisy or len(wires) > _DRAWN_WIRES or method not in _WITH_PROBABILITIES:
            return CountedByAer(template, wires, method, self._machine)
        return Drawn(template, wires, method)

    def _wires_of(self, circuit: QuantumScript) -> Wires:
        """The wires of the backend, and behind them those that deferring measurements has added."""
        return wires_in_order(circuit) if self.wires is None else Wires.all_wires([self.wires, circuit.wires])

    def _number_of_wires(self, circuit: QuantumScript) -> int:
        return qubits_of(circuit) if self.wires is None else len(self.wires)

    def reseed(self, seed: int) -> None:
        """Draw by this seed from now on."""
        backend, wires, _, options, transpiler = self._arguments
        self._arguments = (backend, wires, seed, options, transpiler)
        self._seeds = Seeds(seed)

    @property
    def streams(self) -> frozenset[Hashable]:
        """The seed, and what seeds have in common that are one of Aer's steps apart."""
        seed = self._seeds.seed
        return frozenset() if seed is None else frozenset({seed, f"aer {seed % STEP}"})

    def become_replica(self, number: int) -> None:
        """Draw from a stream of this replica's own."""
        self._seeds = self._seeds.replica(number)

    @property
    def exact(self) -> bool:
        """Whether nothing is drawn for circuits without shots."""
        return bool(self.options["method"] != "extended_stabilizer")

    @property
    def ideal(self) -> bool:
        """Whether results are those of theory, without noise and approximations."""
        approximates = any("truncation" in option or "bond_dimension" in option for option in self.options)
        return self.exact and not self._noisy and not approximates

    def plain_arguments(self) -> list[Any] | None:
        """What it was built with, as plain values; ``None`` if a layout was left to chance, or a calibration is new."""
        backend, wires, seed, options, (level, seed_transpiler) = self._arguments
        if backend is not None and (seed_transpiler is None or not isinstance(backend, str)):
            return None
        noise = options.get("noise_model")
        if noise is not None:  # as plain values, without its random ids
            errors = noise.to_dict(serializable=True)["errors"]
            plain = [{name: error[name] for name in error if name != "id"} for error in errors]
            options = {**options, "noise_model": [noise.basis_gates, *plain]}
        return [backend, wires, seed, options, level, seed_transpiler]

    def effort(self, circuit: QuantumScript) -> float:
        """How much computing a circuit is, in amplitude updates."""
        return effort(circuit, self._number_of_wires(circuit), self._noisy, self.options["method"])

    def rejects(self, circuit: QuantumScript) -> str | None:
        """Why this circuit cannot be run; see :meth:`Executor.rejects`."""
        part = dynamic_part(circuit)
        if part is None:
            strange = objection_to_wires(self.wires, circuit)
        else:
            strange = _objection_to_flow(part, self.wires, self._machine)
        if strange is not None:
            return strange
        number = self._number_of_wires(circuit)
        if self._machine is not None and number > self._machine.qubits:
            return f"has {self._machine.qubits} qubits"
        objection = _objection_to_measurements(circuit)
        if objection is not None:
            return objection
        return too_large(circuit, number, self._noisy, self.options)

    def __reduce__(self) -> Any:
        return AerBackend, self._arguments


def _objection_to_flow(part: QiskitCircuit, wires: Wires | None, machine: FakeMachine | None) -> str | None:
    """Why a circuit that only Qiskit can say cannot be run."""
    number = part.hyperparameters["qubits"]
    if wires is not None and number > len(wires):
        return f"has {len(wires)} wires, and the circuit needs {number}"
    unfit = [] if machine is None else [name for name in part.hyperparameters["flow"] if name in _UNFIT]
    if unfit:
        return f"fits no circuit with a {unfit[0]!r} to its qubits, which Aer without noise can run"
    return None


def _objection_to_measurements(circuit: QuantumScript) -> str | None:
    """What of a circuit is measured with shots only, or without them only; ``None`` if it is nothing."""
    for measurement in circuit.measurements:
        if not circuit.shots and not isinstance(measurement, StateMeasurement):
            return f"measures {measurement} with shots only"
        if circuit.shots and not isinstance(measurement, POOLED):
            return f"measures {measurement} without shots only: it is not accepted with finite shots"
    return None
