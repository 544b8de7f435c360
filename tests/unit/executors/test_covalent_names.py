"""What users of Covalent's QElectrons write works after a change of the import."""

from __future__ import annotations

import pickle
import traceback
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as ct
from pennylane_qexec.testing import FakeQPU

SECRET = "s3cr3t-t0k3n"
TRIANGLE = [qml.Hadamard(0), qml.CNOT([0, 1]), qml.CNOT([1, 2]), qml.CNOT([0, 2])]


def counts(shots: int | None = 10) -> QuantumScript:
    return QuantumScript([qml.X(0), qml.Hadamard(1)], [qml.counts(wires=[0, 1])], shots=shots)


def plain(counted: Any) -> dict[str, int]:
    return {str(key): int(count) for key, count in counted.items()}


# -- where the names are


@pytest.mark.parametrize("name", ["Simulator", "QCluster", "QiskitExecutor"])
def test_executor_and_executors_have_the_classes(name: str) -> None:
    assert getattr(ct.executor, name) is getattr(ct.executors, name) is getattr(ct, name)


def test_executor_makes_executors_too() -> None:
    assert ct.executor("lightning.qubit", wires=2, name="mine").name == "mine"
    assert "Returns:" in str(ct.executor.__doc__)


def test_executors_is_the_subpackage() -> None:
    from pennylane_qexec.executors import DeviceExecutor

    assert ct.executors.DeviceExecutor is DeviceExecutor is ct.DeviceExecutor


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="IBMQExecutor"):
        ct.executor.IBMQExecutor  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match="IBMQExecutor"):
        ct.executors.IBMQExecutor  # noqa: B018


def test_a_cluster_of_the_manual_runs() -> None:
    local = ct.executor.QiskitExecutor(device="local_sampler", shots=1024)
    noisy = ct.executor.QiskitExecutor(device="sampler", shots=512, backend="fake_manila")
    with ct.executors.QCluster(executors=[local, noisy], selector="cyclic") as cluster:
        results = [cluster.execute([counts(100)])[0] for _ in range(2)]
    assert [sum(plain(result).values()) for result in results] == [1024, 512]
    assert [(row.executor, row.backend) for row in cluster.history] == [
        ("local_sampler", "aer_simulator"),
        ("fake_manila", "fake_manila"),
    ]


# -- QiskitExecutor


def test_the_local_sampler_runs_without_noise_and_with_its_own_shots() -> None:
    (counted,) = ct.QiskitExecutor().run([counts()])
    assert set(plain(counted)) == {"10", "11"}
    assert sum(plain(counted).values()) == 1024


def test_the_local_sampler_is_exact_if_it_is_asked_to() -> None:
    exact = QuantumScript([qml.RX(0.4, 0)], [qml.expval(qml.Z(0))], shots=10)
    assert float(ct.QiskitExecutor(shots=None).run([exact])[0]) == pytest.approx(np.cos(0.4))


def test_the_sampler_has_the_noise_of_a_fake_backend() -> None:
    """Of 4000 readings of |1> on Manila more than 20, and less than half, are wrong."""
    executor = ct.QiskitExecutor("sampler", "fake_manila", 4000, options={"seed_simulator": 1})
    (counted,) = executor.run([QuantumScript([qml.X(0)], [qml.counts(wires=[0])])])
    assert sum(plain(counted).values()) == 4000
    assert 20 < plain(counted)["0"] < 2000


def test_circuits_are_routed_on_the_coupling_of_a_fake_backend() -> None:
    """Manila's qubits are in a line, so that a triangle of CNOTs needs swaps. Without noise only 000, 110 occur."""
    executor = ct.QiskitExecutor("sampler", "fake_manila", 2000, options={"seed_simulator": 1})
    (counted,) = executor.run([QuantumScript(TRIANGLE, [qml.counts(wires=[0, 1, 2])])])
    found = plain(counted)
    assert found["000"] + found["110"] > 0.75 * 2000


def test_equal_seeds_give_equal_counts() -> None:
    def run() -> Any:
        executor = ct.QiskitExecutor("sampler", "fake_manila", options={"seed_simulator": 5, "optimization_level": 0})
        return [plain(counted) for counted in executor.run([counts(), counts()])]

    assert run() == run()


def test_a_circuit_wider_than_the_fake_backend_is_refused(open_cluster: Any) -> None:
    cluster = open_cluster(ct.QiskitExecutor("sampler", "fake_manila"))
    with pytest.raises(ct.NoExecutorError, match="'fake_manila' has 5 qubits"):
        cluster.execute([QuantumScript([qml.X(wire) for wire in range(6)], [qml.counts()])])


def test_analytic_results_with_noise_are_refused(open_cluster: Any) -> None:
    cluster = open_cluster(ct.QiskitExecutor("sampler", "fake_manila", shots=None))
    with pytest.raises(ct.NoExecutorError, match="needs a number of shots"):
        cluster.execute([QuantumScript([qml.X(0)], [qml.expval(qml.Z(0))], shots=10)])


@pytest.mark.parametrize(("single_job", "batches"), [(True, 1), (False, 4)])
def test_single_job_decides_whether_circuits_share_a_batch(open_cluster: Any, single_job: bool, batches: int) -> None:
    cluster = open_cluster(ct.QiskitExecutor(single_job=single_job, parallel="thread"))
    cluster.execute([counts()] * 4)
    assert len({row.batch for row in cluster.history}) == batches


def test_it_can_be_pickled_with_a_fake_backend() -> None:
    executor = ct.QiskitExecutor("sampler", "fake_manila", 60, name="m", options={"seed_simulator": 5})
    pickled = pickle.dumps(executor)
    copied = pickle.loads(pickled)
    assert len(pickled) < 10_000
    assert (copied.name, copied.backend, copied.shots) == ("m", "fake_manila", 60)
    assert plain(copied.run([counts()])[0]) == plain(executor.run([counts()])[0])


def test_the_misspelt_option_of_the_manual_is_named() -> None:
    with pytest.raises(ct.ConfigurationError, match=r"'shsots'. Did you mean 'shots'\?"):
        ct.QiskitExecutor(device="local_sampler", shsots=1024)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": "local_smapler"}, r"Did you mean 'local_sampler'\?"),
        ({"device": "sampler"}, r"backend='fake_manila'"),
        ({"device": "sampler", "backend": "fake_manilla"}, r"Did you mean 'fake_manila'\?"),
        ({"device": "sampler", "backend": "ibmq_quito"}, r"'ibmq_quito' has been retired by IBM.*'fake_quito'"),
        ({"backend": "fake_manila"}, r"take device='sampler' with it"),
        ({"ibmqx_token": SECRET}, r"ibmqx_token given: device='local_sampler' runs on this machine"),
        ({"instance": "crn:x", "ibmqx_token": SECRET}, r"ibmqx_token and instance given"),
        (
            {"device": "sampler", "backend": "ibm_torino", "hub": "h", "group": "g"},
            r"hub and group given: .* instance=",
        ),
        ({"device": "sampler", "backend": "ibm_torino", "options": {"twirlin": {}}}, r"Did you mean 'twirling'\?"),
        ({"device": "sampler", "backend": "ibm_torino", "max_time": "soon"}, r"max_time='soon'"),
        ({"options": {"optimisation_level": 1}}, r"Did you mean 'optimization_level'\?"),
        ({"device": "sampler", "backend": "fake_manila", "options": {"optimization_level": 7}}, "optimization_level=7"),
        ({"shots": [10, 10]}, "must be a number of shots"),
    ],
)
def test_what_it_cannot_do_is_refused_with_what_to_do_instead(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ct.ConfigurationError, match=message):
        ct.QiskitExecutor(**arguments)


def test_the_sampler_is_a_runtime_executor_with_the_options_of_covalent() -> None:
    options = {"optimization_level": 3, "resilience_level": 1, "dynamical_decoupling": {"enable": True}}
    executor = ct.QiskitExecutor(
        "sampler",
        "ibm_torino",
        max_time="5m",
        options=options,
        single_job=False,
        ibmqx_token=SECRET,
        cloud_instance="crn:x",
    )
    assert isinstance(executor, ct.QiskitExecutor)
    assert isinstance(executor, ct.RuntimeExecutor)
    assert (executor.name, executor.backend, executor.shots, executor.max_circuits) == (
        *("ibm_torino", "ibm_torino"),
        *(1024, 1),
    )
    assert executor._options.estimator == {
        "dynamical_decoupling": {"enable": True},
        "resilience_level": 1,
        "max_execution_time": 300,
    }


def test_the_local_sampler_is_an_aer_executor() -> None:
    assert isinstance(ct.QiskitExecutor(), ct.executors.aer.AerExecutor)


def test_options_for_ibm_that_are_left_empty_do_no_harm() -> None:
    assert ct.QiskitExecutor(ibmqx_token="", instance=None, max_time=300, local_transpile=True).shots == 1024


def test_error_mitigation_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="resilience_level=1 asks for error mitigation"):
        ct.QiskitExecutor(options={"resilience_level": 1, "optimization_level": 3})


# -- secrets


@pytest.mark.parametrize(
    "make",
    [
        lambda: ct.QiskitExecutor(ibmqx_token=SECRET),
        lambda: ct.QiskitExecutor("sampler", "ibm_torino", ibmqx_token=SECRET, hub="h"),
        lambda: ct.QiskitExecutor("sampler", "ibm_torino", ibmqx_token=SECRET, shsots=1),
        lambda: ct.executor({"token": SECRET}),
        lambda: ct.executor(qml.device("default.qubit"), token=SECRET),
        lambda: ct.executor("default.qubit", token=SECRET),
        lambda: ct.executor(ct.Simulator(), token=SECRET),
        lambda: ct.Simulator(token=SECRET),
    ],
)
def test_an_error_does_not_print_a_token(make: Any) -> None:
    with pytest.raises(ct.ConfigurationError) as caught:
        make()
    assert SECRET not in "".join(traceback.format_exception(caught.value))


class WithToken(FakeQPU):
    """A backend that was given a token."""

    def __init__(self, token: str) -> None:
        super().__init__("far-away")
        self.token = token


@pytest.mark.parametrize(
    ("executor", "text"),
    [
        (WithToken(SECRET), "<WithToken 'far-away'>"),
        (ct.Simulator("cirq.simulator", qubits=None), "<Simulator 'cirq.simulator'>"),
        (ct.QiskitExecutor(), "<QiskitExecutor 'local_sampler'>"),
        (ct.QiskitExecutor("sampler", "ibm_torino", ibmqx_token=SECRET), "<QiskitExecutor 'ibm_torino'>"),
        (ct.executor("default.mixed", readout_prob=0.123), "<DeviceExecutor 'default.mixed'>"),
    ],
)
def test_an_executor_prints_as_its_class_and_its_name(executor: ct.Executor, text: str) -> None:
    assert repr(executor) == text
