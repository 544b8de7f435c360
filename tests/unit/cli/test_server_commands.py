"""``qexec server-token``, ``env``, ``jobs``, ``show`` and ``cancel``."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pennylane_qexec.cli import app
from pennylane_qexec.server.records import JobStatus, NewServerJob, Records, User, open_records

ADMIN = User("", admin=True)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)  # no qexec.toml of anybody's
    for name in ("QEXEC_URL", "QEXEC_TOKEN", "QEXEC_STORE"):
        monkeypatch.delenv(name, raising=False)
    return str(tmp_path / "lab.db")


@pytest.fixture
def records(store: str) -> Iterator[Records]:
    with open_records(store) as found:
        yield found


def test_a_token_is_shown_once_listed_without_itself_and_revoked(store: str) -> None:
    run = CliRunner()
    made = run.invoke(app, ["server-token", "add", "ada", "--admin", "--store", store])
    token = made.stdout.strip()
    assert store in "".join(made.stderr.split())
    with open_records(store) as records:
        found = records.find(token)
        assert found is not None
        assert (found.name, found.admin) == ("ada", True)
    listed = run.invoke(app, ["server-token", "list", "--store", store, "--json"])
    assert token not in listed.output
    (one,) = json.loads(listed.output)
    assert (one["id"], one["user"], one["admin"], one["revoked"]) == (found.token, "ada", True, None)
    assert run.invoke(app, ["server-token", "revoke", str(one["id"]), "--store", store]).exit_code == 0
    with open_records(store) as records:
        assert records.find(token) is None
    assert "revoked" in run.invoke(app, ["server-token", "list", "--store", store]).output


def test_revoking_a_token_that_was_never_made_is_an_error(store: str, records: Records) -> None:
    answer = CliRunner().invoke(app, ["server-token", "revoke", "7", "--store", store])
    assert answer.exit_code == 2
    assert "There is no token 7" in answer.output


def test_the_variables_of_ibms_client_can_be_evaluated_by_a_shell(store: str) -> None:
    lines = CliRunner().invoke(app, ["env", "https://lab.example/", "--token", "a b"]).output.splitlines()
    words = [shlex.split(line) for line in lines]
    assert all(export == "export" for export, _ in words)
    found = dict(word.split("=", 1) for _, word in words)
    assert found["IAM_URL"] == "https://lab.example"
    assert found["QISKIT_IBM_URL"] == "https://lab.example/experimental/api/v1"
    assert found["QISKIT_IBM_TOKEN"] == "a b"


def test_jobs_of_a_store_are_listed_shown_and_cancelled(store: str, records: Records) -> None:
    records.add(NewServerJob("j1", "ada", "sampler", "fake_manila", tags=("x",)), b"{}", 10)
    records.add(NewServerJob("j2", "bob", "estimator", "ideal"), b"{}", 10)
    run = CliRunner()
    listed = json.loads(run.invoke(app, ["jobs", "--store", store, "--json"]).output)
    assert [job["id"] for job in listed["jobs"]] == ["j2", "j1"]
    assert listed["count"] == 2
    table = run.invoke(app, ["jobs", "--store", store, "--limit", "1"]).output
    assert "j2" in table
    assert "1 more: --limit shows them." in table
    shown = run.invoke(app, ["show", "j1", "--store", store]).output
    assert all(word in shown for word in ("j1", "ada", "sampler", "fake_manila", "queued", "x"))
    assert run.invoke(app, ["cancel", "j1", "j2", "--store", store]).exit_code == 0
    assert all(
        (job := records.job(one, ADMIN)) is not None and job.status is JobStatus.CANCELLED for one in ("j1", "j2")
    )
    again = run.invoke(app, ["cancel", "j1", "--store", store])
    assert again.exit_code == 2
    assert "j1 is not cancelled: it has ended: cancelled" in again.output
    assert json.loads(run.invoke(app, ["jobs", "--store", store, "--pending", "--json"]).output)["jobs"] == []


def test_a_job_that_is_not_there_is_named(store: str, records: Records) -> None:
    answer = CliRunner().invoke(app, ["show", "nowhere", "--store", store])
    assert answer.exit_code == 2
    assert "there is no job 'nowhere'" in answer.output


def test_without_a_name_the_store_is_that_of_a_server_here(store: str, tmp_path: Path) -> None:
    for command in (["jobs"], ["server-token", "list"]):
        answer = CliRunner().invoke(app, command)
        assert answer.exit_code == 2
        assert "there is no store 'qexec.db' here" in " ".join(answer.output.split())
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "qexec.toml").write_text("[server]\nstore = 'lab.db'\n")
    with open_records(store) as records:
        records.add(NewServerJob("j1", "ada", "sampler", "fake_manila"), b"{}", 10)
    assert [job["id"] for job in json.loads(CliRunner().invoke(app, ["jobs", "--json"]).output)["jobs"]] == ["j1"]


def test_a_server_and_a_store_are_one_too_many(store: str) -> None:
    both = CliRunner().invoke(app, ["jobs", "--server", "http://127.0.0.1:1", "--store", store])
    assert both.exit_code == 2
    assert "name one of them" in both.output


def test_a_server_that_does_not_answer_is_named(store: str) -> None:
    answer = CliRunner().invoke(app, ["jobs", "--server", "http://127.0.0.1:1"])
    assert answer.exit_code == 2
    assert "no server answers at http://127.0.0.1:1" in " ".join(answer.output.split())
