"""Clusters of executors whose results differ: the circuits of a sweep stay together on one of them."""

import threading
import warnings
from collections.abc import Sequence

import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec import DeviceExecutor, Executor, QCluster, selectors, splits
from pennylane_qexec.cluster.planning import CallPlanner, Settings
from pennylane_qexec.executors import Hybrid, are_equivalent
from pennylane_qexec.testing import flip

UNLIKE = ["aer", "aer:fake_manila"]
SELECTORS = ["cyclic", "random", "least_loaded", selectors.weighted({"aer": 1, "aer:fake_manila": 1})]

pytestmark = pytest.mark.filterwarnings("ignore:the executors of this cluster")


class Constant(Executor):
    """Answers every circuit with its number."""

    def __init__(self, name: str, value: float, **options: object) -> None:
        super().__init__(name, **options)
        self.value = value

    def run(self, circuits: Sequence[QuantumScript]) -> list[float]:
        return [self.value] * len(circuits)


def two_constants(**options):
    return QCluster([Constant("one", 1.0), Constant("two", 2.0)], **options)


def sweep(number, shots=None):
    return [flip(angle, shots) for angle in np.linspace(0.1, 1.0, number)]


def circuit(x, w):
    qml.RX(x, wires=0)
    qml.RX(w, wires=0)
    return qml.expval(qml.Z(0))


@pytest.mark.parametrize("selector", SELECTORS, ids=str)
def test_the_circuits_of_a_call_and_its_gradient_run_on_one_executor(selector):
    with qml.device("qexec.cluster", wires=1, executors=UNLIKE, selector=selector) as device:
        qnode = qml.set_shots(qml.QNode(circuit, device), 200)
        used = []
        for _ in range(4):
            ran = len(device.history)
            qml.grad(qnode)(pnp.array(0.6), pnp.array(0.6))
            (executor,) = {row.executor for row in list(device.history)[ran:]}
            used.append(executor)
    if selector == "cyclic":
        assert used == ["aer", "aer:fake_manila"] * 2


@pytest.mark.parametrize("selector", SELECTORS, ids=str)
@pytest.mark.parametrize(
    ("method", "measure"),
    [
        ("hadamard", lambda: qml.expval(qml.Z(0))),
        ("parameter-shift", lambda: qml.var(qml.Z(0) + 0.5 * qml.X(0))),
    ],
    ids=["Hadamard tests", "a variance"],
)
def test_the_circuits_of_a_gradient_run_on_one_executor_whatever_they_differ_in(selector, method, measure):
    def turned(x, w):
        qml.RX(x, wires=0)
        qml.RY(w, wires=0)
        return measure()

    with qml.device("qexec.cluster", wires=2, executors=UNLIKE, selector=selector) as device:
        options = {"gradient_kwargs": {"aux_wire": 1}} if method == "hadamard" else {}
        qnode = qml.QNode(turned, device, diff_method=method, **options)
        for _ in range(3):
            ran = len(device.history)
            qml.grad(qnode)(pnp.array(0.6), pnp.array(0.4))
            assert len({row.executor for row in list(device.history)[ran:]}) == 1


@pytest.mark.parametrize("selector", ["cyclic", "random", "least_loaded"])
def test_circuits_that_differ_in_numbers_only_run_on_one_executor(selector):
    with two_constants(selector=selector) as cluster:
        for _ in range(5):
            assert len(set(cluster.execute(sweep(20)))) == 1


def test_matrices_states_and_coefficients_are_numbers_too():
    def state_of(angle):
        return QuantumScript([qml.StatePrep([np.cos(angle), np.sin(angle)], 0)], [qml.expval(qml.Z(0))])

    def energy_of(angle):
        return QuantumScript([qml.RX(0.1, 0)], [qml.expval(qml.dot([angle, 0.5], [qml.Z(0), qml.X(0)]))])

    for make in (state_of, energy_of):
        with two_constants() as cluster:
            assert len(set(cluster.execute([make(0.1), make(0.2), make(0.3)]))) == 1


def test_cyclic_goes_from_sweep_to_sweep_and_from_call_to_call():
    with two_constants() as cluster:
        other = [QuantumScript([qml.RY(angle, 0)], [qml.expval(qml.Z(0))]) for angle in (0.1, 0.2)]
        assert cluster.execute([*sweep(2), *other]) == [1, 1, 2, 2]
        assert cluster.execute(sweep(1)) == [1]
        assert cluster.execute(sweep(1)) == [2]


def test_circuits_with_different_shots_or_observables_are_different_sweeps():
    with two_constants() as cluster:
        measured = [
            QuantumScript([qml.RX(0.1, 0)], [qml.expval(one)]) for one in (qml.Z(0) @ qml.Z(1), qml.X(0) @ qml.X(1))
        ]
        assert cluster.execute(measured) == [1, 2]
        assert cluster.execute([flip(0.1, 10), flip(0.1, 20)]) == [1, 2]


def test_a_selector_of_the_users_is_asked_for_every_circuit():
    asked = []

    def chosen(circuit, executors):
        asked.append(circuit)
        return executors[len(asked) % 2]

    with two_constants(selector=chosen) as cluster, warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cluster.execute(sweep(4)) == [2, 1, 2, 1]


def test_equivalent_executors_share_the_circuits_of_a_sweep_out_and_nothing_is_said():
    with QCluster(["lightning.qubit", "aer", "default.qubit"]) as cluster, warnings.catch_warnings():
        warnings.simplefilter("error")
        cluster.execute(sweep(6))
        assert {row.executor for row in cluster.history} == {"lightning.qubit", "aer", "default.qubit"}


def test_unlike_executors_are_spoken_of_once_with_what_to_do():
    with two_constants() as cluster:
        with pytest.warns(UserWarning, match=r"'one', 'two'.*selector= a function.*split="):
            cluster.execute(sweep(1))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            cluster.execute(sweep(1))
    with QCluster(UNLIKE, split="uniform") as cluster, warnings.catch_warnings():
        warnings.simplefilter("error")
        cluster.execute(sweep(1, 10))


def test_the_rows_of_a_sweep_are_all_split_in_the_same_way():
    with QCluster(["default.qubit", "default.mixed", "aer:fake_manila"], split="proportional") as cluster:
        cluster.execute(sweep(3, 1000))
        cluster.execute(sweep(20, 1000))
        shots = [(row.executor, row.shots) for row in cluster.history][-60:]
        assert len({number for name, number in shots if name == "default.qubit"}) == 1


def test_analytic_circuits_of_a_cluster_with_a_split_stay_together_too():
    with two_constants(split=splits.uniform) as cluster:
        assert len(set(cluster.execute(sweep(20)))) == 1


def test_the_calls_of_a_function_compiled_by_jax_take_turns():
    jax = pytest.importorskip("jax")
    with qml.device("qexec.cluster", wires=1, executors=UNLIKE) as device:
        qnode = jax.jit(qml.set_shots(qml.QNode(circuit, device), 10))
        for angle in (0.1, 0.2, 0.3, 0.4):
            qnode(angle, 0.1).block_until_ready()
        assert [row.executor for row in device.history] == UNLIKE * 2


@pytest.mark.parametrize("numbers", [np.array, pnp.array], ids=["numpy", "autograd"])
def test_calls_that_run_later_take_turns_and_the_rows_of_each_stay_together(numbers):
    with two_constants() as cluster:
        rows = qml.transforms.broadcast_expand(qml.QNode(circuit, qml.device("default.qubit", wires=1)))
        electron = qexec.qelectron(rows, executors=cluster)
        futures = [electron.run_later(numbers([0.1, 0.2, 0.3]), 0.1) for _ in range(4)]
        assert [future.result().tolist() for future in futures] == [[1] * 3, [2] * 3] * 2
        assert electron.map(numbers([0.1, 0.2]), w=0.1) == [1, 2]


def test_calls_that_run_later_wait_for_whoever_is_free_each_for_itself():
    free, begun = threading.Event(), threading.Event()

    class Busy(Constant):
        def run(self, circuits):
            begun.set()
            assert free.wait(60)
            return super().run(circuits)

    executors = [Busy("one", 1.0, parallel="thread"), Constant("two", 2.0, parallel="thread")]
    with QCluster(executors, selector="least_loaded") as cluster:
        electron = qexec.qelectron(qml.QNode(lambda x: flip(x).measurements[0], qml.device("default.qubit", wires=1)))
        electron = qexec.qelectron(electron, executors=cluster)
        first = electron.run_later(0.1)
        assert begun.wait(60)
        try:
            assert electron.run_later(0.2).result(60) == 2.0
        finally:
            free.set()
        assert first.result(60) == 1.0


def test_a_row_goes_on_to_another_executor_if_its_own_fails():
    class Failing(Constant):
        def run(self, circuits):
            raise ValueError("broken")

    for selector in ("cyclic", "least_loaded"):
        cluster = QCluster(
            [Failing("one", 1.0, parallel="thread"), Constant("two", 2.0, parallel="thread")],
            selector=selector,
            retry=qexec.retries.backoff(attempts=1),
        )
        with cluster:
            assert cluster.execute(sweep(5)) == [2.0] * 5


def test_what_is_equivalent():
    mixed = qml.device("default.mixed", wires=1, readout_prob=0.1)
    ideal = [
        DeviceExecutor("default.qubit", seed=1),
        DeviceExecutor("lightning.qubit"),
        DeviceExecutor("cirq.simulator", seed=3),
        DeviceExecutor(qml.device("default.qubit", wires=2)),
        qexec.executor("aer", seed=1, method="statevector"),
        qexec.executor("rehearsal:aer"),
        Hybrid(["lightning.qubit", "aer"]),
    ]
    assert are_equivalent(ideal)
    manila = qexec.executor("aer:fake_manila")
    others = [
        manila,
        qexec.executor("aer:fake_lima"),
        DeviceExecutor(mixed),
        DeviceExecutor("default.mixed", wires=1, readout_prob=0.1),
        qexec.executor("aer", matrix_product_state_max_bond_dimension=2),
        qexec.executor("ibm:fake_manila"),
        Hybrid(["lightning.qubit", "aer:fake_manila"]),
        Constant("one", 1.0),
        qexec.Simulator(shots=10),
    ]
    for index, one in enumerate(others):
        assert not are_equivalent([one, ideal[0]]), one
        for other in others[:index]:
            assert not are_equivalent([one, other]), (one, other)
    assert are_equivalent([manila, qexec.executor("aer:fake_manila", seed=5, name="another")])
    assert are_equivalent([qexec.executor("ibm:fake_manila"), qexec.executor("ibm:fake_manila", seed=5)])
    assert are_equivalent([others[3], DeviceExecutor("default.mixed", wires=1, readout_prob=0.1, seed=2)])


def test_executors_of_one_class_are_equivalent_by_their_identity_or_their_backend():
    class Named(Constant):
        @property
        def backend(self):
            return "machine"

    class Derived(DeviceExecutor):
        pass

    assert are_equivalent([Named("one", 1.0), Named("two", 1.0)])
    assert not are_equivalent([Named("machine", 1.0), Constant("machine", 1.0)])
    assert not are_equivalent([Derived("default.qubit"), Derived("default.qubit")])


def test_a_batch_ends_while_another_thread_asks_the_policies_for_its_own():
    class Asking:
        """Stands for the other thread: whoever looks at it finds one question more."""

        def __hash__(self) -> int:
            return 0

        def __eq__(self, other: object) -> bool:
            dispatcher._answers[object(),] = None
            return False

    with two_constants() as cluster:
        dispatcher = CallPlanner(cluster, Settings(batches_are_calls=True))
        dispatcher(flip(0.1))
        dispatcher._answers[Asking(),] = None
        dispatcher.jobs([])
        assert not any(isinstance(key[0], int) for key in list(dispatcher._answers))
