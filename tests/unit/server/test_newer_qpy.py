"""Files of circuits of Qiskit 2.6: read by an older Qiskit, or refused with a reason."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from fakes.newer_circuit import SAMPLE
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import ParameterVector

from pennylane_qexec.server.limits import Limits
from pennylane_qexec.server.programs.newer_qpy import readable, rewritten
from pennylane_qexec.server.programs.tasks import ProgramError

pytestmark = pytest.mark.slow  # importing what it needs takes most of its time

NAME = SAMPLE.index(b"sample")


def expected(angle: float) -> QuantumCircuit:
    circuit = QuantumCircuit(2, 1)
    circuit.rx(angle, 0)
    circuit.rx(0.5, 1)
    circuit.measure(1, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(0)
    return circuit


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_file_of_version_18_is_read_by_a_qiskit_that_knows_17() -> None:
    (circuit,) = qpy.load(io.BytesIO(rewritten(SAMPLE, Limits())))
    assert [one.name for one in circuit.parameters] == ["p[1]"]
    assert isinstance(circuit.parameters[0].vector, ParameterVector)
    assert circuit.assign_parameters([np.pi / 4]) == expected(np.pi / 4)


def test_a_file_that_is_cut_off_is_refused_wherever_it_is() -> None:
    whole = rewritten(SAMPLE, Limits())
    for end in range(NAME, len(SAMPLE)):
        try:
            found = rewritten(SAMPLE[:end], Limits())
        except (ValueError, IndexError):  # ProgramError is one
            continue
        assert found == whole[: len(found)]  # in the layout of qubits, which is copied


def test_a_version_that_nobody_knows_is_refused() -> None:
    newer = bytearray(SAMPLE)
    newer[6] = 19
    with pytest.raises(ProgramError, match="version 19 of QPY, and versions up to 18"):
        readable(bytes(newer), Limits())


def test_a_register_that_says_that_it_is_huge_is_refused() -> None:
    huge = bytearray(SAMPLE)
    place = NAME + len(b"sample") + 8 + len(b"{}") + 2  # after the phase and the metadata; behind a type and a flag
    assert struct.unpack_from("!I", huge, place) == (2,)
    struct.pack_into("!I", huge, place, 2**31)
    with pytest.raises(ProgramError, match="2,147,483,648 bits"):
        rewritten(bytes(huge), Limits())
