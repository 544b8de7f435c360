"""qexec token: tokens go into the keyring, and are never shown."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import fakes.keyring_backend
import pytest
from typer.testing import CliRunner

from pennylane_qexec import credentials
from pennylane_qexec.cli import app

SECRET = "s3cr3t-t0k3n"


def _token(*arguments: str, typed: str | None = None) -> Any:
    return CliRunner().invoke(app, ["token", *arguments], input=typed)


def _listed() -> dict[str, Any]:
    return {one["provider"]: one for one in json.loads(_token("list", "--json").stdout)}


def test_a_token_from_standard_input_is_stored_and_not_shown() -> None:
    result = _token("set", "ionq", typed=f"{SECRET}\n")
    assert result.exit_code == 0, result.output
    assert "in the system's keyring" in result.stdout
    assert SECRET not in result.output
    assert credentials.arguments("ionq") == {"api_key": SECRET}


def test_a_token_is_no_argument() -> None:
    result = _token("set", "ionq", SECRET)
    assert result.exit_code == 2
    assert credentials.stored() == []


def test_a_provider_with_several_arguments_gets_those_that_are_named() -> None:
    assert _token("set", "aws", typed=f"aws_access_key_id=me\n{SECRET}==\n").exit_code == 0
    assert credentials.arguments("aws") == {"aws_access_key_id": "me", "aws_secret_access_key": f"{SECRET}=="}


@pytest.mark.parametrize("nothing", ["", "\n", "   \n"])
def test_without_a_token_nothing_is_stored(nothing: str) -> None:
    result = _token("set", "ionq", typed=nothing)
    assert result.exit_code == 2
    assert "no token was given" in " ".join(result.stderr.split())
    assert credentials.stored() == []


def test_a_provider_that_has_no_token_says_what_to_do_instead() -> None:
    result = _token("set", "quantinuum", typed=SECRET)
    assert result.exit_code == 2
    assert "Log in with the provider's own program" in " ".join(result.stderr.split())


def test_a_provider_that_nobody_knows_is_stored_with_a_note() -> None:
    result = _token("set", "inoq", typed=SECRET)
    assert result.exit_code == 0
    assert "inoq is none of the providers that are known" in " ".join(result.stderr.split())
    assert "inoq" in _listed()


def test_the_list_says_where_tokens_come_from_and_shows_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _token("set", "ionq", typed=SECRET)
    monkeypatch.setenv("OQC_AUTH_TOKEN", SECRET)
    (tmp_path / ".env").write_text(f"QBRAID_API_KEY={SECRET}\n")
    found = _listed()
    assert {name: found[name]["source"] for name in ("ionq", "oqc", "qbraid", "qudora")} == {
        "ionq": "keyring",
        "oqc": "environment",
        "qbraid": ".env",
        "qudora": None,
    }
    assert found["ionq"] == {"provider": "ionq", "source": "keyring", "variables": ["IONQ_API_KEY"]}
    table = _token("list").stdout
    assert "environment OQC_AUTH_TOKEN" in table
    assert SECRET not in table + json.dumps(found)


def test_a_token_that_is_removed_is_gone() -> None:
    _token("set", "ionq", typed=SECRET)
    assert _token("remove", "ionq").exit_code == 0
    assert credentials.stored() == []


def test_removing_what_is_not_there_is_an_error_that_names_what_is() -> None:
    _token("set", "ionq", typed=SECRET)
    result = _token("remove", "inoq")
    assert result.exit_code == 2
    assert "Did you mean 'ionq'?" in " ".join(result.stderr.split())


def test_at_a_terminal_the_token_is_asked_for_and_what_is_typed_is_not_shown() -> None:
    here, there = pty.openpty()
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(fakes.keyring_backend.__file__).parents[1]),
        "PYTHON_KEYRING_BACKEND": "fakes.keyring_backend.MemoryKeyring",
    }
    command = [sys.executable, "-c", "from pennylane_qexec.cli import app; app()", "token", "set", "ionq"]
    process = subprocess.Popen(
        command, stdin=there, stdout=there, stderr=there, env=environment, start_new_session=True
    )
    os.close(there)
    shown = ""
    while not shown.endswith("(not shown): "):  # the space comes when the terminal no longer shows what is typed
        shown += os.read(here, 1000).decode()
    os.write(here, f"{SECRET}\n".encode())
    while "keyring" not in shown:
        shown += os.read(here, 1000).decode()
    assert process.wait(timeout=60) == 0
    os.close(here)
    assert "api_key of ionq (not shown)" in shown
    assert SECRET not in shown
