"""What gradients through a QElectron are, beside those through the QNode that it was made of.

Through a call, and through ``run_later(...).result()``; by every interface and every method. As in
``test_side_by_side``, types are not compared where executors are named and the method is ``"best"``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import pennylane as qml
import pytest
import torch
from beside import HOW, PATIENCE, differences
from pennylane import numpy as pnp

pytestmark = pytest.mark.slow

X = [0.4, -1.1]
NAMES = ["default.qubit", "lightning.qubit"]


def ansatz(angles: Any) -> None:
    qml.RX(angles[0], 0)
    qml.RY(angles[1], 1)
    qml.CNOT([0, 1])


def one_value(angles: Any) -> Any:
    ansatz(angles)
    return qml.expval(qml.Z(1))


def vector(angles: Any) -> Any:
    ansatz(angles)
    return qml.probs(wires=[0, 1])


def several(angles: Any) -> Any:
    ansatz(angles)
    return {"z": qml.expval(qml.Z(1)), "more": [qml.probs(wires=[0]), qml.expval(qml.X(0) @ qml.Z(1))]}


def total(results: Any) -> Any:
    return results["z"] + 2 * results["more"][0][0] - results["more"][1]


def by_autograd(cost: Any) -> Any:
    return qml.grad(cost)(pnp.array(X))


def by_torch(cost: Any) -> Any:
    angles = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    value = cost(angles)
    value.backward()
    return value, angles.grad


def by_jax(cost: Any) -> Any:
    return jax.value_and_grad(cost)(jax.numpy.array(X))


def by_jax_jit(cost: Any) -> Any:
    return jax.jit(jax.value_and_grad(cost))(jax.numpy.array(X))


GRADIENTS = {"autograd": by_autograd, "torch": by_torch, "jax": by_jax, "jax.jit": by_jax_jit}


def autograd_jacobian(circuit: Any) -> Any:
    return qml.jacobian(circuit)(pnp.array(X))


def torch_jacobian(circuit: Any) -> Any:
    return torch.autograd.functional.jacobian(circuit, torch.tensor(X, dtype=torch.float64))


def jax_jacobian(circuit: Any) -> Any:
    return jax.jacobian(circuit)(jax.numpy.array(X))


JACOBIANS = {"autograd": autograd_jacobian, "torch": torch_jacobian, "jax": jax_jacobian}


def autograd_hessian(circuit: Any) -> Any:
    return qml.jacobian(qml.grad(circuit))(pnp.array(X))


def torch_hessian(circuit: Any) -> Any:
    return torch.autograd.functional.hessian(circuit, torch.tensor(X, dtype=torch.float64))


def jax_hessian(circuit: Any) -> Any:
    return jax.hessian(circuit)(jax.numpy.array(X))


HESSIANS = {"autograd": autograd_hessian, "torch": torch_hessian, "jax": jax_hessian}

METHODS: dict[str, dict[str, Any]] = {
    "best": {},
    "parameter-shift": {"diff_method": "parameter-shift"},
    "adjoint": {"diff_method": "adjoint"},
    "adjoint, device_vjp": {"diff_method": "adjoint", "device_vjp": True},
    "adjoint, backward": {"diff_method": "adjoint", "grad_on_execution": False},
    "backprop": {"diff_method": "backprop"},
    "finite-diff": {"diff_method": "finite-diff", "gradient_kwargs": {"h": 1e-4}},
    "hadamard": {"diff_method": "hadamard", "gradient_kwargs": {"aux_wire": 2}},
    "spsa": {"diff_method": "spsa", "gradient_kwargs": {"sampler_rng": 3}},
}

by_name = pytest.mark.parametrize("name", NAMES)
by_how = pytest.mark.parametrize("how", HOW.values(), ids=HOW)
by_executors = pytest.mark.parametrize("named", [None, True], ids=["bare", "named"])
by_gradient = pytest.mark.parametrize("gradient", GRADIENTS.values(), ids=GRADIENTS)
by_method = pytest.mark.parametrize("method", METHODS)


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    """Numbers of 64 bits in jax, for as long as the test takes."""
    with jax.enable_x64(True):
        yield


def of_two_calls(circuit: Any) -> Callable[[Any], Any]:
    return lambda angles: 2 * circuit(angles) - circuit(angles * 0.5) ** 2


@by_how
@by_gradient
@by_method
def test_gradients_are_equal(pair: Any, method: str, gradient: Any, how: Any) -> None:
    qnode, electron = pair(one_value, **METHODS[method])
    assert differences(gradient(of_two_calls(qnode)), gradient(of_two_calls(how(electron)))) == []


@by_how
@by_gradient
@pytest.mark.parametrize("method", [method for method in METHODS if method != "backprop"])
def test_gradients_on_lightning_are_equal(pair: Any, method: str, gradient: Any, how: Any) -> None:
    qnode, electron = pair(one_value, "lightning.qubit", **METHODS[method])
    assert differences(gradient(of_two_calls(qnode)), gradient(of_two_calls(how(electron)))) == []


@by_how
@pytest.mark.parametrize(
    ("name", "method"),
    [(name, method) for name in NAMES for method in ("best", "parameter-shift", "adjoint", "hadamard")]
    + [("default.qubit", "backprop")],
)
def test_gradients_on_named_executors_are_equal(pair: Any, method: str, name: str, how: Any) -> None:
    qnode, electron = pair(one_value, name, executors=True, **METHODS[method])
    for gradient in (by_autograd, by_torch):
        expected, actual = gradient(of_two_calls(qnode)), gradient(of_two_calls(how(electron)))
        assert differences(expected, actual, types=method != "best") == []


@by_how
@by_gradient
@pytest.mark.parametrize("method", ["best", "parameter-shift", "backprop"])
def test_gradients_of_structures_are_equal(pair: Any, method: str, gradient: Any, how: Any) -> None:
    qnode, electron = pair(several, **METHODS[method])
    expected = gradient(lambda angles: total(qnode(angles)))
    assert differences(expected, gradient(lambda angles: total(how(electron)(angles)))) == []


@by_how
@by_name
@pytest.mark.parametrize("jacobian", JACOBIANS.values(), ids=JACOBIANS)
@pytest.mark.parametrize("method", ["best", "parameter-shift"])
def test_jacobians_are_equal(pair: Any, method: str, jacobian: Any, name: str, how: Any) -> None:
    qnode, electron = pair(vector, name, **METHODS[method])
    assert differences(jacobian(qnode), jacobian(how(electron))) == []


@by_how
@pytest.mark.parametrize("hessian", HESSIANS.values(), ids=HESSIANS)
@pytest.mark.parametrize("method", ["parameter-shift", "backprop", "finite-diff"])
def test_hessians_are_equal(pair: Any, method: str, hessian: Any, how: Any) -> None:
    qnode, electron = pair(one_value, max_diff=2, **METHODS[method])
    assert differences(hessian(qnode), hessian(how(electron))) == []


@by_how
@pytest.mark.parametrize("jacobian", JACOBIANS.values(), ids=JACOBIANS)
def test_gradients_of_broadcast_angles_are_equal(pair: Any, jacobian: Any, how: Any) -> None:
    def circuit(angles: Any) -> Any:
        qml.RX(angles, 0)
        return qml.expval(qml.Z(0))

    qnode, electron = pair(circuit)
    assert differences(jacobian(qnode), jacobian(how(electron))) == []


@by_executors
@by_gradient
@by_name
def test_gradients_of_calls_draw_the_same_samples(pair: Any, name: str, gradient: Any, named: Any) -> None:
    # Else values and derivatives run together, and draw in another order than values first.
    qnode, electron = pair(one_value, name, named, shots=100, grad_on_execution=False)
    assert differences(gradient(of_two_calls(qnode)), gradient(of_two_calls(electron))) == []


@by_gradient
@by_name
def test_gradients_of_what_is_drawn_later_are_within_5_sigma(pair: Any, name: str, gradient: Any) -> None:
    """Half the difference of two expectation values: sigma is at most sqrt(2) / 2 / sqrt(shots)."""
    shots = 10_000
    _, electron = pair(one_value, name, shots=shots)
    found = gradient(lambda angles: electron.run_later(angles).result(PATIENCE))
    slopes = found if gradient is by_autograd else found[1]
    exact = [-np.sin(X[0]) * np.cos(X[1]), -np.cos(X[0]) * np.sin(X[1])]
    assert np.allclose(slopes, exact, rtol=0, atol=5 / np.sqrt(2 * shots))


@by_how
@by_name
def test_without_a_way_to_differentiate_results_are_equal(pair: Any, name: str, how: Any) -> None:
    qnode, electron = pair(several, name, diff_method=None)
    for angles in (X, pnp.array(X), torch.tensor(X), jax.numpy.array(X)):
        assert differences(qnode(angles), how(electron)(angles)) == []
