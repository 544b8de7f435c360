"""How many jobs is a gradient on Qiskit Runtime, and how long does it take?

The gradient of 8 parameters over an observable of 2 measurement groups, by the parameter-shift rule, in local mode on a
fake backend. The peer is pennylane-qiskit's ``qiskit.remote`` on the same backend.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import jax
import numpy as np
import pennylane as qml
from answers import Answer, answer, side_by_side
from qiskit_ibm_runtime.fake_provider import FakeManilaV2
from qiskit_ibm_runtime.fake_provider.local_service import QiskitRuntimeLocalService

WIRES, SHOTS, ROUNDS = 4, 1000, 3
X = np.linspace(0.1, 0.8, 2 * WIRES)

Asked = Callable[[Any], Any]


def ansatz(x: Any) -> Any:
    """A circuit of 8 parameters, with an observable of 2 groups."""
    for wire in range(WIRES):
        qml.RX(x[wire], wire)
    for wire in range(WIRES - 1):
        qml.CNOT([wire, wire + 1])
    for wire in range(WIRES):
        qml.RY(x[WIRES + wire], wire)
    z = qml.Z(0) @ qml.Z(1) @ qml.Z(2) @ qml.Z(3)
    return qml.expval(z + qml.X(0) @ qml.X(3))


def gradient(device: Any) -> Asked:
    """The derivatives alone."""
    return qml.gradients.param_shift(qml.set_shots(qml.QNode(ansatz, device), SHOTS))


def step(device: Any) -> Asked:
    """What an optimiser asks for: the value, and then the derivatives."""
    cost = qml.set_shots(qml.QNode(ansatz, device), SHOTS)
    return partial(qml.GradientDescentOptimizer().step_and_cost, cost)


def in_jax(device: Any) -> Asked:
    """Value and derivatives in JAX, which asks for both at once."""
    asked = jax.value_and_grad(qml.set_shots(qml.QNode(ansatz, device, interface="jax"), SHOTS))
    return lambda x: asked(jax.numpy.asarray(x))


def ours(executors: int) -> Any:
    """A device over RuntimeExecutors in local mode."""
    specs = [{"type": "ibm:fake_manila", "name": f"manila-{number}"} for number in range(executors)]
    return qml.device("qexec.cluster", wires=WIRES, executors=specs)


def peer() -> Any:
    """pennylane-qiskit's device in local mode."""
    return qml.device("qiskit.remote", wires=WIRES, backend=FakeManilaV2())


def jobs(call: Callable[[], object]) -> int:
    """How many jobs Qiskit Runtime gets in local mode, from whomever."""
    run, sent = QiskitRuntimeLocalService._run, []

    def counted(service: Any, *arguments: Any, **options: Any) -> Any:
        sent.append(service)
        return run(service, *arguments, **options)

    QiskitRuntimeLocalService._run = counted
    try:
        call()
    finally:
        QiskitRuntimeLocalService._run = run
    return len(sent)


def compared(name: str, ask: Callable[[Any], Asked], number: int) -> Iterator[Answer]:
    """Jobs and seconds of the same question to both."""
    x = qml.numpy.array(X, requires_grad=True)
    devices = [peer(), ours(1), ours(2)]
    calls = [partial(ask(device), x) for device in devices]
    theirs, alone, shared = map(jobs, calls)
    beside = f"qiskit.remote: {theirs}"
    yield Answer.of(f"{name}: jobs on one executor", alone, "jobs", at_most=number, beside=beside)
    yield Answer.of(f"{name}: jobs per executor, on two", shared / 2, "jobs", at_most=number, beside=beside)
    slow, fast = side_by_side(calls[:2], ROUNDS).T
    beside = f"qiskit.remote: {np.median(slow):.2f} s"
    yield Answer.of(f"{name}: speed in local mode", slow / fast, "times as fast", beside=beside)
    for device in devices[1:]:
        device.close()


def gradients() -> Iterator[Answer]:
    """The derivatives alone."""
    yield from compared("gradient", gradient, 1)


def steps() -> Iterator[Answer]:
    """An optimiser's steps, with Autograd, which waits for the value before it asks for the derivatives."""
    yield from compared("step_and_cost", step, 1)


def with_jax() -> Iterator[Answer]:
    """Both in JAX."""
    yield from compared("value and gradient in JAX", in_jax, 1)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    answer("Jobs of a gradient on Qiskit Runtime", gradients, with_jax, steps)
