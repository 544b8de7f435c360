"""Gradients with respect to what a circuit is broadcasted over: a classical layer in front of a quantum one."""

import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp
from pennylane.exceptions import QuantumFunctionError
from pennylane.math import Interface

from pennylane_qexec.device.gradients import for_batches

X = np.array([[0.1, 0.4], [0.2, 0.5], [0.3, 0.6]])
W = 0.7
VALUES = np.cos(X.sum(axis=1) + W)
SLOPES = np.repeat(-np.sin(X.sum(axis=1) + W)[:, None], 2, axis=1)
SHOTS = 10_000


def circuit(x, w):
    qml.RX(x[..., 0], wires=0)
    qml.RX(w, wires=0)
    qml.RX(x[..., 1], wires=0)
    return qml.expval(qml.Z(0))


def embedded(x, w):
    qml.AngleEmbedding(x, wires=[0, 1])
    qml.RX(w, wires=1)
    return qml.expval(qml.Z(0)), qml.probs(wires=[1])


def qnode_on(executors, function=circuit, shots=None, **options):
    device = qml.device("qexec.cluster", wires=2, executors=executors)
    return qml.set_shots(qml.QNode(function, device, diff_method="parameter-shift", **options), shots)


def torch_gradient(qnode):
    torch = pytest.importorskip("torch")
    x, w = torch.tensor(X, requires_grad=True), torch.tensor(W, requires_grad=True)
    qnode(x, w).sum().backward()
    return x.grad.numpy(), float(w.grad)


def autograd_gradient(qnode):
    return qml.grad(lambda x, w: qml.math.sum(qnode(x, w)))(pnp.array(X), pnp.array(W))


def jax_gradient(qnode):
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        return jax.grad(lambda x, w: qnode(x, w).sum(), argnums=(0, 1))(jax.numpy.array(X), W)


def jitted_gradient(qnode):
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        return jax.jit(jax.grad(lambda x, w: qnode(x, w).sum(), argnums=(0, 1)))(jax.numpy.array(X), W)


@pytest.mark.parametrize("gradient", [torch_gradient, autograd_gradient, jax_gradient, jitted_gradient])
@pytest.mark.parametrize("spec", ["lightning.qubit", "aer"])
def test_gradients_by_a_batch_are_right(spec, gradient):
    by_x, by_w = gradient(qnode_on([spec]))
    assert by_x == pytest.approx(SLOPES, abs=1e-6)
    assert by_w == pytest.approx(SLOPES[:, 0].sum(), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["lightning.qubit", "default.qubit", "cirq.simulator"])
def test_gradients_by_a_batch_are_right_with_shots(spec):
    by_x, by_w = torch_gradient(qnode_on([spec], shots=SHOTS))
    assert by_x == pytest.approx(SLOPES, abs=6 / np.sqrt(2 * SHOTS))
    assert by_w == pytest.approx(SLOPES[:, 0].sum(), abs=6 * np.sqrt(3 / (2 * SHOTS)))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["finite-diff", "spsa", "hadamard"])
def test_other_gradient_transforms_take_batches_too(method):
    options = {
        "finite-diff": {},
        "spsa": {"gradient_kwargs": {"num_directions": 200, "sampler_rng": 1}},
        "hadamard": {},
    }
    device = qml.device("qexec.cluster", wires=2, executors=["lightning.qubit"])
    qnode = qml.QNode(circuit, device, diff_method=method, **options[method])
    by_x, _ = torch_gradient(qnode)
    assert by_x == pytest.approx(SLOPES, abs=0.5 if method == "spsa" else 1e-5)


def test_jacobians_of_several_measurements_and_shot_vectors_have_the_shapes_of_broadcasting():
    torch = pytest.importorskip("torch")
    reference = qml.QNode(embedded, qml.device("default.qubit"), diff_method="backprop")
    for shots in (None, (100, 200)):
        qnode = qnode_on(["lightning.qubit"], embedded, shots)
        x, w = torch.tensor(X, requires_grad=True), torch.tensor(W, requires_grad=True)
        found = qnode(x, w)
        right = reference(x, w)
        for result in (found,) if shots is None else found:
            assert [tuple(each.shape) for each in result] == [tuple(each.shape) for each in right]
        if shots is None:
            jacobians = torch.autograd.functional.jacobian(qnode, (x, w))
            expected = torch.autograd.functional.jacobian(reference, (x, w))
            for ours, theirs in zip(jacobians, expected, strict=True):
                for one, other in zip(ours, theirs, strict=True):
                    assert one.numpy() == pytest.approx(other.numpy(), abs=1e-6)


def test_second_derivatives_by_a_batch_are_right():
    torch = pytest.importorskip("torch")
    qnode = qnode_on(["lightning.qubit"], max_diff=2)
    x = torch.tensor(X, requires_grad=True)
    (first,) = torch.autograd.grad(qnode(x, torch.tensor(W)).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first[:, 0].sum(), x)
    assert second.numpy() == pytest.approx(np.repeat(-VALUES[:, None], 2, axis=1), abs=1e-6)


def test_a_batch_is_differentiated_in_one_batch_of_circuits():
    qnode = qnode_on(["lightning.qubit"])
    torch_gradient(qnode)
    assert {row.batch for row in qnode.device.history} == {1}
    assert qnode.device.history.totals.circuits == 3 + 3 * 2 * 3


def test_a_batch_that_is_not_differentiated_stays_broadcasted():
    torch = pytest.importorskip("torch")
    qnode = qnode_on(["default.qubit"], shots=10)
    w = torch.tensor(W, requires_grad=True)
    qnode(torch.tensor(X), w).sum().backward()
    assert qnode.device.history.totals.circuits == (1 + 2) * len(X)


def test_a_batch_under_jax_jit_that_is_not_differentiated_stays_broadcasted():
    jax = pytest.importorskip("jax")
    qnode = qnode_on(["default.qubit"], shots=10)
    jax.jit(qnode)(X, W).block_until_ready()
    assert len(qnode.device.history) == 1


def test_a_network_with_a_layer_before_the_circuit_trains_with_shots():
    torch = pytest.importorskip("torch")

    def layer(inputs, weights):
        qml.AngleEmbedding(inputs, wires=[0, 1])
        qml.StronglyEntanglingLayers(weights, wires=[0, 1])
        return [qml.expval(qml.Z(0)), qml.expval(qml.Z(1))]

    def gradient(device, shots):
        torch.manual_seed(1)
        init = {"weights": lambda tensor: torch.nn.init.constant_(tensor, 0.3)}
        qnode = qml.set_shots(qml.QNode(layer, device, interface="torch"), shots)
        model = torch.nn.Sequential(
            torch.nn.Linear(2, 2), qml.qnn.TorchLayer(qnode, {"weights": (1, 2, 3)}, init_method=init)
        )
        model(torch.full((5, 2), 0.2)).sum().backward()
        return float(model[0].weight.grad.sum())

    right = gradient(qml.device("default.qubit", wires=2), None)
    executors = [{"type": "lightning.qubit", "seed": 1}]
    assert gradient(qml.device("qexec.cluster", wires=2, executors=executors), SHOTS) == pytest.approx(right, abs=0.15)


def test_a_number_of_an_observable_that_no_shift_is_known_for_is_named():
    jnp = pytest.importorskip("jax.numpy")
    measured = qml.expval(qml.sum(qml.s_prod(jnp.array(0.3), qml.Z(0)), qml.s_prod(jnp.array(0.2), qml.X(0))))
    tape = qml.tape.QuantumScript([qml.RX(jnp.array(0.4), 0)], [measured], trainable_params=[0, 1])
    with pytest.raises(qml.exceptions.QuantumFunctionError, match=r"number of the observable .*Z\(0\).*one by one"):
        for_batches(qml.gradients.param_shift, Interface.JAX, 2)(tape)


@pytest.mark.parametrize("method", ["best", "parameter-shift", "hadamard"])
def test_derivatives_of_purities_by_shifts_are_refused(method):
    qnode = qml.QNode(_purity, qml.device("qexec.cluster", executors="lightning.qubit", wires=3), diff_method=method)
    x = pnp.array(0.7, requires_grad=True)
    assert np.isclose(qnode(x), 1 - np.sin(0.7) ** 2 / 2)
    with pytest.raises(QuantumFunctionError, match="purity"):
        qml.grad(qnode)(x)


def test_derivatives_of_purities_by_differences_are_right():
    device = qml.device("qexec.cluster", executors="lightning.qubit", wires=3)
    x = pnp.array(0.7, requires_grad=True)
    gradient = qml.grad(qml.QNode(_purity, device, diff_method="finite-diff"))(x)
    assert np.isclose(gradient, -np.sin(1.4) / 2, atol=1e-5)


def _purity(x):
    qml.RX(x, 0)
    qml.CNOT([0, 1])
    return qml.purity(0)


@pytest.mark.parametrize("executors", [["lightning.qubit"], ["aer", "default.qubit"]], ids=str)
def test_a_layer_of_a_network_is_one_job_of_each_executor_for_all_points_and_shifts_of_a_batch(executors):
    torch = pytest.importorskip("torch")

    def layer(inputs, weights):
        qml.RX(inputs[..., 0], wires=0)
        qml.RY(weights[0], wires=1)
        qml.CNOT(wires=[0, 1])
        qml.RX(weights[1] * inputs[..., 1], wires=1)
        return [qml.expval(qml.Z(0)), qml.expval(qml.Z(1))]

    def slopes(qnode):
        torch.manual_seed(1)
        network = torch.nn.Sequential(torch.nn.Linear(2, 2), qml.qnn.TorchLayer(qnode, {"weights": 2})).double()
        network(torch.tensor(X)).pow(2).sum().backward()
        return np.concatenate([one.grad.numpy().ravel() for one in network.parameters()])

    qnode = qnode_on(executors, layer)
    found = slopes(qnode)
    exact = slopes(qml.QNode(layer, qml.device("default.qubit", wires=2), diff_method="backprop"))
    assert np.allclose(found, exact, rtol=0, atol=1e-6)  # PyTorch computes in single precision here
    history = qnode.device.history
    assert len({row.batch for row in history}) == len({row.executor for row in history}) == len(executors)
    assert history.totals.circuits == len(X) * (1 + 2 * 3)


@pytest.mark.parametrize("executors", [["lightning.qubit"], ["aer", "jax"]], ids=str)
def test_points_that_are_not_differentiated_are_rows_of_one_job_of_each_executor_too(executors):
    torch = pytest.importorskip("torch")
    qnode = qnode_on(executors, embedded)
    weight = torch.tensor(W, requires_grad=True)
    first, probabilities = qnode(torch.tensor(X), weight)
    (first.sum() + 2 * probabilities[:, 1].sum()).backward()
    exact = qml.QNode(embedded, qml.device("default.qubit", wires=2), diff_method="backprop")
    copy = torch.tensor(W, requires_grad=True)
    one, other = exact(torch.tensor(X), copy)
    (one.sum() + 2 * other[:, 1].sum()).backward()
    assert np.allclose(first.detach(), one.detach())
    assert np.allclose(probabilities.detach(), other.detach())
    assert float(weight.grad) == pytest.approx(float(copy.grad), abs=1e-6)
    table = qnode.device.history.to_dataframe(by="job")
    assert len(table) == len(executors)
    assert table["circuits"].sum() == len(X) * (1 + 2)
