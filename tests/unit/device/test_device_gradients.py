"""Gradients through the cluster device: every interface, every method, one batch."""

from __future__ import annotations

import gc
import math
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import cloudpickle
import jax
import numpy as np
import pennylane as qml
import pytest
import torch
from pennylane import numpy as pnp
from pennylane.devices import ExecutionConfig
from pennylane.exceptions import QuantumFunctionError
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.cluster.derivatives import Derivatives
from pennylane_qexec.testing import ScriptedExecutor, flip

SIMULATORS = ["lightning.qubit", "default.qubit"]
X = [0.4, -1.1]
SHOTS = 20_000
SIGMAS = 5


def ansatz(angles: Any) -> Any:
    qml.RX(angles[0], 0)
    qml.RY(angles[1], 1)
    qml.CNOT([0, 1])
    return qml.expval(qml.Z(1))


def value(angles: Any) -> Any:
    return np.cos(angles[0]) * np.cos(angles[1])


GRADIENT = np.array([-np.sin(X[0]) * np.cos(X[1]), -np.cos(X[0]) * np.sin(X[1])])
HESSIAN = np.array(
    [[-value(X), np.sin(X[0]) * np.sin(X[1])], [np.sin(X[0]) * np.sin(X[1]), -np.cos(X[0]) * np.cos(X[1])]]
)


def by_autograd(circuit: Any) -> Any:
    return qml.grad(circuit)(pnp.array(X, requires_grad=True))


def by_torch(circuit: Any) -> Any:
    angles = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    circuit(angles).backward()
    assert angles.grad is not None
    return angles.grad.numpy()


def by_jax(circuit: Any) -> Any:
    return jax.grad(circuit)(jax.numpy.array(X))


def by_jax_jit(circuit: Any) -> Any:
    return jax.jit(jax.grad(circuit))(jax.numpy.array(X))


INTERFACES: dict[str, Callable[[Any], Any]] = {
    "autograd": by_autograd,
    "torch": by_torch,
    "jax": by_jax,
    "jax.jit": by_jax_jit,
}


@pytest.fixture(autouse=True)
def double_precision() -> Any:
    """Numbers of 64 bits in jax, for as long as the test takes."""
    with jax.enable_x64(True):
        yield


@pytest.mark.slow
@pytest.mark.parametrize("interface", INTERFACES.values(), ids=INTERFACES)
@pytest.mark.parametrize("method", ["best", "adjoint", "parameter-shift", "hadamard", "finite-diff"])
@pytest.mark.parametrize(
    "policy", [{"selector": "cyclic"}, {"split": "uniform"}, {"selector": "least_loaded"}], ids=str
)
def test_analytic_gradients_are_exact(open_device: Any, interface: Any, method: str, policy: Any) -> None:
    keywords = {"aux_wire": 2} if method == "hadamard" else {}
    circuit = qml.QNode(ansatz, open_device(SIMULATORS, 3, **policy), diff_method=method, gradient_kwargs=keywords)
    assert np.allclose(interface(circuit), GRADIENT, atol=1e-5)


@pytest.mark.parametrize("interface", INTERFACES.values(), ids=INTERFACES)
def test_backprop_goes_through_default_qubit(open_device: Any, interface: Any) -> None:
    device = open_device(["default.qubit", "default.qubit"])
    assert np.allclose(interface(qml.QNode(ansatz, device, diff_method="backprop")), GRADIENT)


@pytest.mark.parametrize("interface", INTERFACES.values(), ids=INTERFACES)
def test_what_ran_in_backprop_can_be_shown(open_device: Any, interface: Any) -> None:
    device = open_device("default.qubit")
    interface(qml.QNode(ansatz, device, diff_method="backprop"))
    assert set(device.history.to_dataframe()["executor"]) == {"default.qubit"}


@pytest.mark.parametrize("interface", INTERFACES.values(), ids=INTERFACES)
@pytest.mark.parametrize("policy", [{"selector": "cyclic"}, {"split": "uniform"}], ids=str)
def test_gradients_with_shots_are_within_5_sigma(open_device: Any, interface: Any, policy: Any) -> None:
    """Half the difference of two expectation values: sigma is at most sqrt(2) / 2 / sqrt(shots)."""
    seeded = [{"type": name, "seed": 1} for name in SIMULATORS]
    circuit = qml.set_shots(qml.QNode(ansatz, open_device(seeded, 3, **policy)), SHOTS)
    assert np.allclose(interface(circuit), GRADIENT, rtol=0, atol=SIGMAS / np.sqrt(2 * SHOTS))


def test_spsa_estimates_the_gradient(open_device: Any) -> None:
    """Analytic values in 200 random directions: each component within 5 sigma, where sigma is |g| / sqrt(200)."""
    keywords = {"num_directions": 200, "sampler_rng": np.random.default_rng(3)}
    circuit = qml.QNode(ansatz, open_device(SIMULATORS), diff_method="spsa", gradient_kwargs=keywords)
    assert np.allclose(by_autograd(circuit), GRADIENT, rtol=0, atol=SIGMAS * np.linalg.norm(GRADIENT) / np.sqrt(200))


@pytest.mark.parametrize("method", ["parameter-shift", "finite-diff"])
def test_second_derivatives(open_device: Any, method: str) -> None:
    keywords = {"h": 1e-3} if method == "finite-diff" else {}
    circuit = qml.QNode(ansatz, open_device(SIMULATORS), diff_method=method, max_diff=2, gradient_kwargs=keywords)
    hessian = qml.jacobian(qml.grad(circuit))(pnp.array(X, requires_grad=True))
    assert np.allclose(hessian, HESSIAN, atol=1e-2)


@pytest.mark.slow
def test_second_derivatives_by_jax_through_backprop(open_device: Any) -> None:
    circuit = qml.QNode(ansatz, open_device("default.qubit"), diff_method="backprop", max_diff=2)
    assert np.allclose(jax.hessian(circuit)(jax.numpy.array(X)), HESSIAN)


BESIDE_A_PROCESS = ["default.qubit", {"type": "default.qubit", "parallel": "process"}]


@pytest.mark.parametrize(
    ("executors", "shots", "chosen"),
    [
        ("default.qubit", None, "backprop"),
        (["default.qubit", "default.mixed"], None, "backprop"),
        (["default.qubit", "jax"], None, "backprop"),
        ("lightning.qubit", None, "adjoint"),
        (SIMULATORS, None, "adjoint"),
        (BESIDE_A_PROCESS, None, "adjoint"),
        (["lightning.qubit", "default.mixed"], None, None),
        ("reference.qubit", None, None),
        (SIMULATORS, 10, None),
        (["default.qubit", "qiskit.aer"], None, None),
        (["default.qubit", ScriptedExecutor()], None, None),
    ],
    ids=str,
)
def test_best_is_what_the_executors_devices_choose_or_adjoint_or_parameter_shifts(
    open_device: Any, executors: Any, shots: Any, chosen: str | None
) -> None:
    device = open_device(executors, 2)
    circuit = flip(0.1, shots)
    config = device.setup_execution_config(qml.devices.ExecutionConfig(gradient_method="best"), circuit)
    assert config.use_device_gradient == (chosen is not None)
    assert config.gradient_method == (chosen or "best")
    assert device.supports_derivatives(config, circuit) == (chosen is not None)


def of_an_observable(angles: Any) -> Any:
    """Its value is ``x[0] * sin(x[1]) + cos(x[1])``."""
    qml.RY(angles[1], 0)
    return qml.expval(qml.Hamiltonian([angles[0], 1.0], [qml.X(0), qml.Z(0)]))


OF_AN_OBSERVABLE = [np.sin(X[1]), X[0] * np.cos(X[1]) - np.sin(X[1])]


@pytest.mark.slow
@pytest.mark.parametrize("interface", INTERFACES.values(), ids=INTERFACES)
@pytest.mark.parametrize("executors", ["default.qubit", "lightning.qubit", "aer", SIMULATORS], ids=str)
def test_best_differentiates_by_coefficients_of_observables(open_device: Any, interface: Any, executors: Any) -> None:
    gradient = interface(qml.QNode(of_an_observable, open_device(executors)))
    assert np.allclose(gradient, OF_AN_OBSERVABLE, atol=1e-6)


@pytest.mark.parametrize("interface", INTERFACES.values(), ids=INTERFACES)
def test_the_adjoint_method_is_refused_for_coefficients_of_observables(open_device: Any, interface: Any) -> None:
    circuit = qml.QNode(of_an_observable, open_device("lightning.qubit"), diff_method="adjoint")
    with pytest.raises(Exception, match="parameter of an observable"):
        interface(circuit)


@pytest.mark.parametrize("executors", ["lightning.qubit", "default.qubit"])
def test_the_adjoint_method_takes_coefficients_that_nobody_differentiates_by_for_constants(
    open_device: Any, executors: Any
) -> None:
    factors = pnp.array([2.0, 1.0], requires_grad=True)

    @qml.qnode(open_device(executors), diff_method="adjoint")
    def circuit(angle: Any) -> Any:
        qml.RY(angle, 0)
        return qml.expval(qml.Hamiltonian(factors, [qml.X(0), qml.Z(0)]))

    assert qml.grad(circuit)(pnp.array(0.3)) == pytest.approx(2 * np.cos(0.3) - np.sin(0.3))


@pytest.mark.parametrize("method", ["best", "parameter-shift", "finite-diff"])
def test_a_derivative_by_numbers_in_the_matrix_of_an_observable_is_refused_and_not_zero(
    open_device: Any, method: str
) -> None:
    @qml.qnode(open_device("lightning.qubit"), diff_method=method)
    def circuit(angle: Any, scale: Any) -> Any:
        qml.RX(angle, 0)
        return qml.expval(qml.Hermitian(scale * np.diag([1.0, -1.0]), 0))

    with pytest.raises(QuantumFunctionError, match="in the matrix of an observable"):
        qml.grad(circuit)(pnp.array(0.4), pnp.array(3.0))  # by the scale it is cos(0.4)
    # An array of pennylane.numpy that nobody differentiates by is a constant.
    assert qml.grad(circuit, argnums=0)(pnp.array(0.4), pnp.array(3.0)) == pytest.approx(-3 * np.sin(0.4))


def exponential(angles: Any) -> Any:
    """Its value is ``cos(2 x[0])``."""
    qml.exp(qml.X(0) @ qml.Z(1), 1j * angles[0])
    return qml.expval(qml.Z(0))


@pytest.mark.parametrize(
    ("interface", "executors", "method"),
    [
        ("torch", SIMULATORS, "best"),
        ("torch", "default.qubit", "adjoint"),
        ("torch", "default.qubit", "parameter-shift"),
        ("autograd", "default.qubit", "finite-diff"),
    ],
    ids=str,
)
def test_a_derivative_by_a_complex_number_of_an_operation_is_refused_and_not_wrong(
    open_device: Any, interface: str, executors: Any, method: str
) -> None:
    circuit = qml.QNode(exponential, open_device(executors), diff_method=method)
    with pytest.raises(QuantumFunctionError, match=r"by the complex number 0.4j of Exp"):
        INTERFACES[interface](circuit)


@pytest.mark.parametrize(
    ("interface", "executors", "method"),
    [
        ("torch", "default.qubit", "best"),
        ("autograd", "lightning.qubit", "adjoint"),
        ("autograd", "default.qubit", "parameter-shift"),
        ("autograd", "aer", "best"),
        ("jax", "default.qubit", "best"),
    ],
)
def test_a_derivative_by_a_complex_number_of_an_operation_is_right_where_it_is_given(
    open_device: Any, interface: str, executors: Any, method: str
) -> None:
    circuit = qml.QNode(exponential, open_device(executors), diff_method=method)
    assert np.allclose(INTERFACES[interface](circuit), [-2 * np.sin(2 * X[0]), 0], atol=1e-6)


@pytest.mark.parametrize("executors", ["lightning.qubit", SIMULATORS], ids=str)
def test_a_circuit_that_is_refused_does_not_get_others_refused(open_device: Any, executors: Any) -> None:
    device = open_device(executors)

    def mixed(angles: Any) -> Any:
        qml.RX(angles[0], 0)
        return qml.expval(qml.Z(0)), qml.probs(wires=0)

    for _ in range(2):
        with pytest.raises(QuantumFunctionError, match="does not support adjoint"):
            qml.QNode(mixed, device, diff_method="adjoint")(pnp.array(X))
        # Before it has a circuit, PennyLane asks the device about the method.
        assert np.allclose(by_autograd(qml.QNode(ansatz, device, diff_method="adjoint")), GRADIENT)


def test_entropies_of_wires_with_labels_can_be_differentiated(open_device: Any) -> None:
    @qml.qnode(open_device("default.qubit", ["a", 7]))
    def circuit(angle: Any) -> Any:
        qml.RY(angle, 7)
        qml.CNOT([7, "a"])
        return qml.vn_entropy(["a"])

    angle = 0.8
    probability = np.cos(angle / 2) ** 2
    right = np.sin(angle) / 2 * np.log(probability / (1 - probability))
    assert qml.grad(circuit)(pnp.array(angle)) == pytest.approx(right)


def test_a_broadcasted_circuit_is_simulated_once(open_device: Any) -> None:
    device = open_device("default.qubit")
    circuit = qml.QNode(ansatz, device)
    with qml.Tracker(device) as tracker:
        for numbers in (np, pnp):
            assert circuit(numbers.array([[0.1] * 50, [0.2] * 50])).shape == (50,)
    assert tracker.totals["simulations"] == 2
    assert len(device.history) == 2


@pytest.mark.slow
def test_a_trotter_product_is_differentiated(open_device: Any) -> None:
    def circuit(time: Any) -> Any:
        qml.TrotterProduct(qml.dot([0.5, 0.3], [qml.X(0), qml.Z(0)]), time=time)
        return qml.expval(qml.Z(0))

    bare = qml.QNode(circuit, qml.device("default.qubit", wires=1))
    for executors in ("default.qubit", SIMULATORS):
        gradient = jax.grad(qml.QNode(circuit, open_device(executors, 1)))(0.7)
        assert float(gradient) == pytest.approx(float(jax.grad(bare)(0.7)), abs=1e-6)


def test_best_with_shots_is_parameter_shift(open_device: Any) -> None:
    executor = ScriptedExecutor()
    by_autograd(qml.set_shots(qml.QNode(ansatz, open_device([executor])), 100))
    assert [len(batch) for batch in executor.batches] == [5]


def test_device_derivatives_are_spread_over_the_executors(open_device: Any) -> None:
    device = open_device(SIMULATORS)
    circuit = qml.QNode(ansatz, device, diff_method="adjoint")
    by_autograd(circuit)
    by_autograd(circuit)
    assert {row.executor for row in device.history} == set(SIMULATORS)


def test_a_circuit_and_all_shifted_ones_arrive_in_one_batch(open_device: Any) -> None:
    executor = ScriptedExecutor()
    by_autograd(qml.QNode(ansatz, open_device([executor]), diff_method="parameter-shift"))
    assert [len(batch) for batch in executor.batches] == [5]


def test_shifted_circuits_are_shared_by_the_executors(open_device: Any) -> None:
    executors = [ScriptedExecutor("a"), ScriptedExecutor("b")]
    by_jax(qml.QNode(ansatz, open_device(executors), diff_method="parameter-shift"))
    assert sum(len(batch) for executor in executors for batch in executor.batches) == 5
    assert {len(executor.batches) for executor in executors} == {1}


def test_a_split_gradient_sends_every_executor_one_batch(open_device: Any) -> None:
    executors = [ScriptedExecutor("a"), ScriptedExecutor("b")]
    circuit = qml.set_shots(qml.QNode(ansatz, open_device(executors, split="uniform")), 100)
    by_autograd(circuit)
    assert [[len(batch) for batch in executor.batches] for executor in executors] == [[5], [5]]
    assert [executor.shots_run for executor in executors] == [250, 250]


@pytest.mark.parametrize("method", ["backprop", "adjoint"])
@pytest.mark.parametrize("executors", [["default.qubit", "qiskit.aer"], [ScriptedExecutor()]], ids=["aer", "scripted"])
def test_a_device_method_that_an_executor_does_not_offer_is_refused(
    open_device: Any, executors: Any, method: str
) -> None:
    device = open_device(executors, 2)
    with pytest.raises(qml.exceptions.QuantumFunctionError, match=method):
        by_autograd(qml.QNode(ansatz, device, diff_method=method))
    assert len(device.history) == 0


def test_backprop_is_refused_where_circuits_leave_the_process(open_device: Any) -> None:
    device = open_device([{"type": "default.qubit", "parallel": "process"}])
    with pytest.raises(qml.exceptions.QuantumFunctionError, match="backprop"):
        by_autograd(qml.QNode(ansatz, device, diff_method="backprop"))


def test_jax_jit_runs_the_circuit_in_every_call(open_device: Any) -> None:
    device = open_device(SIMULATORS)
    circuit = jax.jit(qml.QNode(ansatz, device))
    for angle in (0.1, 0.9):
        assert float(circuit(jax.numpy.array([angle, 0.3]))) == pytest.approx(np.cos(angle) * np.cos(0.3))
    assert len(device.history) == 2


def shifted_mode(x: Any) -> Any:
    qml.Displacement(x, 0.1, wires=0)
    qml.Beamsplitter(0.4, 0.2, wires=[0, 1])
    return qml.expval(qml.QuadX(0))


def squeezed_mode(x: Any) -> Any:
    qml.Displacement(x, 0.1, wires=0)
    qml.Squeezing(0.2 * x, 0.1, wires=0)
    return qml.expval(qml.NumberOperator(0))


def spread_of_a_mode(x: Any) -> Any:
    qml.Displacement(x, 0.1, wires=0)
    qml.Squeezing(0.2 * x, 0.1, wires=0)
    return qml.var(qml.QuadX(0))


@pytest.mark.parametrize("circuit", [shifted_mode, squeezed_mode, spread_of_a_mode])
@pytest.mark.parametrize("method", ["best", "parameter-shift"])
def test_continuous_variables_are_differentiated_as_on_the_device_itself(
    open_device: Any, circuit: Any, method: str
) -> None:
    bare = qml.QNode(circuit, qml.device("default.gaussian", wires=2), diff_method=method)
    ours = qml.QNode(circuit, open_device("default.gaussian", 2), diff_method=method)
    angle = pnp.array(0.4)
    assert qml.grad(ours)(angle) == pytest.approx(qml.grad(bare)(angle))


TERMS = qml.Hamiltonian([0.7, 0.4, 0.3], [qml.X(0) @ qml.X(1), qml.Z(0), qml.Y(1)])


def product_formula(x: Any) -> Any:
    qml.RY(0.4, 0)
    qml.TrotterProduct(TERMS, x, n=2, order=2)
    return qml.expval(qml.Z(0) @ qml.Y(1))


def inverse_product_formula(x: Any) -> Any:
    qml.RY(0.4, 0)
    qml.adjoint(qml.TrotterProduct(TERMS, x, n=2, order=2))
    return qml.expval(qml.Z(0) @ qml.Y(1))


def scaled_evolution(x: Any) -> Any:
    qml.RY(0.4, 0)
    qml.evolve(0.7 * (qml.X(0) @ qml.Y(1)), x)
    return qml.expval(qml.Z(0))


def power(x: Any) -> Any:
    qml.RY(0.4, 0)
    qml.Hadamard(1)
    qml.pow(qml.CRX(x, [0, 1]), 0.5)
    return qml.expval(qml.Z(0) + qml.Y(1))


@pytest.mark.parametrize("interface", ["autograd", "torch"])
@pytest.mark.parametrize("circuit", [product_formula, inverse_product_formula, scaled_evolution])
def test_evolutions_by_scaled_operators_are_differentiated_by_hadamard_tests(
    open_device: Any, circuit: Any, interface: str
) -> None:
    """PennyLane cannot give them other numbers where it does not decompose them first: IndexError."""
    node = qml.QNode(circuit, open_device("lightning.qubit", 3), diff_method="hadamard")
    right = qml.grad(qml.QNode(circuit, qml.device("default.qubit")))(pnp.array(0.6))
    if interface == "torch":
        x = torch.tensor(0.6, requires_grad=True, dtype=torch.float64)
        node(x).backward()
        assert float(x.grad) == pytest.approx(right, abs=1e-6)
    else:
        assert qml.grad(node)(pnp.array(0.6)) == pytest.approx(right, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("shots", [None, SHOTS])
@pytest.mark.parametrize("interface", ["autograd", "torch", "jax"])
@pytest.mark.parametrize("circuit", [product_formula, inverse_product_formula, scaled_evolution, power])
def test_what_has_no_shift_rule_is_not_differentiated_by_finite_differences(
    open_device: Any, circuit: Any, interface: str, shots: int | None
) -> None:
    """Those would be noise: in single precision, and with shots (some 1e5 here)."""
    node = qml.set_shots(qml.QNode(circuit, open_device("cirq.simulator", 2), diff_method="parameter-shift"), shots)
    right = qml.grad(qml.QNode(circuit, qml.device("default.qubit")))(pnp.array(0.6))
    if interface == "torch":
        x = torch.tensor(0.6, requires_grad=True, dtype=torch.float64)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            node(x).backward()
        found = float(x.grad)
    else:
        found = float(qml.grad(node)(pnp.array(0.6)) if interface == "autograd" else jax.grad(node)(0.6))
    # At most 12 uses of the number, each by two estimates with factors of at most 0.35.
    assert found == pytest.approx(right, abs=1e-5 if shots is None else SIGMAS * 0.35 * (2 * 12 / SHOTS) ** 0.5)


def test_the_answer_to_how_one_differentiates_keeps_no_circuit_alive_and_travels() -> None:
    asked: list[QuantumScript | None] = []

    class Asked(qexec.DeviceExecutor):
        def best_derivative(self, config: ExecutionConfig, circuit: QuantumScript | None) -> str | None:
            asked.append(circuit)
            return super().best_derivative(config, circuit)

    derivatives = Derivatives([Asked("default.qubit")])
    config, circuit = ExecutionConfig(gradient_method="best"), flip(0.1)
    assert derivatives.method(config, circuit) == derivatives.method(config, circuit) == "backprop"
    assert len(asked) == 1
    alive = weakref.ref(circuit)
    cloudpickle.dumps(derivatives)
    del circuit
    asked.clear()
    gc.collect()
    assert alive() is None


def test_a_device_that_was_sent_differentiates_as_the_one_it_is_a_copy_of(open_device: Any) -> None:
    device = open_device(executors=[{"type": "default.qubit", "parallel": "process"}])
    config = ExecutionConfig(gradient_method="best", interface="autograd")
    copied = cloudpickle.loads(cloudpickle.dumps(device))
    assert copied._derivatives._executors == copied.cluster.executors
    method = device.setup_execution_config(config, flip(0.1)).gradient_method
    assert copied.setup_execution_config(config, flip(0.1)).gradient_method == method


def test_hadamard_tests_of_all_wires_of_a_device_are_shifts(open_device: Any) -> None:
    """PennyLane takes them for those of the circuit, and fails."""

    def circuit(x: Any) -> Any:
        qml.RX(x, 0)
        qml.CNOT([0, 1])
        return qml.probs()

    right = qml.jacobian(qml.QNode(circuit, qml.device("default.qubit", wires=3)))(pnp.array(0.4))
    node = qml.QNode(
        circuit, open_device("lightning.qubit", 3), diff_method="hadamard", gradient_kwargs={"aux_wire": 2}
    )
    assert qml.jacobian(node)(pnp.array(0.4)) == pytest.approx(right)
    batch = qml.jacobian(node)(pnp.array([0.4, 0.9]))
    assert batch[0, :, 0] == pytest.approx(right)
    assert not batch[0, :, 1].any()


def test_hadamard_tests_of_conditional_gates_are_shifts(open_device: Any) -> None:
    """PennyLane knows no generators of these."""

    def circuit(x: Any) -> Any:
        qml.Hadamard(0)
        qml.cond(qml.measure(0), qml.RX)(x, 1)
        return qml.expval(qml.Z(1))

    node = qml.QNode(
        circuit, open_device("default.qubit", None), diff_method="hadamard", gradient_kwargs={"aux_wire": 2}
    )
    assert qml.grad(node)(pnp.array(0.4)) == pytest.approx(-math.sin(0.4) / 2)


@pytest.mark.parametrize("shots", [None, 100, (100, 50)])
def test_a_global_phase_has_the_derivative_zero(open_device: Any, shots: Any) -> None:
    """PennyLane's shifts of nothing else raise an UnboundLocalError."""

    def circuit(x: Any) -> Any:
        qml.Hadamard(0)
        qml.GlobalPhase(x)
        return qml.expval(qml.Z(0)), qml.probs()

    node = qml.set_shots(qml.QNode(circuit, open_device("lightning.qubit", 2), diff_method="parameter-shift"), shots)

    def flat(x: Any) -> Any:
        parts = node(x) if isinstance(shots, tuple) else [node(x)]
        return qml.math.hstack([qml.math.reshape(one, (-1,)) for part in parts for one in part])

    assert not qml.jacobian(flat)(pnp.array(0.4)).any()


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("method", ["parameter-shift", "hadamard"])
@pytest.mark.parametrize("interface", ["autograd", "torch"])
def test_mid_circuit_outcomes_are_differentiated(open_device: Any, interface: str, method: str, reset: bool) -> None:
    """PennyLane's Hadamard test returns zero, or -2 times the derivative."""

    def circuit(angles: Any) -> Any:
        qml.RX(angles[0], 0)
        qml.RX(angles[1], 0)
        outcome = qml.measure(0, reset=reset)
        qml.H(0)
        return qml.expval(outcome)

    qnode = qml.QNode(circuit, open_device("default.qubit"), diff_method=method)
    assert np.allclose(INTERFACES[interface](qnode), np.sin(sum(X)) / 2)


@pytest.mark.parametrize("method", ["parameter-shift", "hadamard"])
def test_what_is_left_after_postselection_is_no_sinusoid(open_device: Any, method: str) -> None:
    """PennyLane returns another number where the probability to be left depends on what is trained."""

    def circuit(before: Any, after: Any) -> Any:
        qml.RX(before, 0)
        qml.RY(0.7, 1)
        qml.CNOT([1, 0])
        qml.measure(0, postselect=1)
        qml.RX(after, 1)
        return qml.expval(qml.Z(1))

    qnode = qml.QNode(circuit, open_device("default.qubit"), diff_method=method)
    bare = qml.QNode(circuit, qml.device("default.qubit"), diff_method="backprop")
    arguments = pnp.array(0.7), pnp.array(0.3)
    later = pnp.array(0.7, requires_grad=False), arguments[1]
    assert np.allclose(qml.grad(qnode)(*later), qml.grad(bare)(*later))
    with pytest.raises(QuantumFunctionError, match="postselected depends on a trainable parameter"):
        qml.grad(qnode, argnums=0)(*arguments)
    assert np.allclose(
        qml.grad(qml.QNode(circuit, open_device("default.qubit")), argnums=0)(*arguments),
        qml.grad(bare, argnums=0)(*arguments),
    )


@pytest.mark.parametrize("method", ["best", "parameter-shift", "hadamard", "finite-diff"])
def test_differentiating_does_not_change_the_order_of_wires(open_device: Any, method: str) -> None:
    """PennyLane takes a product apart that has no shift rule, and with it the order in which wires are first used."""

    def circuit(angle: Any) -> Any:
        qml.prod(qml.RX(angle, 2), qml.Y(0))
        return qml.probs()

    circuit = qml.QNode(circuit, open_device("lightning.qubit"), diff_method=method)
    half = 0.2
    assert np.allclose(circuit(pnp.array(2 * half)), [0, np.cos(half) ** 2, 0, np.sin(half) ** 2])
    derivative = qml.jacobian(circuit)(pnp.array(2 * half))
    assert np.allclose(derivative, np.sin(2 * half) / 2 * np.array([0, -1, 0, 1]), atol=1e-5)


@pytest.mark.parametrize("executors", [["default.qubit"], ["lightning.qubit", "default.qubit"]])
@pytest.mark.parametrize("method", ["best", "adjoint", "parameter-shift"])
@pytest.mark.parametrize(
    "gate",
    [
        lambda angle: qml.adjoint(qml.TrotterProduct(0.7 * (qml.X(0) @ qml.X(1)) - 0.4 * qml.Z(0), angle)),
        lambda angle: qml.adjoint(qml.prod(qml.RX(angle, 0), qml.Y(1))),
    ],
)
def test_inverses_of_composed_gates_are_differentiated(
    open_device: Any, executors: Any, method: str, gate: Any
) -> None:
    """PennyLane raises an IndexError or an AttributeError."""

    def circuit(angle: Any) -> Any:
        qml.RY(0.4, 0)
        gate(angle)
        qml.RY(0.3, 1)
        return qml.expval(qml.Z(0) @ qml.Y(1) + qml.Y(0) + qml.Z(0))

    angle = pnp.array(0.6)
    right = qml.grad(qml.QNode(circuit, qml.device("default.qubit"), diff_method="backprop"))(angle)
    assert abs(right) > 0.1
    assert np.allclose(qml.grad(qml.QNode(circuit, open_device(executors), diff_method=method))(angle), right)


def test_evolutions_by_scaled_operators_run_later(open_device: Any) -> None:
    """PennyLane cannot give them other numbers, as those are given whose arrays may change until a circuit runs."""

    @qml.qnode(open_device("default.qubit"))
    def circuit(angle: Any) -> Any:
        qml.TrotterProduct(0.7 * qml.X(0) - 0.4 * qml.Z(0), angle)
        return qml.expval(qml.Z(0))

    angles = [pnp.array(0.3), pnp.array(0.5)]
    assert np.allclose(qexec.qelectron(circuit).map(angles), [circuit(angle) for angle in angles])
