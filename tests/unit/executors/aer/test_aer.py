"""The executor of Qiskit's Aer simulator, without noise."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.measurements import MeasurementProcess
from pennylane.tape import QuantumScript
from qiskit_aer import AerSimulator
from qiskit_aer.backends.aer_compiler import generate_aer_config

import pennylane_qexec as qexec
from pennylane_qexec.circuits.qiskit.gates import KINDS
from pennylane_qexec.executors import DeviceExecutor
from pennylane_qexec.executors.aer import AerExecutor, simulation

H = qml.Hamiltonian([0.2, 0.3, 0.5, 0.1], [qml.X(0), qml.Z(0) @ qml.Z(1), qml.Y(2), qml.I(0)])
HERMITIAN = qml.Hermitian(np.array([[1, 2j], [-2j, 3]]), 1)
SPARSE = qml.SparseHamiltonian(H.sparse_matrix(wire_order=range(3)), wires=range(3))

BOTH: dict[str, Callable[[], MeasurementProcess]] = {
    "expval": lambda: qml.expval(qml.Z(0)),
    "expval of a word": lambda: qml.expval(qml.X(0) @ qml.Y(1)),
    "expval of a Hamiltonian": lambda: qml.expval(H),
    "expval of a sum": lambda: qml.expval(qml.sum(qml.X(0), qml.Y(1) @ qml.Z(2))),
    "expval of a Hermitian": lambda: qml.expval(HERMITIAN),
    "expval of a projector": lambda: qml.expval(qml.Projector([0, 1], [0, 1])),
    "expval of the identity": lambda: qml.expval(qml.I(0)),
    "var": lambda: qml.var(qml.X(0) @ qml.Y(1)),
    "var of a Hermitian": lambda: qml.var(HERMITIAN),
    "probs": lambda: qml.probs(),
    "probs of some wires": lambda: qml.probs(wires=[2, 0]),
    "probs of an observable": lambda: qml.probs(op=qml.X(1)),
}
EXACT = BOTH | {
    "expval of a sparse Hamiltonian": lambda: qml.expval(SPARSE),
    "var of a Hamiltonian": lambda: qml.var(H),
    "state": lambda: qml.state(),
    "density matrix": lambda: qml.density_matrix([2, 0]),
    "purity": lambda: qml.purity([1]),
    "von Neumann entropy": lambda: qml.vn_entropy([0, 2]),
    "mutual information": lambda: qml.mutual_info([0], [1]),
}
SAMPLED: dict[str, Callable[[], MeasurementProcess]] = {
    "counts": lambda: qml.counts(),
    "counts of an observable": lambda: qml.counts(qml.X(0)),
    "all outcomes": lambda: qml.counts(wires=[0, 1], all_outcomes=True),
    "sample": lambda: qml.sample(wires=[2, 0]),
    "sample of an observable": lambda: qml.sample(HERMITIAN),
    "shadow": lambda: qml.classical_shadow([0, 2], seed=5),
    "expval of a shadow": lambda: qml.shadow_expval(H, seed=5),
}
REFERENCE = DeviceExecutor("default.qubit", seed=3)


def _operations(angles: Sequence[float]) -> list[Any]:
    a, b, c = angles
    return [qml.RX(a, 0), qml.Rot(b, a, c, 1), qml.CNOT([0, 2]), qml.CRY(c, [2, 1]), qml.SingleExcitation(b, [0, 2])]


def _circuits(measure: Callable[[], MeasurementProcess], shots: Any = None, number: int = 3) -> list[QuantumScript]:
    angles = np.random.default_rng(4).uniform(-3, 3, (number, 3))
    return [QuantumScript(_operations(row), [measure()], shots=shots) for row in angles]


def _close(one: Any, other: Any, error: float = 1e-9) -> bool:
    return np.allclose(np.asarray(one, dtype=complex), np.asarray(other, dtype=complex), rtol=0, atol=error)


def _same(one: Any, other: Any) -> bool:
    return one == other if isinstance(one, dict) else np.array_equal(one, other)


@pytest.mark.parametrize("kind", EXACT)
def test_results_without_shots_are_exact(kind: str) -> None:
    circuits = _circuits(EXACT[kind])
    results = AerExecutor().run(circuits)
    assert all(map(_close, results, REFERENCE.run(circuits)))


@pytest.mark.parametrize("kind", BOTH)
def test_results_with_shots_are_near_the_exact_ones(kind: str) -> None:
    """Values have a standard deviation of at most 2.5, 20,000 shots: 5 sigma are 0.089."""
    results = AerExecutor(seed=1).run(_circuits(BOTH[kind], 20_000))
    exact = [np.asarray(result) for result in REFERENCE.run(_circuits(BOTH[kind]))]
    error = 0.6 if "var" in kind else 0.089
    assert all(_close(result, value, error) for result, value in zip(results, exact, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["automatic", "matrix_product_state"])
@pytest.mark.parametrize("kind", BOTH | SAMPLED)
def test_circuits_together_give_what_they_give_one_by_one(kind: str, method: str) -> None:
    measure = (BOTH | SAMPLED)[kind]
    circuits = [*_circuits(measure, 50), QuantumScript([qml.H(0)], [qml.counts(wires=[0])], shots=70)] * 2
    together = AerExecutor(seed=7, method=method).run(circuits)
    alone = AerExecutor(seed=7, method=method)
    assert all(map(_same, together, [alone.run([circuit])[0] for circuit in circuits]))


@pytest.mark.parametrize("kind", SAMPLED)
def test_samples_have_pennylanes_form(kind: str) -> None:
    circuits = _circuits(SAMPLED[kind], 400)
    for result, other in zip(AerExecutor(seed=7).run(circuits), REFERENCE.run(circuits), strict=True):
        assert type(result) is type(other) or np.ndim(result) == np.ndim(other)
        if isinstance(result, dict):
            assert set(result) == set(other)
            assert sum(result.values()) == 400
        else:
            assert np.shape(result) == np.shape(other)


def test_equal_seeds_repeat_results_and_circuits_of_one_seed_differ() -> None:
    circuit = QuantumScript([qml.H(0)], [qml.sample(wires=[0])], shots=64)
    first, second = AerExecutor(seed=1).run([circuit, circuit])
    again, _ = AerExecutor(seed=1).run([circuit, circuit])
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, AerExecutor(seed=2).run([circuit])[0])


def test_a_replica_has_randomness_of_its_own() -> None:
    circuit = QuantumScript([qml.H(0)], [qml.sample(wires=[0])], shots=64)
    executor = AerExecutor(seed=1)
    copies = [pickle.loads(pickle.dumps(executor)) for _ in range(2)]
    for number, copy in enumerate(copies):
        copy.become_replica(number)
    results = [one.run([circuit])[0] for one in (executor, *copies)]
    assert len({result.tobytes() for result in results}) == 3


def test_wires_may_have_any_labels_in_any_order() -> None:
    executor = AerExecutor(wires=["a", 5, "b"])
    circuit = QuantumScript([qml.X("b"), qml.RX(0.3, 5)], [qml.probs(), qml.probs(wires=["b", "a"]), qml.state()])
    reference = DeviceExecutor("default.qubit", wires=["a", 5, "b"])
    for one, other in zip(executor.run([circuit])[0], reference.run([circuit])[0], strict=True):
        assert _close(one, other)


def test_arrays_in_circuits_stay_what_they_are() -> None:
    state = np.array([1, 2j, 3, 4]) / np.sqrt(30)
    unitaries = [qml.matrix(qml.CRX(angle, [0, 1])) for angle in (0.3, 0.9)]
    circuits = [
        QuantumScript([qml.StatePrep(state, [1, 0]), qml.QubitUnitary(unitary, [0, 2])], [qml.state()])
        for unitary in unitaries
    ]
    assert all(map(_close, AerExecutor().run(circuits), REFERENCE.run(circuits)))


@pytest.mark.parametrize(
    "operation", [qml.GlobalPhase(0.3), qml.ISWAP([0, 1]), qml.CRY(0.3, [1, 0]), qml.PSWAP(1, [0, 1])]
)
def test_every_row_has_its_global_phase(operation: Any) -> None:
    circuits = [QuantumScript([qml.H(0), operation], [qml.state()])] * 2
    assert all(map(_close, AerExecutor(wires=2).run(circuits), DeviceExecutor("default.qubit", wires=2).run(circuits)))


@pytest.mark.parametrize("seed", range(6))
def test_random_circuits_have_pennylanes_states(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kinds = sorted(KINDS - {qml.StatePrep, qml.Snapshot, qml.BasisState}, key=lambda kind: kind.__name__)
    operations = [qml.U3(*rng.uniform(-3, 3, 3), wire) for wire in range(4)]
    for kind in rng.permutation(kinds)[:20]:
        if kind in (qml.PauliRot, qml.MultiControlledX):
            continue
        width = kind.num_wires or 2
        operations.append(kind(*rng.uniform(-3, 3, kind.num_params), wires=rng.permutation(4)[:width].tolist()))
    circuit = QuantumScript(operations, [qml.state(), qml.expval(qml.Z(0) @ qml.X(3))])
    (result,), (expected,) = AerExecutor(wires=4).run([circuit]), REFERENCE.run([circuit])
    assert _close(result[0], expected[0])
    assert _close(result[1], expected[1])


@pytest.mark.parametrize("kind", [qml.expval, qml.var])
def test_observables_of_some_wires_are_exact_whatever_is_done_to_others(kind: Any) -> None:
    """Aer 0.17.2 leaves out gates that cannot matter, and then the expectation value of Y below is 0."""
    operations = [qml.CZ([2, 1]), qml.RX(0.4, 2), qml.RY(0.9, 2), qml.CZ([0, 1])]
    words = [qml.X(2), qml.Y(2), qml.Z(2), qml.Y(2) @ qml.Z(1), qml.dot([0.3, 0.4], [qml.X(2), qml.Z(0)])]
    circuits = [QuantumScript(operations, [kind(word)]) for word in words]
    assert all(map(_close, AerExecutor().run(circuits), REFERENCE.run(circuits)))


def _with_mid_measures(shots: int | None, postselect: int | None) -> QuantumScript:
    with qml.queuing.AnnotatedQueue() as queue:
        qml.RX(0.9, 0)
        first = qml.measure(0)
        qml.cond(first, qml.RX)(0.8, 1)
        qml.H(0)
        second = qml.measure(0, postselect=postselect, reset=True)
        qml.RY(0.3, 0)
        qml.expval(qml.Z(1))
        qml.probs(op=[first, second])
        qml.expval(first + 2 * second)
        qml.expval(qml.Z(0))
    return QuantumScript.from_queue(queue, shots=shots)


@pytest.mark.parametrize("postselect", [None, 0, 1])
def test_mid_circuit_measurements_are_deferred_and_postselected(postselect: int | None) -> None:
    """At most 20,000 shots are left of 40,000, and values have a deviation of at most 1.5: 5 sigma are 0.08."""
    (expected,) = REFERENCE.run([_with_mid_measures(None, postselect)])
    (exact,) = AerExecutor().run([_with_mid_measures(None, postselect)])
    (sampled,) = AerExecutor(seed=1).run([_with_mid_measures(40_000, postselect)])
    for value, one, estimate in zip(expected, exact, sampled, strict=True):
        assert _close(one, value)
        assert _close(estimate, value, 0.08)


def test_more_wires_than_probabilities_are_worth_are_sampled_by_aer() -> None:
    circuit = QuantumScript([qml.X(0), *[qml.CNOT([wire, wire + 1]) for wire in range(23)]], [qml.counts()], shots=5)
    assert AerExecutor(seed=1).run([circuit, circuit]) == [{"1" * 24: 5}] * 2


@pytest.mark.parametrize("method", ["automatic", "stabilizer"])
def test_clifford_circuits_may_have_many_wires(method: str) -> None:
    pairs = [qml.CNOT([wire, wire + 1]) for wire in range(38)]
    measured = [qml.expval(qml.Z(0) @ qml.Z(38)), qml.expval(qml.X(39)), qml.counts(wires=[1, 2])]
    circuit = QuantumScript([qml.H(0), qml.H(39), *pairs], measured, shots=20)
    executor = AerExecutor(seed=1, method=method)
    assert executor.rejects(circuit) is None
    parity, turned, counts = executor.run([circuit])[0]
    assert (parity, turned, set(counts)) == (1, 1, {"00", "11"})


def test_turns_into_measured_bases_are_the_same_for_stabilizers() -> None:
    operations = [qml.H(0), qml.S(0), qml.H(1), qml.adjoint(qml.S(2)), qml.X(2)]
    circuit = QuantumScript(operations, [qml.expval(qml.Y(0)), qml.expval(qml.X(1)), qml.expval(qml.Z(2))], shots=20)
    assert np.allclose(AerExecutor(method="stabilizer").run([circuit])[0], [1, 1, -1])


@pytest.mark.parametrize("method", ["statevector", "density_matrix", "matrix_product_state"])
def test_other_methods_and_single_precision_give_the_same(method: str) -> None:
    measured = [qml.expval(H), qml.probs(wires=[0, 2]), qml.purity([0]), qml.var(HERMITIAN)]
    circuit = QuantumScript(_operations([0.1, 0.2, 0.3]), measured)
    (result,), (expected,) = AerExecutor(method=method, precision="single").run([circuit]), REFERENCE.run([circuit])
    assert all(_close(one, other, 1e-5) for one, other in zip(result, expected, strict=True))
    AerExecutor(method=method, precision="single").run([QuantumScript(circuit.operations, [qml.probs()], shots=50)])


def test_many_circuits_are_run_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pennylane_qexec.executors.aer.backend._CIRCUITS_AT_ONCE", 4)
    circuits = _circuits(BOTH["probs"], 30, number=10)
    alone = AerExecutor(seed=2)
    assert all(map(_same, AerExecutor(seed=2).run(circuits), [alone.run([circuit])[0] for circuit in circuits]))


def test_gradients_go_through_the_device_of_a_cluster() -> None:
    def circuit(x: Any) -> Any:
        qml.RX(x[0], 0)
        qml.CRY(x[1], [0, 1])
        return qml.expval(qml.Z(1))

    x = qml.numpy.array([0.4, 0.7], requires_grad=True)
    device = qml.device("qexec.cluster", executors=["aer"], wires=2)
    expected = qml.grad(qml.QNode(circuit, qml.device("default.qubit", wires=2)))(x)
    assert np.allclose(qml.grad(qml.QNode(circuit, device, diff_method="parameter-shift"))(x), expected)


def test_its_scheme_and_options_are_known_to_specs() -> None:
    executor = qexec.executor({"type": "aer", "precision": "single"}, wires=3)
    assert (executor.name, executor.backend, executor.local, executor.shareable) == ("aer", "aer_simulator", True, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precison": "single"}, "Did you mean 'precision'"),
        ({"method": "statvector"}, "Did you mean 'statevector'"),
        ({"device": "GPU"}, "qiskit-aer-gpu"),
        ({"target_gpus": [0]}, "device='GPU'"),
        ({"shots": 10}, "qml.set_shots"),
        ({"seed_simulator": 10}, "seed="),
        ({"seed": -1}, "at least 0"),
        ({"seed": True}, "at least 0"),
        ({"backend": "fake_manilla"}, "Did you mean 'fake_manila'"),
        ({"backend": "fake_manila", "wires": 6}, "5 qubits"),
        ({"backend": "fake_manila", "optimization_level": 9}, "optimization_level=9"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(qexec.ConfigurationError, match=message):
        AerExecutor(**options)


def test_the_gpus_that_were_chosen_are_those_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = []

    def on_the_cpu(*arguments: Any, **options: Any) -> Any:
        config = generate_aer_config(*arguments, **options)
        chosen.append((config.device, config.target_gpus))
        config.device = "CPU"
        return config

    monkeypatch.setattr(simulation, "generate_aer_config", on_the_cpu)
    monkeypatch.setattr(AerSimulator, "available_devices", lambda self: ("CPU", "GPU"))
    executor = qexec.executor({"type": "aer", "device": "GPU", "target_gpus": [1]})
    assert executor.run([QuantumScript([qml.X(0)], [qml.expval(qml.Z(0))])]) == [-1.0]
    assert chosen == [("GPU", [1])]
    with pytest.raises(qexec.ConfigurationError, match="list of numbers of GPUs"):
        AerExecutor(device="GPU", target_gpus=1)


def test_circuits_that_do_not_fit_are_rejected() -> None:
    wide = QuantumScript([qml.RX(0.1, wire) for wire in range(60)], [qml.expval(qml.Z(0))])
    assert "60 qubits does not fit" in str(AerExecutor().rejects(wide))
    assert AerExecutor(method="matrix_product_state").rejects(wide) is None
    assert "2 wires, and no wire 2" in str(AerExecutor(wires=2).rejects(QuantumScript([qml.X(2)])))
    assert "10 shots" in str(AerExecutor(max_shots=10).rejects(QuantumScript([], [qml.probs()], shots=11)))


def test_measurements_that_need_shots_or_none_are_refused() -> None:
    with pytest.raises(qexec.ConfigurationError, match="give it shots"):
        AerExecutor().run([QuantumScript([qml.H(0)], [qml.counts()])])
    with pytest.raises(qexec.ConfigurationError, match="leave shots out"):
        AerExecutor().run([QuantumScript([qml.H(0)], [qml.state()], shots=10)])


def test_effort_grows_with_qubits_shots_and_noise() -> None:
    small, large = (QuantumScript([qml.RX(0.1, 0)] * 10, [qml.probs(wires=range(n))], shots=100) for n in (3, 12))
    ideal, noisy = AerExecutor(), AerExecutor("fake_manila")
    assert ideal.effort([small]) < ideal.effort([large])
    assert ideal.effort([small]) < noisy.effort([small])
    assert ideal.effort([small, small]) == 2 * ideal.effort([small])
