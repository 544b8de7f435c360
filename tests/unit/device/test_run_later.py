"""Futures of calls that run later: how they end, who may wait for them, and what they may be used for."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from beside import PATIENCE
from circuits import NO_RETRY, Broken, qnode
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.testing import FakeQPU, ScriptedExecutor

pytestmark = pytest.mark.timeout(120)


def test_the_standard_library_waits_for_futures(electron: Any) -> None:
    circuit = electron(qnode())
    futures = [circuit.run_later(0.1 * index) for index in range(5)]
    assert concurrent.futures.wait(futures, PATIENCE).done == set(futures)
    assert set(concurrent.futures.as_completed(futures, PATIENCE)) == set(futures)
    assert all(isinstance(future, Future) for future in futures)


def test_asyncio_wraps_futures(electron: Any) -> None:
    async def wrapped() -> Any:
        return await asyncio.wrap_future(electron(qnode()).run_later(0.3))

    assert float(asyncio.run(wrapped())) == pytest.approx(np.cos(0.3))


def test_futures_can_be_awaited(electron: Any) -> None:
    async def awaited() -> Any:
        return await electron(qnode()).run_later(0.3)

    assert float(asyncio.run(awaited())) == pytest.approx(np.cos(0.3))


def test_asyncio_gathers_futures(electron: Any) -> None:
    async def gathered(circuit: Any) -> Any:
        return await asyncio.gather(*(circuit.run_later(0.1 * index) for index in range(20)))

    assert np.allclose(asyncio.run(gathered(electron(qnode()))), np.cos(0.1 * np.arange(20)))


def test_asyncio_gives_a_future_up_after_its_timeout(electron: Any) -> None:
    qpu = FakeQPU(polls=None)
    future = electron(qnode(), executors=qpu).run_later(0.3)
    assert qpu.submitted.wait(PATIENCE)

    async def impatient() -> None:
        await asyncio.wait_for(future, 0.02)

    with pytest.raises(TimeoutError):
        asyncio.run(impatient())
    assert future.cancelled()
    assert qpu.stopped.wait(PATIENCE)


def test_a_task_that_is_cancelled_cancels_what_it_awaits(electron: Any) -> None:
    qpu = FakeQPU(polls=None)
    future = electron(qnode(), executors=qpu).run_later(0.3)

    async def awaits() -> Any:
        return await future

    async def cancels() -> None:
        task = asyncio.create_task(awaits())
        await asyncio.to_thread(qpu.submitted.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancels())
    assert qpu.stopped.wait(PATIENCE)


def test_errors_are_raised_where_one_awaits(electron: Any) -> None:
    async def awaited() -> Any:
        return await electron(qnode(), executors=Broken(), retry=NO_RETRY).run_later(0.3)

    with pytest.raises(qexec.ExecutorError, match="the fridge is warm"):
        asyncio.run(awaited())


def test_callbacks_get_the_future_that_is_done(electron: Any, gate: Any) -> None:
    future = electron(qnode(), executors=ScriptedExecutor(gate=gate)).run_later(0.3)
    got: list[Any] = []
    told = threading.Event()
    future.add_done_callback(lambda each: (got.append((each, each.done())), told.set()))
    assert got == []
    gate.set()
    assert told.wait(PATIENCE)
    assert got == [(future, True)]


def test_a_callback_may_ask_for_the_result(electron: Any) -> None:
    values: Future[Any] = Future()
    future = electron(qnode()).run_later(0.3)
    future.add_done_callback(lambda each: values.set_result(each.result()))
    assert float(values.result(PATIENCE)) == pytest.approx(np.cos(0.3))


def test_after_a_timeout_the_result_can_be_asked_for_again(electron: Any, gate: Any) -> None:
    future = electron(qnode(), executors=ScriptedExecutor(gate=gate)).run_later(0.3)
    with pytest.raises(TimeoutError):
        future.result(timeout=0.01)
    with pytest.raises(TimeoutError):
        future.exception(timeout=0)
    gate.set()
    assert float(future.result(PATIENCE)) == pytest.approx(np.cos(0.3))


def test_what_runs_later_runs_without_being_asked_for(electron: Any) -> None:
    executor = ScriptedExecutor()
    circuit = electron(qnode(), executors=executor)
    future = circuit.run_later(0.3)
    concurrent.futures.wait([future], PATIENCE)
    assert [len(batch) for batch in executor.batches] == [1]
    assert future.done()


def test_a_future_says_whether_it_is_running_done_or_cancelled(electron: Any, gate: Any) -> None:
    executor = ScriptedExecutor(gate=gate)
    future = electron(qnode(), executors=executor).run_later(0.3)
    assert executor.started.wait(PATIENCE)
    assert (future.done(), future.cancelled()) == (False, False)
    gate.set()
    future.result(PATIENCE)
    assert (future.done(), future.cancelled(), future.running(), future.exception()) == (True, False, False, None)
    assert not future.cancel()


def test_outcomes_say_who_ran_what(electron: Any) -> None:
    circuit = electron(qml.set_shots(qnode(), 11), executors=[ScriptedExecutor("a"), ScriptedExecutor("b")])
    first, second = circuit.run_later(0.1), circuit.run_later(0.2)
    qexec.gather([first, second])
    assert [(each.executor, each.shots) for each in (*first.outcomes, *second.outcomes)] == [("a", 11), ("b", 11)]


def test_outcomes_of_a_split_call_are_those_of_its_shares(electron: Any) -> None:
    executors = [ScriptedExecutor("a"), ScriptedExecutor("b")]
    future = electron(qml.set_shots(qnode(), 11), executors=executors, split="uniform").run_later(0.1)
    future.result(PATIENCE)
    assert [(each.executor, each.shots) for each in future.outcomes] == [("a", 6), ("b", 5)]


def test_what_has_not_run_has_no_outcomes(electron: Any, gate: Any) -> None:
    assert electron(qnode(), executors=ScriptedExecutor(gate=gate)).run_later(0.1).outcomes == ()


def test_calls_now_and_later_take_turns(electron: Any) -> None:
    circuit = electron(qnode(), executors=[ScriptedExecutor(name) for name in "abc"])
    futures = [circuit.run_later(0.1), circuit(0.2), circuit.run_later(0.3), circuit(0.4)]
    who = [future.outcomes[0].executor for future in futures[::2] if future.result(PATIENCE) is not None]
    assert who == ["a", "c"]


def test_the_result_is_computed_once(electron: Any) -> None:
    computed: list[Any] = []

    @qml.transform
    def counted(tape: QuantumScript) -> Any:
        return (tape,), lambda results: computed.append(results) or results[0]

    future = electron(counted(qnode())).run_later(0.3)
    with ThreadPoolExecutor(8) as pool:
        results = [each.result(PATIENCE) for each in [pool.submit(future.result, PATIENCE) for _ in range(20)]]
    assert len(computed) == 1
    assert all(result is results[0] for result in results)
