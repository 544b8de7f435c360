"""The newest client of IBM, in an environment of its own, finds a server of ours by variables alone, and uses it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.server_process import ServerProcess, server_process
from qiskit_ibm_runtime.fake_provider import FakeProviderForBackendV2

from pennylane_qexec.server.environment import environment

SCRIPT = Path(__file__).parents[1] / "newest" / "client.py"
PYTHON = os.environ.get("QEXEC_NEWEST_CLIENT", "")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.integration,
    pytest.mark.skipif(not PYTHON, reason="`make test` makes an environment with the newest client, and names it"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with server_process(tmp_path_factory.mktemp("server"), ["aer"], {"ada": "token-of-ada-1815"}) as server:
        yield server


@pytest.fixture(scope="module")
def found(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the client has found, by the names of its checks."""
    home = tmp_path_factory.mktemp("home")  # without an account that is saved
    variables = {"HOME": str(home), "PATH": os.environ["PATH"], **environment(server.url, "token-of-ada-1815")}
    answer = subprocess.run(
        [PYTHON, "-W", "ignore", str(SCRIPT)], env=variables, cwd=home, capture_output=True, text=True, timeout=240
    )
    assert answer.returncode == 0, answer.stderr
    answers: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return answers


def test_it_finds_the_account_and_all_backends(found: dict[str, Any]) -> None:
    account = found["account"]
    assert account["instances"] == [environment("http://x", "x")["QISKIT_IBM_INSTANCE"]]
    assert account["backends"] == 2 * (len(FakeProviderForBackendV2().backends()) + 1)
    assert account["least_busy"] >= 150
    assert account["usage"] is account["status"] is True
    assert account["target"] == []


def test_samplers_and_estimators_run_and_are_found_again(found: dict[str, Any]) -> None:
    sampler, estimator = found["sampler_v2"], found["estimator_v2"]
    assert sum(sampler["counts"].values()) == 300
    assert sampler["again"] == sampler["counts"]
    assert sampler["status"] == "DONE"
    assert {"created", "running", "finished"} <= set(sampler["metrics"])
    first, second = estimator["evs"]
    assert 1.2 < first < 1.55  # 1.5 without noise; a standard error is 0.02
    assert 0.2 < second < 0.6  # 0.5
    assert all(0 < one < 0.05 for one in estimator["stds"])


def test_a_sampler_of_quantum_programs_has_the_counts_of_one_of_pubs_at_a_seed(found: dict[str, Any]) -> None:
    assert found["executor_sampler"]["counts"] == found["sampler_v2"]["counts"]


def test_quantum_programs_run_with_tables_and_with_twirling(found: dict[str, Any]) -> None:
    (low, high), (half, quarter) = found["executor_sampler_of_a_table"]["ones"]
    assert low < 0.1
    assert high > 0.85
    assert 0.35 < half < 0.65  # six standard errors, and what readout is wrong
    assert 0.1 < quarter < 0.4
    twirled = found["executor_sampler_with_twirling"]
    assert twirled["shots"] == 400
    zeros, ones, both = twirled["counts"]
    assert zeros["00"] > 340  # 0.95 without 6 standard errors
    assert ones["11"] > 340
    assert both["00"] + both["11"] > 340
    assert 110 < both["00"] < 270
    estimator = found["executor_estimator"]
    assert estimator["evs"] == pytest.approx([0.96, 0.96, -0.96], abs=0.12)  # six standard errors
    assert all(0 < one < 0.03 for one in estimator["stds"])


def test_a_quantum_program_has_its_bits_in_place_and_what_was_passed_through(found: dict[str, Any]) -> None:
    program = found["quantum_program"]
    assert program["shape"] == [50, 3]
    assert program["bits"][0] > 0.7
    assert program["bits"][1] == 0
    assert program["bits"][2] < 0.3
    assert program["passed"] == [0, 1, 2]
    assert 0 < program["seconds"] < 60


def test_a_dry_run_runs_nothing_and_has_the_right_shape(found: dict[str, Any]) -> None:
    assert found["dry_run"] == {"shots": 50, "backend": "mock_manila"}
    assert found["executor_dry_run"] == {"shots": 64}


def test_sessions_and_batches_have_their_jobs(found: dict[str, Any]) -> None:
    assert found["sessions"] == {
        "shots": 20,
        "modes": ["dedicated", "batch"],
        "several": [10, 10, 10],
        "listed": True,
        "closed": False,
    }


def test_jobs_are_listed_tagged_and_deleted(found: dict[str, Any]) -> None:
    jobs = found["jobs"]
    assert jobs["tagged"] is True
    assert jobs["pages"] == [1, 1]
    assert jobs["inputs"] == ["options", "pubs", "support_qiskit", "version"]


def test_what_cannot_be_done_is_said(found: dict[str, Any]) -> None:
    assert found["failures"]["job"] == "RuntimeJobNotFound"
    assert "dynamical_decoupling.enable=True cannot be honoured" in found["failures"]["option"]
