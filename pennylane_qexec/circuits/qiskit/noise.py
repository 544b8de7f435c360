"""Fake backends for Aer: circuits are fitted to the machine, and run with the noise of just what they use of it.

The noise is what IBM's local testing mode has, from the machine's properties. All of it would take seconds to build for
a machine of 127 qubits, and again in every run.

Importing this imports Qiskit and Aer, so it is imported when the first such backend is used.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property
from typing import Any, final

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import ControlFlowOp, Delay, Measure, Qubit
from qiskit.providers import BackendV2
from qiskit.providers.options import Options
from qiskit.transpiler import InstructionProperties, Target, generate_preset_pass_manager
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, ReadoutError
from qiskit_aer.noise.device import basic_device_gate_errors, basic_device_readout_errors
from qiskit_aer.noise.passes import RelaxationNoisePass
from qiskit_ibm_runtime import fake_provider
from qiskit_ibm_runtime.fake_provider.fake_backend import FakeBackendV2
from qiskit_ibm_runtime.models import BackendProperties
from qiskit_ibm_runtime.models.exceptions import BackendPropertyError

from pennylane_qexec.concurrency.once import OnceCache
from pennylane_qexec.errors import ConfigurationError, unknown


@cache
def fake_machines() -> dict[str, type[FakeBackendV2]]:
    """The fake backends that are installed, by name."""
    kinds: list[Any] = [kind for kind in vars(fake_provider).values() if isinstance(kind, type)]
    return {kind.backend_name: kind for kind in kinds if issubclass(kind, FakeBackendV2) and kind.backend_name}


def fake_machine(name: str) -> FakeBackendV2:
    """Build a fake backend. The descriptions of the oldest leave out that they measure; that is put in.

    Raises:
        ConfigurationError: there is no such fake backend.
    """
    if name not in fake_machines():
        hint = "These are the machines of IBM that are simulated here, with their noise."
        raise ConfigurationError(unknown("fake backend", name, fake_machines(), hint))
    backend = fake_machines()[name]()
    if "measure" not in backend.target.operation_names:
        errors = map(backend.properties().readout_error, range(backend.num_qubits))
        readings = {(qubit,): InstructionProperties(error=error) for qubit, error in enumerate(errors)}
        backend.target.add_instruction(Measure(), readings)
    return backend


Used = frozenset[tuple[str, tuple[int, ...]]]
"""What circuits use of a machine: names of instructions, with their qubits."""

_KEPT = 64


class MachineNoise:
    """The noise of a fake backend, as far as circuits meet it.

    Args:
        backend: the fake backend.
    """

    def __init__(self, backend: FakeBackendV2) -> None:
        self._backend = backend
        self._noise: OnceCache[NoiseModel] = OnceCache(_KEPT)
        self._building = threading.Lock()
        self._errors: dict[tuple[str, tuple[int, ...]], Any] = {}

    def __deepcopy__(self, _memo: dict[int, Any]) -> MachineNoise:
        """Itself, which remembers: the client's local testing mode copies backends in every run."""
        return self

    def noise(self, used: Used) -> NoiseModel:
        """The noise of what is used."""
        return self._noise.get(used, lambda: self._build(used))

    def readout(self, qubit: int) -> np.ndarray:
        """The probabilities of what is read, ``(2, 2)``: a row for each state of a qubit, a column for each bit."""
        error = self._readout_errors.get(qubit)
        return np.eye(2) if error is None else np.asarray(error.probabilities)

    def _build(self, used: Used) -> NoiseModel:
        model = _KeptNoise(basis_gates=list(self._backend.configuration().basis_gates))
        for (name, qubits), error in self._gate_errors(used).items():
            model.add_quantum_error(error, name, list(qubits))
        for name, qubits in used:
            if name == "measure" and qubits[0] in self._readout_errors:
                model.add_readout_error(self._readout_errors[qubits[0]], list(qubits))
        if any(name == "delay" for name, _ in used):
            model.add_delays(self._backend)
        return model

    def _gate_errors(self, used: Used) -> dict[tuple[str, tuple[int, ...]], Any]:
        """The errors of gates that have any, in a fixed order; each is computed once."""
        with self._building:
            new = used - self._errors.keys()
            self._errors.update(dict.fromkeys(new))
            if new:
                gates = [one for one in self._properties["gates"] if (one["gate"], tuple(one["qubits"])) in new]
                properties = {**self._properties, "gates": gates}
                found = basic_device_gate_errors(BackendProperties.from_dict(properties))
                self._errors.update({(name, tuple(qubits)): error for name, qubits, error in found})
            return {key: self._errors[key] for key in sorted(used) if self._errors[key] is not None}

    @cached_property
    def _readout_errors(self) -> dict[int, ReadoutError]:
        properties = BackendProperties.from_dict({**self._properties, "gates": []})
        return {qubits[0]: error for qubits, error in basic_device_readout_errors(properties)}

    @cached_property
    def _properties(self) -> dict[str, Any]:
        return dict(self._backend.properties().to_dict())


class FakeMachine(MachineNoise):
    """A fake backend: its compiler and its noise.

    Args:
        backend: the fake backend, one of Qiskit's or one with a calibration of its own.
        optimization_level: of Qiskit's transpiler, 0 to 3.
        seed_transpiler: of the transpiler's choice of qubits, which decides on the noise.

    Raises:
        ConfigurationError: there is no such level.
    """

    def __init__(self, backend: FakeBackendV2, optimization_level: int, seed_transpiler: int | None) -> None:
        super().__init__(backend)
        try:
            self._compiler = generate_preset_pass_manager(
                optimization_level, backend=backend, seed_transpiler=seed_transpiler
            )
        except ValueError as error:
            raise ConfigurationError(f"optimization_level={optimization_level!r}: {error}.") from error
        # Qiskit's passes keep notes of the circuit they work on.
        self._compiling = threading.Lock()

    @property
    def qubits(self) -> int:
        """How many qubits the machine has."""
        return int(self._backend.num_qubits)

    def fitted(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """The circuit in the machine's gates, on its coupled qubits."""
        if circuit.num_qubits > self.qubits:
            raise ConfigurationError(
                f"{self._backend.name!r} has {self.qubits} qubits, and the circuit needs {circuit.num_qubits}, those "
                "included that mid-circuit measurements are deferred to: take a larger machine."
            )
        with self._compiling:
            return self._compiler.run(circuit, num_processes=1)


class _KeptNoise(NoiseModel):
    """A noise model that is translated for Aer once, and not in every run."""

    _translated: dict[str, Any] | None = None

    def add_delays(self, backend: FakeBackendV2) -> None:
        """Add what qubits lose while they wait, from the backend's T1 and T2; nothing, if it does not say them."""
        properties, qubits = backend.properties(), range(backend.num_qubits)
        try:
            t1s = [properties.t1(qubit) for qubit in qubits]
            t2s = [min(properties.t2(qubit), 2 * t1s[qubit]) for qubit in qubits]
        except BackendPropertyError:
            return
        self._custom_noise_passes.append(RelaxationNoisePass(t1s, t2s, dt=backend.dt, op_types=Delay))

    def to_dict(self, serializable: bool = False) -> dict[str, Any]:
        if not serializable:
            return dict(super().to_dict())
        if self._translated is None:
            self._translated = super().to_dict(serializable=True)
        return self._translated


def used_by(circuit: QuantumCircuit) -> Used:
    """What a fitted circuit uses of the machine, blocks of its control flow included."""
    return frozenset(_used(circuit, {qubit: index for index, qubit in enumerate(circuit.qubits)}))


def _used(circuit: QuantumCircuit, place: Mapping[Qubit, int]) -> Iterator[tuple[str, tuple[int, ...]]]:
    for step in circuit.data:
        qubits = tuple([place[qubit] for qubit in step.qubits])
        yield step.operation.name, qubits
        if isinstance(step.operation, ControlFlowOp):
            for block in step.operation.blocks:
                yield from _used(block, dict(zip(block.qubits, qubits, strict=True)))


def together(parts: Iterable[Used]) -> Used:
    """What several circuits use."""
    return frozenset().union(*parts)


@final
class SimulatedMachine(BackendV2):
    """A fake backend that Qiskit's primitives can be used on.

    The counts are those of Qiskit's own fake backends at the same seed. They build, and pass on in every run, the noise
    of the whole machine, which takes seconds for one of 127 qubits; here it is that of just what circuits use.

    Args:
        backend: the fake backend.
    """

    def __init__(self, backend: FakeBackendV2) -> None:
        super().__init__(name=backend.name, description=backend.description, backend_version=backend.backend_version)
        self._fake = backend
        self._noise = MachineNoise(backend)
        self._simulator = AerSimulator()

    @property
    def target(self) -> Target:
        """What circuits may be made of."""
        return self._fake.target

    @property
    def max_circuits(self) -> None:
        """As many circuits as one likes."""
        return None

    @classmethod
    def _default_options(cls) -> Options:
        return AerSimulator._default_options()

    def run(self, run_input: QuantumCircuit | list[QuantumCircuit], **options: Any) -> Any:
        """Run circuits, with the machine's noise unless there is another in the options."""
        circuits = [run_input] if isinstance(run_input, QuantumCircuit) else run_input
        if "noise_model" not in options:
            options["noise_model"] = self._noise.noise(together(map(used_by, circuits)))
        return self._simulator.run(circuits, **options)
