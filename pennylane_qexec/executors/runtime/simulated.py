"""Fake backends for Qiskit's primitives, with the noise of just what circuits use of the machine.

The counts are those of Qiskit's own fake backends at the same seed. They build, and pass on in every run, the noise of
the whole machine, which takes seconds for one of 127 qubits.

Importing this imports Qiskit and Aer, so it is imported when the first such backend is used.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, final

from qiskit import QuantumCircuit
from qiskit.providers import BackendV2
from qiskit.providers.options import Options
from qiskit.transpiler import Target
from qiskit_aer import AerSimulator

from pennylane_qexec.executors.aer.noise import FakeMachine, together, used_by
from pennylane_qexec.executors.qiskit.fake_backends import machine


@final
class SimulatedMachine(BackendV2):
    """A fake backend that Qiskit's primitives can be used on.

    Args:
        name: its name, such as ``"fake_manila"``.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self._fake = machine(name)
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
            options["noise_model"] = self._machine.noise(together(map(used_by, circuits)))
        return self._simulator.run(circuits, **options)

    @cached_property
    def _machine(self) -> FakeMachine:
        return FakeMachine(self.name, 0, 0)
