"""jax.vmap around QNodes on clusters: with jax.jit outside, inside or not at all, and with gradients in it."""

import functools

import numpy as np
import pennylane as qml
import pytest

jax = pytest.importorskip("jax")

X = np.array([0.1, 0.2, 0.3])
EXECUTORS = [
    ["lightning.qubit"],
    ["lightning.qubit", "aer"],
    *[
        pytest.param([spec], marks=pytest.mark.slow)
        for spec in ("default.qubit", "default.mixed", "reference.qubit", "aer", "cirq.simulator", "jax")
    ],
]
WAYS = {
    "jit(vmap(f))": lambda f: jax.jit(jax.vmap(f)),
    "vmap(jit(f))": lambda f: jax.vmap(jax.jit(f)),
    "vmap(f)": jax.vmap,
}


def circuit(x):
    qml.RX(x, wires=0)
    qml.CNOT(wires=[0, 1])
    return qml.expval(qml.Z(0)), qml.probs(wires=[1])


def first(qnode):
    return lambda x: qnode(x)[0]


@pytest.fixture(autouse=True)
def in_double_precision():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("executors", EXECUTORS, ids=str)
def test_values_of_vmap_are_those_of_single_calls(executors):
    with qml.device("qexec.cluster", wires=2, executors=executors) as device:
        qnode = qml.QNode(circuit, device)
        for name, way in WAYS.items():
            expval, probs = way(qnode)(X)
            assert expval == pytest.approx(np.cos(X), abs=1e-6), name
            assert probs == pytest.approx(np.stack([1 + np.cos(X), 1 - np.cos(X)], axis=1) / 2, abs=1e-6), name


@pytest.mark.slow
@pytest.mark.parametrize("executors", EXECUTORS, ids=str)
def test_gradients_inside_and_outside_of_vmap_are_right(executors):
    with qml.device("qexec.cluster", wires=2, executors=executors) as device:
        qnode = first(qml.QNode(circuit, device))
        for name, way in WAYS.items():
            assert way(jax.grad(qnode))(X) == pytest.approx(-np.sin(X), abs=1e-6), name
        summed = jax.jit(jax.grad(lambda x: jax.vmap(qnode)(x).sum()))
        assert summed(X) == pytest.approx(-np.sin(X), abs=1e-6)


@pytest.mark.parametrize("diff_method", ["best", "adjoint", "parameter-shift", "finite-diff", "hadamard"])
def test_every_way_to_differentiate_goes_with_vmap(diff_method):
    def one(x, y):
        qml.RX(x, wires=0)
        qml.RY(y, wires=0)
        return qml.expval(qml.Z(0))

    with qml.device("qexec.cluster", wires=2, executors=["lightning.qubit"]) as device:
        qnode = qml.QNode(one, device, diff_method=diff_method)
        over_x = jax.jit(jax.vmap(qnode, in_axes=(0, None)))(X, 0.4)
        assert over_x == pytest.approx(np.cos(X) * np.cos(0.4), abs=1e-6)
        slopes = jax.jit(jax.vmap(jax.grad(qnode, argnums=1), in_axes=(0, None)))(X, 0.4)
        assert slopes == pytest.approx(-np.cos(X) * np.sin(0.4), abs=1e-5)


def test_vmap_goes_with_vector_jacobian_products_of_the_executors():
    with qml.device("qexec.cluster", wires=2, executors=["lightning.qubit"]) as device:
        qnode = qml.QNode(circuit, device, diff_method="adjoint", device_vjp=True)
        qnode.func = lambda x: (qml.RX(x, wires=0), qml.expval(qml.Z(0)))[-1]
        assert jax.jit(jax.vmap(qnode))(X) == pytest.approx(np.cos(X), abs=1e-6)
        assert jax.jit(jax.vmap(jax.grad(qnode)))(X) == pytest.approx(-np.sin(X), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"split": "uniform"}], ids=str)
def test_vmap_goes_with_shots(options):
    executors = [{"type": name, "seed": seed} for seed, name in enumerate(["lightning.qubit", "default.qubit"])]
    with qml.device("qexec.cluster", wires=2, executors=executors, **options) as device:
        qnode = first(qml.set_shots(qml.QNode(circuit, device), 10_000))
        for name, way in WAYS.items():
            assert way(qnode)(X) == pytest.approx(np.cos(X), abs=0.06), name  # 6 sigma of 0.01
            assert way(jax.grad(qnode))(X) == pytest.approx(-np.sin(X), abs=0.06), name


def test_the_points_of_a_vmap_run_as_one_batch():
    with qml.device("qexec.cluster", wires=2, executors=["lightning.qubit"]) as device:
        jax.jit(jax.vmap(qml.QNode(lambda x: (qml.RX(x, 0), qml.expval(qml.Z(0)))[-1], device)))(X)
        assert [row.batch for row in device.history] == [1, 1, 1]


def test_vmap_within_vmap_is_refused_with_what_to_write():
    with qml.device("qexec.cluster", wires=2, executors=["lightning.qubit"]) as device:
        qnode = first(qml.QNode(circuit, device, diff_method="finite-diff"))
        points = np.stack([X, X + 1])
        with pytest.raises(Exception, match=r"write one jax\.vmap over all points"):
            jax.jit(jax.vmap(jax.vmap(qnode)))(points).block_until_ready()
        flat = jax.jit(jax.vmap(qnode))(points.reshape(-1)).reshape(2, 3)
        assert flat == pytest.approx(np.cos(points), abs=1e-6)


def test_vmap_within_vmap_of_parameter_shifts_is_one_job_for_all_points_and_shifts():
    with qml.device("qexec.cluster", wires=2, executors=["lightning.qubit"]) as device, jax.enable_x64(True):
        qnode = first(qml.QNode(circuit, device, diff_method="parameter-shift"))
        points = np.stack([X, X + 1])
        values, slopes = jax.jit(jax.vmap(jax.vmap(jax.value_and_grad(qnode))))(points)
        assert values == pytest.approx(np.cos(points), abs=1e-10)
        assert slopes == pytest.approx(-np.sin(points), abs=1e-10)
        assert {row.batch for row in device.history} == {1}
        assert device.history.totals.circuits == points.size * 3


@pytest.mark.slow
def test_what_differentiates_through_parameter_shifts_gives_one_derivative():
    """Forward and backward, of several results, with numbers that are constants, beside what JAX computes itself."""

    def several(x, y, device, method):
        @qml.qnode(device, diff_method=method)
        def measured(x, y):
            qml.RX(x, 0)
            qml.CRY(0.3 * x * y, wires=[0, 1])
            qml.RZ(0.4, 0)
            qml.RX(y, 1)
            return qml.probs(wires=[0, 1]), qml.expval(qml.Z(0) @ qml.X(1))

        return measured(x, y)

    with qml.device("qexec.cluster", wires=2, executors=["lightning.qubit"]) as device, jax.enable_x64(True):
        ours = functools.partial(several, device=device, method="parameter-shift")
        exact = functools.partial(several, device=qml.device("default.qubit"), method="backprop")
        for derivative in (jax.jacfwd, jax.jacrev):
            for where in ((0, 1), 1):
                mapped = jax.jit(jax.vmap(derivative(ours, argnums=where)))(X, X + 0.5)
                expected = jax.vmap(derivative(exact, argnums=where))(X, X + 0.5)
                assert jax.tree.structure(mapped) == jax.tree.structure(expected)
                for one, other in zip(jax.tree.leaves(mapped), jax.tree.leaves(expected), strict=True):
                    assert np.allclose(one, other, rtol=0, atol=1e-10)
