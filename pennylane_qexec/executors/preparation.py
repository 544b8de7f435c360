"""How circuits are made ready for a PennyLane device, by the device's own program."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pennylane as qml
from pennylane.devices import ExecutionConfig
from pennylane.ops import MidMeasure
from pennylane.tape import QuantumScript

from pennylane_qexec.executors import legacy
from pennylane_qexec.executors.base import Bound
from pennylane_qexec.executors.sources import BuiltDevices, GivenDevice
from pennylane_qexec.executors.unchanged import Unchanged, unchanged_by
from pennylane_qexec.job import Postprocessing, Result


class _Program(threading.local):
    """The device that the current thread has used last with a binder, its program, and what that leaves as it is."""

    device: Any = None
    program: Any = None
    unchanged: Unchanged | None = None


class DeviceBinder:
    """Prepares circuits by the program that a device has for one configuration."""

    def __init__(self, source: GivenDevice | BuiltDevices, config: ExecutionConfig) -> None:
        self._source = source
        self._config = config
        self._here = _Program()

    def __call__(self, circuit: QuantumScript) -> Bound:
        if circuit.shots.has_partitioned_shots and self._takes_no_shot_vector(circuit):
            return self._joined([circuit.copy(shots=shots) for shots in circuit.shots], tuple)
        if self._source.takes_circuits_wires and self._defers(circuit):
            (given,) = self._source.with_wires(circuit)
            return self._joined(*qml.defer_measurements(given, allow_postselect=False))
        if circuit.shots and self._source.quirks.prepares_exactly_only:
            circuit = legacy.with_preparation_decomposed(circuit)
        device, here = self._source.device(circuit), self._here
        with self._source.exclusive():
            if here.device is not device:
                here.device, here.program = device, self._source.program(device, self._config)
                here.unchanged = unchanged_by(here.program, self._source, self._config)
            if here.unchanged is not None and here.unchanged.covers(circuit):
                return Bound((circuit,), self._config, _only)
            circuits, postprocess = here.program(self._source.with_wires(circuit))
        for one in circuits:
            legacy.check(device, one)
        if here.unchanged is not None:
            here.unchanged.note(circuit, circuits, postprocess)
        return Bound(tuple(circuits), self._config, lambda results: postprocess(results)[0])

    def _takes_no_shot_vector(self, circuit: QuantumScript) -> bool:
        return self._source.quirks.no_shot_vectors or legacy.takes_shadows(self._source.device(circuit), circuit)

    def _defers(self, circuit: QuantumScript) -> bool:
        """Whether the program would add wires to the circuit, which the device has to be built with."""
        deferred = self._config.mcm_config.mcm_method == "deferred"
        return deferred and any(isinstance(operation, MidMeasure) for operation in circuit.operations)

    def _joined(self, circuits: Sequence[QuantumScript], join: Postprocessing) -> Bound:
        """Several circuits prepared, whose results become one."""
        parts = [self(circuit) for circuit in circuits]

        def postprocess(results: Sequence[Result]) -> Result:
            remaining = iter(results)
            return join([part.postprocess([next(remaining) for _ in part.circuits]) for part in parts])

        return Bound(tuple(one for part in parts for one in part.circuits), self._config, postprocess)


def _only(results: Sequence[Result]) -> Result:
    return results[0]
