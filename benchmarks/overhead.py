"""What does a cluster add to the time of a call, against the bare sub-device in the same run?

Medians of the difference between neighbouring calls, with the 10th and 90th percentile, in microseconds.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")
# With JAX 0.10, PennyLane 0.45 tries to import its capture module, in vain, in every call with shots: 3 ms that
# would hide what is measured here.
sys.modules["jax"] = None  # type: ignore[assignment]

import numpy as np
import pennylane as qml
from answers import Answer, answer, seconds

import pennylane_qexec as qexec

WIRES = 2


def circuit(x: float) -> object:
    """A small circuit, of which every microsecond beside the simulation shows."""
    qml.RX(x, 0)
    qml.RY(x, 1)
    qml.CNOT([0, 1])
    return qml.expval(qml.Z(1))


def qnode(device: qml.devices.Device, shots: int | None) -> Callable[[], object]:
    """A call of the circuit on a device."""
    node = qml.QNode(circuit, device, shots=shots)
    return lambda: node(0.3)


def batch(device: qml.devices.Device, circuits: list[qml.tape.QuantumScript]) -> Callable[[], object]:
    """One execution of many circuits on a device."""
    return lambda: qml.execute(circuits, device)


def added(bare: Callable[[], object], ours: Callable[[], object], calls: int, per: int = 1) -> np.ndarray:
    """Microseconds that ``ours`` takes longer than ``bare``, for each of ``calls`` pairs of neighbouring calls."""
    for _ in range(20):
        bare(), ours()
    pairs = np.array([(seconds(bare), seconds(ours)) for _ in range(calls)])
    return np.concatenate([(pairs[:, 1] - pairs[:, 0]) * 1e6 / per, [np.median(pairs[:, 0]) * 1e6 / per]])


def import_milliseconds(repeats: int = 5) -> list[float]:
    """CPU milliseconds that new processes spend on importing the package when PennyLane is imported already."""
    clock = "time.process_time()"
    code = f"import time, pennylane; start = {clock}; import pennylane_qexec; print({clock} - start)"
    commands = [[sys.executable, "-W", "ignore", "-c", code]] * repeats
    return [1e3 * float(subprocess.run(command, check=True, capture_output=True).stdout) for command in commands]


def calls() -> Iterator[Answer]:
    """What is added to a call, and to a circuit of a batch."""
    bare = qml.device("lightning.qubit", wires=WIRES)
    scripts = [qml.tape.make_qscript(circuit, shots=100)(x) for x in np.linspace(0, 1, 100)]
    three = ["lightning.qubit", "lightning.qubit", "default.qubit"]
    weights = qexec.selectors.weighted({"lightning.qubit": 1})
    lanes = [{"type": "lightning.qubit", "parallel": "thread"}]
    with (
        qml.device("qexec.cluster", wires=WIRES, executors="lightning.qubit") as one,
        qml.device("qexec.cluster", wires=WIRES, executors=three, selector=weights) as many,
        qml.device("qexec.cluster", wires=WIRES, executors=lanes) as threaded,
    ):
        questions = [
            ("added to a call, short way, analytic", qnode(bare, None), qnode(one, None), 2000, 1, 100),
            ("added to a call, short way, 100 shots", qnode(bare, 100), qnode(one, 100), 2000, 1, 100),
            ("added to a call, short way, three executors", qnode(bare, 100), qnode(many, 100), 2000, 1, 100),
            ("added to a call, through the lanes", qnode(bare, 100), qnode(threaded, 100), 1000, 1, 500),
            ("added to a circuit of 100, short way", batch(bare, scripts), batch(one, scripts), 30, 100, 300),
            (
                "added to a circuit of 100, through the lanes",
                batch(bare, scripts),
                batch(threaded, scripts),
                30,
                100,
                300,
            ),
        ]
        for question, peer, ours, number, per, limit in questions:
            *differences, reference = added(peer, ours, number, per)
            yield Answer.of(question, differences, "us", at_most=limit, beside=f"the bare device: {reference:.0f} us")


def importing() -> Iterator[Answer]:
    """What importing the package costs."""
    yield Answer.of("import, beside PennyLane's", import_milliseconds(), "CPU ms", at_most=50)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    answer("What a cluster adds to the time of a call on lightning.qubit", calls, importing)
