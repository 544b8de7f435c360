"""The way of a call through the package is short enough to be followed in a debugger."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pennylane as qml
import pytest

import pennylane_qexec as qexec
from pennylane_qexec.engine import process_pool

PACKAGE = str(Path(qexec.__file__).parent)
WARM = 12


@qml.qnode(qml.device("null.qubit", wires=2))
def circuit(x: float) -> Any:
    qml.RX(x, 0)
    qml.RY(x, 1)
    qml.CNOT([0, 1])
    return qml.expval(qml.Z(1))


@pytest.mark.parametrize(
    ("executor", "shots", "functions", "files"),
    [("lightning.qubit", None, 90, 27), ("lightning.qubit", 100, 105, 31), ("aer", 100, 137, 35)],
)
def test_a_warm_call_enters_few_functions_in_few_files(
    monkeypatch: pytest.MonkeyPatch, executor: str, shots: int | None, functions: int, files: int
) -> None:
    monkeypatch.setattr(process_pool, "shared_pool", process_pool.ProcessPool())  # without workers of other tests
    entered: set[tuple[str, int]] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(PACKAGE):
            entered.add((code.co_filename, code.co_firstlineno))

    with qml.device("qexec.cluster", wires=2, executors=executor) as device:
        call = qml.set_shots(circuit.update(device=device), shots)
        for number in range(WARM):
            call(number / 10)
        before = sys.getprofile()
        sys.setprofile(note)
        try:
            call(0.3)
        finally:
            sys.setprofile(before)
    assert len(entered) <= functions
    assert len({file for file, _ in entered}) <= files
