"""Runs PennyLane's device tests over many devices in one process: ``python device_suite.py SHOTS REPORT RUN...``.

Most of the time of ``pl-device-test`` goes into importing PennyLane, JAX and torch, and into what JAX compiles once for
all devices. A run is ``DEVICE[:KEY=VALUE...][@PART/PARTS]``: a device, its options, and which part of the tests to run,
counted from 0; all of them, if none is given. What came of each run is printed, and written into the report.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pennylane.devices.tests import get_device_tests
from pennylane.exceptions import DeviceError

import pennylane_qexec as qexec

QUIET = (
    *("-qq", "--tb=short", "--no-header", "--no-summary", "-W", "ignore"),
    *("-p", "no:cacheprovider", "-p", "no:xdist"),
)
REASON = 2000


class Recorder:
    """A plugin for pytest: notes how each test ended, and who ran the circuits of the clusters that it opened.

    Args:
        part: which part of the tests to run, from 0.
        parts: of how many.

    Attributes:
        outcomes: of each test ``"passed"``, ``"skipped"``, ``"failed"``, or ``"refused"`` for an operation.
        reasons: what was said of those that did not pass.
        circuits: for each executor's name, how many circuits it ran.
    """

    def __init__(self, part: int, parts: int) -> None:
        self.outcomes: dict[str, str] = {}
        self.reasons: dict[str, str] = {}
        self.circuits: Counter[str] = Counter()
        self._part, self._parts = part, parts
        self._refused: dict[str, str] = {}
        self._opened: list[qexec.QCluster] = []
        self._init = qexec.ClusterDevice.__init__

    def pytest_sessionstart(self) -> None:
        """Keep an eye on the clusters that are opened."""

        def noted(device: qexec.ClusterDevice, *arguments: Any, **options: Any) -> None:
            self._init(device, *arguments, **options)
            self._opened.append(device.cluster)

        qexec.ClusterDevice.__init__ = noted  # type: ignore[assignment, method-assign]

    def pytest_sessionfinish(self) -> None:
        """Look away again."""
        qexec.ClusterDevice.__init__ = self._init  # type: ignore[method-assign]

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Take one test of several neighbours, so that each part has some of every family."""
        items[:] = items[self._part :: self._parts]

    def pytest_runtest_teardown(self) -> None:
        """Count who has run circuits, and close what the test has opened."""
        for cluster in self._opened:
            self.circuits.update(row.executor for row in cluster.history)
            cluster.close()
        self._opened.clear()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        """Tell what is refused from what fails, as PennyLane's tests do; they ask for the very class of the error."""
        error = None if call.excinfo is None else call.excinfo.value
        if isinstance(error, DeviceError) and isinstance(error, qexec.QExecError):
            self._refused[item.nodeid] = str(error)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how a test ended."""
        name = report.nodeid.rpartition("/")[2]
        if report.failed and report.nodeid in self._refused:
            self.outcomes[name], self.reasons[name] = "refused", self._refused[report.nodeid]
        elif report.failed:
            self.outcomes[name], self.reasons[name] = "failed", str(report.longrepr)[-REASON:]
        elif report.skipped:
            self.outcomes[name] = "skipped"
            self.reasons[name] = str(vars(report).get("wasxfail", report.longrepr))
        elif report.when == "call":
            self.outcomes[name] = "passed"


def arguments(device: str, options: list[str], shots: str) -> list[str]:
    """What ``pl-device-test`` gives to pytest."""
    chosen = [f"--device={device}", f"--shots={shots}", "--skip-ops", "--no-flaky-report"]
    return [get_device_tests(), *chosen, *(["--device-kwargs", *options] if options else [])]


def run(what: str, shots: str) -> dict[str, Any]:
    """Run the tests over one device; returns what came of them."""
    device, _, portion = what.partition("@")
    name, *options = device.split(":")
    recorder = Recorder(*(map(int, portion.split("/")) if portion else (0, 1)))
    start = time.process_time()
    pytest.main([*arguments(name, options, shots), *QUIET], plugins=[recorder])
    seconds = time.process_time() - start
    print(what, shots, dict(Counter(recorder.outcomes.values())), dict(recorder.circuits), f"{seconds:.1f} s of CPU")
    return {"outcomes": recorder.outcomes, "reasons": recorder.reasons, "circuits": recorder.circuits}


def main(shots: str, report: str, *runs: str) -> None:
    """Run the tests over each device, and write the report after each."""
    found = {}
    for what in runs:
        found[what] = run(what, shots)
        Path(report).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
