"""Measurements in the middle of a circuit: what a QElectron returns, beside what the QNode returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from beside import HOW, differences
from circuits import ansatz

import pennylane_qexec as qexec

X = 0.4
NAMES = ["default.qubit", "lightning.qubit"]

by_how = pytest.mark.parametrize("how", HOW.values(), ids=HOW)


MIDDLE: dict[str, Callable[[Any], Any]] = {
    "expval": lambda measured: (qml.expval(measured), qml.var(measured), qml.expval(qml.Z(1))),
    "probs": lambda measured: (qml.probs(op=[measured]), qml.probs(wires=[0, 1])),
    "arithmetic": lambda measured: qml.expval(2 * measured + 1),
    "counts": lambda measured: {"mid": qml.counts(measured), "end": qml.counts(wires=[1])},
    "sample": lambda measured: [qml.sample(measured), qml.sample(wires=[1])],
}


def measured_midway(measure: Callable[[Any], Any], **options: Any) -> Callable[[Any], Any]:
    def circuit(x: Any) -> Any:
        ansatz(x + 1)
        measured = qml.measure(0, **options)
        qml.cond(measured, qml.RY)(0.6, 1)
        return measure(measured)

    return circuit


MODES = [("deferred", "fill-shots"), *((each, "hw-like") for each in ("deferred", "one-shot", "tree-traversal"))]
WAYS = [
    (name, method, mode, postselect)
    for name in NAMES
    for method, mode in MODES
    for postselect in (None, 1)
    if (name, method, postselect) != ("lightning.qubit", "deferred", 1)
]


@by_how
@pytest.mark.parametrize(("name", "postselect"), [(NAMES[0], None), (NAMES[0], 1), (NAMES[1], None)])
@pytest.mark.parametrize("measure", list(MIDDLE.values())[:3], ids=list(MIDDLE)[:3])
def test_analytic_mid_circuit_measurements_are_equal(
    pair: Any, measure: Any, name: str, how: Any, postselect: Any
) -> None:
    circuit = measured_midway(measure, postselect=postselect, reset=True)
    qnode, electron = pair(circuit, name, wires=5, mcm_method="deferred")
    assert differences(qnode(X), how(electron)(X)) == []


BY_TREE = ("tree-traversal", "hw-like")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "method", "mode", "postselect"), [way for way in WAYS if way[1:] != (*BY_TREE, 1)])
@pytest.mark.parametrize("measure", MIDDLE.values(), ids=MIDDLE)
def test_mid_circuit_measurements_draw_the_same_samples(
    pair: Any, measure: Any, name: str, method: str, mode: str, postselect: Any
) -> None:
    circuit = measured_midway(measure, postselect=postselect)
    qnode, electron = pair(circuit, name, shots=8, wires=5, mcm_method=method, postselect_mode=mode)
    one, other = qnode(X), electron(X)
    if (method, mode) == BY_TREE and measure is MIDDLE["sample"]:
        one, other = in_order(one), in_order(other)
    assert differences(one, other) == []


def in_order(samples: list[Any]) -> list[Any]:
    """Samples of several measurements, sorted by what they are together in a shot.

    By tree traversal the QNode's come branch by branch, and on Lightning as booleans.
    """
    order = np.lexsort([column for part in samples for column in np.reshape(part, (len(part), -1)).T])
    return [np.asarray(part, int)[order] for part in samples]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("measure", MIDDLE.values(), ids=MIDDLE)
def test_postselection_by_tree_traversal_with_shots_which_pennylane_weighs_wrongly_is_refused(
    electron: Any, measure: Any, name: str
) -> None:
    device = qml.device(name, wires=5)
    qnode = qml.QNode(measured_midway(measure, postselect=1), device, shots=8, mcm_method="tree-traversal")
    with pytest.raises(qexec.NoExecutorError, match="tree-traversal"):
        electron(qnode)(X)
