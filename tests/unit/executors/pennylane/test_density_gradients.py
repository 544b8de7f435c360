"""Backpropagation on default.mixed where some outcome has no probability."""

import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp

X = 0.3
MEASURED = {
    "expval": lambda: qml.expval(qml.Z(0)),
    "product": lambda: qml.expval(qml.Z(0) @ qml.Z(2)),
    "sum": lambda: qml.expval(0.5 * qml.Z(0) + 2.0 * qml.Z(1) @ qml.Z(2)),
    "var": lambda: qml.var(qml.Z(0)),
    "probs": lambda: qml.probs(wires=[2, 0]),
    "probs of all wires": lambda: qml.probs(),
}


def made(device, measured, **options):
    @qml.qnode(device, **options)
    def circuit(x):
        qml.RX(x, wires=0)
        qml.CNOT(wires=[0, 1])
        qml.Identity(2)
        return measured()

    return circuit


@pytest.fixture
def device():
    with qml.device("qexec.cluster", wires=3, executors=["default.mixed"]) as device:
        yield device


@pytest.mark.parametrize("measured", MEASURED.values(), ids=MEASURED)
def test_gradients_are_right_where_probabilities_are_zero(device, measured):
    ours = made(device, measured, diff_method="backprop")
    right = made(qml.device("default.qubit", wires=3), measured)
    x = pnp.array(X, requires_grad=True)
    assert ours(x) == pytest.approx(right(x), abs=1e-12)
    assert qml.jacobian(ours)(x) == pytest.approx(qml.jacobian(right)(x), abs=1e-9)
    assert qml.jacobian(qml.jacobian(ours))(x) == pytest.approx(qml.jacobian(qml.jacobian(right))(x), abs=1e-9)


@pytest.mark.parametrize("measured", MEASURED.values(), ids=MEASURED)
def test_gradients_of_broadcasted_circuits_are_right_too(device, measured):
    ours = made(device, measured, diff_method="backprop")
    right = made(qml.device("default.qubit", wires=3), measured)
    x = pnp.array([0.0, X, np.pi], requires_grad=True)
    assert qml.jacobian(ours)(x) == pytest.approx(qml.jacobian(right)(x), abs=1e-9)


def test_torch_gets_gradients_where_probabilities_are_zero(device):
    torch = pytest.importorskip("torch")
    x = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    made(device, MEASURED["expval"])(x).backward()
    assert x.grad.item() == pytest.approx(-np.sin(X))


@pytest.mark.filterwarnings("ignore:invalid value")
def test_plain_pennylane_computes_as_before(device):
    def of(device):
        return qml.jacobian(made(device, MEASURED["probs"], diff_method="backprop"))(pnp.array(X, requires_grad=True))

    before = of(qml.device("default.mixed", wires=3))
    of(device)
    assert np.array_equal(of(qml.device("default.mixed", wires=3)), before, equal_nan=True)
