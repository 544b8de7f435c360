"""How many functions of the package a warm call of a QNode passes through, and what is asked once for a structure."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pennylane as qml
import pytest

import pennylane_qexec as qexec
from pennylane_qexec.engine import process_pool

ROOT = str(Path(qexec.__file__).parent)


def qnode(device: Any, shots: int | None = None) -> Any:
    def circuit(x: float) -> Any:
        qml.RX(x, 0)
        qml.RY(x, 1)
        qml.CNOT([0, 1])
        return qml.expval(qml.Z(1))

    return qml.QNode(circuit, device, shots=shots)


def hands(call: Any) -> Counter[str]:
    """The functions of the package that a call enters, and how often."""
    entered: Counter[str] = Counter()

    def note(frame: Any, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(ROOT):
            entered[f"{code.co_filename}:{code.co_firstlineno}"] += 1

    sys.setprofile(note)
    try:
        call(0.3)
    finally:
        sys.setprofile(None)
    return entered


@pytest.mark.parametrize(
    ("executor", "shots", "functions", "calls"),
    [("lightning.qubit", None, 100, 130), ("lightning.qubit", 100, 105, 150), ("aer", 100, 155, 190)],
)
def test_a_warm_call_passes_through_few_functions(
    open_device: Any, monkeypatch: pytest.MonkeyPatch, executor: str, shots: int | None, functions: int, calls: int
) -> None:
    monkeypatch.setattr(type(process_pool.shared_pool), "warm", False)  # or it is asked where the circuit runs best
    call = qnode(open_device(executor, wires=2), shots)
    for angle in (0.1, 0.2, 0.3, 0.4):
        call(angle)
    entered = hands(call)
    assert (len(entered) <= functions, entered.total() <= calls) == (True, True), entered


def test_a_simulator_is_asked_once_whether_it_differentiates_circuits_of_a_structure(
    open_device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = open_device("lightning.qubit", wires=2)
    (executor,) = device.cluster.executors
    kind: Any = type(executor.device())
    supports, asked = kind.supports_derivatives, []

    def noted(self: Any, config: Any, circuit: Any) -> Any:
        if circuit is not None:
            asked.append(circuit)
        return supports(self, config, circuit)

    monkeypatch.setattr(kind, "supports_derivatives", noted)
    for angle in (0.1, 0.2, 0.3):
        qnode(device)(angle)
    assert len(asked) == 1
    qml.QNode(lambda: qml.probs(wires=0), device)()
    assert len(asked) == 2


def test_executors_of_ones_own_are_asked_about_every_circuit(open_device: Any) -> None:
    class Own(qexec.testing.ScriptedExecutor):
        asked = 0

        def rejects(self, circuit: Any) -> str | None:
            self.asked += 1
            return None if self.asked < 4 else "is tired"

    own = Own()
    device = open_device([own], wires=2)
    for angle in (0.1, 0.2, 0.3):
        qnode(device, 10)(angle)
    assert own.asked == 3
    with pytest.raises(qexec.NoExecutorError, match="is tired"):
        qnode(device, 10)(0.4)


def test_executors_that_go_by_structure_are_asked_about_each_once_and_may_go_offline(open_device: Any) -> None:
    class ByStructure(qexec.testing.ScriptedExecutor):
        by_structure = True
        asked, online = 0, True

        def rejects(self, circuit: Any) -> str | None:
            self.asked += 1
            return None

        def status(self) -> qexec.Status:
            return qexec.Status(self.online)

    own = ByStructure()
    call = qnode(open_device([own], wires=2), 10)
    for angle in (0.1, 0.2, 0.3):
        call(angle)
    assert own.asked == 1
    own.online = False
    with pytest.raises(qexec.NoExecutorError, match="is offline"):
        call(0.4)


def test_another_policy_counts_from_the_next_call_on(open_device: Any) -> None:
    device = open_device(["lightning.qubit", "default.qubit"], wires=2)
    call = qnode(device)
    for angle in (0.1, 0.2, 0.3, 0.4):
        call(angle)
    assert {row.executor for row in device.history} == {"lightning.qubit", "default.qubit"}
    device.cluster.use(selector=lambda circuit, executors: executors[1])
    for angle in (0.1, 0.2):
        call(angle)
    assert [row.executor for row in device.history[-2:]] == ["default.qubit"] * 2
