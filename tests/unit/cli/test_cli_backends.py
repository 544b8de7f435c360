"""qexec backends: what circuits can be sent to."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import CliRunner

from pennylane_qexec.cli import app


def _backends(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["backends", *arguments])


def test_json_lists_backends_and_no_errors() -> None:
    result = _backends("--provider", "local_cirq", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["errors"] == {}
    assert {
        "provider": "local_cirq",
        "backend": "simulator",
        "kind": "simulator",
        "qubits": None,
        "online": True,
    } in found["backends"]


def test_the_local_providers_are_listed_without_being_asked_for() -> None:
    found = json.loads(_backends("--json").stdout)["backends"]
    assert {"local_aer", "local_pennylane", "local_cirq"} <= {one["provider"] for one in found}
    (manila,) = [one for one in found if one["backend"] == "fake_manila"]
    assert (manila["kind"], manila["qubits"]) == ("noisy simulator", 5)
    assert len(found) >= 62


def test_several_providers_may_be_named_and_only_those_are_listed() -> None:
    result = _backends("--provider", "local_cirq", "--provider", "local_aer", "--online", "--json")
    assert {one["provider"] for one in json.loads(result.stdout)["backends"]} == {"local_cirq", "local_aer"}


def test_the_table_keeps_names_in_one_piece() -> None:
    table = _backends("--provider", "local_cirq").stdout
    assert "density_matrix_simulator" in table
    assert "any" in table


def test_a_provider_that_was_named_and_cannot_be_used_is_a_failure_with_the_reason() -> None:
    result = _backends("--provider", "ionq", "--provider", "local_cirq")
    assert result.exit_code == 1
    assert "ionq cannot be used: " in result.stdout
    assert "qexec token set ionq" in " ".join(result.stdout.split())
    assert "density_matrix_simulator" in result.stdout


def test_a_provider_that_does_not_exist_is_an_error_in_one_line() -> None:
    result = _backends("--provider", "local_are")
    assert result.exit_code == 2
    assert "Did you mean 'local_aer'?" in " ".join(result.stderr.split())
    assert "Traceback" not in result.output
