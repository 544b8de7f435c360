"""The examples run, and print what they are there to show."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from fakes import programs

EXAMPLES = Path(__file__).parents[2] / "examples"
SHOWN = {
    "vqe_h2.py 1": ["step  0", "exact -1.1361 Ha", "aer", "cirq.simulator"],
    "qaoa_torch.py 2": ["step  1", "most frequent", "lightning.qubit"],
    "custom_executor.py": ["3 qubits on noisy", "4 qubits on exact: 100.0%"],
    "failover.py 6": ["6 results", "laboratory", "simulator"],
    "six_circuits.py": ["6 circuits ran at the same time", "circuit(3.14) = -1.00"],
    "vqe_that_survives.py 4": ["killed by signal 9", "circuits replayed", "40.00 dollars are to be paid"],
    "vqe_run_later.py 4": ["step  3", "found -1.13608", "exact -1.136088", "default.qubit", "lightning.qubit"],
    "ensemble_classifier.py": ["the majority      94%", "60 circuits to learn, 150 to vote", "cirq.simulator"],
    "asyncio_program.py": ["+1.000 +0.540 -0.416 -0.990", "given up", "cancelled: True", "one: +0.878"],
    "dask_task.py": ["lowest energy -1.3107", "= -1.0000, in a task", "in this process: True, 0 circuits"],
    "process_sweep.py 4 3": ["thread", "process", "noise 0.000", "1.000"],
    "batch_benchmark.py 200": ["fidelity", "local_aer/fake_torino", "failed: local_aer/fake_armonk, 2 circuits"],
    "backends_over_time.py bench.db 2": ["local_aer/fake_manila", "distance 0.", "2 runs recorded, 0 changes"],
    "tvd_comparison.py": ["local_cirq/simulator", "machines/fake_yorktown", "the picture is in tvd.png"],
}

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("command", SHOWN)
def test_an_example_runs_and_shows_what_it_is_about(command: str, tmp_path: Path) -> None:
    script, *arguments = command.split()
    path, environment = EXAMPLES / script, {**os.environ, "MPLBACKEND": "Agg"}
    done = programs.run(path.read_text(), *arguments, name=str(path), environment=environment, folder=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert [text for text in SHOWN[command] if text not in done.stdout] == []
    if script == "batch_benchmark.py":
        _every_backend_that_is_online_ran(done.stdout)


def _every_backend_that_is_online_ran(table: str) -> None:
    """Each is in a row, but for the one that is too small and the one that the others are compared with."""
    rows = {row.split()[0]: row.split()[1:] for row in table.splitlines() if "/" in row.partition(" ")[0]}
    ran, online = re.search(r"(\d+) of (\d+) backends ran", table).groups()  # type: ignore[union-attr]
    assert ran == online == str(len(rows) + 2)
    assert len([name for name in rows if name.startswith("local_aer/fake_")]) >= 59
    assert rows["local_pennylane/default.qubit"][2] == rows["local_cirq/simulator"][2] == "0.000"


def test_every_example_is_run() -> None:
    assert {command.split()[0] for command in SHOWN} == {path.name for path in EXAMPLES.glob("*.py")}


def test_no_example_is_longer_than_60_lines() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in EXAMPLES.glob("*.py")}
    assert {name: length for name, length in lengths.items() if length > 60} == {}
