"""What the device's own parameter shifts differentiate is what PennyLane's are of: measurements, gates, interfaces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest
from beside_pennylane import HOW, X, by_autograd, check, messages
from pennylane import numpy as pnp
from pennylane.operation import Operation

MATRIX = np.array([[1, 0.3], [0.3, -2]])
BY_SWEEPS, BY_PENNYLANE = "is differentiated by sweeps of", "is differentiated by PennyLane, circuit by circuit"


def ansatz(x: Any) -> None:
    qml.RX(x[0], 0)
    qml.RY(x[1], 1)
    qml.CNOT([0, 1])
    qml.CRZ(x[2], [1, 0])
    qml.RY(x[0] * 0.5, 0)


MEASURED: dict[str, Any] = {
    "a letter": lambda: qml.expval(qml.Z(1)),
    "a word": lambda: qml.expval(qml.Z(0) @ qml.X(1)),
    "a sum": lambda: qml.expval(qml.Z(0) + 0.3 * qml.X(1)),
    "a Hamiltonian": lambda: qml.expval(qml.Hamiltonian([0.2, 0.3], [qml.Z(0), qml.Y(1)])),
    "a Hamiltonian of arrays": lambda: qml.expval(qml.Hamiltonian(pnp.array([0.2, 0.3]), [qml.Z(0), qml.Y(1)])),
    "a multiple": lambda: qml.expval(2 * qml.Z(0)),
    "a matrix": lambda: qml.expval(qml.Hermitian(MATRIX, 0)),
    "a sparse matrix": lambda: qml.expval(qml.SparseHamiltonian((qml.Z(0) + qml.X(1)).sparse_matrix([0, 1]), [0, 1])),
    "a projector": lambda: qml.expval(qml.Projector([0, 1], [0, 1])),
    "the identity": lambda: qml.expval(qml.Identity(0)),
    "an unused wire": lambda: qml.expval(qml.Z(5)),
    "probabilities": lambda: qml.probs(wires=[1, 0]),
    "probabilities of everything": lambda: qml.probs(),
    "probabilities of a letter": lambda: qml.probs(op=qml.X(0)),
    "a list": lambda: [qml.expval(qml.Z(0)), qml.expval(qml.X(1))],
    "several": lambda: (qml.expval(qml.Z(0)), qml.probs(wires=[1])),
    "a variance": lambda: qml.var(qml.Z(0) @ qml.X(1)),
    "a variance of a matrix": lambda: qml.var(qml.Hermitian(MATRIX, 0)),
    "several with variances": lambda: (
        qml.var(qml.Z(0)),
        qml.expval(qml.Z(1)),
        qml.var(qml.Hermitian(MATRIX, 1)),
        qml.probs(wires=[0]),
    ),
}


def node_of(circuit: Any, **options: Any) -> qml.QNode:
    return qml.QNode(circuit, qml.device("default.qubit"), diff_method="parameter-shift", **options)


def measuring(measured: Any, prepare: Any = ansatz) -> qml.QNode:
    def circuit(x: Any) -> Any:
        prepare(x)
        return measured()

    return node_of(circuit)


@pytest.mark.slow
@pytest.mark.parametrize("measured", MEASURED.values(), ids=MEASURED)
def test_every_measurement_is_differentiated_by_sweeps(open_device: Any, measured: Any) -> None:
    assert BY_SWEEPS in check(measuring(measured), open_device("default.qubit"))


@pytest.mark.slow
@pytest.mark.parametrize("how", [name for name in HOW if name != "autograd"])
@pytest.mark.parametrize("measured", ["a matrix", "several", "several with variances"])
def test_every_interface_gets_what_it_gets_of_pennylane(open_device: Any, measured: str, how: str) -> None:
    atol = 1e-5 if "single" in how else 1e-10
    assert BY_SWEEPS in check(measuring(MEASURED[measured]), open_device("default.qubit"), HOW[how], atol)


REFUSED: dict[str, Any] = {
    "a state": qml.state,
    "an entropy": lambda: qml.vn_entropy(0),
    "mutual information": lambda: qml.mutual_info(0, 1),
    "samples without shots": lambda: qml.sample(qml.Z(0)),
}


@pytest.mark.parametrize("measured", REFUSED.values(), ids=REFUSED)
def test_what_pennylane_refuses_is_refused(open_device: Any, measured: Any) -> None:
    with messages() as logged, pytest.raises(Exception, match=r"gradient of circuits that return|analytic"):
        by_autograd(measuring(measured).update(device=open_device("default.qubit")))
    assert "is not measured by sweeps" in "".join(logged)


class Doubled(Operation):
    """A user's gate with frequencies."""

    num_params, num_wires, grad_method = 1, 1, "A"
    parameter_frequencies = ((2.0,),)

    @staticmethod
    def compute_matrix(angle: Any) -> Any:
        return qml.RX.compute_matrix(2 * angle)


class WithRecipe(Operation):
    """A user's gate with an asymmetric recipe, which has an unshifted term and a factor."""

    num_params, num_wires = 1, 1
    grad_recipe = ([[1.0, 1.0, 0.0], [-0.7, 1.0, -0.1], [0.2, -2.0, 0.3]],)

    @staticmethod
    def compute_matrix(angle: Any) -> Any:
        return qml.RX.compute_matrix(angle)


class TakenApart(Operation):
    """A user's gate that is differentiated by those of which it is made."""

    num_params, num_wires, grad_method = 1, 1, None

    @staticmethod
    def compute_decomposition(angle: Any, wires: Any) -> list[Any]:
        return [qml.RX(3 * angle, wires), qml.RY(angle, wires)]


PLUS = {"SingleExcitationPlus": 2, "SingleExcitationMinus": 2, "DoubleExcitationPlus": 4, "DoubleExcitationMinus": 4}
OF_ONE_NUMBER = {
    **{"PhaseShift": 1, "U1": 1, "RZ": 1, "CRX": 2, "CRY": 2, "CRZ": 2, "ControlledPhaseShift": 2, "IsingXX": 2},
    **{"IsingYY": 2, "IsingZZ": 2, "IsingXY": 2, "SingleExcitation": 2, "DoubleExcitation": 4, "OrbitalRotation": 4},
    **{"FermionicSWAP": 2, "PSWAP": 2, "MultiRZ": 3, **PLUS},
}
GATES: dict[str, Any] = {
    **{
        name: lambda x, name=name, size=size: getattr(qml, name)(x[2], range(size))
        for name, size in OF_ONE_NUMBER.items()
    },
    "Rot": lambda x: qml.Rot(*x, wires=0),
    "U2": lambda x: qml.U2(x[0], x[1], 0),
    "U3": lambda x: qml.U3(*x, wires=0),
    "CRot": lambda x: qml.CRot(*x, wires=[0, 1]),
    "PauliRot": lambda x: qml.PauliRot(x[2], "XYZ", [0, 1, 2]),
    "PauliRot by nothing": lambda x: qml.PauliRot(x[2], "III", [0, 1, 2]),
    "PCPhase": lambda x: qml.PCPhase(x[2], 2, [0, 1]),
    "GlobalPhase": lambda x: qml.GlobalPhase(x[2]),
    "a controlled phase of nothing": lambda x: qml.ctrl(qml.GlobalPhase(x[2]), 0),
    "a controlled gate": lambda x: qml.ctrl(qml.RX(x[2], 2), [0, 1], [0, 1]),
    "a controlled gate of several numbers": lambda x: qml.ctrl(qml.Rot(*x, 2), [0]),
    "an inverse": lambda x: qml.adjoint(qml.ctrl(qml.IsingXX(x[2], [1, 2]), 0)),
    "a power": lambda x: qml.pow(qml.RX(x[2], 0), 2),
    "a product": lambda x: qml.prod(qml.RX(x[2], 0), qml.RY(x[1], 1)),
    "an evolution": lambda x: qml.evolve(qml.Z(0) @ qml.X(1), x[2]),
    "an exponential": lambda x: qml.exp(qml.X(0) @ qml.Z(1), 1j * x[2]),
    "ApproxTimeEvolution": lambda x: qml.ApproxTimeEvolution(qml.Z(0) @ qml.Z(1) + 0.3 * qml.X(0), x[2], 2),
    "StronglyEntanglingLayers": lambda x: qml.StronglyEntanglingLayers(x.reshape(1, 1, 3), wires=[0]),
    "AngleEmbedding": lambda x: qml.AngleEmbedding(x, range(3)),
    "SelectPauliRot": lambda x: qml.SelectPauliRot(x[:2], [0], 1),
    "a matrix of what is trained": lambda x: qml.QubitUnitary(qml.RX.compute_matrix(x[2]), 0),
    "a matrix that is not": lambda x: qml.ctrl(qml.QubitUnitary(np.array([[0, 1], [1, 0]]), 1), 0),
    "a number twice, and functions of it": lambda x: (qml.RX(x[0], 0), qml.RX(x[0], 0), qml.RY(x[0] ** 2 * x[1], 1)),
    "numbers that are not trained": lambda x: (qml.RX(0.3, 0), qml.RX(pnp.array(0.3), 0)),
    "a batch that is not trained": lambda x: qml.RX(np.array([0.1, 0.2]), 0),
    "frequencies": lambda x: Doubled(x[2], 0),
    "frequencies, inverted": lambda x: qml.adjoint(Doubled(x[2], 0)),
    "a recipe": lambda x: WithRecipe(x[2], 0),
    "a decomposition": lambda x: TakenApart(x[2], 0),
}


def start(x: Any) -> None:
    for wire in range(3):
        qml.Hadamard(wire)
    qml.RX(x[0], 0)
    qml.RY(x[1], 1)
    qml.RY(0.3, 2)
    qml.CNOT([0, 1])


@pytest.mark.slow
def test_every_gate_that_has_numbers_is_differentiated_by_sweeps(open_device: Any) -> None:
    device = open_device("default.qubit", 4)
    for name, gate in GATES.items():
        node = measuring(lambda: qml.expval(qml.Z(0) @ qml.X(1) @ qml.Y(2)), lambda x, gate=gate: (start(x), gate(x)))
        assert BY_PENNYLANE not in check(node, device), name


HAMILTONIAN = qml.Hamiltonian([0.5, 0.3, 0.2], [qml.Z(0) @ qml.Z(1), qml.X(0), qml.Y(2)])
WHERE_PENNYLANE_FAILS: dict[str, Any] = {
    "an evolution": lambda x: qml.evolve(HAMILTONIAN, x[2]),
    "a controlled evolution": lambda x: qml.ctrl(qml.evolve(HAMILTONIAN, x[2]), 3),
    "TrotterProduct": lambda x: qml.TrotterProduct(HAMILTONIAN, x[2], n=2),
    "coefficients of TrotterProduct": lambda x: qml.TrotterProduct(qml.dot(x[:2], [qml.X(0), qml.Z(1)]), 0.5, n=2),
    "a controlled rotation": lambda x: qml.ctrl(qml.PauliRot(x[2], "XY", [1, 2]), 0),
}


@pytest.mark.parametrize("gate", WHERE_PENNYLANE_FAILS.values(), ids=WHERE_PENNYLANE_FAILS)
def test_what_pennylane_cannot_shift_is_differentiated_by_sweeps(open_device: Any, gate: Any) -> None:
    node = measuring(lambda: qml.expval(qml.Z(0) @ qml.X(1)), lambda x: (start(x), gate(x), qml.RX(x[2], 1)))
    with messages() as logged:
        found = by_autograd(node.update(device=open_device("default.qubit")))
    plain = qml.QNode(node.func, qml.device("default.qubit"), diff_method=None)
    steps = 1e-4 * np.eye(3)
    expected = [(plain(np.array(X) + step) - plain(np.array(X) - step)) / 2e-4 for step in steps]
    assert np.allclose(found, expected, rtol=0, atol=1e-6)
    assert BY_SWEEPS in "".join(logged)


@pytest.mark.parametrize("how", ["torch", "jax.jacrev"])
def test_a_controlled_evolution_is_copied_while_its_time_is_traced(open_device: Any, how: str) -> None:
    gate = WHERE_PENNYLANE_FAILS["a controlled evolution"]
    node = measuring(lambda: qml.expval(qml.Z(0)), lambda x: (start(x), gate(x))).update(
        device=open_device("default.qubit")
    )
    found, expected = HOW[how](node), by_autograd(node)
    assert np.allclose(np.ravel(found[0] if how == "torch" else found), np.ravel(expected), rtol=0, atol=1e-10)


NOT_BY_SWEEPS: dict[str, Any] = {
    "a conditional gate": lambda x: qml.cond(qml.measure(1), qml.RX)(x[2], 0),
    "a measured wire": lambda x: (qml.measure(1, reset=True), qml.RX(x[2], 1)),
}


@pytest.mark.parametrize("gate", NOT_BY_SWEEPS.values(), ids=NOT_BY_SWEEPS)
def test_circuits_that_measure_on_their_way_are_left_to_pennylane(open_device: Any, gate: Any) -> None:
    node = measuring(lambda: qml.expval(qml.Z(0) @ qml.X(1)), lambda x: (start(x), gate(x)))
    assert BY_PENNYLANE in check(node, open_device("default.qubit"))


COEFFICIENTS: dict[str, Any] = {
    "a Hamiltonian": lambda x: qml.expval(qml.Hamiltonian([x[0], x[1] * x[2], 0.3], [qml.Z(0), qml.X(1), qml.Z(1)])),
    "a sum": lambda x: qml.expval(qml.dot([x[0], x[1]], [qml.Z(0), qml.X(1) @ qml.Y(0)])),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["autograd", "torch", "jax.jacrev", "jax.jit"])
@pytest.mark.parametrize("measured", COEFFICIENTS.values(), ids=COEFFICIENTS)
def test_coefficients_of_observables_are_differentiated_by_sweeps(open_device: Any, measured: Any, how: str) -> None:
    def circuit(x: Any) -> Any:
        ansatz(x)
        return measured(x)

    assert BY_SWEEPS in check(node_of(circuit), open_device("default.qubit"), HOW[how])


SETTINGS: dict[str, Any] = {
    "labels": ((None, None), lambda x: (qml.RX(x[0], "a"), qml.CRY(x[1], ["a", "b"]), qml.RX(x[2], "b"))),
    "wires in another order": ((3, None), lambda x: (qml.RX(x[0], 2), qml.CRY(x[1], [2, 0]), qml.RX(x[2], 0))),
    "labels of the device": ((["a", "b"], None), lambda x: (qml.RX(x[0], "b"), qml.CRY(x[1], ["b", "a"]))),
    "two executors": ((None, {}), ansatz),
    "a split": ((None, {"split": "uniform"}), ansatz),
}


@pytest.mark.parametrize(("setting", "prepare"), SETTINGS.values(), ids=SETTINGS)
def test_wires_and_several_executors_change_nothing(open_device: Any, setting: Any, prepare: Any) -> None:
    wires, options = setting
    names = ["default.qubit"] if options is None else ["default.qubit", "lightning.qubit"]
    assert BY_SWEEPS in check(measuring(qml.probs, prepare), open_device(names, wires, **(options or {})))


def test_a_transform_with_several_circuits_is_differentiated_by_sweeps(open_device: Any) -> None:
    measured = lambda: (qml.expval(qml.Z(0)), qml.expval(qml.X(0)), qml.var(qml.Y(1)), qml.probs(wires=[1]))  # noqa: E731
    assert BY_SWEEPS in check(qml.transforms.split_non_commuting(measuring(measured)), open_device("default.qubit"))


def test_the_number_of_parameters_and_which_are_trained_may_change(open_device: Any) -> None:
    device = open_device("default.qubit")

    @qml.qnode(device, diff_method="parameter-shift")
    def circuit(a: Any, b: Any) -> Any:
        qml.RX(a, 0)
        qml.RY(b, 0)
        return qml.expval(qml.Z(0))

    a, b = pnp.array(0.3), pnp.array(0.5)
    by_a, by_b = -np.sin(0.3) * np.cos(0.5), -np.cos(0.3) * np.sin(0.5)
    for _ in range(2):
        assert np.allclose(qml.grad(circuit, argnums=0)(a, b), by_a)
        assert np.allclose(qml.grad(circuit, argnums=1)(a, b), by_b)
        assert np.allclose(qml.grad(circuit)(a, b), (by_a, by_b))
        assert np.allclose(qml.grad(circuit)(0.3, b), by_b)


def test_points_far_away_have_the_shifts_of_those_nearby(open_device: Any) -> None:
    device = open_device("default.qubit")
    node = measuring(MEASURED["several with variances"])
    for x in (X, [0.0, 0.0, 0.0], [1e4, -300.0, np.pi]):
        check(node, device, lambda node, x=x: by_autograd(node, x), atol=1e-9)
