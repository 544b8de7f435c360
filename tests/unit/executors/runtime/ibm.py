"""IBM Quantum as a fake: everything of Qiskit's client is real but for the class that talks to the network."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from qiskit.primitives import BackendEstimatorV2, BackendSamplerV2
from qiskit_aer import AerSimulator
from qiskit_ibm_runtime import IBMBackend, QiskitRuntimeService, RuntimeDecoder, RuntimeEncoder
from qiskit_ibm_runtime.api.exceptions import RequestsApiError
from qiskit_ibm_runtime.fake_provider import FakeManilaV2
from qiskit_ibm_runtime.utils.backend_decoder import configuration_from_server_data

CRN = "crn:v1:fake"


class FakeAPI:
    """Has a machine with the qubits of Manila and no noise, and keeps everything that was asked.

    Args:
        states: the states that a job is in, one after the other, each time that it is asked for; the last one stays.
        reason: why jobs fail.
        machine: the name that the machine has.

    Attributes:
        jobs: what was sent, by the job's id.
        sessions: the sessions that were opened: their mode, time, and whether they take jobs.
        broken: what is raised for the next job that is sent, if anything.
    """

    _instance = CRN

    def __init__(
        self, states: tuple[str, ...] = ("Completed",), reason: str | None = None, machine: str = "ibm_manila"
    ) -> None:
        self.machine = machine
        self.jobs: dict[str, dict[str, Any]] = {}
        self.sessions: dict[str, dict[str, Any]] = {}
        self.broken: Exception | None = None
        self._states = states
        self._reason = reason
        self._fake = FakeManilaV2()
        self._numbers = itertools.count(1)

    def configuration(self) -> Any:
        raw = self._read(self._fake.conf_filename)
        return configuration_from_server_data({**raw, "backend_name": self.machine, "simulator": False})

    def backend_properties(self, *_: Any, **__: Any) -> Any:
        return self._read(self._fake.props_filename)

    def backend_status(self, backend_name: str) -> dict[str, Any]:
        return {
            **{"backend_name": backend_name, "backend_version": "1", "status_msg": "active"},
            **{"operational": True, "pending_jobs": 7},
        }

    def program_run(self, *, program_id: str, params: dict[str, Any], session_id: str | None, **rest: Any) -> Any:
        if self.broken is not None:
            broken, self.broken = self.broken, None
            raise broken
        if session_id is not None and not self.sessions[session_id]["accepting_jobs"]:
            raise RequestsApiError("The session is closed.", 400)
        job_id = f"job-{next(self._numbers)}"
        sent = {"program": program_id, "params": params, "session": session_id, "states": iter(self._states)}
        self.jobs[job_id] = {**sent, "wire": json.dumps(params, cls=RuntimeEncoder), **rest}
        return {"id": job_id, "backend": self.machine}

    def job_get(self, job_id: str, exclude_params: bool = True) -> dict[str, Any]:
        if job_id not in self.jobs:
            raise RequestsApiError("Job not found.", 404)
        job = self.jobs[job_id]
        job["state"] = next(job["states"], job.get("state"))
        state = {"status": job["state"]}
        if job["state"] == "Failed":
            state.update(reason=self._reason, reason_code=6000)
        program = {"id": job["program"]}
        return {"id": job_id, "state": state, "backend": self.machine, "program": program, "tags": job["job_tags"]}

    def jobs_get(self, job_tags: list[str], limit: int, skip: int, descending: bool, **_: Any) -> dict[str, Any]:
        found = [job_id for job_id, job in self.jobs.items() if set(job_tags) <= set(job["job_tags"] or ())]
        page = (found[::-1] if descending else found)[skip : skip + limit]
        return {"jobs": [self.job_get(job_id) for job_id in page], "count": len(found)}

    def job_results(self, job_id: str) -> str:
        job = self.jobs[job_id]
        if job["state"] == "Failed":
            return ""
        params = json.loads(job["wire"], cls=RuntimeDecoder)
        options = {"seed_simulator": params["options"].get("simulator", {}).get("seed_simulator")}
        kind: Any = {"sampler": BackendSamplerV2, "estimator": BackendEstimatorV2}[job["program"]]
        result = kind(backend=AerSimulator(), options=options).run(map(tuple, params["pubs"])).result()
        return json.dumps(result, cls=RuntimeEncoder)

    def job_cancel(self, job_id: str) -> None:
        self.jobs[job_id].update(state="Cancelled", states=iter(()))

    def create_session(self, backend: str, instance: str, max_time: int | None, mode: str) -> dict[str, Any]:
        session_id = f"session-{next(self._numbers)}"
        self.sessions[session_id] = {"mode": mode, "max_ttl": max_time, "state": "active", "accepting_jobs": True}
        return {"id": session_id}

    def session_details(self, session_id: str) -> dict[str, Any]:
        return self.sessions[session_id]

    def close_session(self, session_id: str) -> None:
        self.sessions[session_id].update(accepting_jobs=False, state="closed")

    def _read(self, name: str) -> Any:
        return json.loads((Path(self._fake.dirname) / name).read_text())


class FakeService(QiskitRuntimeService):  # type: ignore[misc]
    """Qiskit's service, on the fake of what talks to the network.

    Attributes:
        asked: the backends that were asked for.
    """

    def __init__(self, api: FakeAPI) -> None:
        self._channel = "ibm_quantum_platform"
        self._active_api_client = api
        self._api_clients = {CRN: api}
        self.asked: list[Any] = []

    def backend(self, name: str, **_: Any) -> IBMBackend:
        self.asked.append(name)
        return self._create_backend_obj(name, CRN)

    def least_busy(self, min_num_qubits: int | None = None) -> IBMBackend:
        self.asked.append(min_num_qubits)
        return self._create_backend_obj(self._active_api_client.machine, CRN)

    def usage(self) -> dict[str, Any]:
        return {}

    def _create_backend_obj(self, name: str, instance: str, **_: Any) -> IBMBackend:
        from qiskit.providers.exceptions import QiskitBackendNotFoundError

        api = self._active_api_client
        if name != api.machine:
            raise QiskitBackendNotFoundError("No backend matches the criteria.")
        return IBMBackend(api.configuration(), self, api, instance=instance)
