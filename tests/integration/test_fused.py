"""Circuits run together give what they give one by one, on every executor, for every measurement and gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec

SHOTS, SIGMAS = 4000, 5
WIRES = 3
HAMILTONIAN = qml.Hamiltonian([0.5, -1.2, 0.7], [qml.Z(0) @ qml.Z(1), qml.X(2), qml.Y(0) @ qml.X(1)])
MATRIX = np.array([[0.4, 0.3 - 0.2j], [0.3 + 0.2j, -1.1]])

NEW: dict[str, Callable[[], qexec.Executor]] = {
    "default.qubit": lambda: qexec.executor("default.qubit", wires=WIRES),
    "lightning.qubit": lambda: qexec.executor("lightning.qubit", wires=WIRES),
    "aer": lambda: qexec.executor("aer", wires=WIRES, seed=7),
    "jax": lambda: qexec.executor("jax", wires=WIRES, seed=7, compile="now"),
    "hybrid": lambda: qexec.Hybrid([qexec.executor("aer", wires=WIRES, seed=7)]),
    "ibm": lambda: qexec.executor("ibm:aer", wires=WIRES, seed=7),
}
EXACT = [name for name in NEW if name != "ibm"]
SEEDED = ["aer", "jax", "hybrid"]

pytestmark = pytest.mark.integration

STATES = {
    "state": qml.state(),
    "density matrix": qml.density_matrix([2, 0]),
    "purity": qml.purity([0]),
    "entropy": qml.vn_entropy([0, 1]),
    "mutual information": qml.mutual_info([0], [2]),
}
VALUES = {
    "Pauli word": qml.expval(qml.Z(0) @ qml.X(2)),
    "Hamiltonian": qml.expval(HAMILTONIAN),
    "Hermitian": qml.expval(qml.Hermitian(MATRIX, [1])),
    "projector": qml.expval(qml.Projector([1, 0], [2, 0])),
    "variance": qml.var(qml.Y(1)),
    "variance of a matrix": qml.var(qml.Hermitian(MATRIX, [2])),
    "probabilities": qml.probs(wires=[2, 0]),
    "all probabilities": qml.probs(),
    "probabilities of an observable": qml.probs(op=qml.X(0) @ qml.Y(1)),
}
DRAWN = {
    "counts": qml.counts(),
    "all counts": qml.counts(wires=[2, 1], all_outcomes=True),
    "counts of an observable": qml.counts(qml.X(0)),
    "samples": qml.sample(wires=[1, 0]),
    "samples of an observable": qml.sample(qml.Z(0) @ qml.Z(2)),
}


@pytest.fixture
def make() -> Any:
    """Builds executors, which are closed at the end."""
    made: list[qexec.Executor] = []

    def build(name: str) -> qexec.Executor:
        made.append(NEW[name]())
        return made[-1]

    yield build
    for executor in made:
        executor.close()


def batch(*measurements: Any, shots: int | None = None) -> list[QuantumScript]:
    """Circuits of two structures, mixed."""
    rng = np.random.default_rng(5)
    circuits = []
    for number in range(7):
        angles = rng.uniform(0, 3, 5)
        gates = [qml.RX(angles[0], 0), qml.Rot(*angles[1:4], 1), qml.CNOT([0, 2]), qml.CRY(angles[4], [1, 2])]
        if number % 3 == 1:
            gates += [qml.PauliRot(angles[0], "XZ", [0, 2]), qml.S(1)]
        circuits.append(QuantumScript(gates, measurements, shots=shots))
    return circuits


def exactly(circuits: Sequence[QuantumScript]) -> list[Any]:
    device = qml.device("default.qubit", wires=WIRES)
    return [qml.execute([circuit], device, diff_method=None)[0] for circuit in circuits]


EXACTLY = {
    f"{kind} on {name}": (name, measurement)
    for name in EXACT
    for kind, measurement in (VALUES if name == "lightning.qubit" else STATES | VALUES).items()
}


@pytest.mark.parametrize(("name", "measurement"), EXACTLY.values(), ids=EXACTLY)
def test_analytic_results_together_are_exact(make: Any, name: str, measurement: Any) -> None:
    circuits = batch(measurement)
    for mine, theirs in zip(make(name).run(circuits), exactly(circuits), strict=True):
        assert np.shape(mine) == np.shape(theirs)
        assert (
            _up_to_a_phase(mine, theirs) if np.ndim(theirs) and np.iscomplexobj(theirs) else np.allclose(mine, theirs)
        )


def _up_to_a_phase(one: Any, other: Any) -> bool:
    """Whether two states, or two density matrices, are the same physically."""
    if np.ndim(one) == 2:
        return bool(np.allclose(one, other))
    return bool(np.isclose(abs(np.vdot(one, other)), 1))


@pytest.mark.parametrize("name", EXACT)
def test_several_measurements_together_are_exact(make: Any, name: str) -> None:
    circuits = batch(*VALUES.values())
    for mine, theirs in zip(make(name).run(circuits), exactly(circuits), strict=True):
        assert isinstance(mine, tuple)
        assert all(map(np.allclose, mine, theirs))


@pytest.mark.parametrize("measurement", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("name", NEW)
def test_estimates_together_are_near_the_exact_values(make: Any, name: str, measurement: Any) -> None:
    """Within 5 standard errors of the spread of eigenvalues (at most 5), and of 4 for a variance's own spread."""
    spread = 2.4 if measurement.obs is not None else 0.5
    circuits = batch(measurement, shots=SHOTS)
    exact = exactly([circuit.copy(shots=None) for circuit in circuits])
    for mine, theirs in zip(make(name).run(circuits), exact, strict=True):
        assert np.shape(mine) == np.shape(theirs)
        assert np.allclose(mine, theirs, atol=SIGMAS * spread / np.sqrt(SHOTS))


@pytest.mark.parametrize("measurement", [*VALUES.values(), *DRAWN.values()], ids=[*VALUES, *DRAWN])
@pytest.mark.parametrize("name", SEEDED)
def test_with_a_seed_circuits_together_give_what_they_give_one_by_one(make: Any, name: str, measurement: Any) -> None:
    circuits = batch(measurement, shots=50)
    together, alone = make(name), make(name)
    for mine, theirs in zip(together.run(circuits), [alone.run([one])[0] for one in circuits], strict=True):
        if isinstance(theirs, dict):
            assert dict(mine) == dict(theirs)
        else:
            assert np.allclose(mine, theirs, atol=1e-12)


@pytest.mark.parametrize("measurement", DRAWN.values(), ids=DRAWN)
@pytest.mark.parametrize("name", NEW)
def test_every_shot_of_circuits_together_is_there(make: Any, name: str, measurement: Any) -> None:
    circuits = batch(measurement, shots=37)
    for result in make(name).run(circuits):
        assert (sum(result.values()) if isinstance(result, dict) else len(result)) == 37


METHODS = {name: ["parameter-shift", "finite-diff", "spsa", "hadamard"] for name in EXACT}
for simulator, methods in {"default.qubit": 2, "jax": 2, "lightning.qubit": 1}.items():
    METHODS[simulator] += ["adjoint", "backprop"][:methods]


def jacobian(device: Any, method: str, shots: int | None = None) -> np.ndarray:
    options = {"spsa": {"sampler_rng": np.random.default_rng(3), "num_directions": 3}}.get(method, {})

    @qml.qnode(device, diff_method=method, gradient_kwargs=options, shots=shots)
    def circuit(x: Any) -> Any:
        for wire in range(2):
            qml.RX(x[wire], wire)
        qml.CRZ(x[2], [0, 1])
        qml.RY(x[0] * x[2], 1)
        return qml.expval(qml.Z(0) @ qml.X(1))

    return np.asarray(qml.grad(circuit)(qml.numpy.array([0.3, 0.8, -1.1])))


@pytest.mark.parametrize(("name", "method"), [(name, method) for name in EXACT for method in METHODS[name]])
def test_gradients_are_those_of_the_plain_device(make: Any, name: str, method: str) -> None:
    with qml.device("qexec.cluster", wires=WIRES, executors=[make(name)]) as device:
        found = jacobian(device, method)
    tolerance = 1e-5 if method in ("finite-diff", "spsa") else 1e-7
    assert np.allclose(found, jacobian(qml.device("default.qubit", wires=WIRES), method), atol=tolerance)


@pytest.mark.parametrize("name", NEW)
def test_gradients_with_shots_are_near_the_exact_ones(make: Any, name: str) -> None:
    """Half the difference of two means, of values with a spread of at most 1, for at most two angles: 5 sigma."""
    exact = jacobian(qml.device("default.qubit", wires=WIRES), "parameter-shift")
    with qml.device("qexec.cluster", wires=WIRES, executors=[make(name)]) as device:
        found = jacobian(device, "parameter-shift", shots=SHOTS)
    assert np.allclose(found, exact, atol=SIGMAS * 1.5 / np.sqrt(2 * SHOTS))
