"""How simulators run circuits with mid-circuit measurements and shots: by tree traversal, where the user has no wish.

PennyLane's devices simulate such a circuit once for each shot by default. Tree traversal simulates each sequence of
outcomes that occurs once, and draws all shots that have it together (``mcm_method="tree-traversal"`` of PennyLane).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pennylane.devices import ExecutionConfig
from pennylane.measurements import (
    CountsMP,
    ExpectationMP,
    MeasurementProcess,
    MeasurementValue,
    ProbabilityMP,
    SampleMP,
    VarianceMP,
)
from pennylane.operation import StatePrepBase
from pennylane.ops import Snapshot
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.mid_circuit import measured_in, postselects
from pennylane_qexec.circuits.structure import wires_in, with_value
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.job import Result

_TREE = "tree-traversal"
_DEVICES = ("default.qubit", "lightning.qubit", "lightning.gpu", "lightning.kokkos")
_MEASUREMENTS = (CountsMP, ExpectationMP, ProbabilityMP, SampleMP, VarianceMP)
_MOST_BYTES_OF_STATES = 2**31
_BYTES_OF_AMPLITUDE = 16


def by_tree(name: str, config: ExecutionConfig, circuit: QuantumScript) -> ExecutionConfig | None:
    """The configuration for tree traversal; ``None`` if the circuit has no use for it, or another method is asked for.

    Args:
        name: of the device.
        config: the configuration that is asked for.
        circuit: one of the circuits of a call.
    """
    asked = config.mcm_config
    if name not in _DEVICES or asked.mcm_method is not None:
        return None
    if asked.postselect_mode == "fill-shots" or not circuit.shots or not measured_in(circuit):
        return None
    return replace(config, mcm_config=replace(asked, mcm_method=_TREE))


def suits(circuit: QuantumScript) -> bool:
    """Whether tree traversal gives what one simulation for each shot would give, in as much memory as there may be.

    It keeps a state for each measurement. Postselected branches it weighs wrongly, in PennyLane 0.45.
    """
    states = (len(measured_in(circuit)) + 1) * _BYTES_OF_AMPLITUDE * 2.0 ** len(wires_in(circuit))
    return (
        states <= _MOST_BYTES_OF_STATES
        and not postselects(circuit)
        and all(map(_is_taken, circuit.measurements))
        and not any(isinstance(operation, Snapshot) for operation in circuit.operations)
    )


def _is_taken(measurement: MeasurementProcess) -> bool:
    """Whether tree traversal measures it: variances of matrices come out as complex numbers."""
    of_matrix = measurement.obs is not None and measurement.obs.pauli_rep is None
    return isinstance(measurement, _MEASUREMENTS) and not (of_matrix and isinstance(measurement, VarianceMP))


def with_integers(name: str, circuit: QuantumScript) -> QuantumScript:
    """The circuit as a device has to get it, so that outcomes are numbers where something is computed of them.

    Lightning has booleans, for which 1 + 1 is 1, by tree traversal in 0.45.
    """
    if not name.startswith("lightning.") or not any(map(_computes, circuit.measurements)):
        return circuit
    return circuit.copy(measurements=[_of_integers(one) if _computes(one) else one for one in circuit.measurements])


def loses_preparation(device: Any, circuit: QuantumScript) -> bool:
    """Whether a device by tree traversal fails on a state preparation: ``default.qubit``'s has to be of all wires."""
    first = circuit.operations[0] if circuit.operations else None
    if device.name != "default.qubit" or not isinstance(first, StatePrepBase):
        return False
    return not set(first.wires).issuperset(wires_in(circuit).union(device.wires or ()))


def groups_of_tree(circuit: QuantumScript) -> list[list[int]] | None:
    """Which measurements tree traversal computes together; ``None`` if all, and nothing needs to be done.

    Without shots, PennyLane takes outcomes beside other measurements for rows, and returns one number of each, or
    raises; outcomes of one measurement alone come as a row of their own, and are to be measured twice.
    """
    if circuit.shots or not measured_in(circuit):
        return None
    of_outcomes = [index for index, one in enumerate(circuit.measurements) if one.mv is not None]
    others = [index for index, one in enumerate(circuit.measurements) if one.mv is None]
    if not of_outcomes or (not others and len(of_outcomes) > 1):
        return None
    return [of_outcomes * (2 if len(of_outcomes) == 1 else 1), *([others] if others else [])]


def _computes(measurement: MeasurementProcess) -> bool:
    return isinstance(measurement.mv, MeasurementValue) and measurement.mv.has_processing


def _of_integers(measurement: MeasurementProcess) -> MeasurementProcess:
    value = measurement.mv

    def computed(*outcomes: Any) -> Any:
        return value.processing_fn(*[one.astype(int) if np.ndim(one) else int(one) for one in outcomes])

    return with_value(measurement, MeasurementValue(value.measurements, computed))


def refuse(circuit: QuantumScript) -> None:
    """Refuse a circuit that tree traversal, which the user has asked for, would answer wrongly.

    Raises:
        ConfigurationError: it has shots and a postselection.
    """
    if circuit.shots and postselects(circuit):
        raise ConfigurationError(
            "mcm_method='tree-traversal' with shots weighs branches that are postselected wrongly in PennyLane 0.45: "
            "use mcm_method='one-shot' or 'deferred'."
        )


def is_by_tree(config: ExecutionConfig) -> bool:
    """Whether a configuration says tree traversal."""
    return bool(config.mcm_config.mcm_method == _TREE)


def execute(device: Any, circuits: Sequence[QuantumScript], config: ExecutionConfig) -> list[Result]:
    """Run circuits that went through a device's program.

    By tree traversal, samples come branch by branch: they are put into random order.

    Args:
        device: the device; from its generator orders are drawn.
        circuits: the circuits.
        config: the configuration of the program.
    """
    results = list(device.execute(tuple(circuits), execution_config=config))
    if config.mcm_config.mcm_method != _TREE:
        return results
    return [_shuffled(result, circuit, device._rng) for result, circuit in zip(results, circuits, strict=True)]


def _shuffled(result: Result, circuit: QuantumScript, rng: np.random.Generator) -> Result:
    vector = circuit.shots.has_partitioned_shots
    if len(circuit.measurements) > 1:  # which may be returned as lists
        result = tuple(map(tuple, result)) if vector else tuple(result)
    sampled = [isinstance(measurement, SampleMP) for measurement in circuit.measurements]
    if not any(sampled) or not measured_in(circuit):
        return result
    if vector:
        return tuple([_shuffled_once(part, sampled, rng) for part in result])
    return _shuffled_once(result, sampled, rng)


def _shuffled_once(result: Result, sampled: Sequence[bool], rng: np.random.Generator) -> Result:
    """One result with the same permutation of all samples, so that outcomes of one shot stay at one place."""
    parts = [result] if len(sampled) == 1 else list(result)
    sizes = {len(part) for part, is_sample in zip(parts, sampled, strict=True) if is_sample and np.ndim(part)}
    order = rng.permutation(sizes.pop()) if len(sizes) == 1 else None
    for index, is_sample in enumerate(sampled):
        if is_sample and order is not None:
            part = np.asarray(parts[index])[order]
            parts[index] = part.astype(np.int64) if part.dtype == bool else part
    return parts[0] if len(sampled) == 1 else tuple(parts)
