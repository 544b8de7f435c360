"""Classical shadows on simulators: by names of wires, of several observables, and of batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest

SHOTS = 9_000
SIGMAS = 6


@pytest.mark.parametrize("executor", ["default.qubit", "default.mixed", "jax", "aer"])
@pytest.mark.parametrize("wires", [None, [3, 1, 0, "spare"]])
def test_expectation_values_of_shadows_are_of_the_wires_that_are_named(
    open_device: Any, executor: str, wires: Any
) -> None:
    """PennyLane's simulators raise a KeyError, or measure the fourth wire in place of wire 3."""

    def circuit() -> Any:
        qml.RY(1.5, 3)
        qml.RY(0.3, 1)
        return qml.shadow_expval(qml.Z(3)), qml.shadow_expval([qml.Z(1), qml.X(3)]), qml.expval(qml.Z(1))

    first, others, z = qml.set_shots(qml.QNode(circuit, open_device(executor, wires)), SHOTS)()
    right = np.array([np.cos(1.5), np.cos(0.3), np.sin(1.5)])
    sigma = np.sqrt(3 / SHOTS)
    assert np.shape(others) == (2,)
    assert np.all(np.abs(np.array([first, *others]) - right) < SIGMAS * sigma)
    assert abs(z - np.cos(0.3)) < SIGMAS / np.sqrt(SHOTS)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["default.qubit", "default.mixed"])
@pytest.mark.parametrize("wires", [[0, 1], ["a", "b"]])
def test_shadows_of_batches_come_row_by_row(open_device: Any, executor: str, wires: Any) -> None:
    angles = np.array([0.0, 1.2, np.pi])

    def circuit() -> Any:
        qml.RY(angles, wires[1])
        return qml.classical_shadow([wires[1]]), qml.shadow_expval(qml.Z(wires[1]))

    shadows, values = qml.set_shots(qml.QNode(circuit, open_device(executor, wires)), SHOTS)()
    assert np.shape(shadows) == (3, 2, SHOTS, 1)
    sigma = np.sqrt(3 / SHOTS)
    assert np.all(np.abs(values - np.cos(angles)) < SIGMAS * sigma)
    estimates = [qml.ClassicalShadow(*row, wire_map=[wires[1]]).expval(qml.Z(wires[1])) for row in shadows]
    assert np.all(np.abs(estimates - np.cos(angles)) < SIGMAS * sigma)
