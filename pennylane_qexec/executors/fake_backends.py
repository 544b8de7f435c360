"""IBM's machines as Qiskit remembers them: their noise and their coupling, simulated on this machine.

Importing this imports Qiskit, so it is imported when the first such backend is used.
"""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

from qiskit.transpiler import generate_preset_pass_manager
from qiskit_aer import AerSimulator
from qiskit_ibm_runtime import fake_provider
from qiskit_ibm_runtime.fake_provider.fake_backend import FakeBackendV2

from pennylane_qexec.errors import ConfigurationError, unknown


class NoisyBackend(AerSimulator):
    """Takes circuits of any gates and couplings, fits them to a fake backend, and runs them with its noise.

    pennylane-qiskit compiles without routing, and would refuse two-qubit gates between qubits that the machine has not
    coupled: here circuits are compiled once more, in full. Pickled, it is a name, since noise models are large.

    Args:
        name: the name of a fake backend, such as ``"fake_manila"``.
        optimization_level: of Qiskit's transpiler, 0 to 3.
        seed_transpiler: of the transpiler's choice of qubits, which decides on the noise.

    Raises:
        ConfigurationError: there is no such fake backend, or no such level.
    """

    def __init__(self, name: str, optimization_level: int = 1, seed_transpiler: int = 0) -> None:
        super().__init__()
        if name not in machines():
            hint = "Machines of IBM are not in this version: those of their names with 'fake_' are simulated."
            raise ConfigurationError(unknown("fake backend", name, machines(), hint))
        self._arguments = (name, optimization_level, seed_transpiler)
        self._machine = machines()[name]()
        # Aer would make its target anew each time that it is looked at, which takes longer than running.
        self._any_gates = super().target
        try:
            self._fit = generate_preset_pass_manager(
                optimization_level, backend=self._machine, seed_transpiler=seed_transpiler
            )
        except ValueError as error:
            raise ConfigurationError(f"optimization_level={optimization_level!r}: {error}.") from error
        # Qiskit's passes keep notes of the circuit they work on.
        self._lock = threading.Lock()

    @property
    def target(self) -> Any:
        """What circuits may be made of when they come here: anything."""
        return self._any_gates

    @property
    def machine_qubits(self) -> int:
        """How many qubits the machine has."""
        return int(self._machine.num_qubits)

    def run(self, circuits: Any, **options: Any) -> Any:
        """Fit circuits to the machine and run them, with the noise that Qiskit's local testing mode has."""
        with self._lock:
            return self._machine.run(self._fit.run(circuits, num_processes=1), **options)

    def __reduce__(self) -> Any:
        return type(self), self._arguments


@cache
def machines() -> dict[str, type[FakeBackendV2]]:
    """The fake backends that are installed, by name."""
    kinds: list[Any] = [kind for kind in vars(fake_provider).values() if isinstance(kind, type)]
    return {kind.backend_name: kind for kind in kinds if issubclass(kind, FakeBackendV2) and kind.backend_name}
