"""Fake backends with the noise of what circuits use give what Qiskit's own give with all of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_aer.noise import NoiseModel, depolarizing_error
from qiskit_ibm_runtime import EstimatorV2, SamplerV2
from qiskit_ibm_runtime.fake_provider import FakeGuadalupeV2, FakeManilaV2

from pennylane_qexec.circuits.qiskit.noise import SimulatedMachine, fake_machine

SEEDED = {"simulator": {"seed_simulator": 9}}


def line(wires: int, measured: bool = True) -> QuantumCircuit:
    angle = Parameter("angle")
    circuit = QuantumCircuit(wires)
    circuit.rx(angle, 0)
    for wire in range(wires - 1):
        circuit.cx(wire, wire + 1)
    if measured:
        circuit.measure_all()
    return circuit


def counted(backend: Any, circuit: QuantumCircuit, options: dict[str, Any]) -> list[dict[str, int]]:
    job = SamplerV2(mode=backend, options=options).run([(circuit, [[0.3], [2.0]], 500)])
    return [job.result()[0].data.meas[row].get_counts() for row in (0, 1)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name"),
    [(FakeManilaV2, "fake_manila"), (FakeGuadalupeV2, "fake_guadalupe")],
)
def test_counts_are_the_same_at_the_same_seed(kind: Any, name: str) -> None:
    circuit = generate_preset_pass_manager(1, backend=kind(), seed_transpiler=2).run(line(4))
    assert counted(SimulatedMachine(fake_machine(name)), circuit, SEEDED) == counted(kind(), circuit, SEEDED)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flow", "delay"])
def test_blocks_of_control_flow_and_delays_are_as_noisy_as_in_qiskits_own(kind: str) -> None:
    circuit = QuantumCircuit(2, 2)
    if kind == "delay":
        circuit.x(1)
        circuit.delay(200_000, 1)
    else:
        circuit.h(0)
        circuit.measure(0, 0)
        with circuit.if_test((0, True)):
            for _ in range(30):
                circuit.sx(1)
                circuit.barrier(1)
    circuit.measure(1, 1)
    fitted = generate_preset_pass_manager(0, backend=FakeManilaV2(), seed_transpiler=2).run(circuit)
    mine, theirs = [
        SamplerV2(mode=backend, options=SEEDED).run([fitted], shots=1000).result()[0].data.c.get_counts()
        for backend in (SimulatedMachine(fake_machine("fake_manila")), FakeManilaV2())
    ]
    assert mine == theirs


def test_expectation_values_are_the_same_at_the_same_seed() -> None:
    circuit = generate_preset_pass_manager(1, backend=FakeManilaV2(), seed_transpiler=2).run(line(3, measured=False))
    observable = SparsePauliOp(["ZZI", "XXX"], [1.0, 0.5]).apply_layout(circuit.layout)
    values = [
        EstimatorV2(mode=backend, options=SEEDED).run([(circuit, observable, [[0.3], [2.0]])]).result()[0].data.evs
        for backend in (SimulatedMachine(fake_machine("fake_manila")), FakeManilaV2())
    ]
    assert np.array_equal(*values)


def test_another_noise_model_takes_the_place_of_the_machines() -> None:
    noise = NoiseModel()
    noise.add_all_qubit_quantum_error(depolarizing_error(0.5, 2), ["cx"])
    options = {"simulator": {"seed_simulator": 9, "noise_model": noise}}
    circuit = generate_preset_pass_manager(1, backend=FakeManilaV2(), seed_transpiler=2).run(line(3))
    found = counted(SimulatedMachine(fake_machine("fake_manila")), circuit, options)
    assert found == counted(FakeManilaV2(), circuit, options)
    assert found != counted(SimulatedMachine(fake_machine("fake_manila")), circuit, SEEDED)
