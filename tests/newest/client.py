"""The newest client of IBM, unchanged, uses a server of ours: run by an environment that has it, with the variables of
``qexec env`` and nothing else. It prints what it found as JSON, and leaves the judgment to the test that runs it.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import Batch, Executor, QiskitRuntimeService, QuantumProgram, Session
from qiskit_ibm_runtime.executor_estimator import Estimator
from qiskit_ibm_runtime.executor_sampler import Sampler

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from qiskit_ibm_runtime import EstimatorV2, SamplerV2

CHECKS: dict[str, Callable[..., Any]] = {}


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run it, and print what it returns under its name."""
    CHECKS[function.__name__] = function
    return function


def bell(measured: bool = True) -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    if measured:
        circuit.measure_all()
    return circuit


def fitted(circuit: QuantumCircuit, backend: Any) -> QuantumCircuit:
    return generate_preset_pass_manager(1, backend=backend, seed_transpiler=2).run(circuit)


def correlated(counts: dict[str, int]) -> float:
    return (counts.get("00", 0) + counts.get("11", 0)) / sum(counts.values())


@check
def account(service: QiskitRuntimeService, backend: Any) -> Any:
    return {
        "instances": [one["crn"] for one in service.instances()],
        "backends": len(service.backends()),
        "least_busy": service.least_busy(min_num_qubits=150).num_qubits,
        "usage": service.usage()["usage_consumed_seconds"] >= 0,
        "status": backend.status().operational,
        "target": sorted({"measure", "delay", "reset"} - set(backend.target.operation_names)),
    }


@check
def sampler_v2(service: QiskitRuntimeService, backend: Any) -> Any:
    job = SamplerV2(mode=backend, options={"simulator": {"seed_simulator": 7}}).run(
        [fitted(bell(), backend)], shots=300
    )
    result = job.result()
    return {
        "counts": result[0].data.meas.get_counts(),
        "again": service.job(job.job_id()).result()[0].data.meas.get_counts(),
        "status": str(job.status()),
        "metrics": sorted(job.metrics()["timestamps"]),
    }


@check
def estimator_v2(service: QiskitRuntimeService, backend: Any) -> Any:
    circuit = QuantumCircuit(2)
    circuit.ry(Parameter("a"), 0)
    circuit.cx(0, 1)
    ready = fitted(circuit, backend)
    observable = SparsePauliOp(["ZZ", "IZ"], [1.0, 0.5]).apply_layout(ready.layout)
    result = EstimatorV2(mode=backend).run([(ready, observable, [[0.0], [np.pi]])], precision=0.02).result()
    return {"evs": result[0].data.evs.tolist(), "stds": result[0].data.stds.tolist()}


@check
def executor_sampler(service: QiskitRuntimeService, backend: Any) -> Any:
    sampler = Sampler(mode=backend)
    sampler.options.experimental = {"seed_simulator": 7}
    return {"counts": sampler.run([fitted(bell(), backend)], shots=300).result()[0].data.meas.get_counts()}


@check
def executor_sampler_of_a_table(service: QiskitRuntimeService, backend: Any) -> Any:
    circuit = QuantumCircuit(1)
    circuit.ry(Parameter("a"), 0)
    circuit.measure_all()
    angles = [[[0.0], [np.pi]], [[np.pi / 2], [np.pi / 3]]]
    data = Sampler(mode=backend).run([(fitted(circuit, backend), angles)], shots=400).result()[0].data.meas
    return {"ones": (data.bitcount().mean(axis=-1)).tolist()}


@check
def executor_sampler_with_twirling(service: QiskitRuntimeService, backend: Any) -> Any:
    sampler = Sampler(mode=backend)
    sampler.options.twirling.enable_gates = True
    sampler.options.twirling.enable_measure = True
    sampler.options.twirling.num_randomizations = 8
    sampler.options.twirling.shots_per_randomization = 50
    circuit = QuantumCircuit(2)
    circuit.rx(Parameter("a"), 0)
    circuit.cx(0, 1)
    circuit.measure_all()
    data = sampler.run([(fitted(circuit, backend), [[0.0], [np.pi], [np.pi / 2]])], shots=400).result()[0].data.meas
    return {"shots": data.num_shots, "counts": [data.get_counts(row) for row in range(3)]}


@check
def quantum_program(service: QiskitRuntimeService, backend: Any) -> Any:
    circuit = QuantumCircuit(2, 3)
    circuit.x(1)
    circuit.measure([0, 1], [2, 0])
    program = QuantumProgram(shots=50, passthrough_data={"mine": np.arange(3)})
    program.append_circuit_item(fitted(circuit, backend))
    result = Executor(backend).run(program).result()
    (span,) = result.timing
    return {
        "shape": result[0]["c"].shape,
        "bits": result[0]["c"].mean(axis=0).round(1).tolist(),
        "passed": result.passthrough_data["mine"].tolist(),
        "seconds": (span.stop - span.start).total_seconds(),
    }


@check
def executor_dry_run(service: QiskitRuntimeService, backend: Any) -> Any:
    sampler = Sampler(mode=backend)
    sampler.options.twirling.enable_measure = True
    return {"shots": sampler.run([fitted(bell(), backend)], shots=64, dry_run=True).result()[0].data.meas.num_shots}


@check
def executor_estimator(service: QiskitRuntimeService, backend: Any) -> Any:
    ready = fitted(bell(measured=False), backend)
    observables = [SparsePauliOp(word).apply_layout(ready.layout) for word in ("ZZ", "XX", "YY")]
    result = Estimator(mode=backend).run([(ready, observables)], precision=0.02).result()
    return {"evs": result[0].data.evs.tolist(), "stds": result[0].data.stds.tolist()}


@check
def dry_run(service: QiskitRuntimeService, backend: Any) -> Any:
    job = SamplerV2(mode=backend).run([fitted(bell(), backend)], shots=50, dry_run=True)
    return {"shots": job.result()[0].data.meas.num_shots, "backend": job.backend().name}


@check
def sessions(service: QiskitRuntimeService, backend: Any) -> Any:
    ready = fitted(bell(), backend)
    with Session(backend=backend, max_time="10m") as session:
        shots = SamplerV2(mode=session).run([ready], shots=20).result()[0].data.meas.num_shots
        inside = session.details()["mode"]
    with Batch(backend=backend) as batch:
        jobs = [SamplerV2(mode=batch).run([ready], shots=10) for _ in range(3)]
        several = [job.result()[0].data.meas.num_shots for job in jobs]
        batched = batch.details()["mode"]
    listed = sorted(job.job_id() for job in service.jobs(session_id=batch.session_id))
    return {
        "shots": shots,
        "modes": [inside, batched],
        "several": several,
        "listed": listed == sorted(job.job_id() for job in jobs),
        "closed": session.details()["accepting_jobs"],
    }


@check
def jobs(service: QiskitRuntimeService, backend: Any) -> Any:
    sampler = SamplerV2(mode=backend, options={"environment": {"job_tags": ["newest"]}})
    made = [sampler.run([fitted(bell(), backend)], shots=10) for _ in range(3)]
    for job in made:
        job.result()
    made[0].update_tags(["renamed"])
    service.delete_job(made[2].job_id())
    return {
        "tagged": [job.job_id() for job in service.jobs(job_tags=["newest"], limit=10)] == [made[1].job_id()],
        "pages": [len(service.jobs(limit=1, skip=skip)) for skip in (0, 1)],
        "logs": made[1].logs(),
        "inputs": sorted(made[1].inputs),
    }


@check
def failures(service: QiskitRuntimeService, backend: Any) -> Any:
    found = {}
    try:
        service.job("nothing")
    except Exception as error:
        found["job"] = type(error).__name__
    sampler = SamplerV2(mode=backend)
    sampler.options.dynamical_decoupling.enable = True
    try:
        sampler.run([fitted(bell(), backend)])
    except Exception as error:
        found["option"] = f"{type(error).__name__}: {error}"
    return found


def main() -> None:
    service = QiskitRuntimeService()
    backend = service.backend("fake_manila")
    found: dict[str, Any] = {}
    for name in sys.argv[1:] or CHECKS:
        try:
            found[name] = CHECKS[name](service, backend)
        except Exception as error:
            if "QEXEC_TRACEBACK" in os.environ:
                raise
            found[name] = f"{type(error).__name__}: {error}"
    print(json.dumps(found))


if __name__ == "__main__":
    main()
