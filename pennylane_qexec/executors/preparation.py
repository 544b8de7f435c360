"""How circuits are made ready for a PennyLane device, by the device's own program."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.devices import Device, ExecutionConfig, LegacyDeviceFacade
from pennylane.devices.preprocess import validate_device_wires
from pennylane.exceptions import DeviceError
from pennylane.measurements import ExpectationMP, MutualInfoMP, VnEntropyMP
from pennylane.operation import Operator
from pennylane.ops import MidMeasure, SProd
from pennylane.ops.op_math import CompositeOp
from pennylane.ops.qubit.observables import BasisStateProjector
from pennylane.tape import QuantumScript

from pennylane_qexec.executors import adjoint, legacy, mid_circuit
from pennylane_qexec.executors.base import Bound
from pennylane_qexec.executors.sources import BuiltDevices, GivenDevice
from pennylane_qexec.executors.unchanged import Unchanged, unchanged_by
from pennylane_qexec.job import Postprocessing, Result
from pennylane_qexec.pooling import pool
from pennylane_qexec.recorded import are_recorded
from pennylane_qexec.structure import forget_batch, is_broadcasted, rows_of, wires_in_order
from pennylane_qexec.unwrapping import unwrapped

_ROTATED = {qml.X, qml.Y, qml.Z, qml.Hadamard, qml.Identity, BasisStateProjector}
"""Factors of observables that PennyLane's ``diagonalize_measurements`` rotates, or that are diagonal."""


_ENTROPIES = (VnEntropyMP, MutualInfoMP)


class _Program(threading.local):
    """The device that the current thread has used last with a binder, its program, and what that leaves as it is."""

    device: Any = None
    program: Any = None
    unchanged: Unchanged | None = None


class DeviceBinder:
    """Prepares circuits by the program that a device has for one configuration.

    Args:
        source: where the device comes from.
        config: the configuration.
        by_tree: the configuration for circuits that tree traversal suits; ``None`` for none.
    """

    def __init__(
        self, source: GivenDevice | BuiltDevices, config: ExecutionConfig, by_tree: ExecutionConfig | None = None
    ) -> None:
        self._source = source
        self._config = config
        self._by_tree = None if by_tree is None else DeviceBinder(source, by_tree)
        self._here = _Program()

    def __call__(self, circuit: QuantumScript) -> Bound:
        if self._by_tree is not None and mid_circuit.suits(circuit):
            return self._by_tree(circuit)
        if mid_circuit.is_by_tree(self._config):
            mid_circuit.refuse(circuit)
            circuit = mid_circuit.with_integers(self._source.name, circuit)
        device, here = self._source.device(circuit), self._here
        if circuit.shots.has_partitioned_shots and self._takes_no_shot_vector(device):
            if not self._source.quirks.no_shot_vectors and legacy.samples_bits(device, circuit):
                return self._in_bins(validate_device_wires(circuit, device.wires or wires_in_order(circuit))[0][0])
            return self._joined([circuit.copy(shots=shots) for shots in circuit.shots], tuple)
        if isinstance(device, LegacyDeviceFacade):
            if self._defers(circuit):
                (given,) = self._source.with_wires(circuit)
                return self._joined(*qml.defer_measurements(given, allow_postselect=False))
            groups = legacy.together(device, circuit)
            if len(groups) > 1:
                return self._apart(circuit, groups)
        if self._source.quirks.rotates_letters_only:
            _refuse_other_bases(device, circuit)
            circuit = circuit if are_recorded(circuit) else unwrapped(circuit)  # it knows no numbers but NumPy's
        if circuit.shots and self._source.quirks.prepares_exactly_only:
            circuit = legacy.with_preparation_decomposed(circuit)
        if self._config.gradient_method == "adjoint" and is_broadcasted(circuit):
            return self._joined(*rows_of(circuit))  # the program would do so twice
        with self._source.exclusive():
            if here.device is not device:
                here.program = adjoint.corrected(self._source.program(device, self._config), self._config)
                here.device = device
                here.unchanged = unchanged_by(here.program, self._source, self._config)
            if here.unchanged is not None and here.unchanged.covers(circuit):
                return Bound((circuit,), self._config, _only)
            given = [legacy.with_whole_state(device, one) for one in self._source.with_wires(circuit)]
            circuits, postprocess = here.program(given)
        if len(circuits) > 1:
            forget_batch(circuits)
        for one in circuits:
            legacy.check(device, one)
        if here.unchanged is not None:
            here.unchanged.note(circuit, circuits, postprocess)
        return Bound(tuple(circuits), self._config, lambda results: postprocess(results)[0])

    def _takes_no_shot_vector(self, device: Device) -> bool:
        """Whether the device cannot be given a shot vector.

        PennyLane reads those of devices of the older interface wrongly: several measurements where two neighbours are
        equal, and single shots.
        """
        return self._source.quirks.no_shot_vectors or isinstance(device, LegacyDeviceFacade)

    def _defers(self, circuit: QuantumScript) -> bool:
        """Whether the program would put wires in place of mid-circuit measurements: that decides what is measured."""
        deferred = self._config.mcm_config.mcm_method == "deferred"
        return deferred and any(isinstance(operation, MidMeasure) for operation in circuit.operations)

    def _in_bins(self, circuit: QuantumScript) -> Bound:
        """The circuit with all its shots at once, sampled, and each number of them evaluated by itself."""
        samples = pool(circuit.copy(shots=circuit.shots.total_shots))
        edges = np.cumsum([0, *circuit.shots])

        def join(results: Sequence[Result]) -> Result:
            sampled = [np.asarray(result) for result in results]
            return tuple([samples.evaluate([[row[start:stop]] for row in sampled]) for start, stop in pairwise(edges)])

        return self._joined(samples.circuits, join)

    def _apart(self, circuit: QuantumScript, groups: Sequence[Sequence[int]]) -> Bound:
        """The circuit, once for each group of measurements that the device can take in one run."""

        def join(results: Sequence[Result]) -> Result:
            by_index: dict[int, Result] = {}
            for group, result in zip(groups, results, strict=True):
                by_index.update(zip(group, (result,) if len(group) == 1 else result, strict=True))
            return tuple([by_index[index] for index in sorted(by_index)])

        parts = [circuit.copy(measurements=[circuit.measurements[index] for index in group]) for group in groups]
        return self._joined(parts, join)

    def _joined(self, circuits: Sequence[QuantumScript], join: Postprocessing) -> Bound:
        """Several circuits prepared, whose results become one."""
        parts = [self(circuit) for circuit in circuits]

        def postprocess(results: Sequence[Result]) -> Result:
            remaining = iter(results)
            return join([part.postprocess([next(remaining) for _ in part.circuits]) for part in parts])

        return Bound(tuple(one for part in parts for one in part.circuits), self._config, postprocess)


def _refuse_other_bases(device: Device, circuit: QuantumScript) -> None:
    """Refuse what a device would read off without rotating to its basis, and identities, of which it knows the mean.

    Raises:
        DeviceError: there is such a measurement.
    """
    for measurement in circuit.measurements:
        observable = measurement.obs
        if isinstance(measurement, _ENTROPIES):
            raise DeviceError(f"{device.name} computes entropies wrongly, and {measurement} is one")
        if observable is None:
            continue
        kinds = {*map(type, _factors(observable))}
        if not kinds <= _ROTATED or (kinds == {qml.Identity} and not isinstance(measurement, ExpectationMP)):
            raise DeviceError(
                f"{device.name} measures products and sums of Paulis and Hadamards, and not {measurement}"
            )


def _factors(observable: Operator) -> Iterator[Operator]:
    operands = observable.operands if isinstance(observable, CompositeOp) else ()
    if isinstance(observable, SProd):
        operands = (observable.base,)
    if not operands:
        yield observable
    for operand in operands:
        yield from _factors(operand)


def _only(results: Sequence[Result]) -> Result:
    return results[0]
