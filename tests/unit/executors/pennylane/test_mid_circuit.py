"""Mid-circuit measurements with shots: simulated once for each sequence of outcomes, where the user has no wish."""

import itertools

import numpy as np
import pennylane as qml
import pytest

import pennylane_qexec as qexec
from pennylane_qexec import DeviceExecutor, Hybrid
from pennylane_qexec.circuits.fingerprint import fingerprint
from pennylane_qexec.circuits.structure import with_outcomes_in_order
from pennylane_qexec.cluster.planning import CallPlanner
from pennylane_qexec.testing import ScriptedExecutor

SHOTS = 20_000
SIMULATORS = [
    [{"type": "lightning.qubit", "seed": 1}],
    [{"type": "default.qubit", "seed": 2}],
    [{"type": "jax", "compile": "never", "seed": 3}],
    [{"type": "lightning.qubit", "seed": 4}, {"type": "default.qubit", "seed": 5}],
    [{"type": "aer", "seed": 6}, {"type": "lightning.qubit", "seed": 7}],
]


def steered():
    """Outcomes that steer gates, are discarded, used together, and begin anew."""
    qml.RY(1.1, wires=0)
    first = qml.measure(0, reset=True)
    qml.cond(first, qml.RX, qml.RY)(0.5, wires=1)
    second = qml.measure(1)
    qml.CNOT(wires=[1, 0])
    qml.RX(0.4, wires=0)
    return first, second


def statistics():
    first, second = steered()
    return (
        qml.expval(first),
        qml.probs(op=[first, second]),
        qml.var(second),
        qml.probs(wires=[0, 1]),
        qml.expval(qml.X(0) @ qml.Z(1)),
        qml.expval(0.3 * qml.Z(0) + 0.7 * qml.X(1)),
        qml.var(qml.Y(0)),
        qml.expval(first + 2 * second),
    )


def postselected():
    qml.RY(1.1, wires=0)
    first = qml.measure(0)
    qml.CNOT(wires=[0, 1])
    qml.RY(0.7, wires=1)
    second = qml.measure(1, postselect=1)
    return qml.expval(first), qml.probs(wires=[0, 1]), qml.var(qml.X(0)), qml.expval(second), qml.expval(qml.Z(0))


def qnode_on(function, executors, shots=SHOTS, split=None, **options):
    device = qml.device("qexec.cluster", wires=2, executors=executors, split=split)
    return qml.set_shots(qml.QNode(function, device, **options), shots)


def flat(result):
    return np.concatenate([np.ravel(np.asarray(part, dtype=float)) for part in result])


def simulations_of(monkeypatch, name="default.qubit"):
    """How many circuits a device runs, and of how many shots."""
    seen = []
    kind = type(qml.device(name, wires=2))
    original = kind.execute

    def execute(self, circuits, execution_config=None):
        seen.extend((circuits,) if isinstance(circuits, qml.tape.QuantumScript) else circuits)
        return original(self, circuits, execution_config)

    monkeypatch.setattr(kind, "execute", execute)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("executors", SIMULATORS, ids=str)
@pytest.mark.parametrize("function", [statistics, postselected])
def test_statistics_are_those_of_theory(function, executors):
    right = flat(qml.QNode(function, qml.device("default.qubit"), mcm_method="deferred")())
    shots = SHOTS if function is statistics else 400  # what postselects is simulated shot by shot
    found = flat(qnode_on(function, executors, shots, split="uniform" if len(executors) > 1 else None)())
    spread = 2.0 if function is statistics else 1.0  # the largest standard deviation of one shot
    valid = shots if function is statistics else shots / 5  # at least so many are left by the postselection
    assert found == pytest.approx(right, abs=6 * spread / np.sqrt(valid))


@pytest.mark.parametrize("name", ["default.qubit", "lightning.qubit"])
def test_outcomes_of_one_shot_stay_together_in_a_random_order(name):
    def sampled():
        qml.H(0)
        first = qml.measure(0)
        qml.CNOT(wires=[0, 1])
        qml.H(0)
        second = qml.measure(0)
        return (
            qml.sample(first),
            qml.sample(wires=[1]),
            qml.sample(qml.Z(1)),
            qml.sample(wires=[0, 1]),
            qml.sample(second),
        )

    first, wire, pauli, wires, second = qnode_on(sampled, [{"type": name, "seed": 1}], 200)()
    assert np.array_equal(first, wire[:, 0])
    assert np.array_equal(1 - 2 * first, pauli)
    assert np.array_equal(np.stack([second, first], axis=1), wires)
    assert first.dtype == second.dtype == np.int64
    changes = np.count_nonzero(np.diff(first))
    assert abs(changes - 99.5) < 6 * np.sqrt(199) / 2  # 1 if they were sorted


@pytest.mark.parametrize("name", ["default.qubit", "lightning.qubit"])
def test_seeds_repeat_samples_and_their_order(name):
    def sampled():
        qml.H(0)
        return qml.sample(qml.measure(0))

    runs = [qnode_on(sampled, [{"type": name, "seed": 3}], 100)() for _ in range(2)]
    assert np.array_equal(*runs)


def test_a_circuit_is_simulated_once_and_not_for_each_shot(monkeypatch):
    qnode = qnode_on(statistics, ["default.qubit"], 100)
    seen = simulations_of(monkeypatch)
    qnode()
    assert [circuit.shots.total_shots for circuit in seen] == [100]
    assert not seen[0].shots.has_partitioned_shots


@pytest.mark.parametrize("method", ["one-shot", "deferred", "tree-traversal"])
def test_the_method_that_the_user_gives_is_kept(monkeypatch, method):
    def simple():
        qml.RY(1.1, wires=0)
        first = qml.measure(0)
        return qml.expval(first), qml.probs(wires=[0])

    device = qml.device("qexec.cluster", executors=["default.qubit"])
    qnode = qml.set_shots(qml.QNode(simple, device, mcm_method=method), 10)
    seen = simulations_of(monkeypatch)
    qnode()
    (circuit,) = seen
    assert circuit.shots.has_partitioned_shots == (method == "one-shot")
    assert any(isinstance(operation, qml.ops.MidMeasure) for operation in circuit.operations) == (method != "deferred")


def test_postselection_modes_of_the_user_are_kept():
    device = qml.device("qexec.cluster", executors=["default.qubit"])

    def valid(**options):
        def function():
            qml.H(0)
            qml.measure(0, postselect=1)
            return qml.sample(wires=[0])

        return len(qml.set_shots(qml.QNode(function, device, **options), 400)())

    assert 80 < valid() < 320  # 12 sigma about 200
    assert 80 < valid(postselect_mode="hw-like") < 320
    assert valid(mcm_method="deferred", postselect_mode="fill-shots") == 400


def test_jax_has_the_shots_that_postselection_discards_padded():
    jax = pytest.importorskip("jax")

    def function(x):
        qml.RX(x, wires=0)
        qml.measure(0, postselect=1)
        return qml.sample(wires=[0])

    ours = qnode_on(function, ["default.qubit"], 20)(jax.numpy.array(2.5))
    bare = qml.set_shots(qml.QNode(function, qml.device("default.qubit")), 20)(jax.numpy.array(2.5))
    assert ours.shape == bare.shape == (20, 1)


@pytest.mark.parametrize("name", ["default.qubit", "lightning.qubit"])
def test_tree_traversal_of_postselected_circuits_is_refused_with_shots(name):
    with pytest.raises(qexec.QExecError, match="mcm_method='one-shot' or 'deferred'"):
        qnode_on(postselected, [name], 10, mcm_method="tree-traversal")()


def test_shot_vectors_and_batches_and_gradients_are_right():
    def turned(angle):
        qml.RY(angle, wires=0)
        first = qml.measure(0)
        qml.cond(first, qml.RX)(0.5, wires=1)
        return qml.expval(first), qml.expval(qml.Z(1))

    angles = np.array([0.3, 1.1])
    executors = [{"type": "lightning.qubit", "seed": 1}]
    first, _ = qnode_on(turned, executors, (10_000, 20_000))(angles)[1]
    assert first == pytest.approx(np.sin(angles / 2) ** 2, abs=6 * 0.5 / np.sqrt(20_000))
    qnode = qnode_on(turned, executors)
    slope = qml.grad(lambda angle: qnode(angle)[0])(qml.numpy.array(1.1))
    assert slope == pytest.approx(np.sin(1.1) / 2, abs=6 * 0.5 / np.sqrt(2 * SHOTS))


def test_members_of_hybrids_and_executors_on_top_of_devices_do_it_too(monkeypatch):
    for executor in (Hybrid(["default.qubit"]), ScriptedExecutor(), DeviceExecutor("default.qubit", parallel="thread")):
        qnode = qnode_on(statistics, [executor], 50)
        with monkeypatch.context() as patch:
            seen = simulations_of(patch)
            qnode()
        assert [circuit.shots.has_partitioned_shots for circuit in seen] == [False], executor


def test_circuits_of_one_call_have_each_their_own_method(monkeypatch):
    device = qml.device("qexec.cluster", executors=["default.qubit"])
    measured = qml.tape.make_qscript(statistics, shots=10)()
    with_snapshot = measured.copy(operations=[*measured.operations, qml.Snapshot()])
    seen = simulations_of(monkeypatch)
    device.execute([with_snapshot, measured])
    assert sorted(circuit.shots.has_partitioned_shots for circuit in seen) == [False, True]


def _two_coins(measure):
    def circuit():
        qml.H(0)
        qml.H(1)
        return measure(qml.measure(0), qml.measure(1))

    return circuit


@pytest.mark.parametrize("executor", ["default.qubit", "lightning.qubit", "aer", "jax", "default.mixed"])
@pytest.mark.parametrize("method", [None, "deferred"])
def test_outcomes_that_add_up_to_the_same_are_counted_together(open_device, executor, method):
    """Of 2000 shots, the sum of two coins is 1 in 1000 +- 22; here 6.5 sigma (p < 1e-10)."""
    device = open_device([executor], wires=4)
    qnode = qml.QNode(_two_coins(lambda one, other: qml.counts(one + other)), device, mcm_method=method)
    counts = qml.set_shots(qnode, 2000)()
    assert sum(counts.values()) == 2000
    assert abs(counts[1] - 1000) < 145


def test_lightning_adds_outcomes_as_numbers_by_tree_traversal(open_device):
    """The mean of the sum of two coins over 2000 shots is 1 +- 0.016; here 8 sigma. PennyLane's own is 0.75."""
    device = open_device(["lightning.qubit"], wires=4)
    qnode = qml.QNode(_two_coins(lambda a, b: qml.expval(a + b)), device, mcm_method="tree-traversal")
    assert abs(qml.set_shots(qnode, 2000)() - 1) < 0.13


def test_an_error_of_a_devices_own_postprocessing_says_whose_it_is(open_device):
    def circuit():
        qml.H(0)
        return qml.counts(qml.measure(0), all_outcomes=True), qml.counts(wires=[0], all_outcomes=True)

    qnode = qml.QNode(circuit, open_device(["default.qubit"]), mcm_method="one-shot")  # PennyLane's AttributeError
    with pytest.raises(qexec.ExecutorError, match="AttributeError") as raised:
        qml.set_shots(qnode, 10)()
    assert raised.value.executor == "default.qubit"


@pytest.mark.parametrize("executor", ["default.qubit", "lightning.qubit"])
def test_variances_of_matrices_are_real(open_device, executor):
    def circuit():
        qml.measure(0)
        return qml.var(qml.Hermitian(np.array([[0.3, 1 - 0.2j], [1 + 0.2j, -0.7]]), 1))

    value = qml.set_shots(qml.QNode(circuit, open_device([executor], wires=2)), 50)()
    assert not np.iscomplexobj(value)


def computed_of(*ids: str) -> qml.tape.QuantumScript:
    """A circuit that computes with three outcomes of which one is certain, and whose ids PennyLane draws at random."""
    measured = [qml.ops.MidMeasure(wire, meas_uid=one) for wire, one in enumerate(ids)]
    first, second, third = (qml.measurements.MeasurementValue([one]) for one in measured)
    operations = [qml.RY(0.7, 0), qml.RY(0.4, 1), qml.X(2), *measured]
    operations.append(qml.ops.Conditional(third & (first > second), qml.RX(0.8, 3)))
    measurements = [qml.expval(first - 2 * second * third), qml.expval(qml.Z(3))]
    return qml.tape.QuantumScript(operations, measurements, trainable_params=[1, 2])


@pytest.mark.parametrize("executor", ["default.qubit", "aer", "default.mixed"])
def test_what_is_run_does_not_depend_on_the_random_ids_of_outcomes(executor):
    one, two = np.sin(0.35) ** 2, np.sin(0.2) ** 2
    right = one - 2 * two, 1 - one * (1 - two) * (1 - np.cos(0.8))
    prepared = set()
    with qexec.QCluster([{"type": executor, "wires": 8}]) as cluster:
        for ids in itertools.permutations("abc"):
            dispatcher = CallPlanner(cluster)
            prepared.add(tuple(map(fingerprint, dispatcher(computed_of(*ids))[0])))
            assert np.allclose(np.concatenate([cluster.execute([computed_of(*ids)])[0]]), right, atol=1e-6)
    assert len(prepared) == 1


def test_ordering_outcomes_keeps_what_is_trainable():
    circuit = computed_of("c", "b", "a")
    ordered = with_outcomes_in_order(circuit)
    assert ordered is not circuit
    assert ordered.trainable_params == [1, 2]
    assert with_outcomes_in_order(ordered) is ordered


@pytest.mark.parametrize("wires", [None, 4])
@pytest.mark.parametrize("method", [None, "tree-traversal"])
def test_states_of_some_wires_are_prepared_before_mid_circuit_measurements(open_device, method, wires):
    """The tree traversal of default.qubit raises: it takes the state for one of all wires."""

    def circuit():
        qml.StatePrep(np.array([0, 0.6, 0, 0.8j]), wires=[2, 1])
        outcome = qml.measure(0)
        qml.cond(outcome == 0, qml.X)(0)
        return qml.sample()

    device = open_device("default.qubit", wires)
    samples = qml.set_shots(qml.QNode(circuit, device, mcm_method=method), 2000)()
    assert np.all(samples[:, :2] == 1)
    assert abs(samples[:, 2].mean() - 0.64) < 6 * np.sqrt(0.64 * 0.36 / 2000)


@pytest.mark.parametrize("executor", ["default.qubit", "lightning.qubit"])
@pytest.mark.parametrize("kinds", ["o", "op", "eo", "opep"])
def test_tree_traversal_without_shots_measures_outcomes_beside_wires(open_device, executor, kinds):
    """PennyLane returns one probability in place of all, a row of one number, or raises."""

    def circuit():
        qml.RX(0.5, 0)
        outcome = qml.measure(0, reset=True)
        qml.CRY(0.9, [0, 1])
        qml.cond(outcome, qml.RX)(1.1, 1)
        measured = {
            "o": lambda: qml.expval(outcome),
            "p": lambda: qml.probs(wires=[0, 1]),
            "e": lambda: qml.expval(qml.Z(1)),
        }
        return tuple(measured[kind]() for kind in kinds)

    one = np.sin(0.25) ** 2
    z = (1 - one) + one * np.cos(1.1)
    right = {"o": one, "p": np.array([(1 + z) / 2, (1 - z) / 2, 0, 0]), "e": z}
    found = qml.QNode(circuit, open_device(executor), mcm_method="tree-traversal")()
    for kind, value in zip(kinds, found, strict=True):
        assert np.shape(value) == np.shape(right[kind])
        assert np.allclose(value, right[kind])
