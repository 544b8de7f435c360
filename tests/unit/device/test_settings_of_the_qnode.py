"""Settings of the QNode that a QElectron keeps, and changes; and what trackers count of it."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from beside import HOW, PATIENCE, SEED, differences
from pennylane import numpy as pnp

import pennylane_qexec as qexec
from pennylane_qexec.testing import ScriptedExecutor

by_how = pytest.mark.parametrize("how", HOW.values(), ids=HOW)

pytestmark = pytest.mark.timeout(120)


def turn(angle: Any) -> Any:
    qml.RX(angle, 0)
    return qml.expval(qml.Z(0))


def twice(angle: Any) -> Any:
    return turn(2 * angle)


def sliced(angle: Any) -> Any:
    qml.RX(angle, 0)
    measured = qml.measure(0, postselect=1)
    return qml.sample(measured)


def qnode(**options: Any) -> qml.QNode:
    return qml.QNode(turn, qml.device("default.qubit", wires=1, seed=SEED), **options)


@by_how
@pytest.mark.parametrize(
    "settings",
    [
        {"func": twice},
        {"interface": "torch"},
        {"diff_method": "parameter-shift"},
        {"diff_method": None},
        {"cache": True},
        {"cache": False},
        {"cachesize": 5},
        {"max_diff": 2},
        {"grad_on_execution": False},
        {"device_vjp": True},
        {"postselect_mode": "hw-like"},
        {"mcm_method": "deferred"},
        {"gradient_kwargs": {"h": 1e-3}},
        {"static_argnums": (1,)},
        {"executor_backend": None},
    ],
    ids=lambda settings: "-".join(f"{name}-{value}" for name, value in settings.items() if not callable(value)),
)
def test_update_changes_a_setting_as_of_a_qnode(pair: Any, settings: Any, how: Any) -> None:
    circuit, electron = pair(turn)
    changed, updated = circuit.update(**settings), electron.update(**settings)
    assert isinstance(updated, qexec.QElectron)
    assert updated.cluster is electron.cluster
    for attribute in ("interface", "diff_method", "execute_kwargs", "gradient_kwargs"):
        assert str(getattr(updated, attribute)) == str(getattr(changed, attribute))
    assert differences(changed(0.3), how(updated)(0.3)) == []
    assert differences(circuit(0.3), how(electron)(0.3)) == []


def test_update_takes_the_wires_of_another_device(electron: Any) -> None:
    circuit = electron(qnode(), name="turned")
    updated = circuit.update(device=qml.device("lightning.qubit", wires=3))
    assert (updated.cluster, len(updated.device.wires), updated.name) == (circuit.cluster, 3, "turned")


def test_update_takes_another_cluster(electron: Any, open_device: Any) -> None:
    device = open_device([ScriptedExecutor()])
    updated = electron(qnode()).update(device=device)
    assert updated.cluster is device.cluster
    assert float(updated.run_later(0.3).result(PATIENCE)) == pytest.approx(np.cos(0.3))


@pytest.mark.parametrize("settings", [{}, {"no_setting": 1}, {"diff_method": "guess"}], ids=str)
def test_update_refuses_what_a_qnode_refuses(electron: Any, settings: Any) -> None:
    messages = []
    for circuit in (qnode(), electron(qnode())):
        with pytest.raises((TypeError, ValueError, qml.exceptions.QuantumFunctionError)) as refused:
            circuit.update(**settings)
        messages.append((refused.type, str(refused.value)[:60]))
    assert messages[0] == messages[1]


def test_update_shots_changes_the_shots_of_a_copy(electron: Any) -> None:
    executor = ScriptedExecutor()
    circuit = electron(qnode(), executors=executor)
    circuit.update_shots(10).run_later(0.3).result(PATIENCE)
    circuit(0.3)
    assert executor.shots_run == 10


@pytest.mark.parametrize("mode", ["hw-like", "fill-shots"])
def test_postselection_takes_as_many_samples_as_the_mode_says(pair: Any, mode: str) -> None:
    circuit, electron = pair(sliced, shots=50, wires=3, mcm_method="deferred", postselect_mode=mode)
    expected = circuit(1.0)
    assert differences(expected, electron(1.0)) == []
    assert (len(electron.run_later(1.0).result(PATIENCE)) == 50) == (len(expected) == 50) == (mode == "fill-shots")


@by_how
@pytest.mark.parametrize("given", [True, False, "dict"])
def test_caches_save_the_executions_that_they_save_a_qnode(pair: Any, given: Any, how: Any) -> None:
    """A gradient and a call of one angle, twice."""
    options = {"diff_method": "finite-diff", "gradient_kwargs": {"h": 0.1}}
    circuit, _ = pair(turn, cache={} if given == "dict" else given, **options)
    _, electron = pair(turn, cache={} if given == "dict" else given, **options)
    counts = []
    for device, call in ((circuit.device, circuit), (electron.device, how(electron))):
        with qml.Tracker(device) as tracker:
            for _ in range(2):
                call(pnp.array(0.3))
                qml.grad(call)(pnp.array(0.3))
        counts.append(tracker.totals["executions"])
    assert counts[0] == counts[1]


def test_a_cache_of_the_user_saves_values_and_no_derivatives_that_the_device_computes(pair: Any) -> None:
    _, electron = pair(turn, cache={}, diff_method="parameter-shift")
    with qml.Tracker(electron.device) as tracker:
        for _ in range(2):
            electron(pnp.array(0.3))
            qml.grad(electron)(pnp.array(0.3))
    assert tracker.totals["executions"] == 1 + 2 * 3


def test_calls_under_way_share_a_cache_of_the_user(electron: Any) -> None:
    gate = threading.Event()
    cache: dict[Any, Any] = {}
    executor = ScriptedExecutor(gate=gate)
    circuit = electron(qnode(cache=cache), executors=executor)
    futures = [circuit.run_later(angle) for angle in (0.1, 0.2, 0.1, 0.2)]
    gate.set()
    assert np.allclose(qexec.gather(futures), np.cos([0.1, 0.2, 0.1, 0.2]))
    runs = len(executor.batches)
    assert np.allclose([circuit(0.1), circuit.run_later(0.2).result(PATIENCE)], np.cos([0.1, 0.2]))
    assert len(executor.batches) == runs
    assert len(cache) == 2
    assert all(value is not None for value in cache.values())


def test_a_call_that_failed_leaves_nothing_in_the_cache(electron: Any) -> None:
    executor = ScriptedExecutor(failures=[ValueError("no")])
    circuit = electron(qnode(cache={}), executors=executor, retry={"attempts": 1})
    assert isinstance(circuit.run_later(0.3).exception(PATIENCE), qexec.ExecutorError)
    assert float(circuit(0.3)) == pytest.approx(np.cos(0.3))


WAYS: dict[str, Any] = {
    "call": lambda circuit: circuit(pnp.array(0.3)),
    "gradient": lambda circuit: qml.grad(circuit)(pnp.array(0.3)),
    "broadcast": lambda circuit: circuit(np.array([0.1, 0.2])),
    "no parameter to train": lambda circuit: circuit(0.3),
}
COUNTED = {
    "best": ({}, None),
    "adjoint": ({"diff_method": "adjoint"}, None),
    "device_vjp": ({"diff_method": "adjoint", "device_vjp": True}, None),
    "backprop": ({"diff_method": "backprop"}, None),
    "parameter-shift": ({"diff_method": "parameter-shift"}, None),
    "shots": ({}, 20),
    "shot vector": ({}, (10, 20)),
}

COUNTABLE = {
    f"{kind}-{name}": (options, shots, way)
    for kind, (options, shots) in COUNTED.items()
    for name, way in WAYS.items()
    if (kind, name) not in {("shot vector", "gradient"), ("device_vjp", "broadcast")}
}


@pytest.mark.slow
@by_how
@pytest.mark.parametrize("of", ["the QNode's device", "its own device"])
@pytest.mark.parametrize(("options", "shots", "way"), COUNTABLE.values(), ids=COUNTABLE)
def test_trackers_count_what_they_count_of_a_qnode(
    electron: Any, options: Any, shots: Any, way: Any, of: str, how: Any
) -> None:
    plain, origin = (qml.set_shots(qnode(**options), shots) for _ in range(2))
    circuit = electron(origin)
    with qml.Tracker(plain.device) as expected:
        way(plain)
    with qml.Tracker(origin.device if of == "the QNode's device" else circuit.device) as counted:
        way(how(circuit))
    differing = {"results"} if shots and how is HOW["later"] else set()
    if expected.totals.get("batches") == 2:  # values and derivatives by parameter shifts are one batch here
        differing |= {"batches"}
        assert counted.totals["batches"] == 1
    assert counted.totals.keys() == expected.totals.keys()
    assert {key for key in counted.totals if counted.totals[key] != expected.totals[key]} <= differing


def test_nothing_is_counted_when_nothing_is_tracked(electron: Any) -> None:
    origin = qnode()
    circuit = electron(origin)
    tracker = qml.Tracker(origin.device)
    circuit.run_later(0.3).result(PATIENCE)
    assert tracker.totals == {}
