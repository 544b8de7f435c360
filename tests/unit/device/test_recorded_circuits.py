"""Circuits whose numbers an interface records, given to the device or the cluster by hand; and their derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pennylane as qml
import pytest
import torch
from pennylane import numpy as pnp
from pennylane.devices import ExecutionConfig
from pennylane.exceptions import QuantumFunctionError
from pennylane.tape import QuantumScript

from pennylane_qexec.engine import process_pool

X = 0.4
EXECUTORS = ["default.qubit", "lightning.qubit", "aer", ["default.qubit", "lightning.qubit"]]


def tape(x: Any) -> QuantumScript:
    """Its value is ``cos(x)**2``."""
    return QuantumScript([qml.RX(x, 0), qml.Rot(0.1, x, 0.2, 1), qml.CNOT([0, 1])], [qml.expval(qml.Z(1))])


GRADIENT = -np.sin(2 * X)


def by_autograd(value: Any) -> float:
    return float(qml.grad(value)(pnp.array(X, requires_grad=True)))


def by_torch(value: Any) -> float:
    x = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    value(x).backward()
    assert x.grad is not None
    return float(x.grad)


def by_jax(value: Any) -> float:
    with jax.enable_x64(True):
        return float(jax.grad(value)(X))


INTERFACES: dict[str, Callable[[Any], float]] = {"autograd": by_autograd, "torch": by_torch, "jax": by_jax}


@pytest.fixture(params=INTERFACES)
def interface(request: Any) -> str:
    """The name of an interface."""
    return str(request.param)


@pytest.mark.parametrize("executors", EXECUTORS, ids=str)
def test_raw_circuits_are_differentiated(open_device: Any, interface: str, executors: Any) -> None:
    device = open_device(executors, 2)
    assert INTERFACES[interface](lambda x: device.execute([tape(x)])[0]) == pytest.approx(GRADIENT, abs=1e-6)


@pytest.mark.parametrize("executors", ["default.qubit", "lightning.qubit"])
@pytest.mark.parametrize("method", ["gradient-transform", None])
def test_programs_of_configurations_that_users_give_themselves_leave_records_alone(
    open_device: Any, interface: str, executors: str, method: str | None
) -> None:
    device = open_device(executors, 2)
    asked = ExecutionConfig(interface=interface, gradient_method=method)
    program, config = device.preprocess_transforms(asked), device.setup_execution_config(asked)

    def beside(x: Any) -> Any:
        return qml.execute([tape(x)], device, diff_method="parameter-shift", transform_program=program)[0]

    def by_hand(x: Any) -> Any:
        circuits, postprocess = device.preprocess_transforms(config)([tape(x)])
        return postprocess(device.execute(circuits, config))[0]

    for value in (beside, by_hand):
        assert INTERFACES[interface](value) == pytest.approx(GRADIENT, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("executors", "options", "shots"),
    [
        ("reference.qubit", {}, 4000),
        (["reference.qubit", "default.qubit"], {"split": "uniform"}, 4000),
        ("cirq.simulator", {}, (4000, 1000)),
    ],
    ids=["an executor that samples", "a split", "a shot vector that is sampled"],
)
def test_programs_of_such_configurations_that_sample_lose_no_derivatives(
    open_device: Any, interface: str, executors: Any, options: dict[str, Any], shots: Any
) -> None:
    device = open_device(executors, 2, **options)
    asked = ExecutionConfig(interface=interface, gradient_method="gradient-transform")
    program, config = device.preprocess_transforms(asked), device.setup_execution_config(asked)

    def first(result: Any) -> Any:
        return result[0] if isinstance(shots, tuple) else result

    def beside(x: Any) -> Any:
        given = tape(x).copy(shots=shots)
        return first(qml.execute([given], device, diff_method="parameter-shift", transform_program=program)[0])

    def by_hand(x: Any) -> Any:
        circuits, postprocess = device.preprocess_transforms(config)([tape(x).copy(shots=shots)])
        return first(postprocess(device.execute(circuits, config))[0])

    for value in (beside, by_hand):  # unseeded, sigma at most 0.016: p < 1e-18
        assert INTERFACES[interface](value) == pytest.approx(GRADIENT, abs=0.15)


@pytest.mark.parametrize(
    ("executors", "split"), [("reference.qubit", None), (["default.qubit"] * 2, "uniform")], ids=str
)
def test_an_expectation_value_beside_samples_of_such_a_program_is_no_constant(
    open_device: Any, executors: Any, split: Any
) -> None:
    device = open_device(executors, 2, split=split)
    program = device.preprocess_transforms(ExecutionConfig(interface="torch", gradient_method="gradient-transform"))
    x = torch.tensor(0.4, requires_grad=True, dtype=torch.float64)
    given = QuantumScript([qml.RX(x, 0)], [qml.expval(qml.Z(0)), qml.sample(wires=1)], shots=4000)
    value, _ = qml.execute([given], device, diff_method=qml.gradients.param_shift, transform_program=program)[0]
    value.backward()
    assert float(x.grad) == pytest.approx(-np.sin(0.4), abs=0.1)  # unseeded, sigma 0.011: p < 1e-18


def test_what_is_recorded_stays_in_the_calling_thread_when_worker_processes_are_warm(
    open_device: Any, interface: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(process_pool.shared_pool), "warm", property(lambda shared_pool: True))
    monkeypatch.setattr("pennylane_qexec.engine.inline.HEAVY", 0.0)
    monkeypatch.setattr("pennylane_qexec.engine.inline.EACH", 0.0)
    monkeypatch.setattr("pennylane_qexec.engine.placement._WORTH_A_PIPE", 0.0)
    device = open_device(["default.qubit", "default.qubit"], 2)
    monkeypatch.setattr(process_pool.shared_pool, "submit", None)
    gradient = INTERFACES[interface](lambda x: sum(device.execute([tape(x)] * 3)))
    assert gradient == pytest.approx(3 * GRADIENT, abs=1e-6)


@pytest.mark.slow
def test_circuits_for_worker_processes_are_differentiated(open_device: Any, interface: str) -> None:
    device = open_device([{"type": "default.qubit", "parallel": "process"}], 2)
    assert INTERFACES[interface](lambda x: device.execute([tape(x)])[0]) == pytest.approx(GRADIENT, abs=1e-6)


def test_a_cluster_differentiates_what_its_executors_backpropagate(open_device: Any, interface: str) -> None:
    cluster = open_device("default.qubit", 2).cluster
    assert INTERFACES[interface](lambda x: cluster.execute([tape(x)])[0]) == pytest.approx(GRADIENT, abs=1e-6)


def test_a_cluster_refuses_to_give_constants(open_device: Any, interface: str) -> None:
    cluster = open_device("lightning.qubit", 2).cluster
    with pytest.raises(QuantumFunctionError, match=r"qexec\.cluster"):
        INTERFACES[interface](lambda x: cluster.execute([tape(x)])[0])


def test_what_nobody_records_is_only_run(open_device: Any) -> None:
    device = open_device("lightning.qubit", 2)
    with torch.no_grad():
        value = device.execute([tape(torch.tensor(X, dtype=torch.float64, requires_grad=True))])[0]
    assert float(value) == pytest.approx(np.cos(X) ** 2)
    assert float(device.execute([tape(pnp.array(X))])[0]) == pytest.approx(np.cos(X) ** 2)


JACOBIAN = [GRADIENT / 2, 0, GRADIENT / 2, 0]


@pytest.mark.parametrize("executors", ["default.qubit", "lightning.qubit"])
@pytest.mark.parametrize("asked", [None, "best", "adjoint"])
def test_derivatives_of_raw_circuits(open_device: Any, executors: str, asked: str | None) -> None:
    device = open_device(executors, 2)
    config = None if asked is None else device.setup_execution_config(ExecutionConfig(gradient_method=asked))
    other = QuantumScript([qml.RX(X, 0)], [qml.expval(qml.Z(0))])
    jacobians = device.compute_derivatives([tape(X), other], config)
    np.testing.assert_allclose(np.ravel(jacobians[0]), JACOBIAN, atol=1e-12)
    np.testing.assert_allclose(np.ravel(jacobians[1]), [-np.sin(X)])
    results, again = device.execute_and_compute_derivatives([tape(X), other], config)
    np.testing.assert_allclose(results, [np.cos(X) ** 2, np.cos(X)])
    np.testing.assert_allclose(np.ravel(again[0]), JACOBIAN, atol=1e-12)


@pytest.mark.parametrize("executors", ["default.qubit", "lightning.qubit"])
def test_products_of_raw_circuits(open_device: Any, executors: str) -> None:
    device = open_device(executors, 2)
    np.testing.assert_allclose(np.ravel(device.compute_vjp([tape(X)], (2.0,))), np.multiply(2, JACOBIAN), atol=1e-12)
    results, products = device.execute_and_compute_vjp([tape(X)], (2.0,))
    np.testing.assert_allclose(results, [np.cos(X) ** 2])
    np.testing.assert_allclose(np.ravel(products), np.multiply(2, JACOBIAN), atol=1e-12)


def test_derivatives_of_circuits_that_went_through_the_program_by_hand(open_device: Any) -> None:
    device = open_device("lightning.qubit", 2)
    program, config = device.preprocess(ExecutionConfig(gradient_method="adjoint"))
    circuits, _ = program([tape(X)])
    np.testing.assert_allclose(np.ravel(device.compute_derivatives(circuits, config)), JACOBIAN, atol=1e-12)


@pytest.mark.parametrize(
    ("circuit", "executors", "says"),
    [
        (QuantumScript([qml.RX(X, 0)], [qml.expval(0.5 * qml.Z(0))]), "lightning.qubit", "parameter of an observable"),
        (QuantumScript([qml.RX(X, 0)], [qml.probs(0)]), "lightning.qubit", "cannot be differentiated"),
        (tape(X), "aer", "cannot be differentiated"),
        (QuantumScript([qml.CRot(X, 0.1, 0.2, [0, 1])], [qml.expval(qml.Z(1))]), "default.qubit", "taken apart"),
    ],
    ids=["observable", "probabilities", "no adjoint", "taken apart"],
)
def test_raw_circuits_that_nobody_can_differentiate_so_are_refused(
    open_device: Any, circuit: QuantumScript, executors: str, says: str
) -> None:
    with pytest.raises(QuantumFunctionError, match=says):
        open_device(executors, 2).compute_derivatives([circuit])


@pytest.mark.parametrize("executor", ["default.qubit", "lightning.qubit"])
@pytest.mark.parametrize("shots", [400, (200, 200)])
def test_a_program_of_ones_own_leaves_the_method_for_mid_circuit_measurements_to_the_execution(
    open_device: Any, executor: str, shots: Any
) -> None:
    """Done twice, one shot after the other gave nan for circuits with postselection."""
    with qml.queuing.AnnotatedQueue() as queue:
        qml.RY(1.0, 0)
        qml.CNOT([0, 1])
        qml.measure(1, postselect=1)
        qml.H(0)
        qml.expval(qml.X(0))
    tape = qml.tape.QuantumScript.from_queue(queue, shots=shots)
    device = open_device([executor])
    program = device.preprocess_transforms(ExecutionConfig(interface="numpy"))
    (value,) = qml.execute([tape], device, diff_method=None, transform_program=program)
    assert np.all(np.isclose(value, -1.0, atol=1e-12))
