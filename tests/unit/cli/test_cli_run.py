"""qexec run: circuits from files, on backends of any provider."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
from rich.console import Console
from typer.testing import CliRunner

from pennylane_qexec.cli import app
from pennylane_qexec.cli.report import find
from pennylane_qexec.cli.run import follow
from pennylane_qexec.experiment import Record
from pennylane_qexec.job import JobState

BELL = """OPENQASM 2.0;
include "qelib1.inc";
qreg q[2];
creg c[2];
h q[0];
cx q[0],q[1];
measure q -> c;
"""
ONE = """OPENQASM 3.0;
include "stdgates.inc";
qubit[6] q;
bit[6] c;
x q[0];
c = measure q;
"""
SIMULATOR, CIRQ, MANILA = "local_aer/aer_simulator", "local_cirq/simulator", "local_aer/fake_manila"


@pytest.fixture(autouse=True)
def _files(_no_credentials: None) -> None:
    Path("bell.qasm").write_text(BELL)
    Path("one.qasm").write_text(ONE)


def _run(*arguments: str, typed: str | None = None) -> Any:
    return CliRunner().invoke(app, ["run", *arguments], input=typed)


def _json(*arguments: str, typed: str | None = None) -> Any:
    result = _run(*arguments, "--json", typed=typed)
    return json.loads(result.stdout)


def _on(*backends: str) -> list[str]:
    return [word for backend in backends for word in ("--backend", backend)]


def test_the_table_shows_outcomes_shots_and_who_ran_them() -> None:
    result = _run("one.qasm", "--shots", "300", *_on(SIMULATOR, CIRQ))
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.stdout.splitlines() if "000001" in line]
    assert "300" in line
    assert "100.0 %" in line
    lines = [line for line in result.stdout.splitlines() if "local_" in line]
    assert [line.split()[1] for line in lines] == [SIMULATOR, CIRQ]
    assert all("150" in line and "done" in line for line in lines)
    assert result.stderr.strip() == ""


def test_json_has_results_by_backend_merged_results_and_jobs() -> None:
    found = _json("one.qasm", "bell.qasm", "--shots", "100", *_on(SIMULATOR, CIRQ))
    assert list(found) == ["circuits", "results", "merged", "problem", "errors", "jobs"]
    assert found["circuits"] == ["one.qasm", "bell.qasm"]
    assert found["results"]["local_aer"]["aer_simulator"][0] == {"000001": 50}
    assert found["results"]["local_cirq"]["simulator"][0] == {"000001": 50}
    assert found["merged"][0] == {"000001": 100}
    assert sum(found["merged"][1].values()) == 100
    assert set(found["merged"][1]) <= {"00", "11"}
    assert (found["problem"], found["errors"]) == (None, {})
    assert sorted((job["circuit"], job["backend"], job["shots"], job["state"]) for job in found["jobs"]) == [
        (0, "aer_simulator", 50, "done"),
        (0, "simulator", 50, "done"),
        (1, "aer_simulator", 50, "done"),
        (1, "simulator", 50, "done"),
    ]


def test_a_seed_gives_equal_results() -> None:
    options = ["bell.qasm", "--shots", "1000", "--seed", "7", *_on(SIMULATOR, MANILA)]
    assert _json(*options)["results"] == _json(*options)["results"]


def test_a_circuit_may_come_from_standard_input() -> None:
    assert _json("-", "--shots", "10", typed=ONE)["merged"] == [{"000001": 10}]


def test_without_a_merge_results_stay_apart() -> None:
    options = ["one.qasm", "--shots", "10", "--split", "multiplier", "--merge", "none", *_on(SIMULATOR, CIRQ)]
    found = _json(*options)
    assert found["merged"] is None
    assert found["results"]["local_cirq"]["simulator"] == [{"000001": 10}]
    assert "100.0 %" in _run(*options).stdout


def test_distances_are_from_the_reference_that_is_named() -> None:
    compared = ["--split", "multiplier", "--merge", "tvd", "--reference", CIRQ, *_on(SIMULATOR, CIRQ)]
    assert _json("one.qasm", "bell.qasm", *compared)["merged"][SIMULATOR][0] == 0.0


def test_a_job_that_failed_is_shown_with_its_error_and_the_others_results_are_there() -> None:
    options = ["one.qasm", "--shots", "10", "--split", "multiplier", *_on(MANILA, SIMULATOR)]
    found = _json(*options)
    assert found["results"] == {"local_aer": {"fake_manila": [None], "aer_simulator": [{"000001": 10}]}}
    assert found["merged"] is None
    assert "1 of 2 jobs have no result" in found["problem"]
    assert "5 qubits" in found["errors"][MANILA][0]
    result = _run(*options)
    assert result.exit_code == 1
    assert "000001" in result.stdout
    assert "has 5 qubits" in " ".join(result.stderr.split())
    assert "Not merged: 1 of 2 jobs have no result" in " ".join(result.stderr.split())


def test_what_is_there_is_merged_if_asked_for_and_it_still_counts_as_failed() -> None:
    options = ["one.qasm", "--shots", "10", "--split", "multiplier", "--merge", "aggregate", "--on-failure", "partial"]
    result = _run(*options, "--json", *_on(MANILA, SIMULATOR))
    assert json.loads(result.stdout)["merged"] == [{"000001": 10}]
    assert result.exit_code == 1


def test_backends_that_run_all_shots_are_kept_apart_unless_a_merge_is_asked_for() -> None:
    options = ["one.qasm", "--shots", "10", "--split", "multiplier", "--json", *_on(SIMULATOR, CIRQ)]
    assert json.loads(_run(*options).stdout)["merged"] == {SIMULATOR: [{"000001": 10}], CIRQ: [{"000001": 10}]}


def test_where_nothing_came_back_there_is_a_table_and_no_picture() -> None:
    result = _run("one.qasm", "--split", "multiplier", "--plot", "counts.png", *_on(MANILA))
    assert result.exit_code == 1
    assert "failed" in result.stdout
    assert not Path("counts.png").exists()


def test_the_picture_and_the_file_are_written() -> None:
    result = _run("bell.qasm", "--plot", "counts.png", "--save", "bell.json")
    assert result.exit_code == 0, result.output
    assert Path("counts.png").read_bytes()[:4] == b"\x89PNG"
    assert json.loads(Path("bell.json").read_text())["records"][0]["shots"] == 1024


def test_of_many_circuits_six_are_shown() -> None:
    result = _run(*["one.qasm"] * 8, "--shots", "10")
    assert result.stdout.count("000001") == 6
    assert "2 more circuits are not shown" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.qasm"], "missing.qasm cannot be read"),
        (["hello.txt"], "hello.txt is no OpenQASM"),
        (["/dev/zero"], "'/dev/zero' is no ordinary file"),
        (["."], ". cannot be read"),
        (["\0.qasm"], "cannot be read"),
        (["bytes.bin"], "bytes.bin is no text"),
        (["wrong2.qasm"], "wrong2.qasm: OpenQASM 2 that Qiskit does not read: <input>:3,0"),
        (["wrong3.qasm"], "wrong3.qasm: OpenQASM 3 that Qiskit does not read: line 2, column 8"),
        (["loop3.qasm"], "loop3.qasm: OpenQASM 3 that Qiskit does not read"),
        (["-", "-"], "standard input ('-') can be read only once"),
        (["bell.qasm", "--shots", "0"], "--shots 0 must be at least 1"),
        (["bell.qasm", "--seed", "-1"], "seed=-1 must be a whole number"),
        (["bell.qasm", "--timeout", "0"], "timeout=0.0 must be a positive number"),
        (["bell.qasm", "--backend", "local_aer/fake_manilla"], "Did you mean 'fake_manila'?"),
        (["bell.qasm", "--backend", "local_are/aer_simulator"], "Did you mean 'local_aer'?"),
        (["bell.qasm", "--backend", "fake_manila"], "write 'provider/backend'"),
        (["bell.qasm", "--split", "unifrom"], "Did you mean 'uniform'?"),
        (["bell.qasm", "--merge", "agregate"], "Did you mean 'aggregate'?"),
        (["bell.qasm", "--merge", "tvd", "--backend", MANILA], "there is one"),
        (["bell.qasm", "--merge", "tvd", *_on(MANILA, CIRQ)], "Name one of them with --reference"),
        (["bell.qasm", "--reference", CIRQ], "is for --merge tvd and --merge hellinger"),
        (["bell.qasm", "--on-failure", "retry"], "Known: partial, refuse, rerun"),
        (["bell.qasm", "--save", "missing/a.json"], "there is no folder 'missing'"),
        (["bell.qasm", "--plot", "a.txt"], "is no kind of picture"),
    ],
)
def test_what_makes_no_sense_is_an_error_in_a_few_words_before_anything_runs(
    arguments: list[str], message: str
) -> None:
    Path("hello.txt").write_text("hello")
    Path("bytes.bin").write_bytes(b"\xff\xfe")
    Path("wrong2.qasm").write_text("OPENQASM 2.0;\nqreg q[1];\nhh q[0];\n")
    Path("wrong3.qasm").write_text("OPENQASM 3.0;\nqubit[2 q;\n")
    Path("loop3.qasm").write_text('OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[2] q;\nfor int i in [0:1] {h q[i];}\n')
    result = _run(*arguments, typed=BELL)
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.output
    assert result.stdout == ""


class Moved:
    """An experiment of which a job failed, and its shots were run elsewhere."""

    errors: ClassVar = {"a": {"b": [ValueError("no")]}}
    records: ClassVar = [
        Record(0, 0, "a", "b", 5, JobState.FAILED, error="no"),
        Record(0, 0, "a", "c", 5, JobState.DONE),
    ]

    def get_merged_results(self) -> Any:
        return [{"0": 5}]


def test_a_failure_that_was_made_good_is_one_only_where_nobody_asked_for_that() -> None:
    collector: Any = Moved()
    assert find(["0.qasm"], collector, merges=True, forgives=True).failed is False
    assert find(["0.qasm"], collector, merges=True, forgives=False).failed is True


class Interrupted:
    """An experiment during which somebody presses Ctrl-C."""

    progress = 0.5
    cancelled = False

    def wait(self, timeout: float | None = None) -> bool:
        raise KeyboardInterrupt

    def cancel(self) -> None:
        self.cancelled = True


def test_ctrl_c_cancels_the_experiment() -> None:
    experiment = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        follow(experiment, Console(quiet=True))
    assert experiment.cancelled


def test_ctrl_c_is_said_and_has_a_status_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def press(experiment: Any, console: Console) -> None:
        experiment.wait()
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["pennylane_qexec.cli.run"], "follow", press)
    result = _run("bell.qasm")
    assert result.exit_code == 130
    assert "Cancelled: 1 of 1 jobs were done" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("wrong", [["nowhere.qasm"], ["bell.qasm", "--split", "none"], ["bell.qasm", "--shots", "0"]])
def test_a_program_that_reads_json_is_told_what_went_wrong(wrong: list[str]) -> None:
    result = _run(*wrong, "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"].split(":")[0] in ("ConfigurationError", "PolicyError")


def test_a_picture_that_cannot_be_written_leaves_the_results_and_says_so() -> None:
    Path("taken.png").mkdir()
    result = _run("bell.qasm", "--shots", "10", "--plot", "taken.png", "--json")
    assert result.exit_code == 2
    assert sum(json.loads(result.stdout)["merged"][0].values()) == 10
    assert "taken.png" in result.stderr


def test_a_file_may_begin_with_the_mark_that_some_editors_write() -> None:
    Path("marked.qasm").write_text(BELL, encoding="utf-8-sig")
    assert sum(_json("marked.qasm", "--shots", "10")["merged"][0].values()) == 10


def test_a_file_may_include_files_below_its_folder_and_no_others() -> None:
    Path("inner").mkdir()
    Path("inner/flip.inc").write_text("gate flip a { U(pi,0,pi) a; }")
    Path("secret.inc").write_text("kittiwake")
    text = 'OPENQASM 2.0; include "{}"; qreg q[1]; creg c[1]; flip q[0]; measure q -> c;'
    Path("inner/one.qasm").write_text(text.format("flip.inc"))
    Path("inner/two.qasm").write_text(text.format("../secret.inc"))
    assert json.loads(_run("inner/one.qasm", "--shots", "5", "--json").stdout)["merged"] == [{"1": 5}]
    refused = _run("inner/two.qasm")
    assert refused.exit_code == 2
    assert "only the standard libraries and files below the folder" in " ".join(refused.stderr.split())
    assert "kittiwake" not in refused.stderr


def test_dynamic_circuits_of_openqasm_run() -> None:
    Path("until.qasm").write_text(
        'include "stdgates.inc"; qubit q; bit[1] c; h q; c[0] = measure q; while (!c[0]) { h q; c[0] = measure q; }'
    )
    assert json.loads(_run("until.qasm", "--shots", "50", "--json").stdout)["merged"] == [{"1": 50}]
