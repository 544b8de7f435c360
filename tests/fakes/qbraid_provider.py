"""A provider of qBraid as a fake: everything of qBraid is real but for the vendor, whose devices are simulated here.

``FakeProvider({"sim": FakeDevice()})`` is a ``qbraid.runtime.QuantumProvider``. Its devices take circuits in the
language they are told (``program``), through qBraid's own conversions; count the outcomes of seeded shots exactly as
they were measured; and can be slow, fail, lose shots, or write outcomes as clumsily as some vendors do.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import cirq
import numpy as np
from qbraid.programs import ExperimentType, ProgramSpec
from qbraid.runtime import (
    DeviceStatus,
    GateModelResultData,
    JobStatus,
    QuantumDevice,
    QuantumJob,
    QuantumProvider,
    Result,
    TargetProfile,
)
from qiskit import QuantumCircuit, qasm2, qasm3
from qiskit.quantum_info import Statevector

_KINDS: dict[str, type] = {"qiskit": QuantumCircuit, "qasm2": str, "qasm3": str, "cirq": cirq.Circuit}


class FakeDevice(QuantumDevice):
    """A device of the fake vendor.

    Args:
        name: the device's id.
        program: what it takes: ``"qiskit"``, ``"qasm2"``, ``"qasm3"`` or ``"cirq"``, or a list of these.
        qubits: how many it has.
        states: the states that a job is in, one after the other, each time that it is asked for; the last one stays.
        batch: ``True``: several circuits are one job with a list of counts. ``False``: a job for each circuit.
        keys: how outcomes are written: ``"bits"``, ``"numbers"`` (no width, as decimal numbers), ``"spaces"`` between
            the bits, ``"short"`` (no zeros in front), ``"long"`` (one bit too many).
        lost: shots that are missing in each circuit's counts.
        reason: why jobs fail, if their last state is ``"FAILED"``.
        status: what the device says of itself, one after the other; the last one stays.
        queue: jobs that wait there.
        simulator: whether it says that it is one.
        together: the most circuits that it takes together; ``None`` if it does not say.
        experiment: another paradigm, for devices that run no circuits.
        seed: of the shots.

    Attributes (shared with copies of the device):
        sent: the programs that reached the vendor, in the order in which they came.
        shots: of each call of ``submit``, its number of shots.
        options: of each call, its further options.
        jobs: the jobs by id.
        asked: what the device said when it was asked for its status.
        broken: what is raised for the next jobs that are sent, one after the other.
    """

    def __init__(
        self,
        name: str = "sim",
        program: str | list[str] = "qiskit",
        qubits: int = 5,
        *,
        states: tuple[str, ...] = ("COMPLETED",),
        batch: bool = True,
        keys: str = "bits",
        lost: int = 0,
        reason: str = "",
        status: str | tuple[str, ...] = "ONLINE",
        queue: int | None = 3,
        simulator: bool = True,
        together: int | None = None,
        experiment: ExperimentType = ExperimentType.GATE_MODEL,
        seed: int = 0,
    ) -> None:
        specs = [ProgramSpec(_KINDS[one], alias=one) for one in ([program] if isinstance(program, str) else program)]
        super().__init__(
            TargetProfile(
                device_id=name,
                simulator=simulator,
                experiment_type=experiment,
                num_qubits=qubits,
                program_spec=specs[0] if len(specs) == 1 else specs,
                provider_name="Fake",
                **({} if together is None else {"max_programs_per_job": together}),
            )
        )
        self.states, self.batch, self.keys, self.lost, self.reason = states, batch, keys, lost, reason
        self.says, self.queue = [status] if isinstance(status, str) else list(status), queue
        self.sent: list[Any] = []
        self.shots: list[int] = []
        self.options: list[dict[str, Any]] = []
        self.jobs: dict[str, FakeJob] = {}
        self.asked: list[str] = []
        self.broken: list[Exception] = []
        self._rng = np.random.default_rng(seed)
        self._numbers = itertools.count(1)

    def status(self) -> DeviceStatus:
        self.asked.append(self.says.pop(0) if len(self.says) > 1 else self.says[0])
        return DeviceStatus[self.asked[-1]]

    def queue_depth(self) -> int:
        return super().queue_depth() if self.queue is None else self.queue

    def submit(self, run_input: Any, *, shots: int, **options: Any) -> Any:
        if self.broken:
            raise self.broken.pop(0)
        programs = run_input if isinstance(run_input, list) else [run_input]
        self.sent += programs
        self.shots.append(shots)
        self.options.append(options)
        counts = [self._counted(program, shots) for program in programs]
        if not isinstance(run_input, list):
            return self._job(counts[0])
        return self._job(counts) if self.batch else [self._job(one) for one in counts]

    def _job(self, counts: Any) -> FakeJob:
        job_id = f"{self.id}-{next(self._numbers)}"
        self.jobs[job_id] = FakeJob(job_id, self, counts)
        return self.jobs[job_id]

    def _counted(self, program: Any, shots: int) -> dict[Any, int]:
        probabilities = probabilities_of(program)
        drawn = self._rng.multinomial(shots - self.lost, list(probabilities.values()))
        counts = {key: int(count) for key, count in zip(probabilities, drawn, strict=True) if count}
        return {_written(key, self.keys): count for key, count in counts.items()}


class FakeJob(QuantumJob):
    """A job of the fake vendor; only its last state has a result.

    Attributes:
        polls: how often it was asked how it is.
        cancelled: whether it was asked to stop.
        fate: its states, those of the device unless changed.
    """

    def __init__(self, job_id: str, device: FakeDevice, counts: Any) -> None:
        super().__init__(job_id, device)
        self._counts = counts
        self.polls = 0
        self.cancelled = False
        self.fate = device.states

    def status(self) -> JobStatus:
        state = self.fate[min(self.polls, len(self.fate) - 1)]
        self.polls += 1
        if self.cancelled:
            return JobStatus.CANCELLED
        status = JobStatus[state]()
        if status is JobStatus.FAILED and self.device.reason:
            status.set_status_message(self.device.reason)
        return status

    def result(self) -> Result[Any]:
        assert self.is_terminal_state(), "asked for the result of a job that goes on"
        if self.cancelled or self.fate[-1] != "COMPLETED":
            raise RuntimeError(f"job {self.id} has no result: {self.device.reason}")
        return Result(self.device.id, self.id, True, GateModelResultData(measurement_counts=self._counts))

    def cancel(self) -> None:
        self.cancelled = True


class FakeProvider(QuantumProvider):
    """The fake vendor.

    Args:
        devices: its devices by name; default: one, ``"sim"``.
        token: kept, as vendors' libraries do.
        broken: what is raised when it is asked for devices, if anything.
    """

    def __init__(
        self,
        devices: Mapping[str, FakeDevice] | None = None,
        token: str | None = None,
        broken: Exception | None = None,
    ) -> None:
        self.devices = {"sim": FakeDevice()} if devices is None else dict(devices)
        self.token = token
        self.broken = broken

    def get_devices(self, **_: Any) -> list[QuantumDevice]:
        if self.broken is not None:
            raise self.broken
        return list(self.devices.values())

    def get_device(self, device_id: str) -> QuantumDevice:
        if self.broken is not None:
            raise self.broken
        return self.devices[device_id]


def probabilities_of(program: Any) -> dict[str, float]:
    """The exact probabilities of what a program measures, qubit (or classical bit) 0 last.

    Raises:
        ValueError: it measures nothing, as where a conversion has lost its measurements.
    """
    if isinstance(program, cirq.Circuit):
        return _of_cirq(program)
    if isinstance(program, str):
        program = qasm3.loads(program) if "OPENQASM 3" in program else qasm2.loads(program)
    gates, measured = program.copy_empty_like(), {}
    for instruction in program:
        if instruction.operation.name == "measure":
            measured[program.find_bit(instruction.clbits[0]).index] = program.find_bit(instruction.qubits[0]).index
        elif instruction.operation.name != "barrier":
            gates.append(instruction)
    if not measured:
        raise ValueError("the circuit that reached the device measures nothing")
    return dict(Statevector(gates).probabilities_dict([measured[bit] for bit in range(len(measured))]))


def _of_cirq(circuit: cirq.Circuit) -> dict[str, float]:
    if not circuit.has_measurements():
        raise ValueError("the circuit that reached the device measures nothing")
    qubits = sorted(circuit.all_qubits())
    measured = [qubit for _, one in circuit.findall_operations(cirq.is_measurement) for qubit in one.qubits]
    assert sorted(measured) == qubits
    gates = cirq.drop_terminal_measurements(circuit)
    gates = cirq.Circuit(one for one in gates.all_operations() if not cirq.is_measurement(one))
    state = gates.final_state_vector(qubit_order=qubits, dtype=np.complex128)
    numbers = np.abs(state) ** 2
    return {f"{number:0{len(qubits)}b}"[::-1]: p for number, p in enumerate(numbers / numbers.sum()) if p > 1e-12}


def _written(key: str, manner: str) -> Any:
    ways = {
        "bits": key,
        "numbers": int(key, 2),
        "spaces": " ".join(key),
        "short": key.lstrip("0") or "0",
        "long": "0" + key,
    }
    return ways[manner]
