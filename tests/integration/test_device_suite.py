"""PennyLane's own device tests, through pl-device-test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

THREE = "lightning.qubit,aer,cirq.simulator"
SCRIPTS = Path(sys.executable).parent
SHOTS = ["None", "20000"]


def run_suite(folder: Path, device: str, shots: str, executors: str | None = None) -> dict[str, set[str]]:
    """Run pl-device-test; returns the names of the tests that passed, were skipped, and failed."""
    report = folder / "report.xml"
    command = [
        str(SCRIPTS / "pl-device-test"),
        "--device",
        device,
        "--shots",
        shots,
        "--skip-ops",
        "-q",
        f"--junitxml={report}",
    ]
    if executors is not None:
        command += ["--device-kwargs", f"executors={executors}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PATH"] = f"{SCRIPTS}{os.pathsep}{os.environ.get('PATH', '')}"
    subprocess.run([*command, "-p", "no:cacheprovider"], cwd=folder, env=environment, capture_output=True, check=False)
    results: dict[str, set[str]] = {"passed": set(), "skipped": set(), "failed": set()}
    for case in ElementTree.parse(report).iter("testcase"):
        outcomes = {child.tag for child in case}
        kind = "failed" if outcomes & {"failure", "error"} else "skipped" if "skipped" in outcomes else "passed"
        results[kind].add(f"{case.get('classname')}::{case.get('name')}")
    return results


@pytest.fixture(scope="module")
def lightning(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, set[str]]]:
    """What lightning.qubit alone passes and skips, by shots."""
    return {shots: run_suite(tmp_path_factory.mktemp("bare"), "lightning.qubit", shots) for shots in SHOTS}


@pytest.mark.parametrize("executors", [None, THREE], ids=["one executor", "three executors"])
@pytest.mark.parametrize("shots", SHOTS)
def test_the_cluster_passes_what_its_sub_devices_pass_and_skips_nothing_else(
    shots: str, executors: str | None, tmp_path: Path, lightning: dict[str, dict[str, set[str]]]
) -> None:
    ours = run_suite(tmp_path, "qexec.cluster", shots, executors)
    assert ours["failed"] == set()
    assert ours["skipped"] <= lightning[shots]["skipped"]
    assert len(ours["passed"]) >= len(lightning[shots]["passed"])
