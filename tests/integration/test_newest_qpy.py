"""Circuits that the newest Qiskit writes are read as they were meant, whatever Qiskit a server has."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
from pathlib import Path

import pytest
from ibm_quantum_schemas.common.qpy import ANNOTATION_FACTORIES
from qiskit import QuantumCircuit, qpy

from pennylane_qexec.server.limits import Limits
from pennylane_qexec.server.programs.newer_qpy import rewritten

PYTHON = os.environ.get("QEXEC_NEWEST_CLIENT", "")


def read(content: bytes) -> list[QuantumCircuit]:
    circuits: list[QuantumCircuit] = qpy.load(io.BytesIO(content), annotation_factories=ANNOTATION_FACTORIES)
    return circuits


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.skipif(not PYTHON, reason="`make test` makes an environment with the newest client, and names it")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_circuits_of_all_kinds_are_the_same_in_both_versions() -> None:
    script = Path(__file__).parents[1] / "newest" / "circuits.py"
    told = subprocess.run(
        [PYTHON, "-W", "ignore", str(script)], capture_output=True, text=True, timeout=240, check=True
    )
    older, newer = map(base64.b64decode, json.loads(told.stdout))
    circuits = read(rewritten(newer, Limits()))
    for found, expected in zip(circuits, read(older), strict=True):
        assert found == expected
        assert found.parameters == expected.parameters
        assert found.layout == expected.layout
        assert found.metadata == expected.metadata
    assert len(circuits) == 8
