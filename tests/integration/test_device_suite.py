"""PennyLane's own device tests, over a cluster of each kind of executor that runs on this machine.

Bare devices are not run here: what they cannot do is in the table below, and everything else has to pass. All tests run
over ``default.qubit`` without and over three executors with shots, a part of them over each of the others. To run all:
``python tests/integration/device_suite.py None report.json cirq.simulator qexec.cluster:executors=cirq.simulator``.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import device_suite
import pytest
from pennylane.devices import tests

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(1200)]

THREE = "lightning.qubit,aer,cirq.simulator"
SHOTS = ["None", "20000"]
PARTS, MORE_PARTS = 8, 32
"""Of how many parts of the tests one is run over a simulator, and over one that takes a second for a few of them."""

_OF_LEGACY = "BlockEncode|DoubleExcitation(Plus|Minus)|SparseHamiltonian"
_OF_CIRQ = f"{_OF_LEGACY}|BasisEmbedding|GlobalPhase|BasisState is only supported in analytic mode"
_OF_STATE_VECTORS = "test_backprop_state|test_BasisRotation|test_FlipSign|test_MottonenStatePreparation_state"
"""PennyLane skips them where "mixed" is in the device's name: a density matrix is no state vector."""
_OF_BLOCKS = "QubitDensityMatrix|test_QSVT"
_BAD_OBSERVABLES = r"Hermitian\(|Projector\(|SparseHamiltonian\("


class Kind(NamedTuple):
    """What the tests find out about an executor.

    Attributes:
        lacks: a pattern for what it refuses, as its bare device does.
        fails: a pattern for tests that fail, as they do on its bare device.
        skips: a pattern for tests of operations that neither can do.
        backprop: whether it can be differentiated through, so that no such test is skipped.
        parts: of how many parts of the tests one is run.
    """

    lacks: str = "nothing"
    fails: str = "nothing"
    skips: str = "QubitDensityMatrix"
    backprop: bool = False
    parts: int = PARTS


KINDS = {
    "default.qubit": Kind(backprop=True),
    "lightning.qubit": Kind(),
    "default.mixed": Kind(fails=_OF_STATE_VECTORS, backprop=True),
    # It measures Hermitians and projectors in a wrong basis, which is right for some; asserts that it supports what is
    # in a Select with the graph of decompositions, and does not; and takes measurements of states for those of samples.
    "reference.qubit": Kind(
        lacks=_BAD_OBSERVABLES,
        fails=r"test_Select\[graph_enabled|test_sample_measurement_with_shots",
        skips=_OF_BLOCKS,
        parts=MORE_PARTS,
    ),
    "cirq.simulator": Kind(lacks=_OF_CIRQ, skips=_OF_BLOCKS, parts=MORE_PARTS),
    # A measurement of the user's own is given its density matrix as if it were a state vector.
    "cirq.mixedsimulator": Kind(
        lacks=f"{_OF_CIRQ}|takes for state vectors", fails=_OF_STATE_VECTORS, skips=_OF_BLOCKS, parts=MORE_PARTS
    ),
    # PennyLane skips the template, as the device lacks controlled unitaries; Qiskit panics at what it decomposes into.
    "qiskit.aer": Kind(
        lacks=f"{_OF_LEGACY}|ControlledPhaseShift", fails="test_QuantumMonteCarlo", skips=_OF_BLOCKS, parts=MORE_PARTS
    ),
    "aer": Kind(),
    "jax": Kind(backprop=True),
    # A tracker counts three executions of a circuit whose shots are split over three.
    THREE: Kind(fails="test_tracker_updated_in_execution_mode"),
}

WHATEVER_RUNS_IT = re.compile(
    "analytic|interface|only works with|shots!?=None no|Shots must be specified|update state information|"
    "do not support CV|only works on qutrit|not support custom measurement transforms"
)
"""Why tests are skipped that do not depend on who runs the circuits."""


def runs(shots: str) -> dict[str, str]:
    """For each kind of executor, the run of the device suite: all tests, or a part that is another one with shots."""
    everything = "default.qubit" if shots == "None" else THREE
    chosen = {}
    for index, (kind, known) in enumerate(KINDS.items()):
        split = ":split=uniform" if kind == THREE and shots != "None" else ""
        part = "" if kind == everything else f"@{(index + SHOTS.index(shots)) % known.parts}/{known.parts}"
        chosen[kind] = f"qexec.cluster:executors={kind}{split}{part}"
    return chosen


def unexpected(known: Kind, report: dict[str, Any]) -> dict[str, str]:
    """The tests that did not pass although they pass on the bare device, and why."""
    found = {}
    for test, outcome in report["outcomes"].items():
        reason = report["reasons"].get(test, "")
        if outcome == "refused":
            expected = re.search(known.lacks, reason)
        elif outcome == "failed":
            expected = re.search(known.fails, test)
        elif "diff_method" in reason:
            expected = not known.backprop
        elif "operation not supported" in reason:
            expected = re.search(known.skips, test)
        else:
            expected = outcome == "passed" or WHATEVER_RUNS_IT.search(reason)
        if not expected:
            found[test] = f"{outcome}: {reason}"
    return found


@pytest.mark.parametrize("shots", SHOTS)
def test_clusters_pass_what_their_devices_pass_and_skip_nothing_else(shots: str, tmp_path: Path) -> None:
    asked, path = runs(shots), tmp_path / "report.json"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-W", "ignore", device_suite.__file__, shots, str(path), *asked.values()]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    reports = json.loads(path.read_text())
    assert {kind: unexpected(known, reports[asked[kind]]) for kind, known in KINDS.items()} == {
        kind: {} for kind in KINDS
    }
    for kind, known in KINDS.items():
        report, parts = reports[asked[kind]], known.parts if "@" in asked[kind] else 1
        assert len(report["outcomes"]) >= 450 // parts
        assert set(report["circuits"]) == set(kind.split(","))
        assert sum(report["circuits"].values()) >= 200 // parts


def test_pytest_is_given_what_the_command_of_pennylane_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str]] = []
    command = ["pl-device-test", "--device", "qexec.cluster", "--shots", "None", "--skip-ops"]
    monkeypatch.setattr(sys, "argv", [*command, "--device-kwargs", f"executors={THREE}"])
    monkeypatch.setattr(tests, "subprocess", SimpleNamespace(run=lambda command, check: given.append(command)))
    tests.cli()
    assert given == [["pytest", *device_suite.arguments("qexec.cluster", [f"executors={THREE}"], "None")]]
