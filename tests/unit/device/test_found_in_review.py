"""Faults that a review found: rare ways through QElectrons and clusters."""

from __future__ import annotations

import logging
from typing import Any

import cachetools
import jax
import numpy as np
import pennylane as qml
import pytest
from beside import PATIENCE
from circuits import qnode

import pennylane_qexec as qexec
from pennylane_qexec.testing import ScriptedExecutor, flip


def test_shots_are_not_split_over_a_cluster_whose_executors_have_their_own() -> None:
    inner = qexec.QCluster([qexec.Simulator(shots=10)])
    with pytest.raises(qexec.ConfigurationError, match="runs circuits with 10 shots of its own"):
        qexec.QCluster([inner, "default.qubit"], split="uniform")


@pytest.mark.slow
def test_settings_of_a_call_with_jax_are_not_those_of_the_next(electron: Any) -> None:
    def postselected(x: Any) -> Any:
        qml.RX(x, 0)
        qml.measure(0, postselect=1)
        return qml.sample(wires=0)

    device = qml.device("default.qubit", wires=2, seed=1)
    circuit = electron(qml.set_shots(qml.QNode(postselected, device, interface="numpy"), 50))
    circuit.run_later(jax.numpy.array(1.5)).exception(PATIENCE)
    assert set(np.ravel(circuit.run_later(1.5).result(PATIENCE))) == {1}


def test_a_transform_that_needs_no_circuit_works_later(electron: Any) -> None:
    @qml.transform
    def nothing_to_run(tape: Any) -> Any:
        return (), lambda _: 7.0

    circuit = nothing_to_run(electron(qnode()))
    assert circuit.run_later(0.3).result(PATIENCE) == circuit(0.3) == 7.0


def test_an_informative_transform_works_later(electron: Any) -> None:
    @qml.transforms.core.transform
    def plain(tape: Any) -> Any:
        return (tape,), lambda results: results[0]

    informative = qml.transforms.core.Transform(
        lambda tape: ((tape,), lambda tapes: len(tapes[0].operations)), is_informative=True
    )
    circuit = informative(plain(electron(qnode())))
    assert circuit.run_later(0.3).result(PATIENCE) == circuit(0.3)


def test_a_call_of_many_circuits_is_cancelled_without_noise(electron: Any, gate: Any, caplog: Any) -> None:
    @qml.transform
    def often(tape: Any) -> Any:
        return (tape,) * 400, lambda results: sum(results)

    circuit = often(electron(qnode(), executors=ScriptedExecutor(gate=gate)))
    with caplog.at_level(logging.ERROR):
        assert circuit.run_later(0.3).cancel()
    assert caplog.records == []


def test_circuits_of_nested_clusters_are_counted_once(electron: Any) -> None:
    circuit = electron(qnode(), executors=[qexec.QCluster(["default.qubit"])])
    future = qexec.run_later(lambda: [circuit(0.1), circuit.run_later(0.2).result(PATIENCE)])
    future.result(PATIENCE)
    assert len(future.outcomes) == 2


def test_a_result_found_in_a_cache_stays_until_it_is_asked_for(electron: Any) -> None:
    circuit = electron(qnode(cache=cachetools.LRUCache(1)))
    circuit(0.3)
    future = circuit.run_later(0.3)
    circuit(0.4)
    assert float(future.result(PATIENCE)) == pytest.approx(np.cos(0.3))


def test_submitting_nothing_gives_nothing() -> None:
    with qexec.QCluster(["default.qubit"]) as cluster:
        assert cluster.submit([]) == []
        assert cluster.execute([flip(0.0)]) == [1.0]
