"""Devices whose circuits are split over three simulators, and what one device with all the shots returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec

PLUGINS = [{"type": "lightning.qubit", "seed": 1}, {"type": "aer", "seed": 2}, "cirq.simulator"]
OWN = [
    {"type": "default.qubit", "seed": 1},
    {"type": "lightning.qubit", "seed": 2},
    {"type": "default.mixed", "seed": 3},
]


@pytest.fixture(params=[PLUGINS, OWN], ids=["lightning+aer+cirq", "default+lightning+mixed"])
def three(request: pytest.FixtureRequest) -> Iterator[qexec.ClusterDevice]:
    """Three simulators of three wires, which share the shots equally."""
    np.random.seed(4)  # cirq.simulator draws from numpy's global stream
    with qexec.ClusterDevice([0, 1, 2], executors=request.param, split="uniform") as device:
        yield device


@pytest.fixture
def own() -> Iterator[qexec.ClusterDevice]:
    """Three simulators of PennyLane's own, of three wires, which share the shots equally."""
    with qexec.ClusterDevice([0, 1, 2], executors=OWN, split="uniform") as device:
        yield device


@pytest.fixture
def one() -> Any:
    """One simulator with all the shots."""
    return qml.device("default.qubit", wires=[0, 1, 2], seed=9)


@pytest.fixture
def execute() -> Callable[[QuantumScript, Any], Any]:
    """A function that runs a circuit on a device."""
    return lambda circuit, device: qml.execute([circuit], device, diff_method=None)[0]
