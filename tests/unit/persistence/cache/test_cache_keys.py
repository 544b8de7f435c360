"""Keys of the cache: equal for what has equal results, in every process; different for anything else."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from fakes import programs
from hypothesis import given
from hypothesis import strategies as st
from pennylane.devices import ExecutionConfig, MCMConfig
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.job import Call, Job
from pennylane_qexec.persistence.cache.keys import Keys, digest_of

ANGLES = st.floats(-10, 10)


def layers(angles: Any, shots: Any = None, wires: Any = (0, 1)) -> QuantumScript:
    """A circuit of plain gates."""
    a, b = wires
    gates = [gate for angle in angles for gate in (qml.RX(angle, a), qml.CNOT([a, b]), qml.CRZ(angle, [b, a]))]
    return QuantumScript(gates, [qml.expval(qml.Z(a) @ qml.Z(b)), qml.probs(wires=[a])], shots=shots)


def kinds() -> dict[str, QuantumScript]:
    """One circuit of many kinds; no two are equal."""
    return {
        "plain": layers([0.1, 0.2]),
        "other angle": layers([0.1, np.nextafter(0.2, 1)]),
        "other order": layers([0.2, 0.1]),
        "turned once more": layers([0.1, 0.2 + 2 * np.pi]),
        "fewer": layers([0.1]),
        "empty": layers([]),
        "other wires": layers([0.1, 0.2], wires=(1, 0)),
        "labels": layers([0.1, 0.2], wires=("0", "1")),
        "shots": layers([0.1, 0.2], shots=10),
        "more shots": layers([0.1, 0.2], shots=11),
        "a shot vector": layers([0.1, 0.2], shots=(5, 5)),
        "an array": QuantumScript([qml.RX(np.array([0.1, 0.2]), 0)], [qml.expval(qml.Z(0))]),
        "a matrix": QuantumScript([qml.QubitUnitary(np.eye(4), [0, 1])], [qml.expval(qml.Z(0))]),
        "other axis": QuantumScript([qml.RY(0.1, 0)], [qml.expval(qml.Z(0))]),
        "nested": QuantumScript([qml.ctrl(qml.RX(0.1, 0), 1, control_values=[0])], [qml.expval(qml.Z(0))]),
        "a Hamiltonian": QuantumScript([qml.RX(0.1, 0)], [qml.expval(0.5 * qml.Z(0) + 0.2 * qml.X(1))]),
        "another Hamiltonian": QuantumScript([qml.RX(0.1, 0)], [qml.expval(0.5 * qml.Z(0) + 0.3 * qml.X(1))]),
    }


def hexed() -> dict[str, str | None]:
    return {name: None if (found := digest_of(one)) is None else found.hex() for name, one in kinds().items()}


def test_no_two_kinds_of_circuits_share_a_digest() -> None:
    found = hexed()
    assert None not in found.values()
    assert len(set(found.values())) == len(found)


def test_circuits_made_twice_have_one_digest() -> None:
    assert hexed() == hexed()


@pytest.mark.slow
def test_digests_are_the_same_in_another_process_and_another_order() -> None:
    script = "import json, test_cache_keys as t; k = t.kinds; t.kinds = lambda: dict(reversed(k().items())); "
    script += "print(json.dumps(t.hexed()))"
    assert json.loads(programs.run(script).stdout.splitlines()[-1]) == hexed()


@pytest.mark.slow
@given(st.lists(ANGLES, max_size=4), st.lists(ANGLES, max_size=4))
def test_digests_of_plain_circuits_are_equal_where_the_angles_are(one: list[float], other: list[float]) -> None:
    same = len(one) == len(other) and all(map(_same_bits, one, other))
    assert (digest_of(layers(one)) == digest_of(layers(other))) == same


def _same_bits(one: float, other: float) -> bool:
    return np.float64(one).tobytes() == np.float64(other).tobytes()


def test_which_parameters_are_trainable_makes_no_difference_to_a_result() -> None:
    one, other = layers([0.1, 0.2]), layers([0.1, 0.2])
    one.trainable_params, other.trainable_params = [0], [1, 2]
    assert digest_of(one) == digest_of(other)


def test_numbers_of_numpy_and_of_python_are_the_same() -> None:
    assert digest_of(layers([0.1])) == digest_of(layers([np.float64(0.1)])) == digest_of(layers([np.array(0.1)]))


def test_mid_circuit_measurements_have_a_digest_whatever_their_random_ids() -> None:
    def circuit() -> QuantumScript:
        with qml.queuing.AnnotatedQueue() as queue:
            qml.RX(0.3, 0)
            qml.cond(qml.measure(0), qml.X)(1)
            qml.expval(qml.Z(1))
        return QuantumScript.from_queue(queue)

    assert digest_of(circuit()) == digest_of(circuit()) is not None


@pytest.mark.parametrize(
    "circuit",
    [
        layers([qml.numpy.array(0.1)]),
        QuantumScript([qml.RX(0.1, 0)], [qml.expval(qml.dot(qml.numpy.array([0.5, 0.2]), [qml.Z(0), qml.X(0)]))]),
        QuantumScript([qml.RX(0.1, 0), qml.Snapshot()], [qml.expval(qml.Z(0))]),
        QuantumScript([qml.RX(0.1, 0)], [qml.expval(qml.Hermitian(qml.numpy.eye(2), 0))]),
    ],
    ids=["a parameter", "coefficients", "a snapshot", "a matrix"],
)
def test_what_belongs_to_an_interface_or_is_to_be_watched_has_no_digest(circuit: QuantumScript) -> None:
    assert digest_of(circuit) is None


def test_the_call_makes_a_difference() -> None:
    executor = qexec.executor("default.qubit")
    circuit = layers([0.1])
    calls = [
        Call(),
        Call(bound=True),
        Call("compute_derivatives", ExecutionConfig(gradient_method="adjoint")),
        Call("compute_derivatives", ExecutionConfig(gradient_method="device")),
        Call(config=ExecutionConfig(mcm_config=MCMConfig(postselect_mode="fill-shots"))),
        Call(config=ExecutionConfig(gradient_method="backprop", interface="jax")),
        Call(config=ExecutionConfig(gradient_method="backprop", interface="torch")),
    ]
    found = [keys_of(executor, Job(circuit, executor, call)) for call in calls]
    assert len({key for keys in found for key in keys.values()}) == len(calls)
    assert keys_of(executor, Job(circuit, executor, Call())) == found[0]


def test_what_is_differentiated_makes_a_difference_to_a_derivative() -> None:
    executor = qexec.executor("default.qubit")
    call = Call("compute_derivatives", ExecutionConfig(gradient_method="adjoint"))
    one, other = layers([0.1]), layers([0.1])
    one.trainable_params, other.trainable_params = [0], [0, 1]
    assert keys_of(executor, Job(one, executor, call)) != keys_of(executor, Job(other, executor, call))


def test_the_numbers_of_a_durable_run_make_a_difference_to_samples_only() -> None:
    executor = qexec.executor({"type": "default.qubit", "seed": 7})
    for shots, keys in ((10, 3), (None, 1)):
        circuit = layers([0.1], shots=shots)
        assert len({keys_of(executor, Job(circuit, executor, number=one))[executor.name] for one in (0, 1, 2)}) == keys


def test_a_member_of_a_hybrid_makes_a_difference() -> None:
    hybrid = qexec.Hybrid(["default.qubit", "lightning.qubit"], rule=lambda circuit, members: members[chosen[0]])
    chosen = [0]
    first = keys_of(hybrid, Job(layers([0.1]), hybrid))
    chosen[0] = 1
    assert first
    assert keys_of(hybrid, Job(layers([0.1]), hybrid)) != first


def keys_of(executor: qexec.Executor, job: Job) -> dict[str, str]:
    assert executor.identity is not None
    return Keys({executor: executor.identity}, shots=False).of(job)
