"""What is known of the shifts of one structure is never used for another, as of gates with a hidden state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest
import torch
from beside_pennylane import by_autograd, by_torch_in_single_precision, check, messages
from pennylane import numpy as pnp
from pennylane.operation import Operation

from pennylane_qexec.device import shift_rules, shift_sweeps
from pennylane_qexec.device.gradients import checked_shifts

BY_SWEEPS, BY_PENNYLANE = "is differentiated by sweeps of", "is differentiated by PennyLane, circuit by circuit"
X = [0.4, -1.1, 0.7]


class Turn(Operation):
    """A rotation by a multiple of an angle; its frequencies follow.

    Args:
        angle: the angle.
        wires: one wire.
        factor: the multiple.
    """

    num_params, num_wires, grad_method = 1, 1, "A"

    def __init__(self, angle: Any, wires: Any, factor: float = 1.0) -> None:
        self._hyperparameters = {"factor": factor}
        super().__init__(angle, wires=wires)

    @property
    def parameter_frequencies(self) -> Any:
        return [(self.hyperparameters["factor"],)]

    @staticmethod
    def compute_matrix(angle: Any, factor: float) -> Any:
        return qml.RX.compute_matrix(factor * angle)


class ByAttribute(Operation):
    """The same, whose multiple is an attribute, of which PennyLane knows nothing, and which copies keep."""

    num_params, num_wires, grad_method = 1, 1, "A"

    def __init__(self, angle: Any, wires: Any, factor: float) -> None:
        self.factor = factor
        super().__init__(angle, wires=wires)

    @property
    def parameter_frequencies(self) -> Any:
        return [(self.factor,)]

    @property
    def has_matrix(self) -> bool:
        return True

    def matrix(self, wire_order: Any = None) -> Any:
        return qml.RX.compute_matrix(self.factor * self.data[0])


class ByRecipe(Turn):
    """The same, which is given its recipe when it is made."""

    def __init__(self, angle: Any, wires: Any, factor: float = 1.0) -> None:
        super().__init__(angle, wires, factor)
        self.grad_recipe = [[[factor / 2, 1, np.pi / 2 / factor], [-factor / 2, 1, -np.pi / 2 / factor]]]


class ByNumber(Operation):
    """A gate whose shifts depend on its number, as nobody should write it: three terms from 1 on, and two below."""

    num_params, num_wires, grad_method = 1, 1, "A"

    @property
    def parameter_frequencies(self) -> Any:
        return [(1.0,)] if self.data[0] < 1 else [(1.0, 2.0)]

    @staticmethod
    def compute_matrix(angle: Any) -> Any:
        return qml.RX.compute_matrix(angle)


class Weighted(Operation):
    """A gate with a recipe whose factors, but no shifts, depend on its number."""

    num_params, num_wires = 1, 1

    @property
    def grad_recipe(self) -> Any:
        weight = 0.5 if self.data[0] < 1 else 0.25
        return [[[weight, 1, np.pi / 2], [-weight, 1, -np.pi / 2]]]

    @grad_recipe.setter
    def grad_recipe(self, recipe: Any) -> None:
        pass

    @staticmethod
    def compute_matrix(angle: Any) -> Any:
        return qml.RX.compute_matrix(angle)


class Limited(Operation):
    """A gate that refuses numbers that PennyLane's shifts of its usual ones never reach."""

    num_params, num_wires, grad_method = 1, 1, "A"
    parameter_frequencies = ((1.0,),)

    def __init__(self, angle: Any, wires: Any) -> None:
        if not 1 < float(qml.math.unwrap([angle])[0]) < 5:
            raise ArithmeticError(f"{angle} is none of its angles")
        super().__init__(angle, wires=wires)

    @staticmethod
    def compute_matrix(angle: Any) -> Any:
        return qml.RX.compute_matrix(angle)


def node_of(gate: Any, measured: Any = None) -> qml.QNode:
    def circuit(x: Any) -> Any:
        qml.RY(x[1], 0)
        gate(x)
        qml.RY(x[2], 0)
        return qml.expval(qml.Z(0)) if measured is None else measured()

    return qml.QNode(circuit, qml.device("default.qubit"), diff_method="parameter-shift")


@pytest.mark.parametrize("kind", [Turn, ByAttribute, ByRecipe])
@pytest.mark.parametrize("around", [lambda gate: gate, qml.adjoint], ids=["itself", "inverted"])
def test_a_gate_with_another_attribute_has_shifts_of_its_own(open_device: Any, kind: Any, around: Any) -> None:
    device = open_device("default.qubit")
    for factor in (1.0, 2.0, 0.5, 1.0, 2.0):
        check(node_of(lambda x, factor=factor: around(kind(x[0], 0, factor))), device)


@pytest.mark.parametrize("kind", [ByNumber, Weighted])
def test_a_gate_whose_shifts_depend_on_its_number_has_those_of_its_number(open_device: Any, kind: Any) -> None:
    device = open_device("default.qubit")
    node = node_of(lambda x: kind(x[0], 0))
    for angle in (0.4, 1.4, 0.5, 1.5, 0.99, 1.01):
        check(node, device, lambda node, angle=angle: by_autograd(node, [angle, -1.1, 0.7]))


def test_a_gate_that_refuses_other_numbers_is_left_to_pennylane(open_device: Any) -> None:
    node = node_of(lambda x: Limited(x[0], 0))
    logged = check(node, open_device("default.qubit"), lambda node: by_autograd(node, [3.0, -1.1, 0.7]))
    assert "none of its angles" in logged


def test_a_class_whose_frequencies_are_changed_later_has_the_new_ones(
    open_device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, node = open_device("default.qubit"), node_of(lambda x: Turn(x[0], 0, 1.0))
    check(node, device)
    monkeypatch.setattr(Turn, "parameter_frequencies", [(1.0, 2.0)])
    with messages() as logged:
        check(node, device)
    assert "sweeps of 9 circuits" in "".join(logged)


def test_a_class_defined_again_has_shifts_of_its_own(open_device: Any) -> None:
    device = open_device("default.qubit")

    def defined(frequency: float) -> Any:
        def compute_matrix(angle: Any) -> Any:
            return qml.RX.compute_matrix(frequency * angle)

        parts = {"num_params": 1, "num_wires": 1, "grad_method": "A", "parameter_frequencies": [(frequency,)]}
        return type("Defined", (Operation,), {**parts, "compute_matrix": staticmethod(compute_matrix)})

    for frequency in (1.0, 2.0):
        kind = defined(frequency)
        check(node_of(lambda x, kind=kind: kind(x[0], 0)), device)


def test_a_gate_of_pennylanes_that_was_given_a_recipe_has_that(open_device: Any) -> None:
    device = open_device("default.qubit")

    def with_recipe(x: Any) -> None:
        gate = qml.RX(x[0], 0)
        gate.grad_recipe = [[[1.0, 1, 0.3], [-1.0, 1, -0.3]]]

    check(node_of(lambda x: qml.RX(x[0], 0)), device)
    assert "was given a recipe" in check(node_of(with_recipe), device)
    check(node_of(lambda x: qml.RX(x[0], 0)), device)


def test_evolutions_by_other_operators_have_other_shifts(open_device: Any) -> None:
    device = open_device("default.qubit")
    for factor in (1.0, 2.0, 0.7, 1.0):
        operator = qml.Hamiltonian([factor, 0.5], [qml.X(0), qml.Z(0)])
        node = node_of(lambda x, operator=operator: qml.evolve(operator, x[0])).update(device=device)
        plain = node.update(device=qml.device("default.qubit"), diff_method=None)
        steps = 1e-4 * np.eye(3)
        expected = [(plain(np.array(X) + step) - plain(np.array(X) - step)) / 2e-4 for step in steps]
        assert np.allclose(by_autograd(node), expected, rtol=0, atol=1e-6)


def test_arrays_that_are_changed_in_place_are_those_of_now(open_device: Any) -> None:
    device = open_device("default.qubit")
    matrix, observable, coefficients = np.eye(2), np.diag([1.0, -1.0]), np.array([1.0, 0.5])
    measured = {
        "a unitary": (lambda x: (qml.RX(x[0], 0), qml.QubitUnitary(matrix, 0)), None),
        "a matrix": (lambda x: qml.RX(x[0], 0), lambda: qml.expval(qml.Hermitian(observable, 0))),
        "its variance": (lambda x: qml.RX(x[0], 0), lambda: qml.var(qml.Hermitian(observable, 0))),
        "a sum": (lambda x: qml.RX(x[0], 0), lambda: qml.expval(qml.Hamiltonian(coefficients, [qml.Z(0), qml.X(0)]))),
        "a state": (lambda x: (qml.StatePrep(matrix[0], 0), qml.RX(x[0], 0)), None),
    }
    for name, (gate, measurement) in measured.items():
        node = node_of(gate, measurement)
        if name == "a state":
            node = qml.QNode(
                lambda x: (qml.StatePrep(matrix[0], 0), qml.RX(x[0], 0), qml.expval(qml.Z(0)))[-1],
                node.device,
                diff_method="parameter-shift",
            )
        for _ in range(3):
            check(node, device)
            matrix[:] = matrix[::-1].copy()
            observable[0, 0] += 1
            coefficients[1] += 1


def test_a_number_that_is_trained_and_one_that_is_not_are_told_apart(open_device: Any) -> None:
    device = open_device("default.qubit")
    for gate in (
        lambda x: (qml.RX(x[0], 0), qml.RX(0.3, 0)),
        lambda x: (qml.RX(0.3, 0), qml.RX(x[0], 0)),
        lambda x: (qml.RX(x[0], 0), qml.RX(x[0], 0)),
    ):
        check(node_of(gate), device)


def test_single_precision_has_the_rule_of_double_precision(open_device: Any) -> None:
    device, node = open_device("default.qubit"), node_of(lambda x: qml.RX(x[0], 0))
    check(node, device)
    check(node, device, by_torch_in_single_precision, atol=1e-5)
    check(node, device)


def test_complex_numbers_that_are_real_are_no_others(open_device: Any) -> None:
    node = node_of(lambda x: qml.exp(qml.X(0), 0.5j * x[0])).update(device=open_device("default.qubit"))
    for angle in (0.4, 0.9):
        found = by_autograd(node, [angle, -1.1, 0.7])
        rotated = node_of(lambda x: qml.RX(-x[0], 0))
        assert np.allclose(found, by_autograd(rotated, [angle, -1.1, 0.7]), rtol=0, atol=1e-10)


def test_many_results_in_many_bins_are_differentiated_by_sweeps(open_device: Any) -> None:
    node = node_of(lambda x: qml.RX(x[0], 0), lambda: tuple(qml.expval(qml.Z(0)) for _ in range(20)))
    node = qml.set_shots(node.update(device=open_device("default.qubit")), (10,) * 5)
    x = torch.tensor(X, requires_grad=True)
    with messages() as logged:
        results = node(x)
    assert (len(results), len(results[0])) == (5, 20)
    assert BY_SWEEPS in "".join(logged)


def test_a_loop_asks_pennylane_once_for_each_structure(open_device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def counted(tape: Any, *args: Any, **options: Any) -> Any:
        asked.append(tape)
        return checked_shifts(tape, *args, **options)

    for module in (shift_rules, shift_sweeps):
        monkeypatch.setattr(module, "checked_shifts", counted)
    gradient = qml.grad(node_of(lambda x: qml.RX(x[0], 0)).update(device=open_device("default.qubit")))
    gradient(pnp.array(X))
    first = len(asked)
    for step in range(3):
        gradient(pnp.array(X) + step)
    assert 0 < first == len(asked)


@pytest.mark.parametrize("wires", [["a", "b"], [1, 0]], ids=str)
def test_points_in_embeddings_are_numbers_of_gates_and_not_structures_of_their_own(wires: Any) -> None:
    """Trainable numbers come before and behind the embeddings, and in the observable."""
    first, second = wires

    def learner(weights: Any, point: Any) -> Any:
        qml.RX(weights[0], first)
        qml.AngleEmbedding(point, wires=wires, rotation="Y")
        qml.CRot(weights[1], 0.2, weights[2], wires=wires)
        qml.IQPEmbedding(point, wires=wires)
        qml.QubitUnitary(np.array([[0, 1], [1, 0]]), second)
        qml.RY(weights[0] * 0.5, second)
        return qml.expval(qml.Hamiltonian([weights[1], 0.3], [qml.Z(first), qml.X(first) @ qml.Y(second)]))

    weights = pnp.array([0.3, 0.5, 0.7], requires_grad=True)
    with qml.device("qexec.cluster", wires=wires, executors=["lightning.qubit"]) as device:
        ours = qml.QNode(learner, device, diff_method="parameter-shift")
        exact = qml.QNode(learner, qml.device("default.qubit", wires=wires), diff_method="backprop")
        for point in ([0.1, 0.2], [0.0, 1.3], [-0.4, 0.2]):
            data = np.array(point)
            assert np.allclose(qml.grad(ours)(weights, data), qml.grad(exact)(weights, data), rtol=0, atol=1e-10)
            batch = np.array([point, [0.7, 0.8]])
            found, expected = (
                qml.jacobian(lambda one, of=of, batch=batch: of(one, batch))(weights) for of in (ours, exact)
            )
            assert np.allclose(found, expected, rtol=0, atol=1e-10)
