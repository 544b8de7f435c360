"""Executors that give what a device gives."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.devices import DefaultQubit
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.executors import like

BELL = [qml.RY(0.7, 0), qml.CNOT([0, 1])]
PROBABILITIES = QuantumScript(BELL, [qml.probs(wires=[0, 1])])


def samples(shots: int = 50) -> QuantumScript:
    return QuantumScript(BELL, [qml.sample(wires=[0, 1])], shots=shots)


def on(device: Any, *circuits: QuantumScript) -> Any:
    return [qml.execute([circuit], device, diff_method=None)[0] for circuit in circuits]


def is_rebuilt(executor: qexec.Executor, device: Any) -> bool:
    assert isinstance(executor, qexec.DeviceExecutor)
    return executor.shareable and executor.device() is not device


SEEDED = [
    ("default.qubit", {}),
    ("default.mixed", {}),
    ("reference.qubit", {}),
    ("lightning.qubit", {}),
    ("lightning.qubit", {"c_dtype": np.complex64}),
    ("lightning.qubit", {"mcmc": True, "kernel_name": "NonZeroRandom", "num_burnin": 20}),
    ("lightning.qubit", {"batch_obs": True}),
]


@pytest.mark.parametrize("wires", [2, [0, 1], [1, 0], None], ids=str)
@pytest.mark.parametrize(("name", "options"), SEEDED)
def test_a_seeded_simulator_and_its_twin_draw_the_same_samples(
    open_device: Any, name: str, options: dict[str, Any], wires: Any
) -> None:
    device = qml.device(name, wires=wires, seed=11, **options)
    twin = like(device)
    assert is_rebuilt(twin, device)
    circuits = [samples(), samples(20), samples()]
    for ours, theirs in zip(on(open_device([twin], wires), *circuits), on(device, *circuits), strict=True):
        assert np.array_equal(ours, theirs)


def test_a_qnode_on_the_twin_gives_what_the_qnode_on_the_device_gives(open_device: Any) -> None:
    device = qml.device("default.qubit", wires=["a", "b"], seed=3)

    def circuit(angle: float) -> Any:
        qml.RX(angle, "b")
        qml.CNOT(["b", "a"])
        return qml.expval(qml.Z("a")), qml.counts()

    ours = qml.set_shots(qml.QNode(circuit, open_device([like(device)], device.wires)), 100)
    theirs = qml.set_shots(qml.QNode(circuit, device), 100)
    assert [ours(angle) for angle in (0.3, 0.9)] == [theirs(angle) for angle in (0.3, 0.9)]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *SEEDED,
        ("default.mixed", {"readout_prob": 0.2}),
        ("null.qubit", {"track_resources": True}),
    ],
)
def test_the_options_of_a_device_are_those_of_its_twin(name: str, options: dict[str, Any]) -> None:
    device = qml.device(name, wires=2, **options)
    twin = like(device)
    assert is_rebuilt(twin, device)
    assert isinstance(twin, qexec.DeviceExecutor)
    for option in ("readout_err", "_c_dtype", "_mcmc", "_kernel_name", "_num_burnin", "device_kwargs"):
        assert vars(twin.device()).get(option) == vars(device).get(option)


def test_a_device_with_a_pool_of_its_own_has_a_twin_with_warm_workers() -> None:
    twin = like(qml.device("default.qubit", wires=2, max_workers=2))
    assert (twin.workers, twin.parallel) == (2, "process")


def test_single_precision_stays_single() -> None:
    device = qml.device("lightning.qubit", wires=2, c_dtype=np.complex64)
    state = QuantumScript(BELL, [qml.state()])
    assert like(device).run([state])[0].dtype == on(device, state)[0].dtype == np.complex64


@pytest.mark.parametrize("wires", [3, ["a", 5, "c"], None], ids=str)
@pytest.mark.parametrize("name", ["default.qubit", "lightning.qubit", "default.mixed"])
def test_wires_keep_their_labels_and_their_order(name: str, wires: Any) -> None:
    device = qml.device(name, wires=wires)
    twin = like(device)
    assert is_rebuilt(twin, device)
    assert isinstance(twin, qexec.DeviceExecutor)
    assert twin.wires == device.wires


@pytest.mark.parametrize("name", ["default.qubit", "lightning.qubit", "reference.qubit"])
def test_a_second_twin_draws_from_a_stream_of_its_own_which_follows_from_the_seed(name: str) -> None:
    def draw() -> list[Any]:
        device = qml.device(name, wires=2, seed=11)
        return [like(device).run([samples(200)])[0].tolist() for _ in range(3)]

    first, second, third = draw()
    assert draw() == [first, second, third]
    assert first != second != third != first


@pytest.mark.parametrize("name", ["default.qubit", "lightning.qubit", "default.mixed"])
def test_the_twin_of_a_device_already_used_draws_from_a_stream_of_its_own(name: str) -> None:
    device = qml.device(name, wires=2, seed=11)
    drawn = on(device, samples(200), samples(200))
    twin = like(device)
    assert is_rebuilt(twin, device)
    (ours,) = twin.run([samples(200)])
    assert ours.tolist() not in [each.tolist() for each in drawn]
    assert np.allclose(twin.run([PROBABILITIES])[0], on(device, PROBABILITIES)[0])


def test_a_twin_takes_no_random_numbers_from_the_device_nor_from_numpy() -> None:
    device, untouched = (qml.device("default.qubit", wires=2, seed=11) for _ in range(2))
    np.random.seed(5)
    like(device).run([samples()])
    drawn = np.random.random()
    np.random.seed(5)
    assert drawn == np.random.random()
    assert np.array_equal(on(device, samples())[0], on(untouched, samples())[0])


def test_a_twin_can_be_sent_to_other_processes() -> None:
    twin = like(qml.device("lightning.qubit", wires=2, c_dtype=np.complex64, seed=4))
    assert np.allclose(pickle.loads(pickle.dumps(twin)).run([PROBABILITIES])[0], twin.run([PROBABILITIES])[0])


class Curious(DefaultQubit):
    """A simulator of somebody else, that calls itself as PennyLane's."""

    @property
    def name(self) -> str:
        return "default.qubit"


def with_own_program() -> Any:
    device = qml.device("default.qubit", wires=2)
    device.preprocess_transforms = lambda *_: qml.CompilePipeline()
    return device


def with_jax_key() -> Any:
    jax = pytest.importorskip("jax")
    return qml.device("default.qubit", wires=2, seed=jax.random.PRNGKey(0))


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda: Curious(wires=2),
        with_own_program,
        with_jax_key,
        lambda: qml.device("default.qubit", wires=2, seed=[1, 2]),
        lambda: qml.device("default.qubit", wires=2, seed=np.random.Generator(np.random.MT19937(1))),
        lambda: qml.device("cirq.simulator", wires=2),
        lambda: qml.device("qiskit.aer", wires=2),
    ],
    ids=["subclass", "changed", "jax key", "seed of several numbers", "generator", "cirq", "aer"],
)
def test_a_simulator_that_might_be_rebuilt_otherwise_is_used_as_it_is(make: Any) -> None:
    device = make()
    twin = like(device)
    assert isinstance(twin, qexec.DeviceExecutor)
    assert twin.device() is device
    assert not twin.shareable
    assert twin.run([samples(20)])[0].shape == (20, 2)


class Remote(qml.devices.Device):
    """A machine that is far away."""

    @property
    def name(self) -> str:
        return "remote.qpu"

    def execute(self, circuits: Any, execution_config: Any = None) -> Any:
        raise AssertionError("the machine was asked")


def test_a_device_that_is_no_simulator_is_not_used_and_a_warning_says_so() -> None:
    with pytest.warns(UserWarning, match=r"'remote.qpu' .* is not used.* executors=\[device\]"):
        twin = like(Remote(wires=2))
    assert isinstance(twin, qexec.Simulator)
    assert twin.run([samples(20)])[0].shape == (20, 2)


@pytest.mark.parametrize("name", ["cirq.simulator", "qiskit.aer"])
def test_legacy_devices_may_be_given_as_objects(name: str) -> None:
    assert qexec.executor(qml.device(name, wires=2)).run([samples(20)])[0].shape == (20, 2)


def test_aer_given_as_an_object_takes_analytic_circuits_only_if_it_is_exact() -> None:
    assert "needs a number of shots" in str(qexec.executor(qml.device("qiskit.aer", wires=2)).rejects(PROBABILITIES))
    exact = qexec.executor(qml.device("qiskit.aer", wires=2, method="statevector"))
    assert exact.rejects(PROBABILITIES) is None
    assert np.allclose(exact.run([PROBABILITIES])[0], on(qml.device("default.qubit"), PROBABILITIES)[0])
