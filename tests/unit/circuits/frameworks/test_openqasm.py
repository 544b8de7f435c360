"""OpenQASM 2 and 3 are circuits, as strings and in files."""

from __future__ import annotations

from pathlib import Path

import pytest
from exactly import probabilities

from pennylane_qexec.circuits import frameworks
from pennylane_qexec.errors import ConfigurationError

TWO = """OPENQASM 2.0;
include "qelib1.inc";
qreg q[3];
creg a[2];
creg b[2];
x q[0];
measure q[0] -> b[0];
measure q[2] -> a[1];
if (b == 1) x q[1];
measure q[1] -> a[0];
"""

THREE = """// a comment
/* and a longer
   one */
OPENQASM 3.0;
include "stdgates.inc";
qubit[3] q;
bit[2] a;
bit[2] b;
x q[0];
b[0] = measure q[0];
a[1] = measure q[2];
if (b[0]) { x q[1]; }
a[0] = measure q[1];
"""


@pytest.mark.parametrize(("text", "framework"), [(TWO, "openqasm2"), (THREE, "openqasm3")])
def test_a_text_is_a_circuit_of_its_version(text: str, framework: str) -> None:
    program = frameworks.read(text)
    assert (program.framework, program.name) == (framework, "")
    assert probabilities(program) == {"01 01": 1.0}
    assert probabilities(program, "big") == {"1010": 1.0}


@pytest.mark.parametrize(
    "text",
    [
        '// a comment\ninclude "stdgates.inc";\nqubit[2] q;\nbit[2] c;\nx q[0];\nc = measure q;\n',
        "qubit[2] q; bit[2] c; U(pi, 0, pi) q[0]; c = measure q;",
        'include "qelib1.inc"; qreg q[2]; creg c[2]; x q[0]; measure q -> c;',
    ],
)
def test_a_text_that_does_not_say_its_version_is_read_by_what_it_includes(text: str, tmp_path: Path) -> None:
    path = tmp_path / "circuit.qasm"
    path.write_text(text)
    for circuit in (text, path):
        assert probabilities(frameworks.read(circuit)) == pytest.approx({"01": 1.0})
    assert probabilities(frameworks.read(frameworks.from_text(*frameworks.to_text(path)))) == pytest.approx({"01": 1.0})


def test_a_path_is_a_file_with_a_circuit(tmp_path: Path) -> None:
    path = tmp_path / "circuit.qasm"
    path.write_text(TWO)
    assert probabilities(frameworks.read(path)) == {"01 01": 1.0}


def test_gates_that_older_texts_know_are_known() -> None:
    text = 'OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; u3(pi,0,pi) q[0]; rzz(0.3) q[0],q[1]; sxdg q[1]; sx q[1];'
    assert probabilities(frameworks.read(text)) == pytest.approx({"01": 1.0})


REFUSED = {
    "something else": ("a cat, and a mouse", "begins with 'OPENQASM 2.0;'"),
    "something else with semicolons": ("int main() { return 0; }", "Qiskit does not read"),
    "a name of a file": ("circuit.qasm", "pathlib.Path"),
    "another version": ("OPENQASM 4.0;", "OPENQASM 2.0"),
    "a mistake in version 2": ("OPENQASM 2.0; qreg q[1]; h q[0];", "'h' before definition"),
    "a mistake in version 3": ("OPENQASM 3.0; qubit q; h q;", "h"),
    "what cannot be parsed": ("OPENQASM 3.0; qubit q; x[ q;", "Qiskit does not read"),
    "inputs": ('OPENQASM 3.0; include "stdgates.inc"; input angle theta; qubit q; rx(theta) q;', "values: theta"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_wrong_is_said(what: str) -> None:
    text, message = REFUSED[what]
    with pytest.raises(ConfigurationError, match=message):
        frameworks.read(text)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.qasm' cannot be read"):
        frameworks.read(tmp_path / "none.qasm")


def test_a_gate_that_a_text_defines_by_the_name_of_a_standard_gate_is_what_the_text_says() -> None:
    text = "OPENQASM 2.0; gate h a { U(pi,0,pi) a; } qreg q[1]; creg c[1]; h q[0]; measure q -> c;"
    assert probabilities(frameworks.read(text)) == pytest.approx({"1": 1.0})


def test_a_file_may_begin_with_the_mark_that_some_editors_write(tmp_path: Path) -> None:
    path = tmp_path / "circuit.qasm"
    path.write_text(TWO, encoding="utf-8-sig")
    assert frameworks.to_text(path) == frameworks.to_text(TWO)
