"""Circuits on qBraid's devices: what reaches them, what comes back, and in which order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest
from fakes.qbraid_provider import FakeDevice, FakeProvider, probabilities_of
from pennylane.tape import QuantumScript
from qbraid.programs import ExperimentType
from qbraid.runtime import QuantumDevice
from qiskit import QuantumCircuit

import pennylane_qexec as qexec
from pennylane_qexec import QBraidExecutor, retries
from pennylane_qexec.executors.remote.plans import WrongCountsError, counts_of_bits
from pennylane_qexec.testing import flip

LANGUAGES = ["qiskit", "qasm2", "qasm3", "cirq", ["qasm2", "qasm3"]]


def on(device: FakeDevice, **options: Any) -> QBraidExecutor:
    """An executor that asks often."""
    executor = QBraidExecutor(FakeProvider({device.id: device}), device.id, **options)
    executor.poll_interval = executor.poll_interval_max = 1e-4
    return executor


def asymmetric(measurement: Any = None, shots: int = 100) -> QuantumScript:
    """A circuit whose outcome is 100 if wires are in order, measured as asked, by default as counts."""
    return QuantumScript([qml.X(0), qml.CNOT([1, 2])], [measurement or qml.counts(wires=[0, 1, 2])], shots=shots)


# -- what reaches the device


@pytest.mark.parametrize("language", LANGUAGES, ids=str)
def test_outcomes_are_in_the_order_of_pennylane(language: Any) -> None:
    device = FakeDevice(program=language)
    executor = on(device)
    turned = [asymmetric(qml.counts(wires=order)) for order in ([0, 1, 2], [2, 1, 0], [1, 0])]
    assert executor.run(turned) == [{"100": 100}, {"001": 100}, {"01": 100}]
    labels = QuantumScript([qml.X("b")], [qml.sample(wires=["a", "b"])], shots=3)
    assert executor.run([labels])[0].tolist() == [[0, 1]] * 3


@pytest.mark.parametrize("language", LANGUAGES, ids=str)
def test_every_kind_of_gate_reaches_the_device_in_its_language(language: Any) -> None:
    state = np.array([0.6, 0, 0.64j, 0.48])
    operations = [
        *(qml.StatePrep(state, [0, 2]), qml.RY(0.7, 1), qml.QubitUnitary(qml.matrix(qml.Rot(0.3, 0.4, 0.5, 0)), 0)),
        *(qml.CRZ(0.4, [0, 1]), qml.SingleExcitation(0.9, [1, 2]), qml.Barrier([0, 1]), qml.ISWAP([0, 1])),
        *(qml.MultiControlledX([0, 2, 1], [0, 1]), qml.U3(0.1, 0.2, 0.3, 2), qml.PauliRot(0.3, "XY", [0, 2])),
        *(qml.GlobalPhase(0.3), qml.adjoint(qml.SX(1)), qml.PhaseShift(0.8, 1), qml.CH([1, 0])),
    ]
    device, everything = FakeDevice(program=language), qml.probs(wires=[0, 2, 1])  # in the order of their first use
    on(device).run([QuantumScript(operations, [everything], shots=10)])
    (expected,) = qml.execute([QuantumScript(operations, [everything])], qml.device("default.qubit"))
    probabilities = probabilities_of(device.sent[0])
    found = [probabilities.get(f"{number:03b}"[::-1], 0) for number in range(8)]
    assert np.allclose(found, expected, atol=1e-6)


def test_all_wires_are_measured_so_that_devices_that_always_do_this_agree() -> None:
    device = FakeDevice(program="qasm2")
    on(device).run([QuantumScript([qml.X(2)], [qml.expval(qml.Z(0) @ qml.Y(1))], shots=10)])
    measured = [line for line in device.sent[0].splitlines() if line.startswith("measure")]
    assert measured == ["measure q[0] -> c[0];", "measure q[1] -> c[1];", "measure q[2] -> c[2];"]


def test_values_agree_with_those_of_a_simulator_within_five_sigma() -> None:
    """Five standard errors of each value at 20,000 shots."""
    shots, device = 20_000, FakeDevice(program="qasm3", seed=3)
    operations = [qml.RX(0.4, 0), qml.RY(1.1, 1), qml.CNOT([0, 1]), qml.RZ(0.3, 1)]
    measurements = [qml.expval(qml.X(0)), qml.expval(qml.Z(0) @ qml.Y(1)), qml.expval(qml.Z(1)), qml.var(qml.Z(0))]
    circuit = QuantumScript(operations, measurements, shots=shots)
    (found,) = on(device).run([circuit])
    (expected,) = qml.execute([circuit.copy(shots=None)], qml.device("default.qubit"))
    assert np.abs(np.subtract(found, expected)).max() < 5 / np.sqrt(shots)
    assert len(device.sent) == 2


def test_circuits_of_a_gradient_are_sent_together(open_device: Any) -> None:
    device = FakeDevice(qubits=2, program="qasm2")
    cluster = open_device([on(device)], wires=2)

    @qml.set_shots(1000)
    @qml.qnode(cluster, diff_method="parameter-shift")
    def energy(angles: Any) -> Any:
        qml.RX(angles[0], 0)
        qml.RY(angles[1], 1)
        return qml.expval(qml.Z(0) @ qml.Z(1))

    gradient = qml.grad(energy)(qml.numpy.array([np.pi / 2, 0.0], requires_grad=True))
    assert np.abs(gradient - [-1, 0]).max() < 5 / np.sqrt(1000)
    assert (device.shots, len(device.sent)) == ([1000], 5)


def test_each_circuit_has_its_own_shots() -> None:
    device = FakeDevice()
    circuits = [flip(1.0, 10), flip(0.3, 30), flip(0.0, 10)]
    counts = on(device).run(
        [QuantumScript(one.operations, [qml.counts(wires=[0])], shots=one.shots) for one in circuits]
    )
    assert [sum(one.values()) for one in counts] == [10, 30, 10]
    assert (device.shots, counts[2]) == ([10, 30], {"0": 10})


def test_one_circuit_at_a_time_is_sent_to_a_device_that_takes_no_more() -> None:
    device = FakeDevice()
    executor = on(device, max_circuits=1)
    measurements = [qml.expval(qml.X(0)), qml.expval(qml.Y(0)), qml.expval(qml.Z(0))]
    executor.run([QuantumScript([qml.H(0)], measurements, shots=10)])
    assert (device.shots, len(device.jobs)) == ([10, 10, 10], 3)


def test_no_more_circuits_are_sent_together_than_the_device_says_that_it_takes() -> None:
    device = FakeDevice(together=2)
    assert on(device, max_circuits=3).run([flip(angle, 9) for angle in (0.0, np.pi, 0.0)]) == [1, -1, 1]
    assert (device.shots, len(device.jobs)) == ([9, 9], 2)


def test_options_go_to_the_device() -> None:
    device = FakeDevice()
    on(device, options={"tags": {"a": 1}}).run([flip(0.1, 5)])
    assert device.options == [{"tags": {"a": 1}}]


def test_the_users_device_is_not_changed_and_not_asked_how_it_is_for_each_circuit() -> None:
    device = FakeDevice()
    before = repr(device._options)
    executor = QBraidExecutor("somebody", device)
    executor.run([flip(0.1, 5)])
    assert (repr(device._options), device.asked, executor.backend) == (before, [], "sim")


def test_a_device_that_runs_circuits_in_its_own_way_gets_those_of_qiskit() -> None:
    class Particular(FakeDevice):
        taken: list[Any] = []  # noqa: RUF012

        def run(self, run_input: Any, *args: Any, **options: Any) -> Any:
            self.taken.append(run_input)
            return super().run(run_input, *args, **options)

    device = Particular(program="qasm2")
    assert on(device).run([asymmetric()]) == [{"100": 100}]
    assert [isinstance(one, QuantumCircuit) for one in device.taken] == [True]


# -- what comes back


@pytest.mark.parametrize("keys", ["bits", "numbers", "spaces", "short"])
@pytest.mark.parametrize("batch", [True, False], ids=["one job", "a job each"])
def test_counts_are_read_however_they_are_written_and_sent(keys: str, batch: bool) -> None:
    device = FakeDevice(keys=keys, batch=batch)
    found = on(device).run([asymmetric(), asymmetric(qml.probs(wires=[2, 0])), asymmetric(qml.counts(wires=[1]), 7)])
    assert found[0] == {"100": 100}
    assert found[1].tolist() == [0, 1, 0, 0]
    assert found[2] == {"0": 7}
    assert len(device.jobs) == (2 if batch else 3)


def test_many_qubits_are_counted_without_a_table() -> None:
    operations = [qml.X(0), qml.X(12)]
    circuit = QuantumScript(operations, [qml.sample(wires=range(13)), qml.expval(qml.Z(12))], shots=4)
    samples, value = on(FakeDevice(qubits=13)).run([circuit])[0]
    assert (samples.tolist(), value) == ([[1, *([0] * 11), 1]] * 4, -1)


def test_numbers_of_outcomes_may_be_hexadecimal() -> None:
    assert counts_of_bits([{"0x6": 3, "0x1": 1}], 3, [0, 1, 2], 4).tolist() == [[0, 0, 0, 3, 1, 0, 0, 0]]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"00": 5, "11": 4}, "9 shots were counted, and 10 were asked for"),
        ({}, "0 shots were counted"),
        ({"02": 10}, "'02' is not made of bits"),
        ({"000": 10}, "'000' has 3 bits, and the circuit 2 qubits"),
        ({"00": 9.5, "11": 0.5}, "no whole number"),
    ],
    ids=str,
)
def test_counts_that_are_none_of_this_circuit_are_refused(answer: Any, message: str) -> None:
    with pytest.raises(WrongCountsError, match=message):
        counts_of_bits([answer], 2, [0, 1], 10)


@pytest.mark.parametrize(("options", "message"), [({"lost": 1}, "99 shots"), ({"keys": "long"}, "4 bits")])
def test_a_device_that_loses_shots_or_adds_bits_is_an_error_and_never_data(
    open_cluster: Any, options: Any, message: str
) -> None:
    cluster = open_cluster(on(FakeDevice(**options)), retry=retries.never())
    with pytest.raises(qexec.ExecutorError, match=message) as caught:
        cluster.execute([asymmetric()])
    assert isinstance(caught.value.cause, qexec.JobFailedError)


# -- what is refused


def test_devices_that_run_no_circuits_are_refused() -> None:
    with pytest.raises(qexec.ConfigurationError, match=r"'sim' runs no circuits: qBraid says .* 'analog'"):
        on(FakeDevice(experiment=ExperimentType.ANALOG)).run([flip(0.1, 5)])


@pytest.mark.parametrize(
    ("circuit", "reason"),
    [
        (flip(0.1), "needs a number of shots"),
        (QuantumScript([], [qml.counts(wires=range(6))], shots=5), "has 5 qubits"),
        (QuantumScript([qml.X(0)], [qml.state()], shots=5), "counts bits: .* is not accepted with finite shots"),
        (QuantumScript([], [qml.sample()], shots=5), "measures wires, and the circuit has none"),
    ],
    ids=["analytic", "wide", "state", "nothing"],
)
def test_circuits_that_the_device_cannot_run_are_refused_with_the_reason(circuit: QuantumScript, reason: str) -> None:
    executor = on(FakeDevice())
    executor.run([flip(0.1, 5)])
    assert reason.split(" .*")[0] in str(executor.rejects(circuit))


def test_wires_that_the_executor_does_not_have_are_refused() -> None:
    assert on(FakeDevice(), wires=["a"]).rejects(flip(0.1, 5)) == "has 1 wire, and no wire 0"


def test_how_wide_the_device_is_is_not_asked_before_it_is_needed() -> None:
    assert on(FakeDevice()).rejects(QuantumScript([], [qml.counts(wires=range(6))], shots=5)) is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: QBraidExecutor("ionq"), "provider='ionq' without a device: name both"),
        (lambda: QBraidExecutor(FakeProvider()), "without a device"),
        (lambda: QBraidExecutor("ionq:x", options={"shots": 5}), "exactly its own shots"),
        (lambda: QBraidExecutor("ionq:x", options=3), "options=3 must be a mapping"),
        (lambda: QBraidExecutor("ionq:x", seed=-1), "seed=-1"),
        (lambda: QBraidExecutor(FakeProvider(), "sim", credentials={"token": "x"}), "beside a provider"),
    ],
)
def test_options_that_make_no_sense_are_refused_when_they_are_given(make: Any, message: str) -> None:
    with pytest.raises(qexec.ConfigurationError, match=message):
        make()


# -- how the device is


def test_nothing_is_asked_before_the_first_job_and_then_once_in_half_a_minute() -> None:
    device = FakeDevice(status=("ONLINE", "OFFLINE"), queue=7)
    executor = on(device)
    assert (executor.status(), device.asked) == (qexec.Status(), [])
    executor.run([flip(0.1, 5)])
    assert [executor.status() for _ in range(3)] == [qexec.Status(True, 7)] * 3
    assert device.asked == ["ONLINE"]


@pytest.mark.parametrize("says", ["OFFLINE", "UNAVAILABLE", "RETIRED"])
def test_a_device_that_takes_no_jobs_is_not_online(says: str) -> None:
    executor = on(FakeDevice(status=says, queue=None))
    executor.run([flip(0.1, 5)])
    assert executor.status() == qexec.Status(False, 0)


def test_a_device_is_found_by_its_provider_once() -> None:
    class Counting(FakeProvider):
        asked: list[str] = []  # noqa: RUF012

        def get_device(self, device_id: str) -> QuantumDevice:
            self.asked.append(device_id)
            return super().get_device(device_id)

    executor = QBraidExecutor(Counting(), "sim")
    for _ in range(2):
        executor.run([flip(0.1, 5)])
    assert Counting.asked == ["sim"]
