"""What a QElectron returns, beside what the QNode returns that it was made of.

Each test makes a QNode, and two QElectrons of equal QNodes: a bare one, which runs on a twin of the QNode's device, and
one whose ``executors`` name the device. They are called, and they run later; values, types, dtypes, shapes and
containers must be those of the QNode. Where samples are drawn, the simulators have the same seed, and every sample is
the same; but a simulator in another thread has a stream of its own, and what it draws is within 5 sigma.

With ``diff_method="best"``, simulators like the QNode's device differentiate as it does. Other clusters prefer adjoint
derivatives to backpropagation, after which an analytic result may be an ``ndarray`` where that of the QNode is a
``pnp.tensor``: there the types of numbers are not compared.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pennylane as qml
import pytest
import torch
from beside import HOW, PATIENCE, SEED, differences
from circuits import ansatz
from pennylane import numpy as pnp

pytestmark = pytest.mark.slow

X = 0.4
NAMES = ["default.qubit", "lightning.qubit"]
MATRIX = np.array([[1, 2j], [-2j, 0.5]])
HAMILTONIAN = qml.Hamiltonian([0.5, -1.2], [qml.Z(0) @ qml.X(1), qml.Y(2)])


def circuit_of(measure: Callable[[], Any]) -> Callable[[Any], Any]:
    def circuit(x: Any) -> Any:
        ansatz(x)
        return measure()

    return circuit


ALWAYS: dict[str, Callable[[], Any]] = {
    "expval": lambda: qml.expval(qml.Z(1)),
    "var": lambda: qml.var(qml.X(1)),
    "probs": lambda: qml.probs(),
    "probs of wires": lambda: qml.probs(wires=[2, 0]),
    "probs of an observable": lambda: qml.probs(op=qml.X(1)),
    "expval of a Hamiltonian": lambda: qml.expval(HAMILTONIAN),
    "expval of a Hermitian": lambda: qml.expval(qml.Hermitian(MATRIX, 0)),
    "var of a Hermitian": lambda: qml.var(qml.Hermitian(MATRIX, 0)),
    "expval of a Projector": lambda: qml.expval(qml.Projector([0, 1], [0, 1])),
    "expval of a tensor product": lambda: qml.expval(qml.Z(0) @ qml.X(1)),
    "var of a tensor product": lambda: qml.var(qml.Z(0) @ qml.Hermitian(MATRIX, 1)),
    "list": lambda: [qml.expval(qml.Z(0)), qml.var(qml.Z(1))],
    "tuple": lambda: (qml.expval(qml.Z(0)), qml.probs(wires=[0, 1])),
    "list of one": lambda: [qml.expval(qml.Z(0))],
    "tuple of one": lambda: (qml.expval(qml.Z(0)),),
    "dict": lambda: {"z": qml.expval(qml.Z(0)), 7: qml.probs(wires=0)},
    "dict of lists": lambda: {"a": [qml.expval(qml.Z(0)), {"b": qml.var(qml.X(1))}], "c": (qml.probs(wires=2),)},
}
ANALYTIC: dict[str, Callable[[], Any]] = ALWAYS | {
    "state": lambda: qml.state(),
    "density matrix": lambda: qml.density_matrix(wires=[0, 1]),
    "von Neumann entropy": lambda: qml.vn_entropy(wires=[0]),
    "mutual information": lambda: qml.mutual_info([0], [1]),
    "purity": lambda: qml.purity(wires=[0]),
}
SAMPLED: dict[str, Callable[[], Any]] = ALWAYS | {
    "counts": lambda: qml.counts(),
    "counts of wires": lambda: qml.counts(wires=[0, 1]),
    "counts of all outcomes": lambda: qml.counts(wires=[0, 1], all_outcomes=True),
    "counts of an observable": lambda: qml.counts(qml.Z(0) @ qml.X(1)),
    "sample": lambda: qml.sample(),
    "sample of wires": lambda: qml.sample(wires=[0, 1]),
    "sample of an observable": lambda: qml.sample(qml.X(1)),
}
SHADOWS: dict[str, Callable[[], Any]] = {
    "classical shadow": lambda: qml.classical_shadow(wires=[0, 1], seed=3),
    "shadow expval": lambda: qml.shadow_expval(HAMILTONIAN, seed=3),
}
X_OF: dict[str, Callable[[], Any]] = {
    "float": lambda: X,
    "pnp": lambda: pnp.array(X),
    "pnp, not trainable": lambda: pnp.array(X, requires_grad=False),
    "torch": lambda: torch.tensor(X, dtype=torch.float64, requires_grad=True),
    "torch, 32 bits": lambda: torch.tensor(X, dtype=torch.float32),
    "jax": lambda: jax.numpy.array(X),
    "broadcast": lambda: np.array([X, 0.9, -2.0]),
}

by_name = pytest.mark.parametrize("name", NAMES)
by_how = pytest.mark.parametrize("how", HOW.values(), ids=HOW)
by_executors = pytest.mark.parametrize("named", [None, True], ids=["bare", "named"])


def by_measurement(measurements: dict[str, Callable[[], Any]]) -> Any:
    return pytest.mark.parametrize("measure", measurements.values(), ids=measurements)


@by_executors
@by_how
@by_name
@by_measurement(ANALYTIC)
def test_analytic_measurements_are_equal(pair: Any, measure: Any, name: str, how: Any, named: bool) -> None:
    qnode, electron = pair(circuit_of(measure), name, named)
    x = pnp.array(X)
    assert differences(qnode(x), how(electron)(x), types=not named) == []


def draws_again(name: str, measure: Any, shots: Any) -> bool:
    """Whether lightning alone draws the same shots for several bases, or bins of a sum; executors do not."""
    several = measure is ALWAYS["dict of lists"]
    return name == "lightning.qubit" and (
        several or (measure is ALWAYS["expval of a Hamiltonian"] and not isinstance(shots, int))
    )


@by_executors
@by_name
@pytest.mark.parametrize("shots", [50, (10, 20), (5, 5, 7)], ids=str)
@by_measurement(SAMPLED)
def test_calls_draw_the_same_samples(pair: Any, measure: Any, shots: Any, name: str, named: bool) -> None:
    qnode, electron = pair(circuit_of(measure), name, named, shots)
    if draws_again(name, measure, shots):
        assert differences(qnode(X), electron(X), values=False) == []
        return
    if name == "lightning.qubit" and measure is ALWAYS["dict of lists"]:
        # The device draws what does not commute from one seed; executors use it for the first, here the variance.
        one, other = (circuit(X) if isinstance(shots, int) else circuit(X)[0] for circuit in (qnode, electron))
        assert differences(one["a"][1], other["a"][1]) == differences(one, other, values=False) == []
        return
    for _ in range(2):
        assert differences(qnode(X), electron(X)) == []


@by_name
@pytest.mark.parametrize("shots", [50, (5, 5, 7)], ids=str)
@by_measurement(SAMPLED)
def test_a_device_given_as_executor_draws_the_same_samples_later(
    pair: Any, measure: Any, shots: Any, name: str
) -> None:
    qnode, electron = pair(circuit_of(measure), name, qml.device(name, wires=3, seed=SEED), shots)
    if draws_again(name, measure, shots):
        assert differences(qnode(X), electron.run_later(X).result(PATIENCE), values=False) == []
        return
    for _ in range(2):
        assert differences(qnode(X), electron.run_later(X).result(PATIENCE)) == []


@by_executors
@by_name
@by_measurement(SAMPLED)
def test_what_is_drawn_later_has_the_same_types_and_shapes(pair: Any, measure: Any, name: str, named: bool) -> None:
    qnode, electron = pair(circuit_of(measure), name, named, (10, 20))
    assert differences(qnode(X), electron.run_later(X).result(PATIENCE), values=False) == []


@by_executors
@by_name
def test_what_is_drawn_later_is_within_5_sigma(pair: Any, name: str, named: bool) -> None:
    """Sigma of an expectation value of outcomes 1 and -1 is at most 1 / sqrt(shots), of a probability half of that."""
    shots = 10_000
    exact, _ = pair(circuit_of(lambda: (qml.expval(qml.X(1)), qml.probs(wires=[0, 1]))), name)
    _, electron = pair(circuit_of(lambda: (qml.expval(qml.X(1)), qml.counts(wires=[0, 1]))), name, named, shots)
    (expectation, probabilities), (mean, counts) = exact(X), electron.run_later(X).result(PATIENCE)
    assert abs(mean - expectation) < 5 / np.sqrt(shots)
    frequencies = [counts.get(key, 0) / shots for key in ("00", "01", "10", "11")]
    assert np.allclose(frequencies, probabilities, rtol=0, atol=5 * 0.5 / np.sqrt(shots))


@by_how
@by_measurement(SHADOWS)
def test_shadows_are_equal(pair: Any, measure: Any, how: Any) -> None:
    device = qml.device("default.qubit", wires=3, seed=SEED)
    qnode, electron = pair(circuit_of(measure), "default.qubit", device, 30)
    assert differences(qnode(X), how(electron)(X)) == []


@by_executors
@by_how
@by_name
@pytest.mark.parametrize("measure", [qml.state, qml.purity, qml.sample], ids=lambda measure: measure.__name__)
def test_what_the_qnode_refuses_is_refused(pair: Any, measure: Any, name: str, how: Any, named: bool) -> None:
    shots = None if measure is qml.sample else 10
    wires = {"wires": [0]} if measure is qml.purity else {}
    qnode, electron = pair(circuit_of(lambda: measure(**wires)), name, named, shots)
    with pytest.raises(qml.exceptions.DeviceError) as refused:
        qnode(X)
    with pytest.raises(qml.exceptions.DeviceError, match=re.escape(str(refused.value))):
        how(electron)(X)


@by_how
@by_name
@pytest.mark.parametrize("interface", ["auto", "numpy", "autograd", "torch", "jax", None])
@pytest.mark.parametrize("x", X_OF.values(), ids=X_OF)
def test_interfaces_give_the_same_types(pair: Any, x: Any, interface: Any, name: str, how: Any) -> None:
    qnode, electron = pair(circuit_of(ALWAYS["dict of lists"]), name, interface=interface)
    assert outcome_of(qnode, x()) == outcome_of(how(electron), x())


@by_how
@pytest.mark.parametrize("interface", ["auto", "numpy", "autograd", "torch", "jax", None])
@pytest.mark.parametrize("shots", [None, (3, 4)], ids=str)
def test_circuits_without_parameters_give_the_same_types(pair: Any, shots: Any, interface: Any, how: Any) -> None:
    def circuit() -> Any:
        qml.X(0)
        return qml.expval(qml.Z(0)), qml.probs(wires=[0, 1])

    qnode, electron = pair(circuit, "default.qubit", shots=shots, interface=interface)
    assert differences(qnode(), how(electron)()) == []


def outcome_of(circuit: Any, x: Any) -> Any:
    """What a call gives, in a form that can be compared, whether it is a result or an error."""
    try:
        return described(circuit(x))
    except Exception as error:
        return type(error), str(error)


def described(result: Any) -> Any:
    if isinstance(result, dict):
        return {key: described(value) for key, value in result.items()}
    if isinstance(result, list | tuple):
        return type(result)(described(value) for value in result)
    traits = [str(getattr(result, what, None)) for what in ("dtype", "shape", "requires_grad")]
    return type(result), traits, np.round(qml.math.toarray(result), 6).tolist()
