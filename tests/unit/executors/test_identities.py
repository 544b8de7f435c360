"""Identities of executors: everything but the circuit that their results depend on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest
from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error

import pennylane_qexec as qexec
from pennylane_qexec.testing import flip


def noise(rate: float) -> NoiseModel:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(rate, 1), ["rx"])
    return model


def misread(rate: float) -> NoiseModel:
    model = NoiseModel()
    model.add_all_qubit_readout_error(ReadoutError([[1, 0], [rate, 1 - rate]]))
    return model


def aer(**options: Any) -> qexec.Executor:
    return qexec.executor({"type": "aer", **options})


DIFFERENT = {
    "a device": lambda: qexec.executor("default.qubit"),
    "with wires": lambda: qexec.executor("default.qubit", wires=2),
    "with more wires": lambda: qexec.executor("default.qubit", wires=3),
    "with a seed": lambda: qexec.executor({"type": "default.qubit", "seed": 7}),
    "another device": lambda: qexec.executor("lightning.qubit"),
    "with less precision": lambda: qexec.executor({"type": "lightning.qubit", "c_dtype": np.complex64}),
    "aer": aer,
    "aer with a seed": lambda: aer(seed=7),
    "aer with less precision": lambda: aer(precision="single"),
    "aer with noise": lambda: aer(noise_model=noise(0.1)),
    "aer with more noise": lambda: aer(noise_model=noise(0.2)),
    "aer that misreads": lambda: aer(noise_model=misread(0.1)),
    "aer that misreads more": lambda: aer(noise_model=misread(0.2)),
    "a fake backend": lambda: qexec.executor("aer:fake_manila"),
    "another layout": lambda: aer(backend="fake_manila", seed_transpiler=1),
    "JAX": lambda: qexec.JaxExecutor(cache=False),
    "JAX with a seed": lambda: qexec.JaxExecutor(cache=False, seed=7),
    "Covalent's name for a simulator": lambda: qexec.Simulator("default.mixed"),
    "a hybrid": lambda: qexec.Hybrid(["default.qubit", "lightning.qubit"]),
    "another hybrid": lambda: qexec.Hybrid(["default.qubit", {"type": "lightning.qubit", "seed": 1}]),
    "a rehearsal": lambda: qexec.Rehearsal("default.qubit"),
    "with a seed of its own": lambda: qexec.Rehearsal("default.qubit", seed=7),
    "with drift": lambda: qexec.Rehearsal("default.qubit", drift={"start": 0.1}),
    "IBM's Aer": lambda: qexec.executor("ibm:aer"),
    "IBM's fake backend": lambda: qexec.executor("ibm:fake_manila"),
    "with an option": lambda: qexec.RuntimeExecutor("ibm_torino", options={"resilience_level": 2}),
    "without it": lambda: qexec.RuntimeExecutor("ibm_torino"),
    "another machine": lambda: qexec.RuntimeExecutor("ibm_fez"),
    "qBraid's": lambda: qexec.executor("qbraid:ionq:simulator"),
    "another one of qBraid's": lambda: qexec.QBraidExecutor("ionq", "simulator", options={"tags": {"a": "b"}}),
}


@pytest.mark.slow
def test_no_two_executors_that_give_different_results_share_an_identity() -> None:
    found = {name: make().identity for name, make in DIFFERENT.items()}
    assert [name for name, identity in found.items() if identity is None] == []
    assert len(set(found.values())) == len(found)


@pytest.mark.slow
def test_executors_made_twice_have_one_identity() -> None:
    assert [make().identity for make in DIFFERENT.values()] == [make().identity for make in DIFFERENT.values()]


def test_the_order_of_options_and_where_it_runs_make_no_difference() -> None:
    one = qexec.DeviceExecutor("lightning.qubit", seed=1, c_dtype=np.complex64)
    other = qexec.Simulator("lightning.qubit", workers=3, name="other", c_dtype=np.complex64, seed=1)
    assert one.identity == other.identity is not None


def test_the_version_of_what_computes_is_part_of_it() -> None:
    assert "lightning=" in str(qexec.executor("lightning.qubit").identity)
    assert "qiskit-aer=" in str(aer().identity)


class Derived(qexec.DeviceExecutor):
    """Whatever it does, its results may be others."""


UNKNOWN = {
    "a device that was given": lambda: qexec.executor(qml.device("default.qubit")),
    "a generator as a seed": lambda: qexec.DeviceExecutor("default.qubit", seed=np.random.default_rng(1)),
    "a class that somebody derived": lambda: Derived("default.qubit"),
    "a layout left to chance": lambda: aer(backend="fake_manila", seed_transpiler=None),
    "whatever machine is free": lambda: qexec.RuntimeExecutor("least_busy"),
    "a member that was given": lambda: qexec.Hybrid(["lightning.qubit", qml.device("default.qubit")]),
    "a rehearsal of what was given": lambda: qexec.Rehearsal(qml.device("default.qubit")),
}


@pytest.mark.parametrize("make", UNKNOWN.values(), ids=UNKNOWN)
def test_what_cannot_be_told_has_no_identity(make: Any) -> None:
    assert make().identity is None


REPEATS = {
    "a simulator": (lambda: qexec.executor("default.qubit"), True, False),
    "with a seed": (lambda: qexec.executor({"type": "default.qubit", "seed": 7}), True, True),
    "aer": (aer, True, False),
    "aer with a seed": (lambda: aer(seed=7), True, True),
    "aer by chance": (lambda: aer(method="extended_stabilizer"), False, False),
    "a hybrid": (lambda: qexec.Hybrid([{"type": "aer", "seed": 7}, "lightning.qubit"]), True, False),
    "a rehearsal": (lambda: qexec.Rehearsal("default.qubit"), True, False),
    "a rehearsal with a seed": (lambda: qexec.Rehearsal("default.qubit", seed=7), True, True),
    "a rehearsal that drifts": (lambda: qexec.Rehearsal("default.qubit", seed=7, drift={"start": 0.1}), False, False),
    "local mode": (lambda: qexec.executor("ibm:aer"), False, False),
    "local mode with a seed": (lambda: qexec.RuntimeExecutor("aer", seed=7), True, True),
    "a quantum computer": (lambda: qexec.RuntimeExecutor("ibm_torino", seed=7), False, False),
    "qBraid's": (lambda: qexec.QBraidExecutor("ionq", "simulator", seed=7), False, False),
}


@pytest.mark.parametrize(("make", "exactly", "sampled"), REPEATS.values(), ids=REPEATS)
def test_results_repeat_where_they_are_exact_or_follow_from_a_seed(make: Any, exactly: bool, sampled: bool) -> None:
    executor = make()
    assert (executor.repeats(flip(0.3)), executor.repeats(flip(0.3, shots=10))) == (exactly, sampled)


def test_a_device_that_may_be_far_away_repeats_nothing() -> None:
    class Remote(qexec.DeviceExecutor):
        local = False

    assert not Remote("default.qubit").repeats(flip(0.3))
