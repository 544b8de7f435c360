"""Metadata as a backend of Qiskit, with the noise of its calibration. Importing this imports Qiskit and Aer."""

from __future__ import annotations

import copy
from typing import Any, final

from qiskit import QuantumCircuit
from qiskit.providers import BackendV2
from qiskit_aer import AerSimulator
from qiskit_ibm_runtime.fake_provider.fake_backend import FakeBackendV2

from pennylane_qexec.circuits.qiskit.noise import SimulatedMachine
from pennylane_qexec.server.catalogue.metadata import BackendMetadata


def backend_of(metadata: BackendMetadata) -> BackendV2:
    """The backend that circuits for some metadata run on.

    Without noise it is Aer's simulator. Otherwise circuits run as they are, with the noise of the calibration, and
    counts are those of the client's local testing mode at the same seed.
    """
    if metadata.properties is not None:
        return MetadataBackend(metadata)
    simulator = AerSimulator()
    simulator.set_max_qubits(metadata.num_qubits)  # it would be what fits into memory as a state vector
    return simulator


@final
class MetadataBackend(FakeBackendV2):
    """A fake backend that is described by metadata, and not by the files that come with the client.

    Args:
        metadata: what it looks like, with a calibration.
    """

    conf_filename, props_filename = "configuration", "properties"

    def __init__(self, metadata: BackendMetadata) -> None:
        self._metadata = metadata
        self.backend_name = metadata.name
        super().__init__()
        self._simulated = SimulatedMachine(self)

    def _load_json(self, filename: str) -> dict[str, Any]:
        """What would be in a file; the client writes dates and complex numbers into it."""
        return copy.deepcopy(dict(getattr(self._metadata, filename)))

    def run(self, run_input: QuantumCircuit | list[QuantumCircuit], **options: Any) -> Any:
        """Run circuits, with just the noise that they meet: all of it takes a second in every run of 127 qubits."""
        return self._simulated.run(run_input, **options)
