"""Texts of circuits are measured before anything parses them, in time proportional to their length."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from exactly import probabilities

from pennylane_qexec.circuits import frameworks
from pennylane_qexec.circuits.frameworks.limits import check, includes, outline_of, without_comments
from pennylane_qexec.concurrency.files import content_of
from pennylane_qexec.errors import ConfigurationError

TWO = 'OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; creg c[2]; '
THREE = 'OPENQASM 3.0; include "stdgates.inc"; qubit[2] q; bit[2] c; '

ROWS: dict[str, Callable[[int], str]] = {
    "block comments": lambda times: "/**/" * times + "qubit q;",
    "block comments that are no version": lambda times: "/* x */ " * times + "OPENQASM",
    "open comments": lambda times: "/*" * times,
    "stars": lambda times: "/*" + "*" * times,
    "slashes and lines": lambda times: "//\n" * times + "OPENQASM 2.0;",
    "blanks": lambda times: "OPENQASM" + " " * times + "2.0",
    "open texts": lambda times: "include '" * times,
    "includes": lambda times: 'include "' * times,
    "digits": lambda times: "9" * times + "x",
    "numbers": lambda times: "1." * times,
    "signs": lambda times: "rx(" + "-" * times + "1) q;",
    "brackets": lambda times: "(" * times,
    "closing brackets": lambda times: ")" * times,
    "blocks": lambda times: "gate g a { " * times,
    "semicolons": lambda times: ";" * times,
    "at signs": lambda times: "inv @ " * times + "x q;",
    "registers": lambda times: "bit[1] c; c = " * min(times, 4000),
    "words": lambda times: "qreg " * times,
}


@pytest.mark.parametrize("what", ROWS)
def test_twice_the_text_takes_about_twice_as_long(what: str) -> None:
    """Doubled three times, at most 40 times the time: what grows with the square takes 64 times."""

    def seconds(times: int) -> float:
        text = ROWS[what](times)
        best = float("inf")
        for _ in range(3):
            began = time.process_time()
            without_comments(text)
            with suppress(ConfigurationError):
                outline = outline_of(text)
                list(includes(outline))
                check(outline, 2)
            best = min(best, time.process_time() - began)
        return best

    assert seconds(16_000) <= 40 * max(seconds(2_000), 0.002)


HOSTILE: dict[str, tuple[str, str]] = {
    "signs in 2": (TWO + "rx(" + "-" * 20_000 + "1) q[0];", "within each other"),
    "brackets in 2": (TWO + "rx(" + "(" * 20_000 + "1" + ")" * 20_000 + ") q[0];", "within each other"),
    "powers in 2": (TWO + "rx(" + "1^" * 20_000 + "1) q[0];", "within each other"),
    "functions in 2": (TWO + "rx(" + "sin(" * 20_000 + "1" + ")" * 20_000 + ") q[0];", "within each other"),
    "a sum in a definition": (TWO + "gate g(a) b { rx(" + "a+" * 300_000 + "a) b; }", "within each other"),
    "brackets in 3": (THREE + "x q" + "[0" * 1000 + "]" * 1000 + ";", "within each other"),
    "a large register in 2": ("OPENQASM 2.0; qreg q[1000000000];", "too large for every backend"),
    "large registers in 3": ("OPENQASM 3.0; qubit[100] q; bit[100*100*100] c;", "too large for every backend"),
    "a register in hexadecimal": ("OPENQASM 3.0; qubit[0x7fffffff] q;", "too large for every backend"),
    "many registers": ("OPENQASM 2.0; " + "".join(f"qreg q{i}[999];" for i in range(20)), "too large for every"),
    "definitions of definitions": (
        TWO + "gate g0 a { x a; } " + "".join(f"gate g{i + 1} a {{ g{i} a; g{i} a; }} " for i in range(100)),
        "200,000 operations",
    ),
    "definitions of definitions in 3": (
        THREE + "gate g0 a { x a; } " + "".join(f"gate g{i + 1} a {{ g{i} a; g{i} a; }} " for i in range(100)),
        "200,000 operations",
    ),
    "deep definitions": (
        TWO + "gate g0 a { x a; } " + "".join(f"gate g{i + 1} a {{ g{i} a; }} " for i in range(3000)) + "g3000 q[0];",
        "too deep to be followed",
    ),
    "many definitions": (TWO + "".join(f"gate g{i} a {{ x a; }} " for i in range(6000)), "5,000 definitions"),
    "whole registers": ("OPENQASM 2.0; qreg q[9000]; " + "U(0,0,0) q; " * 100, "200,000 operations"),
    "many gates": (TWO + "x q[0];" * 200_001, "200,000 operations"),
    "many words in 3": (THREE + "x q[0];" * 20_000, "up to 100,000. Give it in version 2"),
    "a long text": (TWO + " " * 10_000_000, "10,000,000"),
    "a long number": (TWO + "rx(" + "9" * 300 + ") q[0];", "300 digits"),
    "a loop without an end": (THREE + "for int i in [0:99999999999999999999999999999999999999999] { x q[0]; }", "."),
    "a long loop": (THREE + "for int i in [0:1000000000] { x q[0]; }", "."),
    "loops in loops": (THREE + "for int i in [0:99] { for int j in [0:99] { for int k in [0:99] { x q[0]; } } }", "."),
    "deep blocks": (THREE + "if (c[0]) {" * 300 + "x q[0];" + "}" * 300, "."),
    "texts without an end": (THREE + '"' * 1000, "."),
    "comments without an end": (THREE + "if " + "/* " * 20_000, r"begins with /\* and does not end"),
    "a comment without an end in 2": (TWO + "x q[0]; /*/ measure q -> c;", "does not end"),
    "controls in a row": (THREE + "ctrl @ " * 500 + "h q[0];", r"500 controls of one gate.*write ctrl\(500\) @"),
    "controls of controls": (
        THREE
        + "gate g0 a, b { ctrl @ h a, b; } "
        + "".join(f"gate g{i + 1} a, b {{ negctrl @ g{i} a, b; }} " for i in range(9)),
        "200,000 operations",
    ),
    "a power of a wide gate": (
        "OPENQASM 3.0; qubit[14] q; pow(0.5) @ g(1, 2) " + ", ".join(f"q[{i}]" for i in range(14)) + ";",
        "a power of a gate of 14 qubits: at most 8",
    ),
    "a file of the machine": (TWO + 'include "/etc/passwd";', "no file is read for a text"),
    "a file of the machine in 3": (THREE + "include '/etc/passwd';", "no file is read for a text"),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", HOSTILE)
def test_what_parsers_do_not_stand_is_refused_in_a_sentence(what: str) -> None:
    text, message = HOSTILE[what]
    with pytest.raises(ConfigurationError, match=message) as caught:
        frameworks.read(text)
    assert "root:" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_comments_as_long_as_one_likes_are_left_out() -> None:
    text = TWO + "//\n" * 20_000 + "/* not a comment in version 2, and yet\n */ " * 10 + "x q[0]; measure q -> c;"
    assert probabilities(frameworks.read(text)) == {"01": 1.0}
    assert probabilities(frameworks.read("/* a */" * 1000 + THREE + "x q[0]; c = measure q;")) == {"01": 1.0}


def test_what_stands_in_texts_is_no_comment_and_what_stands_in_comments_is_no_code() -> None:
    text = 'a "// no" /* "b */ c // "d\n e'
    assert outline_of(text).tokens == ["a", '"// no"', "c", "e"]
    assert without_comments(text) == 'a "// no"          c      \n e'


def test_lines_of_errors_stay_where_they_were() -> None:
    with pytest.raises(ConfigurationError, match=":4,0: 'nonsense'"):
        frameworks.read(
            "OPENQASM 2.0;\n// a\n/* b\n*/ nonsense q;".replace("*/ ", "*/\n").replace("/* b\n*/\n", "// b\n")
        )


def folder_of_a_circuit(folder: Path, include: str) -> Path:
    (folder / "below").mkdir()
    (folder / "below" / "deeper").mkdir()
    (folder / "secret.inc").write_text("gate secret a { }")
    (folder / "below" / "own.inc").write_text('include "deeper/more.inc"; gate twice a { once a; once a; }')
    (folder / "below" / "deeper" / "more.inc").write_text("gate once a { U(pi/2,0,0) a; }")
    (folder / "below" / "itself.inc").write_text('include "itself.inc";')
    (folder / "below" / "link.inc").symlink_to(folder / "secret.inc")
    os.mkfifo(folder / "below" / "pipe.inc")
    path = folder / "below" / "circuit.qasm"
    path.write_text(f'OPENQASM 2.0;\ninclude "{include}";\nqreg q[1]; creg c[1]; twice q[0]; measure q -> c;')
    return path


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes and links on this system")
def test_a_file_includes_files_below_its_folder(tmp_path: Path) -> None:
    assert probabilities(frameworks.read(folder_of_a_circuit(tmp_path, "own.inc"))) == pytest.approx({"1": 1.0})


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes and links on this system")
@pytest.mark.parametrize(
    ("include", "message"),
    [
        ("../secret.inc", "below the folder"),
        ("/etc/passwd", "below the folder"),
        ("link.inc", "below the folder"),
        ("itself.inc", "includes itself"),
        ("pipe.inc", "no ordinary file"),
        ("deeper", "no ordinary file|Is a directory"),
        ("none.inc", r"none\.inc' cannot be read"),
        ("\0", "below the folder"),
    ],
)
def test_a_file_includes_nothing_else(tmp_path: Path, include: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        frameworks.read(folder_of_a_circuit(tmp_path, include))
    assert "gate secret" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_devices_pipes_and_folders_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises((ConfigurationError, IsADirectoryError), match=r"no ordinary file|directory"):
            content_of(path, 100)
    (tmp_path / "large").write_bytes(b"x" * 101)
    with pytest.raises(ConfigurationError, match="more than 100 bytes"):
        content_of(tmp_path / "large", 100)


def test_a_file_that_is_no_text_is_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "x.qasm").write_bytes(b"\xff\xfe secret")
    with pytest.raises(ConfigurationError, match="it is no text") as caught:
        frameworks.read(tmp_path / "x.qasm")
    assert "secret" not in str(caught.value)


def test_the_parser_of_version_3_writes_nothing_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigurationError):
        frameworks.read(THREE + "x break ! q;")
    assert capsys.readouterr().err == ""
