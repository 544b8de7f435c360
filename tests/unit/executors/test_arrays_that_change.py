"""What is kept of a structure stays that of its matrices, states and observables, whatever a program writes there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest

import pennylane_qexec as qexec

RNG = np.random.default_rng(5)
POINTS = np.linspace(0.1, 2, 3)


def hermitian() -> np.ndarray:
    matrix = RNG.normal(size=(2, 2)) + 1j * RNG.normal(size=(2, 2))
    return matrix + matrix.conj().T


def unitary() -> np.ndarray:
    return np.linalg.qr(RNG.normal(size=(2, 2)) + 1j * RNG.normal(size=(2, 2)))[0]


def state() -> np.ndarray:
    return unitary()[0].copy()


def circuits(points: Any, of: dict[str, np.ndarray], shots: int | None = None) -> list[qml.tape.QuantumScript]:
    measured = [qml.expval(qml.Hermitian(of["observable"], 0))]
    return [
        qml.tape.QuantumScript(
            [qml.StatePrep(of["state"], [0]), qml.RX(point, 0), qml.QubitUnitary(of["matrix"], 0)], measured, shots
        )
        for point in points.tolist()
    ]


@pytest.fixture(params=["state", "matrix", "observable"])
def changed(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.slow
@pytest.mark.parametrize("shots", [None, 20_000])
@pytest.mark.parametrize("executor", ["aer", {"type": "jax", "compile": "now"}, {"type": "jax", "compile": "never"}])
def test_an_array_that_is_written_to_leaves_the_circuits_that_had_its_numbers(
    executor: Any, shots: int | None, changed: str
) -> None:
    make = {"state": state, "matrix": unitary, "observable": hermitian}
    given = {"state": state(), "matrix": unitary(), "observable": hermitian()}
    others = {name: array.copy() for name, array in given.items()}
    with qexec.QCluster([executor]) as cluster:
        device = qml.device("qexec.cluster", cluster=cluster)
        qml.execute(circuits(POINTS, given, shots), device)
        given[changed][...] = make[changed]()
        # More circuits than before, so that something is compiled for them.
        results = qml.execute(circuits(np.repeat(POINTS, 7), others, shots), device)
    exact = qml.execute(circuits(np.repeat(POINTS, 7), others), qml.device("default.qubit"))
    scale = np.abs(np.linalg.eigvalsh(others["observable"])).max()
    assert results == pytest.approx(exact, abs=1e-9 if shots is None else 8 * scale / shots**0.5)


@pytest.mark.parametrize("same_circuit", [False, True])
def test_the_cache_tells_circuits_apart_whose_observable_was_written_to(same_circuit: bool) -> None:
    matrix = hermitian()
    observable = qml.Hermitian(matrix, 0)
    device = qml.device("qexec.cluster", executors=["default.qubit"], cache=True)
    circuit = qml.tape.QuantumScript([qml.RX(0.7, 0)], [qml.expval(observable)])
    for _ in range(5):
        given = circuit if same_circuit else qml.tape.QuantumScript([qml.RX(0.7, 0)], [qml.expval(observable)])
        exact = qml.execute([given], qml.device("default.qubit"))
        assert qml.execute([given], device) == pytest.approx(exact)
        matrix[...] = hermitian()
    assert {row.executor for row in device.history} == {"default.qubit"}
