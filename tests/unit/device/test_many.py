"""Many calls at once: ``map``, ``gather`` and ``as_completed``."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pennylane as qml
import pytest
import torch
from beside import PATIENCE
from pennylane import numpy as pnp

import pennylane_qexec as qexec
from pennylane_qexec.testing import FakeQPU, ScriptedExecutor

ANGLES = [0.1, 0.7, -1.3]

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize(
    "angles", [ANGLES, tuple(ANGLES), np.array(ANGLES), pnp.array(ANGLES), torch.tensor(ANGLES), iter(ANGLES)], ids=type
)
def test_map_takes_sequences_and_arrays(circuit: Any, angles: Any) -> None:
    results = circuit.map(angles)
    assert isinstance(results, list)
    assert np.allclose(np.array([float(result) for result in results]), np.cos(ANGLES))


def test_map_returns_what_calls_return(circuit: Any) -> None:
    angles = pnp.array(ANGLES)
    for mapped, called in zip(circuit.map(angles), [circuit(angle) for angle in angles], strict=True):
        assert type(mapped) is type(called)
        assert mapped == called


def test_map_takes_rows_of_a_matrix(electron: Any) -> None:
    def two(angles: Any) -> Any:
        qml.RX(angles[0], 0)
        qml.RX(angles[1], 0)
        return qml.expval(qml.Z(0))

    rows = np.array([[0.1, 0.2], [0.3, 0.4]])
    results = electron(qml.QNode(two, qml.device("default.qubit", wires=1))).map(rows)
    assert np.allclose(results, np.cos([0.3, 0.7]))


def test_map_takes_a_sequence_for_each_argument(circuit: Any) -> None:
    assert np.allclose(circuit.map(ANGLES, [1, 2, 3]), np.cos(np.multiply(ANGLES, [1, 2, 3])))


def test_map_over_sequences_of_different_lengths_is_an_error(circuit: Any) -> None:
    with pytest.raises(ValueError, match="map was given 3 and 2 values"):
        circuit.map(ANGLES, [1, 2])


def test_map_over_sequences_of_different_lengths_runs_nothing(turned_by: Any) -> None:
    executor = ScriptedExecutor()
    circuit = turned_by(executor)
    with pytest.raises(ValueError, match="map was given 3 and 2 values"):
        circuit.map(ANGLES, [1, 2])
    circuit(0.1)
    assert sum(map(len, executor.batches)) == 1


@pytest.mark.parametrize("value", [3, np.array(0.5)], ids=type)
def test_map_over_what_is_no_sequence_is_refused_with_a_sentence(circuit: Any, value: Any) -> None:
    with pytest.raises(qexec.ConfigurationError, match="is no sequence: give map the values of each argument"):
        circuit.map(value)


@pytest.mark.parametrize("nothing", [[], np.array([])], ids=type)
def test_map_over_nothing_is_nothing(circuit: Any, nothing: Any) -> None:
    assert circuit.map(nothing) == []


def test_map_can_be_differentiated_by_autograd(circuit: Any) -> None:
    gradient = qml.grad(lambda angles: sum(circuit.map(angles)))(pnp.array(ANGLES))
    assert np.allclose(gradient, -np.sin(ANGLES))


def test_map_can_be_differentiated_by_torch(circuit: Any) -> None:
    angles = torch.tensor(ANGLES, dtype=torch.float64, requires_grad=True)
    sum(circuit.map(angles)).backward()
    assert np.allclose(angles.grad, -np.sin(ANGLES))


def test_map_runs_all_at_the_same_time(turned_by: Any) -> None:
    executors = [ScriptedExecutor(name) for name in "abc"]
    turned_by(executors).map(np.arange(9.0))
    assert [sum(map(len, one.batches)) for one in executors] == [3, 3, 3]


def test_map_shows_its_progress_on_standard_error(circuit: Any, capsys: pytest.CaptureFixture[str]) -> None:
    circuit.map(ANGLES, progress=True)
    shown = capsys.readouterr()
    assert "3/3" in shown.err
    assert shown.out == ""


def test_map_raises_the_first_error_and_cancels_the_rest(turned_by: Any) -> None:
    qpu = FakeQPU(polls=None)
    broken = ScriptedExecutor("broken", failures=[ValueError("no")], gate=qpu.submitted)
    with pytest.raises(qexec.ExecutorError, match="no"):
        turned_by([qpu, broken], failover=False, retry={"attempts": 1}).map([0.1, 0.2])
    assert qpu.stopped.wait(PATIENCE)


def test_gather_returns_results_in_order(circuit: Any, capsys: pytest.CaptureFixture[str]) -> None:
    futures = [circuit.run_later(angle) for angle in ANGLES]
    assert np.allclose(qexec.gather(futures, progress=True), np.cos(ANGLES))
    assert "3/3" in capsys.readouterr().err


def test_gather_of_nothing_is_nothing() -> None:
    assert qexec.gather([]) == []


def test_gather_takes_one_future_twice_and_futures_of_others(circuit: Any) -> None:
    future = circuit.run_later(0.1)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(abs, -1)
        assert np.allclose(qexec.gather(iter([future, other, future])), [np.cos(0.1), 1, np.cos(0.1)])


def test_gather_raises_the_first_error_in_time(turned_by: Any) -> None:
    qpu = FakeQPU(polls=None)
    broken = ScriptedExecutor("broken", failures=[ValueError("no")])
    circuit = turned_by([qpu, broken], failover=False, retry={"attempts": 1})
    futures = [circuit.run_later(0.1), circuit.run_later(0.2)]
    with pytest.raises(qexec.ExecutorError, match="no"):
        qexec.gather(futures)
    assert not futures[0].done()


def test_as_completed_gives_first_what_ends_first(turned_by: Any) -> None:
    gate = threading.Event()
    circuit = turned_by([ScriptedExecutor("slow", gate=gate), ScriptedExecutor("fast")])
    slow, fast = circuit.run_later(0.1), circuit.run_later(0.2)
    ended = qexec.as_completed([slow, fast], timeout=PATIENCE)
    assert next(ended) is fast
    gate.set()
    assert list(ended) == [slow]


def test_as_completed_has_a_timeout(turned_by: Any) -> None:
    future = turned_by(FakeQPU(polls=None)).run_later(0.1)
    with pytest.raises(TimeoutError):
        list(qexec.as_completed([future], timeout=0.01))
