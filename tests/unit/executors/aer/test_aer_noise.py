"""The executor of Qiskit's Aer simulator, with the noise of fake backends."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.devices import ExecutionConfig
from pennylane.tape import QuantumScript
from qiskit_aer.noise import NoiseModel, depolarizing_error
from qiskit_ibm_runtime import SamplerV2

import pennylane_qexec as qexec
from pennylane_qexec.circuits.qiskit.noise import FakeMachine, fake_machine, fake_machines
from pennylane_qexec.circuits.qiskit.preparation import QiskitBinder, parametrised
from pennylane_qexec.circuits.templates import fuse
from pennylane_qexec.executors import DeviceExecutor
from pennylane_qexec.executors.aer import AerExecutor

WIRES = range(5)


def _circuits(number: int, shots: int | None, measure: Any = None) -> list[QuantumScript]:
    circuits = []
    for angles in np.random.default_rng(3).uniform(-3, 3, (number, 10)):
        operations: list[Any] = [qml.RY(angles[wire], wire) for wire in WIRES]
        operations += [qml.CNOT([wire, wire + 1]) for wire in range(4)] + [qml.CRX(angles[5], [4, 0])]
        operations += [qml.RX(angles[5 + wire], wire) for wire in WIRES]
        circuits.append(QuantumScript(operations, measure or [qml.counts(wires=WIRES)], shots=shots))
    return circuits


def _by_sampler(name: str, circuits: list[QuantumScript], seed: int) -> list[dict[str, int]]:
    """The counts of IBM's local testing mode for the same compiled circuit, in the order of PennyLane's wires."""
    bind = QiskitBinder(ExecutionConfig())
    (fused,) = fuse([bind(circuit).circuits[0] for circuit in circuits])
    made = parametrised(fused.template.circuit.operations, fused.template.slots, circuits[0].wires)
    fitted = FakeMachine(fake_machine(name), 1, 0).fitted(made.measured(circuits[0].wires))
    place = [list(made.parameters).index(parameter) for parameter in fitted.parameters]
    sampler = SamplerV2(mode=fake_machines()[name](), options={"simulator": {"seed_simulator": seed}})
    rows = fused.parameters[:, place]
    (result,) = sampler.run([(fitted, rows)], shots=circuits[0].shots.total_shots).result()
    return [dict(sorted(result.data.c.get_counts(row).items())) for row in range(len(circuits))]


@pytest.mark.parametrize("name", ["fake_manila", pytest.param("fake_sherbrooke", marks=pytest.mark.slow)])
def test_counts_are_those_of_ibms_local_testing_mode(name: str) -> None:
    circuits = _circuits(3, 300)
    counted = AerExecutor(name, seed=11).run(circuits)
    assert [dict(sorted(counts.items())) for counts in counted] == _by_sampler(name, circuits, 11)


@pytest.mark.slow
def test_circuits_together_give_what_they_give_one_by_one() -> None:
    circuits = _circuits(2, 50)
    circuits += _circuits(2, 50, [qml.expval(qml.X(0)), qml.expval(qml.Z(0)), qml.sample(wires=[1])])
    circuits += _circuits(2, 70)
    circuits = [circuits[index] for index in (0, 2, 4, 1, 5, 3)]
    together = AerExecutor("fake_manila", seed=7).run(circuits)
    executor = AerExecutor("fake_manila", seed=7)
    for one, other in zip(together, [executor.run([circuit])[0] for circuit in circuits], strict=True):
        assert repr(one) == repr(other)


@pytest.mark.slow
def test_results_without_shots_are_what_those_with_many_tend_to() -> None:
    """Values have a deviation of at most 1, with 40,000 shots: 5 sigma are 0.025."""
    measure = [qml.expval(qml.X(0) @ qml.Z(1)), qml.probs(wires=[4, 2]), qml.var(qml.Y(3)), qml.expval(qml.Z(3))]
    (exact,) = AerExecutor("fake_manila").run(_circuits(1, None, measure))
    (sampled,) = AerExecutor("fake_manila", seed=1).run(_circuits(1, 40_000, measure))
    assert all(np.allclose(one, other, atol=0.025) for one, other in zip(exact, sampled, strict=True))
    (ideal,) = DeviceExecutor("default.qubit").run(_circuits(1, None, measure))
    assert not np.allclose(exact[1], ideal[1], atol=0.012)


def test_states_without_shots_are_those_before_they_are_read() -> None:
    measure = [qml.purity([0]), qml.density_matrix([1]), qml.expval(qml.Z(1))]
    (result,) = AerExecutor("fake_manila").run(_circuits(1, None, measure))
    purity, matrix, value = result
    assert 0.4 < purity < 1
    assert np.trace(matrix) == pytest.approx(1)
    error = FakeMachine(fake_machine("fake_manila"), 1, 0).readout(0)
    assert np.real(matrix[0, 0] - matrix[1, 1]) != pytest.approx(float(value), abs=1e-4)
    assert error.sum(axis=1) == pytest.approx([1, 1])


def test_identities_are_exact_with_noise_too() -> None:
    measure = [qml.expval(qml.I(0)), qml.expval(2 * qml.I(1) + qml.Z(0)), qml.var(qml.I(0)), qml.expval(qml.Z(0))]
    (result,) = AerExecutor("fake_manila").run(_circuits(1, None, measure))
    assert np.allclose(result, [1, 2 + result[3], 0, result[3]])


def test_the_noise_is_restricted_to_what_is_used_and_kept() -> None:
    machine = FakeMachine(fake_machine("fake_manila"), 1, 0)
    used = frozenset({("cx", (0, 1)), ("sx", (2,)), ("measure", (2,)), ("barrier", (0, 1))})
    noise = machine.noise(used)
    assert set(noise.noise_instructions) == {"cx", "sx", "measure"}
    assert noise.noise_qubits == [0, 1, 2]
    assert machine.noise(frozenset(used)) is noise


def test_an_executor_is_sent_to_processes_without_its_noise() -> None:
    executor = AerExecutor("fake_manila", seed=7)
    expected = executor.run(_circuits(1, 20))
    sent = pickle.dumps(executor)
    assert len(sent) < 2000
    assert pickle.loads(sent).run(_circuits(1, 20)) == expected


def test_a_noise_model_of_the_users_is_used_and_stays_in_this_process() -> None:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.5, 1), ["rx"])
    executor = AerExecutor(noise_model=model, seed=1)
    (value,) = executor.run([QuantumScript([qml.RX(np.pi, 0)], [qml.expval(qml.Z(0))])])
    assert float(value) == pytest.approx(-0.5)
    assert not executor.shareable
    (counts,) = executor.run([QuantumScript([qml.RX(np.pi, 0)], [qml.counts()], shots=100)])
    assert set(counts) == {"0", "1"}


def test_more_wires_than_the_machine_has_are_refused() -> None:
    executor = AerExecutor("fake_manila")
    assert executor.rejects(QuantumScript([qml.X(wire) for wire in range(6)])) == "has 5 qubits"
    with qml.queuing.AnnotatedQueue() as queue:
        for wire in WIRES:
            qml.measure(wire, reset=True)
        qml.probs(wires=WIRES)
    with pytest.raises(qexec.ConfigurationError, match="deferred to"):
        executor.run([QuantumScript.from_queue(queue, shots=10)])


def test_postselection_with_noise_needs_shots() -> None:
    with qml.queuing.AnnotatedQueue() as queue:
        qml.H(0)
        qml.measure(0, postselect=1)
        qml.expval(qml.Z(0))
    with pytest.raises(qexec.ConfigurationError, match="postselection needs shots"):
        AerExecutor("fake_manila").run([QuantumScript.from_queue(queue)])
    (value,) = AerExecutor("fake_manila", seed=1).run([QuantumScript.from_queue(queue, shots=200)])
    assert float(value) < -0.7


def test_a_seed_may_be_any_number() -> None:
    """Aer's own seeds have 63 bits."""
    circuits = [QuantumScript([qml.H(0)], [qml.counts(wires=0)], shots=20)] * 3
    one, other = [AerExecutor("fake_manila", seed=2**70).run(circuits) for _ in range(2)]
    assert one == other


@pytest.mark.slow
@pytest.mark.parametrize("seed", [None, 1])
def test_circuits_of_one_batch_share_no_shots_where_aer_simulates_them_one_by_one(seed: int | None) -> None:
    """Aer draws shot i by the seed plus i, and circuits of one run by seeds 2113 apart: 4226 of 6339 shots were shared.

    The sum of squared differences over the sum is 1 for independent shots, to sigma 0.09 with 256 outcomes, and beyond
    these bounds with p < 1e-9; it was 0.33.
    """
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.01, 1), ["h"])
    executor = AerExecutor(seed=seed, noise_model=model, method="statevector")
    circuit = QuantumScript([qml.H(wire) for wire in range(8)], [qml.counts(wires=range(8))], shots=6339)
    one, other = executor.run([circuit, circuit])
    distance = sum((one.get(key, 0) - other.get(key, 0)) ** 2 for key in {*one, *other}) / 12678
    assert 0.5 < distance < 1.75
