"""What cannot be the result of a circuit is refused, and says what was expected; whatever PennyLane returns is not."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pennylane as qml
import pytest
import torch
from pennylane import numpy as pnp
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.circuits.results import check_derivative, check_result, check_work
from pennylane_qexec.job import Call, Work

Z = qml.Z(0)
MEASURED = qml.ops.MidMeasure(qml.wires.Wires([0]), postselect=1)
HERMITIAN = qml.Hermitian(np.array([[1, 0.5], [0.5, -0.3]]), 0)


def circuit(*measurements: Any, shots: Any = None, angle: Any = 0.4) -> QuantumScript:
    return QuantumScript([qml.RX(angle, 0), qml.CNOT([0, 1])], measurements, shots=shots)


SAMPLED = {
    "one number": (qml.expval(Z),),
    "a sum": (qml.expval(Z + 0.5 * qml.X(1)),),
    "samples": (qml.sample(wires=[0, 1]), qml.sample(Z), qml.sample(HERMITIAN), qml.sample()),
    "samples of words": (qml.sample(2 * Z @ qml.Y(1)), qml.sample(qml.Projector([1], 0)), qml.sample(qml.Identity(0))),
    "counts": (qml.counts(), qml.counts(qml.X(0)), qml.counts(wires=[1], all_outcomes=True), qml.counts(HERMITIAN)),
    "counts of words": (qml.counts(-3 * Z @ qml.X(1), all_outcomes=True), qml.counts(qml.H(0)), qml.counts(Z + Z)),
    "mixed": (qml.probs(wires=[1, 0]), qml.probs(), qml.var(Z), qml.expval(qml.Z(0) @ qml.Z(1))),
    "shadows": (qml.classical_shadow([0, 1]),),
    "estimates of shadows": (qml.shadow_expval(Z),),
}
EXACT = {
    "numbers": (qml.expval(Z), qml.var(Z), qml.probs(wires=[0]), qml.probs(op=qml.X(0))),
    "the state": (qml.state(),),
    "parts of it": (qml.density_matrix([0]), qml.vn_entropy([0]), qml.mutual_info([0], [1]), qml.purity([0])),
}


@pytest.mark.parametrize("shots", [None, 1, 30, (4, 4, 1)], ids=str)
@pytest.mark.parametrize("angle", [0.4, np.array([0.1, 0.2, 0.3])], ids=["one", "broadcasted"])
def test_what_simulators_return_is_let_through(shots: Any, angle: Any) -> None:
    device = qml.device("default.qubit", wires=3, seed=1)
    for measurements in (EXACT if shots is None else SAMPLED).values():
        prepared, _ = device.preprocess_transforms()([circuit(*measurements, shots=shots, angle=angle)])
        for one, result in zip(prepared, device.execute(prepared), strict=True):
            check_result(one, result)


@pytest.mark.parametrize(
    "wrap",
    [jax.numpy.asarray, torch.as_tensor, pnp.array, float, list],
    ids=["jax", "torch", "pennylane", "float", "list"],
)
def test_numbers_may_be_of_any_library(wrap: Callable[[Any], Any]) -> None:
    check_result(circuit(qml.probs(wires=[0])), wrap([0.25, 0.75]) if wrap is not float else [0.25, 0.75])
    if wrap is not list:
        check_result(circuit(qml.expval(Z)), wrap(0.5))
    if wrap is not float:
        check_result(circuit(qml.expval(Z), qml.var(Z)), wrap([0.5, 0.25]))


def test_traced_and_differentiated_values_are_let_through() -> None:
    def checked(value: Any) -> Any:
        check_result(circuit(qml.expval(Z)), value)
        return value

    assert jax.jit(checked)(0.5) == 0.5
    assert jax.grad(checked)(0.5) == 1
    assert jax.vmap(checked)(np.ones(3)).tolist() == [1, 1, 1]
    assert qml.grad(checked)(pnp.array(0.5)) == 1
    assert torch.func.vmap(checked)(torch.ones(3)).tolist() == [1, 1, 1]
    checked(torch.tensor(0.5, requires_grad=True))


WRONG = {
    "text": (qml.expval(Z), None, "0.5", "expected a number, got str '0.5'"),
    "nan": (qml.expval(Z), None, np.nan, "expected a finite number, got float nan"),
    "infinite": (qml.var(Z), 10, np.float64(np.inf), "expected a finite number"),
    "counts for a number": (qml.expval(Z), 10, {"0": 10}, "expected a number, got dict"),
    "samples for a number": (qml.expval(Z), 10, np.ones(10), r"expected a number, got ndarray of shape \(10,\)"),
    "numbers for counts": (qml.counts(), 10, np.array([5, 5]), "expected counts by outcome"),
    "too few counts": (qml.counts(wires=[0]), 10, {"0": 5}, "expected counts of 10 shots"),
    "too many counts": (qml.counts(qml.X(0)), 10, {1.0: 11}, "expected counts of 10 shots"),
    "texts as counts": (qml.counts(wires=[0]), 10, {"0": "10"}, "expected counts of 10 shots"),
    "outcomes of other wires": (qml.counts(wires=[0, 1]), 10, {"0": 10}, "expected counts of outcomes like '00'"),
    "outcomes that are numbers": (qml.counts(wires=[0]), 10, {0: 10}, "expected counts of outcomes like '0'"),
    "outcomes of other letters": (qml.counts(wires=[0]), 10, {"2": 10}, "expected counts of outcomes like '0'"),
    "counts of no eigenvalue": (qml.counts(Z), 10, {"0": 10}, r"expected counts of Z\(0\), -1 or 1"),
    "negative counts": (qml.counts(wires=[0]), 10, {"0": 13, "1": -3}, "counts that are whole numbers of at least 0"),
    "fractions of counts": (qml.counts(wires=[0]), 10, {"0": 9.5, "1": 0.5}, "counts that are whole numbers"),
    "counts that are no numbers": (qml.counts(wires=[0]), 10, {"0": np.nan, "1": 10}, "expected counts"),
    "counts without an end": (qml.counts(wires=[0]), 10, {"0": np.inf, "1": 10}, "expected counts of 10 shots"),
    "counts of no value of a word": (qml.counts(2 * Z @ qml.X(1)), 10, {1.0: 10}, "counts of .*, -2 or 2"),
    "counts of no value of a matrix": (
        qml.counts(HERMITIAN),
        10,
        {0.0: 10},
        r"(?s)counts of Hermitian.*, -0\.470061 or 1\.17006",
    ),
    "samples of no value of a word": (qml.sample(Z @ qml.X(1)), 2, np.array([1.0, 0.5]), "samples of .*, -1 or 1"),
    "samples of no value of a projector": (qml.sample(qml.Projector([1], 0)), 2, np.array([1, -1]), "samples of .*, 0"),
    "samples of a sum that are none": (qml.sample(Z + qml.X(1)), 2, np.array([1, np.nan]), "samples of .*, finite"),
    "a shadow of other bits": (
        qml.classical_shadow([0]),
        3,
        np.array([[[0], [1], [2]], [[0], [1], [2]]]),
        "a classical shadow of bits",
    ),
    "too few samples": (qml.sample(wires=[0, 1]), 500, np.zeros((5, 2)), "expected 500 samples of 2 bits"),
    "too many samples": (qml.sample(Z), 5, np.ones(6), "expected 5 samples"),
    "no bits": (qml.sample(wires=[0]), 3, np.array([[0], [1], [2]]), "expected samples of bits, 0 or 1"),
    "no eigenvalues": (qml.sample(Z), 3, np.array([0, 1, 1]), r"expected samples of Z\(0\), -1 or 1"),
    "a wrong number of outcomes": (qml.probs(wires=[0, 1]), None, np.ones(2) / 2, "the probabilities of 4 outcomes"),
    "no distribution": (qml.probs(wires=[0]), None, np.array([0.5, 0.6]), "probabilities that add up to 1"),
    "counts as a distribution": (qml.probs(wires=[0]), 10, np.array([5, 5]), "probabilities that add up to 1"),
    "an unknown distribution": (qml.probs(wires=[0]), None, np.array([np.nan, 1]), "finite probabilities"),
    "an unknown state": (qml.state(), None, np.array([np.nan, 1, 0, 0]), "expected a finite state"),
    "a short shadow": (qml.classical_shadow([0]), 10, np.zeros((2, 9, 1)), "a classical shadow of 10 shots"),
}


@pytest.mark.parametrize(("measurement", "shots", "result", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_a_result_is_refused(measurement: Any, shots: Any, result: Any, said: str) -> None:
    with pytest.raises(qexec.ResultError, match=said):
        check_result(circuit(measurement, shots=shots), result)
    with pytest.raises(qexec.ResultError, match=said):
        check_result(circuit(qml.expval(Z), measurement, shots=shots), (0.0, result))
    if shots:
        with pytest.raises(qexec.ResultError, match=said):
            check_result(circuit(measurement, shots=(shots, shots)), (result, result))


@pytest.mark.parametrize("result", [0.5, (0.5,), (0.5, 0.5, 0.5), {"0": 1}, "01", np.ones(3)], ids=str)
def test_several_measurements_or_numbers_of_shots_need_as_many_results(result: Any) -> None:
    with pytest.raises(qexec.ResultError, match="expected 2 results, one for each measurement"):
        check_result(circuit(qml.expval(Z), qml.var(Z)), result)
    with pytest.raises(qexec.ResultError, match="expected 2 results, one for each number of shots"):
        check_result(circuit(qml.expval(Z), shots=(5, 5)), result)


def test_what_postselection_leaves_may_be_fewer_shots_or_none() -> None:
    kept = QuantumScript([qml.H(0), MEASURED], [qml.sample(wires=[0]), qml.expval(Z)], shots=9)
    check_result(kept, (np.ones((4, 1)), np.nan))
    check_result(kept, (np.ones((0, 1)), np.nan))
    with pytest.raises(qexec.ResultError):
        check_result(kept, (np.ones((10, 1)), 0.5))


def test_what_comes_of_parameters_that_are_no_numbers_is_let_through() -> None:
    check_result(circuit(qml.expval(Z), angle=np.nan), np.nan)


def test_what_mitigation_makes_of_measurements_is_let_through() -> None:
    check_result(circuit(qml.expval(Z), qml.probs(wires=[0]), shots=10), (1.02, np.array([1.01, -0.01])))


def test_qutrits_have_three_outcomes() -> None:
    script = QuantumScript([qml.TShift(0)], [qml.sample(wires=[0]), qml.probs(wires=[0])], shots=2)
    check_result(script, (np.array([[1], [2]]), np.array([0, 0.5, 0.5])))


def test_derivatives_are_finite_numbers() -> None:
    script = circuit(qml.expval(Z))
    check_derivative(script, ((0.5, np.ones(2)), {"a": [0.1]}))
    check_derivative(circuit(qml.expval(Z), angle=np.nan), np.nan)
    check_derivative(script, np.nan, vector=np.array([np.nan]))
    for wrong in ("0.5", np.nan, (0.5, np.array([np.inf]))):
        with pytest.raises(qexec.ResultError, match="expected"):
            check_derivative(script, wrong)
    with pytest.raises(qexec.ResultError):
        check_work(Work((script,), Call("compute_vjp"), (1.0,)), [script], [np.nan])


def test_the_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(qexec.ResultError("expval(Z(0))", "expected a number, got str ''")))
    assert str(error).startswith("the result of expval(Z(0)) is not valid: expected a number")


class Answering(qexec.Executor):
    """Returns what it is told to, for everything."""

    def __init__(self, result: Any, name: str = "custom") -> None:
        super().__init__(name)
        self.result = result

    def run(self, circuits: Any) -> Any:
        return [self.result(one) if callable(self.result) else self.result for one in circuits]


@pytest.mark.parametrize("result", ["0.5", np.nan, {"0": 100}], ids=str)
def test_an_executor_whose_results_cannot_be_right_has_failed(result: Any) -> None:
    with qexec.QCluster([Answering(result)], retry=qexec.retries.never()) as cluster:
        with pytest.raises(
            qexec.ExecutorError, match=r"'custom' failed at attempt 1: ResultError: .* expected a"
        ) as raised:
            cluster.execute([circuit(qml.expval(Z), shots=100)])
        assert isinstance(raised.value.cause, qexec.ResultError)


def test_shots_that_are_missing_from_a_share_are_not_pooled() -> None:
    def five(one: QuantumScript) -> np.ndarray:
        return np.zeros((5, len(one.measurements[0].wires)), int)

    options: Any = {"split": "uniform", "failover": False, "retry": qexec.retries.never()}
    both = qexec.QCluster(["default.qubit", Answering(five)], **options)
    with both, pytest.raises(qexec.ExecutorError, match="expected 500 samples"):
        both.execute([circuit(qml.probs(wires=[0]), shots=1000)])


def test_a_circuit_goes_on_to_an_executor_that_returns_results() -> None:
    with qexec.QCluster([Answering(np.nan), "default.qubit"], retry=qexec.retries.never()) as cluster:
        values = cluster.execute([circuit(qml.expval(Z))] * 2)
        assert values == pytest.approx([np.cos(0.4)] * 2)


def test_what_a_merge_of_an_inner_cluster_returns_is_its_own_affair() -> None:
    def by_name(_: QuantumScript, outcomes: Any) -> dict[str, Any]:
        return {outcome.executor: outcome.result for outcome in outcomes}

    inner = qexec.QCluster(["default.qubit", "default.mixed"], split="uniform", merge=by_name)
    with inner, qexec.QCluster([inner]) as outer:
        (result,) = outer.execute([circuit(qml.expval(Z), shots=100)])
    assert set(result) == {"default.qubit", "default.mixed"}


@pytest.mark.parametrize("name", ["aer", "default.mixed", "jax", "cirq.simulator"])
def test_outcomes_of_mid_circuit_measurements_are_let_through(open_device: Any, name: str) -> None:
    @qml.qnode(open_device(name, 4), shots=20)
    def measured() -> Any:
        qml.H(0)
        first, second = qml.measure(0), qml.measure(1)
        return (
            qml.counts(first),
            qml.sample(first + 2 * second),
            qml.counts([first, second]),
            qml.sample([first, second]),
        )

    counts, samples, pairs, bits = measured()
    assert sum(counts.values()) == sum(pairs.values()) == len(samples) == len(bits) == 20


def test_counts_of_several_mid_circuit_measurements_have_a_bit_for_each() -> None:
    def measured() -> Any:
        return qml.counts([qml.measure(0), qml.measure(1)])

    script = qml.tape.make_qscript(measured, shots=10)()
    check_result(script, {"00": 4, "10": 6})
    for wrong in ({"0": 10}, {"0x": 10}, {0: 10}):
        with pytest.raises(qexec.ResultError, match="expected counts of outcomes like '00'"):
            check_result(script, wrong)


@pytest.mark.parametrize("executor", ["default.qubit", "lightning.qubit"])
def test_circuits_with_one_shot_that_run_shot_by_shot_have_a_result(executor: str) -> None:
    """PennyLane has what one shot gives in a tuple, as that of several."""

    def circuit() -> Any:
        qml.Hadamard(0)
        qml.measure(0)
        return qml.expval(qml.Z(0)), qml.sample(wires=0)

    with qml.device("qexec.cluster", executors=[executor], wires=2) as device:
        node = qml.set_shots(qml.QNode(circuit, device, mcm_method="one-shot"), 1)
        value, sample = node()
    assert value == 1 - 2 * np.ravel(sample)[0]


def test_probabilities_of_a_template_that_does_not_tell_its_batch_are_taken_from_a_remote_executor() -> None:
    def circuit(times: Any) -> Any:
        qml.Hadamard(0)
        qml.ApproxTimeEvolution(qml.Hamiltonian([0.7, -0.4], [qml.X(0) @ qml.Y(1), qml.Z(1)]), times, 1)
        return qml.probs(wires=[0, 1])

    times = np.array([0.1, 0.7, 0.9])
    with qml.device("qexec.cluster", executors=["rehearsal:lightning.qubit"], wires=2) as device:
        found = qml.QNode(circuit, device)(times)
    assert np.allclose(found, qml.QNode(circuit, qml.device("default.qubit", wires=2))(times))


@pytest.mark.slow
def test_a_template_that_does_not_tell_its_batch_runs_in_worker_processes() -> None:
    def circuit(times: Any) -> Any:
        qml.Hadamard(0)
        qml.ApproxTimeEvolution(qml.Hamiltonian([0.7, -0.4], [qml.X(0) @ qml.Y(1), qml.Z(1)]), times, 1)
        return qml.expval(qml.X(0))

    times = np.array([0.1, 0.7])
    executor = {"type": "default.qubit", "parallel": "process", "workers": 1}
    with qml.device("qexec.cluster", executors=[executor], wires=2) as device:
        found = qml.QNode(circuit, device)(times)
    assert np.allclose(found, qml.QNode(circuit, qml.device("default.qubit", wires=2))(times))
