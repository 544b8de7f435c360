"""The qexec command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pennylane_qexec.cli import app

runner = CliRunner()


def test_help_names_the_commands() -> None:
    result = runner.invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "demo" in result.output
    assert "executors" in result.output


def test_the_version_is_printed() -> None:
    assert runner.invoke(app, ["--version"]).output.startswith("pennylane-qexec 0.")


@pytest.mark.slow
def test_executors_are_listed_for_programs() -> None:
    result = runner.invoke(app, ["executors", "--json"])
    found = {one["spec"]: one for one in json.loads(result.output)}
    assert found["lightning.qubit"] == {
        "spec": "lightning.qubit",
        "kind": "simulator",
        "shots": "optional",
        "usable": True,
        "reason": "",
    }
    assert found["qiskit.remote"]["usable"] is False
    assert "backend" in found["qiskit.remote"]["reason"]
    assert "qexec.cluster" not in found


@pytest.mark.slow
def test_the_demo_finds_the_energy_and_shows_who_ran_what(tmp_path: Path) -> None:
    picture = tmp_path / "demo.png"
    arguments = ["demo", "--executors", "lightning.qubit,default.qubit", "--steps", "4", "--picture", str(picture)]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "exact energy:      -1.13728 hartree" in result.output
    sigmas = float(result.output.split("(")[1].split(" standard errors")[0])
    assert sigmas < 5
    assert "default.qubit" in result.output
    assert picture.stat().st_size > 10_000


def test_a_wrong_executor_is_an_error_in_one_line() -> None:
    result = runner.invoke(app, ["demo", "--executors", "lightnig.qubit"])
    assert result.exit_code == 2
    assert "Did you mean 'lightning.qubit'?" in " ".join(result.output.split())
    assert "Traceback" not in result.output


def test_a_picture_that_cannot_be_written_is_refused_before_anything_runs(tmp_path: Path) -> None:
    result = runner.invoke(app, ["demo", "--picture", str(tmp_path / "missing" / "demo.png")])
    assert result.exit_code == 2
    assert "there is no folder" in " ".join(result.output.split())
