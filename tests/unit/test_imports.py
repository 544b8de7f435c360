"""Importing the package starts nothing, and imports little besides PennyLane."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fakes import programs

pytestmark = pytest.mark.slow

SCRIPT = """
import json, subprocess, sys, threading
import pennylane
before = set(sys.modules)
threads = threading.active_count()
started, popen = [], subprocess.Popen.__init__
subprocess.Popen.__init__ = lambda self, *a, **k: (started.append(1), popen(self, *a, **k))[1]
import pennylane_qexec
print(json.dumps({
    "modules": sorted({name.split(".")[0] for name in set(sys.modules) - before}),
    "threads": threading.active_count() - threads,
    "processes": len(started),
    "names": [name for name in pennylane_qexec.__all__ if not hasattr(pennylane_qexec, name)],
}))
"""
HEAVY = {
    *("matplotlib", "pandas", "cirq", "qiskit", "qiskit_aer", "qbraid", "jax", "torch", "pennylane_lightning"),
    *("pennylane_cirq", "pennylane_qiskit", "pytest", "rich", "typer", "sqlalchemy", "alembic", "psycopg"),
}


@pytest.fixture(scope="module")
def imported() -> Any:
    done = programs.run(SCRIPT)
    return json.loads(done.stdout.splitlines()[-1])


def test_importing_starts_no_thread_and_no_process(imported: Any) -> None:
    assert (imported["threads"], imported["processes"]) == (0, 0)


def test_importing_imports_nothing_heavy_that_pennylane_does_not(imported: Any) -> None:
    assert "pennylane_qexec" in imported["modules"]
    assert HEAVY.isdisjoint(imported["modules"])


def test_every_public_name_is_there(imported: Any) -> None:
    assert imported["names"] == []


def test_a_device_runs_where_jax_is_not_installed() -> None:
    done = programs.run(
        "import sys; sys.modules['jax'] = None; import pennylane as qml; "
        "circuit = qml.qnode(qml.device('qexec.cluster', executors='default.qubit'))(lambda: qml.expval(qml.Z(0))); "
        "print(float(circuit()))"
    )
    assert done.stdout.split() == ["1.0"]
