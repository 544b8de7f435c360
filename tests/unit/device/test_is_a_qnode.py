"""A QElectron wherever PennyLane takes a QNode: what comes out is what comes out with the QNode."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pennylane as qml
import pytest
import torch
from beside import HOW, PATIENCE, differences
from pennylane import numpy as pnp

import pennylane_qexec as qexec
from pennylane_qexec.testing import ScriptedExecutor

by_how = pytest.mark.parametrize("how", HOW.values(), ids=HOW)

pytestmark = pytest.mark.timeout(120)


def ansatz(x: Any, y: Any = 0.2) -> Any:
    """Two angles."""
    qml.RX(x, 0)
    qml.RY(y, 1)
    qml.CNOT([0, 1])
    return qml.expval(qml.Z(0) @ qml.X(1))


def encoded(x: Any) -> Any:
    qml.RX(x, 0, id="x")
    qml.RX(x, 1, id="x")
    return qml.expval(qml.Z(0) @ qml.Z(1))


def both_angles() -> Any:
    return pnp.array(0.3), pnp.array(0.7)


def zero_noise(circuit: Any) -> Any:
    factors, fit = [1, 2, 3], qml.noise.richardson_extrapolate
    return qml.noise.mitigate_with_zne(circuit, factors, qml.noise.fold_global, fit)(*both_angles())


USES: dict[str, Callable[[Any], Any]] = {
    "draw": lambda circuit: [qml.draw(circuit, level=level)(0.3, 0.7) for level in ("top", "user", "device")],
    "draw_mpl": lambda circuit: [text.get_text() for text in qml.draw_mpl(circuit)(0.3, 0.7)[1].texts],
    "specs": lambda circuit: str(qml.specs(circuit, level="device")(0.3)["resources"]),
    "matrix": lambda circuit: qml.matrix(circuit, wire_order=[1, 0])(0.3, 0.7),
    "grad": lambda circuit: qml.grad(circuit)(*both_angles()),
    "grad of one argument": lambda circuit: qml.grad(circuit, argnums=1)(*both_angles()),
    "jacobian": lambda circuit: qml.jacobian(circuit)(*both_angles()),
    "metric_tensor": lambda circuit: qml.metric_tensor(circuit, approx="block-diag")(*both_angles()),
    "param_shift": lambda circuit: qml.gradients.param_shift(circuit)(*both_angles()),
    "finite_diff": lambda circuit: qml.gradients.finite_diff(circuit)(*both_angles()),
    "param_shift_hessian": lambda circuit: qml.gradients.param_shift_hessian(circuit)(*both_angles()),
    "mitigate_with_zne": zero_noise,
    "split_non_commuting": lambda circuit: qml.transforms.split_non_commuting(circuit)(0.3, 0.7),
    "compile": lambda circuit: qml.compile(circuit)(0.3, 0.7),
    "set_shots": lambda circuit: qml.set_shots(circuit, 100)(0.3),
    "shots of one call": lambda circuit: circuit(0.3, shots=100),
    "coefficients": lambda circuit: qml.fourier.coefficients(circuit, 1, 1),
    "construct_tape": lambda circuit: str(qml.workflow.construct_tape(circuit)(0.3).circuit),
    "construct_batch": lambda circuit: len(qml.workflow.construct_batch(circuit)(0.3)[0]),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_pennylane_makes_the_same_of_it(pair: Any, use: Any) -> None:
    qnode, electron = pair(ansatz)
    expected, actual = use(qnode), use(electron)
    plt.close("all")
    assert differences(np.array(expected), np.array(actual)) == [] if not _words(expected) else expected == actual


def _words(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and isinstance(value[0], str))


def test_it_is_a_qnode(pair: Any) -> None:
    qnode, electron = pair(ansatz)
    assert isinstance(electron, qml.QNode)
    for attribute in ("interface", "diff_method", "shots", "func", "__name__", "__doc__", "__wrapped__"):
        assert getattr(electron, attribute) == getattr(qnode, attribute)


def test_transforms_make_qelectrons_of_it(electron: Any) -> None:
    circuit = electron(qml.QNode(ansatz, qml.device("default.qubit", wires=2)))
    for made in (qml.set_shots(circuit, 10), qml.compile(circuit), qml.transforms.split_non_commuting(circuit)):
        assert isinstance(made, qexec.QElectron)
        assert made.cluster is circuit.cluster
    assert float(qml.compile(circuit).run_later(0.3).result(PATIENCE)) == pytest.approx(float(circuit(0.3)))


@by_how
def test_transforms_of_the_qnode_stay(how: Any, electron: Any) -> None:
    folded = qml.noise.mitigate_with_zne(
        qml.QNode(ansatz, qml.device("default.qubit", wires=2)),
        [1, 3],
        qml.noise.fold_global,
        qml.noise.richardson_extrapolate,
    )
    executor = ScriptedExecutor()
    assert differences(folded(0.3), how(electron(folded, executors=executor))(0.3), types=False) == []
    assert [len(batch) for batch in executor.batches] == [2]


def test_gradient_transforms_run_later_too(pair: Any) -> None:
    qnode, electron = pair(ansatz)
    slopes = qml.gradients.param_shift(electron).run_later(*both_angles()).result(PATIENCE)
    assert np.allclose(slopes, qml.gradients.param_shift(qnode)(*both_angles()))


@by_how
def test_a_circuit_can_be_cut(pair: Any, how: Any) -> None:
    def wide(x: Any) -> Any:
        qml.RX(x, 0)
        qml.CNOT([0, 1])
        qml.WireCut(1)
        qml.CNOT([1, 2])
        return qml.expval(qml.Z(0) @ qml.Z(1) @ qml.Z(2))

    qnode, electron = (qml.cut_circuit(circuit) for circuit in pair(wide, wires=2))
    assert differences(qnode(0.4), how(electron)(0.4)) == []


@by_how
def test_kernels_are_equal(pair: Any, how: Any) -> None:
    def overlap(one: Any, other: Any) -> Any:
        qml.AngleEmbedding(one, wires=range(2))
        qml.adjoint(qml.AngleEmbedding)(other, wires=range(2))
        return qml.probs(wires=range(2))

    points = np.array([[0.1, 0.2], [0.3, -0.4], [1.0, 0.7]])
    qnode, electron = pair(overlap)
    matrices = [
        qml.kernels.square_kernel_matrix(points, lambda one, other, circuit=circuit: circuit(one, other)[0])
        for circuit in (qnode, how(electron))
    ]
    assert np.allclose(*matrices)


def test_the_spectrum_of_its_encoding_is_the_qnodes(pair: Any) -> None:
    qnode, electron = pair(encoded)
    assert qml.fourier.circuit_spectrum(electron)(0.3) == qml.fourier.circuit_spectrum(qnode)(0.3) != {}


@by_how
def test_gradient_descent_takes_the_same_steps(pair: Any, how: Any) -> None:
    qnode, electron = pair(ansatz)
    assert np.allclose(*[descended(each, qml.GradientDescentOptimizer(0.1)) for each in (qnode, how(electron))])


def test_quantum_natural_gradient_descent_takes_the_same_steps(pair: Any) -> None:
    qnode, electron = pair(ansatz)
    assert np.allclose(descended(qnode, qml.QNGOptimizer(0.1)), descended(electron, qml.QNGOptimizer(0.1)))


def descended(circuit: Any, optimizer: Any) -> Any:
    """The angles after three steps."""
    angles: Any = both_angles()
    for _ in range(3):
        angles = optimizer.step(circuit, *angles)
    return np.array(angles)


def layers() -> list[Any]:
    """A TorchLayer of a QNode, and one of a QElectron, with equal weights."""

    def circuit(inputs: Any, weights: Any) -> Any:
        qml.AngleEmbedding(inputs, wires=range(2))
        qml.StronglyEntanglingLayers(weights, wires=range(2))
        return [qml.expval(qml.Z(wire)) for wire in range(2)]

    made = []
    for make in (lambda qnode: qnode, qexec.qelectron):
        torch.manual_seed(3)
        qnode = make(qml.QNode(circuit, qml.device("default.qubit", wires=2)))
        made.append(qml.qnn.TorchLayer(qnode, {"weights": (1, 2, 3)}))
    return made


def test_torch_layers_give_equal_values_and_gradients() -> None:
    inputs = torch.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, -0.6]])
    plain, layer = layers()
    for each in (plain, layer):
        each(inputs).sum().backward()
    assert differences(plain(inputs), layer(inputs)) == []
    assert differences(plain.weights.grad, layer.weights.grad) == []
    layer.qnode.cluster.close()


def test_torch_layers_keep_and_take_their_state() -> None:
    plain, layer = layers()
    state = plain.state_dict()
    layer.load_state_dict({name: value + 1 for name, value in state.items()})
    assert list(layer.state_dict()) == list(state)
    assert torch.allclose(layer.weights, plain.weights + 1)
    layer.qnode.cluster.close()


@by_how
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_copies_run_on_the_same_cluster(electron: Any, duplicate: Any, how: Any) -> None:
    circuit = electron(qml.QNode(ansatz, qml.device("default.qubit", wires=2)), name="two")
    copied = duplicate(circuit)
    assert (type(copied), copied.name, copied.cluster) == (qexec.QElectron, "two", circuit.cluster)
    assert float(how(copied)(0.3)) == pytest.approx(float(circuit(0.3)))


@by_how
@pytest.mark.parametrize(("device", "wires"), [(["a", 7], ["a", 7]), (None, ["x", "y"]), (None, [4, 1])], ids=str)
def test_wires_are_those_of_the_qnodes_device(pair: Any, device: Any, wires: Any, how: Any) -> None:
    def circuit(x: Any) -> Any:
        qml.RX(x, wires[0])
        qml.CNOT(wires)
        return qml.probs(), qml.expval(qml.Z(wires[1])), qml.state()

    qnode, electron = pair(circuit, wires=device)
    assert electron.device.wires == qnode.device.wires
    assert differences(qnode(0.3), how(electron)(0.3)) == []


@by_how
def test_a_wire_that_the_device_does_not_have_is_an_error(pair: Any, how: Any) -> None:
    qnode, electron = pair(lambda: qml.expval(qml.Z(7)), wires=2)
    for circuit in (qnode, how(electron)):
        with pytest.raises(qml.exceptions.WireError, match="7"):
            circuit()
