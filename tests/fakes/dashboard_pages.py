"""Runs to be shown by a dashboard, and a browser without windows."""

from __future__ import annotations

import re
from typing import Any

from qiskit import QuantumCircuit
from starlette.testclient import TestClient

from pennylane_qexec import QuantumExecutor
from pennylane_qexec.persistence.store import Ended, Mark, NewJob, Store

HOSTILE = "<script>alert(1)</script>"


def record(store: Store, name: str = "vqe", circuits: int = 6, done: int = 4) -> int:
    """A run with so many circuits, of which the first are done, and the next has failed."""
    run = store.open_run(name, ["vqe.py"], "python 3").id
    new = [NewJob(n, f"k{n}", f"d{n}", f"circuit {n}", "north", "qpu", 100) for n in range(circuits)]
    ids = [job.id for job in store.record(run, new, "me", 60.0)]
    ends = [Ended(job, "0.5", started=1e9 + job, finished=1e9 + job + 1, seconds=0.5, cost=0.25) for job in ids[:done]]
    store.done(ends, "me")
    if circuits > done:
        store.failed([Ended(ids[done], error=f"ValueError('{HOSTILE}')")], "me")
    store.mark(run, Mark("step 1", 2, -1.1))
    return run


def record_experiment(store: Store, runs: int = 2) -> None:
    """Some runs of an experiment on two simulators."""
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    with QuantumExecutor(providers=["local_aer", "local_cirq"]) as executor:
        for _ in range(runs):
            backends = ["local_aer/aer_simulator", "local_cirq/simulator"]
            executor.run_experiment(bell, 200, backends, "multiplier", store=store, name=HOSTILE)


class Pages:
    """A dashboard, and a browser of somebody."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    def get(self, path: str, **headers: str) -> str:
        answer = self.client.get(f"/dashboard{path}", headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.text

    def token(self) -> str:
        found = re.search(r'name="form_token" value="(\w+)"', self.get("/timeline"))
        assert found is not None
        return found.group(1)

    def post(self, path: str, headers: dict[str, str] | None = None, **fields: str) -> Any:
        fields = {"form_token": self.token()} | fields
        return self.client.post(f"/dashboard{path}", data=fields, headers=headers, follow_redirects=False)
