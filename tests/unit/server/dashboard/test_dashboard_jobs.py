"""A server's jobs on pages: a user's own, an admin's everybody's; cancelled from a page."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from qiskit import QuantumCircuit
from qiskit.primitives import BackendEstimatorV2, BackendSamplerV2
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer import AerSimulator
from qiskit_ibm_runtime.utils import RuntimeEncoder
from starlette.testclient import TestClient

from pennylane_qexec.errors import StoreError
from pennylane_qexec.persistence.store import NewJob, open_store
from pennylane_qexec.persistence.store.sql import open_transactions
from pennylane_qexec.server.dashboard import views
from pennylane_qexec.server.dashboard.events import Events
from pennylane_qexec.server.dashboard.inspector import Inspector
from pennylane_qexec.server.limits import Limits
from pennylane_qexec.server.records import JobStatus, User

pytestmark = pytest.mark.slow  # importing what it needs takes most of its time


def signed_in(server: Any, name: str, admin: bool = False) -> TestClient:
    browser = TestClient(server.client.app)
    token = server.records.add_token(name, admin)
    form = browser.get("/dashboard/sign-in").text.split('name="form_token" value="')[1].split('"')[0]
    answer = browser.post("/dashboard/sign-in", data={"form_token": form, "token": token}, follow_redirects=False)
    assert answer.status_code == 303
    return browser


def form_token(browser: TestClient, path: str) -> str:
    found = re.search(r'name="form_token" value="(\w+)"', browser.get(path).text)
    assert found is not None
    return found.group(1)


def test_jobs_are_listed_live_and_shown(server: Any) -> None:
    job = server.submit(tags=["chemistry"])
    text = server.client.get("/dashboard/jobs").text
    assert job in text
    assert 'hx-trigger="sse:jobs"' in text
    assert job not in server.client.get("/dashboard/jobs?status=Failed").text
    assert job in server.client.get("/dashboard/jobs?text=chemistry&backend=fake_manila").text
    page = server.client.get(f"/dashboard/jobs/{job}").text
    assert "fake_manila" in page
    assert "Cancel this job" in page
    assert "fake_manila" in server.client.get("/dashboard/").text


def test_pages_of_jobs_follow_each_other(server: Any) -> None:
    ids = [server.submit() for _ in range(60)]
    first = server.client.get("/dashboard/jobs").text
    more = first.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    second = server.client.get(more).text
    found = [job for job in ids if f"/dashboard/jobs/{job}" in first] + [job for job in ids if f"/jobs/{job}" in second]
    assert sorted(found) == sorted(ids)


def test_a_job_is_cancelled_from_its_page(server: Any) -> None:
    job = server.submit()
    path = f"/dashboard/jobs/{job}"
    token = form_token(server.client, path)
    assert server.client.post(f"{path}/cancel", data={"form_token": "0"}).status_code == 403
    assert server.records.job(job, User("local", admin=True)).status is JobStatus.QUEUED
    answer = server.client.post(f"{path}/cancel", data={"form_token": token}, follow_redirects=False)
    assert answer.headers["location"] == path
    assert server.records.job(job, User("local", admin=True)).status is JobStatus.CANCELLED
    assert "Cancel this job" not in server.client.get(path).text


def test_users_see_and_cancel_their_own_jobs_and_an_admin_all(open_server: Callable[..., Any]) -> None:
    server = open_server()
    ada, bob = server.user("ada"), server.user("bob")
    jobs = {"ada": server.submit(ada), "bob": server.submit(bob)}
    browser, admin = signed_in(server, "ada"), signed_in(server, "root", admin=True)
    listed = browser.get("/dashboard/jobs").text
    assert jobs["ada"] in listed
    assert jobs["bob"] not in listed
    assert browser.get("/dashboard/jobs?user=bob").text.count(jobs["bob"]) == 0
    for path in ("", "/content"):
        assert browser.get(f"/dashboard/jobs/{jobs['bob']}{path}").status_code == 404
    token = form_token(browser, "/dashboard/jobs")
    assert browser.post(f"/dashboard/jobs/{jobs['bob']}/cancel", data={"form_token": token}).status_code == 404
    assert jobs["bob"] in admin.get("/dashboard/jobs?user=bob").text
    assert jobs["ada"] not in admin.get("/dashboard/jobs?user=bob").text


def test_a_private_job_shows_no_circuits_and_keeps_its_result(server: Any) -> None:
    job = server.submit(private=True)
    server.scheduler.run(job)
    assert "is private" in server.client.get(f"/dashboard/jobs/{job}/content").text
    assert server.client.get(f"/v1/jobs/{job}/results").status_code == 200


# What is seen in circuits and results


def payload(pubs: list[Any]) -> bytes:
    return json.dumps({"pubs": pubs, "version": 2}, cls=RuntimeEncoder).encode()


def test_a_view_of_a_samplers_job_has_its_circuits_and_counts() -> None:
    circuit = QuantumCircuit(2)
    circuit.x(0)
    circuit.measure_all()
    result = BackendSamplerV2(backend=AerSimulator()).run([(circuit,), (circuit,)], shots=100).result()
    text = json.dumps(result, cls=RuntimeEncoder)
    view = views.submitted("sampler", payload([[circuit], [circuit]]), text, Limits())
    assert [bars.title for bars in view.histograms] == ["PUB 1: meas", "PUB 2: meas"]
    assert view.histograms[0].bars == (("01", 1.0),)
    assert "┤ X ├" in view.drawing


def test_a_view_of_an_estimators_job_has_values_and_errors() -> None:
    circuit = QuantumCircuit(1)
    observables = [SparsePauliOp("Z"), SparsePauliOp("X")]
    result = BackendEstimatorV2(backend=AerSimulator(), options={"seed_simulator": 7}).run([(circuit, observables)])
    text = json.dumps(result.result(), cls=RuntimeEncoder)
    view = views.submitted("estimator", payload([[circuit, [{"Z": 1.0}, {"X": 1.0}]]]), text, Limits())
    assert view.values[0].value == 1.0
    assert view.values[1].error == pytest.approx(1 / 64, rel=0.05)


def _hang() -> None:
    while True:
        pass


def _die() -> None:
    import os

    os._exit(1)


@pytest.mark.slow
def test_the_inspector_lives_on_after_what_hung_or_died(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pennylane_qexec.server.dashboard.inspector._bound_memory", None)

    async def scenario() -> None:
        inspector = Inspector()
        try:
            with pytest.raises(StoreError, match="too much memory"):
                await inspector.ask("death", _die)
            assert await inspector.ask("sum", sum, (1, 2)) == 3
            monkeypatch.setattr("pennylane_qexec.server.dashboard.inspector._SECONDS", 0.2)
            with pytest.raises(StoreError, match="takes more than"):
                await inspector.ask("hang", _hang)
        finally:
            inspector.close()

    asyncio.run(scenario())


# Events


def test_browsers_are_told_of_what_is_recorded_and_let_go_at_the_end(tmp_path: Path) -> None:
    async def scenario() -> list[str]:
        with open_store(tmp_path / "runs.db") as store:
            reads = open_transactions(tmp_path / "runs.db")
            run = store.open_run("run").id
            events = Events(reads)
            stream = events.stream(0.5)
            said = [await anext(stream) for _ in range(4)]
            store.record(run, [NewJob(0, "k", "d", "c")])
            said.append(await anext(stream))
            events.close()
            said += [one async for one in stream]
            reads.close()
            return said

    assert asyncio.run(scenario()) == [
        "retry: 2000\n\n",
        "event: circuits\ndata: 0\n\n",
        "event: jobs\ndata: 0\n\n",
        "event: experiments\ndata: 0\n\n",
        "event: circuits\ndata: 1\n\n",
    ]
