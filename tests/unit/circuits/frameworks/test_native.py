"""What PennyLane cannot say of Qiskit's circuits runs on Aer as it is, and is refused by name elsewhere."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping

import pytest
from dynamic_circuits import outcomes, random_dynamic_circuit
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit.classical import expr, types

import pennylane_qexec as qexec
from pennylane_qexec.circuits import frameworks
from pennylane_qexec.circuits.fingerprint import fingerprint
from pennylane_qexec.circuits.mid_circuit import dynamic_part
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors.aer import AerExecutor
from pennylane_qexec.experiment.tasks import plan_of


def reset_in_if() -> QuantumCircuit:
    circuit = QuantumCircuit(1, 1)
    circuit.x(0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.reset(0)
    circuit.measure(0, 0)
    return circuit


def measurement_in_if() -> QuantumCircuit:
    circuit = QuantumCircuit(2, 2)
    circuit.x([0, 1])
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.measure(1, 1)
    return circuit


def repeat_until_success() -> QuantumCircuit:
    circuit = QuantumCircuit(1, 1)
    circuit.h(0)
    circuit.measure(0, 0)
    with circuit.while_loop((circuit.clbits[0], 0)):
        circuit.h(0)
        circuit.measure(0, 0)
    return circuit


def loop_that_breaks() -> QuantumCircuit:
    circuit = QuantumCircuit(1, 1)
    with circuit.for_loop(range(3)):
        circuit.x(0)
        circuit.measure(0, 0)
        with circuit.if_test((circuit.clbits[0], 1)):
            circuit.break_loop()
    return circuit


def loop_that_continues() -> QuantumCircuit:
    circuit = QuantumCircuit(2, 2)
    with circuit.for_loop(range(3)) as turn:
        circuit.rx(3.141592653589793 * turn, 0)
        circuit.measure(0, 0)
        with circuit.if_test((circuit.clbits[0], 1)):
            circuit.continue_loop()
        circuit.x(1)
    circuit.measure(1, 1)
    return circuit


def bits_that_are_stored() -> QuantumCircuit:
    circuit = QuantumCircuit(1, 2)
    circuit.x(0)
    circuit.measure(0, 0)
    circuit.store(circuit.clbits[1], expr.logic_not(circuit.clbits[0]))
    circuit.measure(0, 1)
    circuit.store(circuit.clbits[0], expr.logic_not(circuit.clbits[0]))
    return circuit


def condition_on_many_bits() -> QuantumCircuit:
    circuit = QuantumCircuit(QuantumRegister(1, "q"), ClassicalRegister(14, "many"), ClassicalRegister(1, "one"))
    for bit in range(14):
        circuit.x(0)
        circuit.measure(0, bit)
    with circuit.if_test((circuit.cregs[0], 0b01010101010101)):
        circuit.x(0)
    circuit.measure(0, 14)
    return circuit


def blocks_of_their_own_bits() -> QuantumCircuit:
    """Blocks made by hand, whose qubits and bits are the circuit's in another order."""
    inner = QuantumCircuit(1, 1)
    inner.measure(0, 0)
    body = QuantumCircuit(2, 2)
    body.x(0)
    body.measure(0, 0)
    body.if_test((body.clbits[0], 1), inner, [1], [1])
    circuit = QuantumCircuit(QuantumRegister(3, "q"), ClassicalRegister(3, "c"))
    circuit.x(0)
    circuit.measure(1, 1)
    circuit.while_loop((circuit.clbits[2], 0), body, [2, 0], [2, 0])
    return circuit


CASES: dict[Callable[[], QuantumCircuit], tuple[str, str]] = {
    reset_in_if: ("a reset within an if", "0"),
    measurement_in_if: ("a measurement within an if", "11"),
    repeat_until_success: ("a 'while_loop'", "1"),
    loop_that_breaks: ("a 'break_loop'", "1"),
    loop_that_continues: ("a 'continue_loop'", "11"),
    bits_that_are_stored: ("a 'store'", "10"),
    condition_on_many_bits: ("a condition on 14 measured bits", "1 01010101010101"),
    blocks_of_their_own_bits: ("a 'while_loop'", "101"),
}


def counted(executor: qexec.Executor, circuit: QuantumCircuit, shots: int) -> Mapping[str, int]:
    form = plan_of(frameworks.read(circuit), shots, "native")
    (ready,) = form.circuits(shots, 0)
    assert executor.rejects(ready) is None
    return form.joined([tuple(executor.run([ready]))])


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_what_always_comes_out_of_a_dynamic_circuit_comes_out_of_aer(make: Callable[[], QuantumCircuit]) -> None:
    assert counted(AerExecutor(), make(), 50) == {CASES[make][1]: 50}


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_other_backends_refuse_a_dynamic_circuit_and_name_what_it_has(make: Callable[[], QuantumCircuit]) -> None:
    with qexec.QuantumExecutor() as executor:
        collector = executor.run_experiment(make(), 50, ["local_pennylane/default.qubit"])
    (error,) = collector.errors["local_pennylane"]["default.qubit"]
    assert f"runs no circuit with {CASES[make][0]}, which only Aer runs" in str(error)


MORE = [seed for seed in range(8, 40) if seed != 32]  # whose loops have more branches than can be followed


@pytest.mark.parametrize("seed", [*range(8), *[pytest.param(seed, marks=pytest.mark.slow) for seed in MORE]])
def test_random_dynamic_circuits_count_as_every_branch_says(seed: int) -> None:
    """Each outcome within six sigma, at least 6 counts, of 4000 seeded shots; no outcome that cannot be."""
    circuit = random_dynamic_circuit(seed)
    expected = outcomes(circuit)
    counts = counted(AerExecutor(seed=seed), circuit, 4000)
    assert sum(counts.values()) == 4000
    assert all(expected.get(key, 0.0) > 1e-9 for key in counts)
    for key, probability in expected.items():
        sigma = (4000 * probability * (1 - min(probability, 1.0))) ** 0.5
        assert abs(counts.get(key, 0) - 4000 * probability) <= max(6 * sigma, 6), key


def test_a_loop_that_never_ends_is_an_error_within_a_second_or_two() -> None:
    circuit = QuantumCircuit(1, 1)
    circuit.h(0)
    circuit.measure(0, 0)
    with circuit.while_loop((circuit.clbits[0], 1)):
        circuit.barrier(0)
    with pytest.raises(ConfigurationError, match="'while_loop' has not ended within 16384 turns"):
        counted(AerExecutor(), circuit, 100_000)


def test_the_counter_of_turns_is_not_in_the_outcomes_whatever_the_loop_does() -> None:
    circuit = QuantumCircuit(2, 3)
    with circuit.while_loop((circuit.clbits[2], 0)):
        circuit.x(0)
        circuit.measure(0, 0)
        with circuit.if_test((circuit.clbits[0], 0)):
            circuit.x(1)
            circuit.measure(1, 2)
        with circuit.if_test((circuit.clbits[0], 1)):
            circuit.continue_loop()
    assert counted(AerExecutor(), circuit, 20) == {"100": 20}


def coins() -> QuantumCircuit:
    """Eight coins, thrown one after the other until one of them is 1."""
    circuit = QuantumCircuit(1, 8)
    with circuit.for_loop(range(1)):
        for bit in range(8):
            circuit.h(0)
            circuit.measure(0, bit)
        with circuit.if_test((circuit.clbits[0], 1)):
            circuit.break_loop()
    return circuit


@pytest.mark.slow
def test_shots_of_a_dynamic_circuit_follow_from_the_seed_and_differ_without() -> None:
    runs = [counted(AerExecutor(seed=seed), coins(), 4000) for seed in (5, 5, 6)]
    assert runs[0] == runs[1]
    executor = AerExecutor()
    free = [counted(executor, coins(), 4000) for _ in range(2)]
    # Equal streams of shots, one or 2113 shots apart, would leave most counts of 256 outcomes equal or nearly so: the
    # sum of squared differences over the sum is 1 for independent shots, to sigma 0.09, and about 0 for those.
    for one, other in (runs[1:], free):
        distance = sum((one.get(key, 0) - other.get(key, 0)) ** 2 for key in {*one, *other}) / 8000
        assert 0.5 < distance < 1.75  # p < 1e-9 on either side


@pytest.mark.slow
def test_copies_of_a_dynamic_circuit_in_one_batch_draw_independent_shots() -> None:
    (circuit,) = plan_of(frameworks.read(coins()), 6339, "native").circuits(6339, 0)
    for executor in (AerExecutor(), AerExecutor(seed=1)):
        one, other = executor.run([circuit, circuit])
        distance = sum((one.get(key, 0) - other.get(key, 0)) ** 2 for key in {*one, *other}) / 12678
        assert 0.5 < distance < 1.75  # 0.33 if all but 2113 shots of the second were among those of the first


def test_dynamic_circuits_share_a_batch_with_others() -> None:
    forms = [plan_of(frameworks.read(make()), 30, "native") for make in (loop_that_breaks, measurement_in_if)]
    scripts = [form.circuits(30, 0)[0] for form in forms]
    plain = frameworks.read("OPENQASM 2.0; qreg q[1]; U(pi,0,0) q[0];").circuit.copy(shots=30)
    first, second, third, fourth = AerExecutor().run([scripts[0], plain, scripts[1], scripts[0]])
    assert (first, second, third, fourth) == ({"1": 30}, {"1": 30}, {"11": 30}, {"1": 30})


def test_a_split_of_a_dynamic_circuit_adds_up_in_every_order_of_bits() -> None:
    backends = ["local_aer/aer_simulator", "local_aer/fake_manila"]
    for order, key in (("native", "11"), ("big", "11"), ("little", "11")):
        with qexec.QuantumExecutor(bit_order=order) as executor:
            merged = executor.run_experiment(measurement_in_if(), 101, backends, config={"seed": 1})
        assert sum(merged.get_merged_results().values()) == 101
        assert merged.get_merged_results()[key] > 80


def test_a_machine_with_noise_refuses_a_loop_that_its_compiler_does_not_fit() -> None:
    executor = AerExecutor("fake_manila")
    (circuit,) = plan_of(frameworks.read(repeat_until_success()), 10, "native").circuits(10, 0)
    assert "fits no circuit with a 'while_loop'" in str(executor.rejects(circuit))


def test_a_dynamic_circuit_has_a_place_where_its_qubits_have() -> None:
    (circuit,) = plan_of(frameworks.read(measurement_in_if()), 10, "native").circuits(10, 0)
    assert AerExecutor(wires=2).rejects(circuit) is None
    assert AerExecutor(wires=1).rejects(circuit) == "has 1 wires, and the circuit needs 2"
    assert qexec.Rehearsal(AerExecutor(), qubits=2).rejects(circuit) is None


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_equal_dynamic_circuits_have_equal_fingerprints(make: Callable[[], QuantumCircuit]) -> None:
    one, other = frameworks.read(make()).circuit, frameworks.read(make()).circuit
    assert dynamic_part(one) is not None
    assert fingerprint(one) == fingerprint(other) == fingerprint(pickle.loads(pickle.dumps(one)))


def test_variables_that_are_no_bits_are_refused() -> None:
    circuit = QuantumCircuit(1, 1)
    variable = circuit.add_var("v", expr.lift(0, types.Uint(8)))
    with circuit.while_loop(expr.less(variable, 3)):
        circuit.x(0)
    with pytest.raises(ConfigurationError, match="variable"):
        frameworks.read(circuit)


def test_loops_with_too_many_turns_are_refused() -> None:
    circuit = QuantumCircuit(1, 1)
    with circuit.for_loop(range(1000)), circuit.for_loop(range(1000)):
        circuit.x(0)
        circuit.measure(0, 0)
        with circuit.if_test((circuit.clbits[0], 1)):
            circuit.break_loop()
    with pytest.raises(ConfigurationError, match="200,000 operations"):
        frameworks.read(circuit)
