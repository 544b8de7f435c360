"""What does it cost to have a rule choose for each circuit, and what does it bring?

A batch of narrow and wide circuits with shots. Narrow ones are fastest on ``default.qubit``, which runs them as one;
wide ones on ``lightning.qubit``. A :class:`Hybrid` sends each where it is fastest; its peers are one of the two alone.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pennylane as qml
from answers import Answer, answer, side_by_side
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.executors.routing.hybrid import Hybrid
from pennylane_qexec.executors.routing.rules import BySize, Tier

NARROW, WIDE = (5, 96), (15, 8)
SHOTS, ROUNDS, WARM = 200, 7, 8
RULE = BySize([Tier("default.qubit", wires=11), Tier("lightning.qubit")])


def circuits(wires: int, number: int) -> list[QuantumScript]:
    """Circuits of one structure."""
    rng, made = np.random.default_rng(0), []
    for _ in range(number):
        operations = [qml.RY(rng.uniform(0, 6), wire) for _ in range(3) for wire in range(wires)]
        operations += [qml.CNOT([wire, (wire + 1) % wires]) for wire in range(wires)]
        made.append(QuantumScript(operations, [qml.expval(qml.Z(0))], shots=SHOTS))
    return made


def gain() -> Iterator[Answer]:
    """Narrow and wide circuits, routed, and all of them on one executor."""
    batch = [*circuits(*NARROW), *circuits(*WIDE)]
    executors = {"Hybrid": Hybrid(["default.qubit", "lightning.qubit"], rule=RULE)}
    executors |= {name: qexec.executor(name) for name in ("default.qubit", "lightning.qubit")}
    for executor in executors.values():
        for _ in range(WARM):
            executor.run(batch)
    times = side_by_side([lambda executor=executor: executor.run(batch) for executor in executors.values()], ROUNDS)
    for peer, seconds in zip(list(executors)[1:], times.T[1:], strict=True):
        beside = f"all on {peer}, {1e3 * np.median(seconds):.0f} ms"
        yield Answer.of(
            "a batch of narrow and wide circuits, routed", seconds / times.T[0], "times as fast", beside=beside
        )


def price() -> Iterator[Answer]:
    """Circuits of one size on a member, through the router and straight."""
    batch = circuits(4, 200)
    straight = qexec.QCluster(["lightning.qubit"])
    routed = qexec.QCluster([Hybrid(["default.qubit", "lightning.qubit"], rule=[Tier("lightning.qubit")])])
    with straight, routed:
        times = side_by_side([lambda: straight.execute(batch), lambda: routed.execute(batch)], ROUNDS)
    beside = f"lightning.qubit, {1e6 * np.median(times.T[0]) / len(batch):.0f} us"
    extra = 1e6 * (times.T[1] - times.T[0]) / len(batch)
    yield Answer.of("choosing, for each circuit", extra, "us", beside=beside)
    yield Answer.of("a small circuit, through the router", times.T[1] / times.T[0], "times as long", at_most=1.2)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    answer("Routing by size", gain, price)
