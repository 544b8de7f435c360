"""IBM's machines as Qiskit remembers them: their noise and their coupling, to be simulated on this machine.

Importing this imports Qiskit, so it is imported when the first such backend is used.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from qiskit.circuit import Measure
from qiskit.transpiler import InstructionProperties
from qiskit_ibm_runtime import fake_provider
from qiskit_ibm_runtime.fake_provider.fake_backend import FakeBackendV2


@cache
def fake_machines() -> dict[str, type[FakeBackendV2]]:
    """The fake backends that are installed, by name."""
    kinds: list[Any] = [kind for kind in vars(fake_provider).values() if isinstance(kind, type)]
    return {kind.backend_name: kind for kind in kinds if issubclass(kind, FakeBackendV2) and kind.backend_name}


def fake_machine(name: str) -> FakeBackendV2:
    """Build a fake backend. The descriptions of the oldest leave out that they measure; that is put in."""
    backend = fake_machines()[name]()
    if "measure" not in backend.target.operation_names:
        errors = map(backend.properties().readout_error, range(backend.num_qubits))
        readings = {(qubit,): InstructionProperties(error=error) for qubit, error in enumerate(errors)}
        backend.target.add_instruction(Measure(), readings)
    return backend
