"""Circuits that run as one give what they give one by one: every measurement, every shot, every random number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.devices import ExecutionConfig
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.concurrency.once import OnceCache
from pennylane_qexec.executors.pennylane import broadcasting
from pennylane_qexec.executors.pennylane.seeds import OutOfTurnError, PartitionedGenerator, Stream
from pennylane_qexec.job import Call, Work

H = qml.Hamiltonian([0.2, 0.3, 0.5], [qml.X(0), qml.Z(0) @ qml.Z(1), qml.Y(2)])
SUM = qml.sum(qml.X(0), qml.Y(1) @ qml.Z(2))
HERMITIAN = qml.Hermitian(np.array([[1, 2j], [-2j, 3]]), 1)

BOTH = {
    "expval": lambda: [qml.expval(qml.Z(0))],
    "expval of a word": lambda: [qml.expval(qml.X(0) @ qml.Y(1))],
    "expval of a Hamiltonian": lambda: [qml.expval(H)],
    "expval of a sum": lambda: [qml.expval(SUM)],
    "expval of a Hermitian": lambda: [qml.expval(HERMITIAN)],
    "expval of a projector": lambda: [qml.expval(qml.Projector([0, 1], [0, 1]))],
    "expval of the identity": lambda: [qml.expval(qml.I(0))],
    "var": lambda: [qml.var(qml.X(0) @ qml.Y(1))],
    "probs": lambda: [qml.probs(wires=[2, 0])],
    "probs of an observable": lambda: [qml.probs(op=qml.X(1))],
    "several": lambda: [qml.expval(H), qml.probs(wires=[1]), qml.var(qml.Y(2)), qml.expval(qml.X(2))],
}
ANALYTIC = BOTH | {
    "state": lambda: [qml.state()],
    "density matrix": lambda: [qml.density_matrix([0])],
    "entropy": lambda: [qml.vn_entropy([0])],
    "mutual information": lambda: [qml.mutual_info([0], [1])],
    "purity": lambda: [qml.purity([0])],
    "expval of a sparse Hamiltonian": lambda: [qml.expval(qml.SparseHamiltonian(H.sparse_matrix(), [0, 1, 2]))],
    "a wire without gates": lambda: [qml.expval(qml.Z(3))],
}
SAMPLED = BOTH | {
    "sample": lambda: [qml.sample(wires=[0, 1])],
    "sample of one wire": lambda: [qml.sample(wires=0)],
    "sample of an observable": lambda: [qml.sample(qml.Z(0))],
    "counts": lambda: [qml.counts(wires=[0, 1])],
    "counts of an observable": lambda: [qml.counts(qml.Z(1))],
    "counts of all outcomes": lambda: [qml.counts(wires=[0], all_outcomes=True)],
    "samples and more": lambda: [qml.sample(wires=[1]), qml.counts(wires=[0, 1]), qml.expval(qml.Y(0)), qml.expval(H)],
    "shadow": lambda: [qml.classical_shadow([0, 1], seed=3)],
}
CASES = [(None, name) for name in ANALYTIC] + [(shots, name) for shots in (40, (10, 20, 20)) for name in SAMPLED]


class Runs:
    """Counts how often circuits of one structure are run as one, or would be if that gave what they give alone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number = 0
        as_one = broadcasting._Batch._as_one

        def counted(batch: Any, *arguments: Any) -> Any:
            self.number += 1
            return as_one(batch, *arguments)

        monkeypatch.setattr(broadcasting._Batch, "_as_one", counted)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    """How often circuits ran as one."""
    return Runs(monkeypatch)


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Structures are new in every test."""
    monkeypatch.setattr(broadcasting, "_structures", OnceCache(100))


def circuits(measurements: Any, shots: Any = None, number: int = 14, seed: int = 5) -> list[QuantumScript]:
    """Circuits of one structure with all kinds of parametrised operations."""
    rng, made = np.random.default_rng(seed), []
    for _ in range(number):
        operations = [qml.RX(rng.uniform(0, 6), 0), qml.Rot(*rng.uniform(0, 6, 3), 1), qml.CNOT([0, 1]), qml.H(2)]
        operations += [qml.CRY(rng.uniform(0, 6), [1, 2]), qml.IsingXX(rng.uniform(0, 6), [0, 2])]
        operations += [qml.MultiRZ(rng.uniform(0, 6), [0, 1, 2]), qml.GlobalPhase(rng.uniform(0, 6))]
        made.append(QuantumScript(operations, measurements, shots=shots))
    return made


def run(batch: Sequence[QuantumScript], name: str = "default.qubit", *, bare: bool = False) -> Any:
    """The results of a seeded device, broadcasting or by itself; and where its stream is."""
    device = qml.device(name, wires=4, seed=7)
    config = device.setup_execution_config(ExecutionConfig(), batch[0])
    program = device.preprocess_transforms(config)
    bound = [one for circuit in batch for one in program((circuit,))[0]]
    results = list(device.execute(tuple(bound), config)) if bare else broadcasting.execute(device, bound, config)
    return results, device._rng.bit_generator.state


def assert_same(one: Any, other: Any) -> None:
    assert one[1] == other[1], "the stream of random numbers is elsewhere"
    assert len(one[0]) == len(other[0])
    assert all(map(broadcasting._same, one[0], other[0]))


@pytest.mark.slow
@pytest.mark.parametrize(("shots", "name"), CASES, ids=lambda value: str(value))
def test_circuits_that_run_as_one_give_what_they_give_one_by_one(shots, name, runs):
    batch = circuits((ANALYTIC if shots is None else SAMPLED)[name](), shots)
    assert_same(run(batch), run(batch, bare=True))
    assert runs.number == (0 if name == "shadow" else 1)


@pytest.mark.parametrize("shots", [None, 40])
@pytest.mark.parametrize("name", ["expval of a Hamiltonian", "several", "probs"])
def test_density_matrices_run_as_one_too(shots, name, runs):
    batch = circuits(BOTH[name](), shots)
    assert_same(run(batch, "default.mixed"), run(batch, "default.mixed", bare=True))
    assert runs.number == 1


def test_structures_that_alternate_draw_the_numbers_that_they_would_draw_one_by_one(runs):
    one, other = circuits(BOTH["several"](), 30), circuits([qml.counts(wires=[0, 1])], 50)
    shadows = circuits([qml.classical_shadow([0, 1])], 20, 2)
    batch = [each for pair in zip(one, other, strict=True) for each in pair]
    batch = [*batch[:9], shadows[0], *batch[9:], shadows[1]]
    run(batch)
    runs.number = 0
    assert_same(run(batch), run(batch, bare=True))
    assert runs.number == 4


def test_analytic_circuits_and_circuits_with_shots_go_together():
    batch = circuits([qml.expval(qml.Z(0))], 30) + circuits([qml.state()]) + circuits([qml.expval(qml.Z(0))], 40)
    assert_same(run(batch), run(batch, bare=True))


def test_many_rows_run_in_parts_that_fit_into_memory(monkeypatch, runs):
    monkeypatch.setattr(broadcasting, "_MOST_BYTES_OF_STATES", 16 * 8 * 5)
    batch = circuits(BOTH["several"](), 30)
    assert_same(run(batch), run(batch, bare=True))
    assert runs.number == 3


def test_rows_that_do_not_fit_into_memory_run_one_by_one(monkeypatch, runs):
    monkeypatch.setattr(broadcasting, "_MOST_BYTES_OF_STATES", 16 * 8)
    batch = circuits([qml.expval(qml.Z(0))])
    assert_same(run(batch), run(batch, bare=True))
    assert runs.number == 0


@pytest.mark.parametrize("number", [1, 2, 11])
def test_few_circuits_are_not_worth_finding_out(number, runs):
    batch = circuits([qml.expval(qml.Z(0))], 20, number)
    assert_same(run(batch), run(batch, bare=True))
    assert runs.number == 0


@pytest.mark.parametrize(
    ("name", "wires", "shots", "number"),
    [
        ("default.qubit", 12, None, 3),
        ("default.qubit", 13, None, 0),
        ("default.mixed", 6, None, 3),
        ("default.mixed", 7, None, 0),
        ("default.qubit", 2, 2**15, 3),
        ("default.qubit", 2, 2**15 + 1, 0),
    ],
)
def test_only_small_circuits_run_as_one(name, wires, shots, number, runs):
    rng = np.random.default_rng(2)
    measured = [qml.expval(qml.Z(0))]
    batch = [
        QuantumScript([qml.RX(rng.uniform(0, 6), wire) for wire in range(wires)], measured, shots) for _ in range(4)
    ]
    device = qml.device(name, wires=wires, seed=1)
    for _ in range(5):
        broadcasting.execute(device, batch, device.setup_execution_config())
    assert runs.number == number


def test_two_circuits_run_one_by_one(runs):
    batch = circuits([qml.expval(qml.Z(0))], 20, 12)
    run(batch)
    runs.number = 0
    assert_same(run(batch[:2]), run(batch[:2], bare=True))
    assert runs.number == 0


def test_a_structure_that_comes_again_is_worth_finding_out(runs):
    batch = circuits([qml.expval(qml.Z(0))], 20, 6)
    for _ in range(3):
        assert_same(run(batch), run(batch, bare=True))
    assert runs.number == 2


@pytest.mark.parametrize("last", [qml.QubitUnitary(np.eye(2), 0), qml.Projector([0], [3]), qml.Snapshot()])
def test_operations_without_numbers_are_as_they_are(last):
    batch = [
        QuantumScript([*circuit.operations, last], circuit.measurements, shots=circuit.shots)
        for circuit in circuits([qml.probs(wires=[0, 1])], 20)
    ]
    assert_same(run(batch), run(batch, bare=True))


@pytest.mark.parametrize(
    "state", [qml.BasisState(np.array([1, 0, 1]), [0, 1, 2]), qml.StatePrep(np.eye(8)[3], range(3))]
)
def test_a_prepared_state_is_shared(state, runs):
    batch = [
        QuantumScript([state, *circuit.operations], circuit.measurements, shots=circuit.shots)
        for circuit in circuits([qml.expval(H)], 20)
    ]
    assert_same(run(batch), run(batch, bare=True))
    assert runs.number == 1


def test_a_structure_that_fails_as_one_runs_one_by_one_from_then_on(monkeypatch):
    batch = circuits([qml.expval(qml.Z(0))], 20)
    run(batch)
    tried = []

    def fails(*_: Any) -> Any:
        tried.append(1)
        raise ValueError("as one they fail")

    monkeypatch.setattr(broadcasting.Native, "together", fails)
    for _ in range(2):
        assert_same(run(batch), run(batch, bare=True))
    assert len(tried) == 1


def test_parameters_of_other_libraries_are_left_to_them(runs):
    batch = circuits([qml.expval(qml.Z(0))])
    strange = QuantumScript([qml.RX(np.float32(0.3), 0)], [qml.expval(qml.Z(0))])
    run([strange] * 20)
    assert runs.number == 0
    run(batch)
    assert runs.number == 1


def test_a_tracker_sees_circuits_one_by_one():
    batch = circuits([qml.expval(qml.Z(0))])
    device = qml.device("default.qubit", seed=7)
    with device.tracker:
        broadcasting.execute(device, batch, device.setup_execution_config())
    assert device.tracker.totals["simulations"] == len(batch)


def test_generators_that_cannot_go_to_a_place_draw_one_by_one(runs):
    batch = circuits([qml.expval(qml.Z(0))], 20)
    devices = [qml.device("default.qubit", seed=np.random.Generator(np.random.MT19937(3))) for _ in range(2)]
    config = devices[0].setup_execution_config()
    got = broadcasting.execute(devices[0], batch, config)
    assert got == list(devices[1].execute(tuple(batch), config))
    assert runs.number == 0


def test_drawing_something_else_than_before_is_noticed():
    stream = Stream(np.random.default_rng(1))
    turns = PartitionedGenerator(stream, (10, 5), [0, 15])
    turns.choice(4, 10, p=[0.25] * 4)
    with pytest.raises(OutOfTurnError):
        turns.check_over()
    with pytest.raises(OutOfTurnError):
        turns.choice(4, 7, p=[0.25] * 4)


def test_turns_are_the_parts_of_one_stream():
    rng = np.random.default_rng(4)
    one_by_one = [rng.choice(8, size, p=[0.125] * 8) for _ in range(2) for size in (6, 3)]
    turns = PartitionedGenerator(Stream(np.random.default_rng(4)), (6, 3), [0, 9])
    as_one = [turns.choice(8, size, p=[0.125] * 8) for size in (6, 3) for _ in range(2)]
    for row, part, index in ((0, 0, 0), (0, 1, 2), (1, 0, 1), (1, 1, 3)):
        assert np.array_equal(one_by_one[2 * row + part], as_one[index])


# -- through an executor and a cluster

HERE = {"type": "default.qubit", "parallel": "thread"}
"""Not in a worker process, where these tests cannot count."""


@pytest.mark.parametrize("shots", [None, 50])
def test_an_executor_gives_what_the_device_gives(runs, shots):
    batch = circuits(BOTH["several"](), shots)
    device = qml.device("default.qubit", seed=3)
    expected = qml.execute(batch, device, None)
    executor = qexec.executor("default.qubit", seed=3)
    binder = executor.binder(ExecutionConfig(), batch[0])
    bound = [binder(circuit) for circuit in batch]
    call = Call("execute", bound[0].config, bound=True)
    raw = executor.perform(Work(tuple([one.circuits[0] for one in bound]), call))
    results = [one.postprocess([result]) for one, result in zip(bound, raw, strict=True)]
    assert runs.number > 0
    assert all(map(broadcasting._same, results, expected))


def test_circuits_that_are_not_bound_yet_run_as_one_too(runs):
    batch = circuits([qml.expval(qml.Z(0)), qml.sample(wires=[1])], 50)
    results = qexec.executor("default.qubit", seed=3).run(batch)
    assert runs.number > 0
    assert all(map(broadcasting._same, results, qml.execute(batch, qml.device("default.qubit", seed=3), None)))


def test_one_bad_circuit_fails_alone(runs):
    batch = circuits([qml.expval(qml.Z(0))], 50)
    bad = QuantumScript([qml.X(0)], [qml.expval(qml.Z("elsewhere"))], shots=50)
    cluster = qexec.QCluster([HERE | {"wires": 3, "seed": 3}], failover=False)
    with cluster, pytest.raises(qexec.QExecError, match="elsewhere"):
        cluster.execute([*batch, bad])


METHODS = ["parameter-shift", "finite-diff", "hadamard", "adjoint", "backprop", "spsa"]


def test_a_batch_of_a_cluster_comes_in_order(runs):
    batch = (
        circuits([qml.expval(qml.Z(0))]) + circuits([qml.probs(wires=[1])]) + circuits([qml.expval(qml.Z(0))], seed=6)
    )
    batch = batch[::2] + batch[1::2]
    with qexec.QCluster([HERE]) as cluster:
        results = cluster.execute(batch)
    assert runs.number > 0
    assert all(map(broadcasting._same, results, qml.execute(batch, qml.device("default.qubit"), None)))


@pytest.mark.parametrize("method", METHODS)
def test_every_gradient_is_that_of_the_device_alone(runs, method):
    """To rounding, which finite differences divide by their step of 1e-7 (spsa: 1e-5)."""

    def ansatz(weights: Any) -> Any:
        for layer in weights:
            for wire, angle in enumerate(layer):
                qml.RY(angle, wire)
            qml.CNOT([0, 1])
            qml.CNOT([1, 2])
        return qml.expval(H)

    weights = qml.numpy.array(np.linspace(0.1, 2.0, 12).reshape(4, 3), requires_grad=True)
    options = {"spsa": {"sampler_rng": 3, "num_directions": 20}, "hadamard": {"aux_wire": 3}}.get(method, {})

    def gradient(device: Any) -> Any:
        if method == "spsa":
            options["sampler_rng"] = np.random.default_rng(3)
        return qml.grad(qml.QNode(ansatz, device, diff_method=method, gradient_kwargs=dict(options)))(weights)

    with qml.device("qexec.cluster", wires=4, executors=[HERE]) as device:
        difference = gradient(device) - gradient(qml.device("default.qubit", wires=4))
    assert np.abs(difference).max() < (1e-8 if method in ("finite-diff", "spsa") else 1e-12)
    assert (runs.number > 0) is (method in ("parameter-shift", "finite-diff", "spsa"))


@pytest.mark.parametrize("kind", ["default.qubit", "lightning.qubit", "aer"])
@pytest.mark.parametrize("split", [None, "uniform"])
def test_rows_of_gates_that_remember_their_batch_come_once(open_device: Any, kind: str, split: str | None) -> None:
    def function(x: Any) -> Any:
        qml.MultiRZ(x, [0, 1])
        qml.adjoint(qml.PauliRot(x, "Y", [0]))
        return qml.sample(wires=0), qml.expval(qml.Z(0))

    qnode = qml.QNode(function, open_device([kind, kind], split=split), shots=12)
    samples, values = qnode(np.array([0.3, 0.5, 0.9]))
    assert (samples.shape, values.shape) == ((3, 12, 1), (3,))
