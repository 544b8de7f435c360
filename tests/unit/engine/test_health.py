"""Executors that fail several times in a row are set aside, and probed again."""

from __future__ import annotations

import concurrent.futures
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.engine.lane import FAILURES, FIRST_PAUSE, LONGEST_PAUSE, Health
from pennylane_qexec.job import Job
from pennylane_qexec.testing import ScriptedExecutor, flip

PATIENCE = 20.0  # seconds after which a test that hangs fails
OUT_OF_ORDER = RuntimeError("out of order")


class Offline(ScriptedExecutor):
    """Says that it takes no jobs."""

    def status(self) -> qexec.Status:
        return qexec.Status(online=False)


def failing(times: int, now: float = 0.0) -> Health:
    health = Health()
    for _ in range(times):
        health.failed(now)
    return health


@pytest.fixture
def long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pennylane_qexec.engine.lane.FIRST_PAUSE", 3600.0)


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pennylane_qexec.engine.lane.FIRST_PAUSE", 0.01)


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pennylane_qexec.engine.lane.FIRST_PAUSE", 0.0)


def test_an_executor_is_up_until_it_has_failed_three_times() -> None:
    assert FAILURES == 3
    assert not failing(2).down
    assert failing(3).down


def test_only_failures_in_a_row_count() -> None:
    health = failing(2)
    health.succeeded()
    health.failed(0.0)
    health.failed(0.0)
    assert not health.down


def test_an_executor_that_is_down_is_left_alone_until_it_is_time_for_a_probe() -> None:
    health = failing(3, now=100.0)
    assert not health.may_run(100.0 + 0.9 * FIRST_PAUSE)
    assert health.pause(100.0 + 0.25 * FIRST_PAUSE) == pytest.approx(0.75 * FIRST_PAUSE)
    assert health.may_run(100.0 + FIRST_PAUSE)


def test_pauses_grow_with_every_probe_that_fails_up_to_the_longest() -> None:
    health, now, pauses = failing(2), 0.0, []
    for _ in range(12):
        health.failed(now)
        pauses.append(health.pause(now))
        now += pauses[-1]
    assert pauses[:4] == pytest.approx([FIRST_PAUSE * factor for factor in (1, 2, 4, 8)])
    assert pauses[-1] == LONGEST_PAUSE


def test_a_probe_that_succeeds_brings_the_executor_back_with_short_pauses() -> None:
    health = failing(8)
    health.succeeded()
    assert not health.down
    assert health.pause(0.0) == 0
    for _ in range(3):
        health.failed(50.0)
    assert health.pause(50.0) == FIRST_PAUSE


def test_the_reason_says_since_when_and_until_when() -> None:
    reason = failing(4, now=10.0).reason(11.0)
    assert reason.startswith("is down since ")
    assert reason.endswith("UTC (4 failures, next probe in 1 s)")


@pytest.mark.usefixtures("long_pauses")
def test_a_failing_executor_is_set_aside_while_others_go_on(open_cluster: Any) -> None:
    bad, good = ScriptedExecutor("bad", failures=[OUT_OF_ORDER] * 100), ScriptedExecutor("good")
    cluster = open_cluster([bad, good], retry=qexec.retries.never())
    results = [cluster.execute([flip(0.1 * index)])[0] for index in range(20)]
    assert np.allclose(results, np.cos(0.1 * np.arange(20)))
    assert len(bad.batches) == 3


@pytest.mark.usefixtures("long_pauses")
def test_what_waits_for_an_executor_that_goes_down_is_run_elsewhere(open_cluster: Any) -> None:
    bad, good = ScriptedExecutor("bad", failures=[OUT_OF_ORDER] * 100, max_circuits=1), ScriptedExecutor("good")
    cluster = open_cluster([bad, good], retry=qexec.retries.backoff(3, initial=0))
    futures = cluster.submit([Job(flip(0.1 * index), bad) for index in range(10)])
    assert [future.result(PATIENCE).executor for future in futures] == ["good"] * 10
    assert len(bad.batches) == 3


@pytest.mark.usefixtures("long_pauses")
def test_when_the_only_executor_is_down_the_error_says_since_when(open_cluster: Any) -> None:
    bad = ScriptedExecutor("bad", failures=[OUT_OF_ORDER] * 100)
    cluster = open_cluster([bad], retry=qexec.retries.never())
    for _ in range(3):
        with pytest.raises(qexec.ExecutorError):
            cluster.execute([flip(0.1)])
    with pytest.raises(qexec.NoExecutorError, match=r"'bad' is down since \d\d:\d\d:\d\d UTC \(3 failures, next probe"):
        cluster.execute([flip(0.1)])


@pytest.mark.usefixtures("long_pauses")
def test_circuits_at_fault_do_not_set_an_executor_aside(open_cluster: Any) -> None:
    executor = ScriptedExecutor(failures=[ValueError("a bad circuit")] * 9)
    cluster = open_cluster([executor])
    for _ in range(9):
        with pytest.raises(qexec.ExecutorError):
            cluster.execute([flip(0.1)])
    assert cluster.execute([flip(0.0)]) == [pytest.approx(1)]


@pytest.mark.usefixtures("long_pauses")
@pytest.mark.parametrize("parallel", ["thread", "auto"])
def test_results_that_are_refused_do_not_set_an_executor_aside(open_cluster: Any, parallel: str) -> None:
    class Undefined(qexec.Executor):
        def run(self, circuits: Any) -> Any:
            return [np.nan if len(circuit.operations) > 1 else 1.0 for circuit in circuits]

    cluster = open_cluster([Undefined("undefined", parallel=parallel)], retry=qexec.retries.backoff(3, initial=0))
    undefined = QuantumScript([qml.X(0), qml.X(0)], [qml.expval(qml.Z(0))])
    for _ in range(3):
        with pytest.raises(qexec.ExecutorError, match="ResultError"):
            cluster.execute([undefined])
        assert cluster.execute([flip(0.0)]) == [1.0]


@pytest.mark.usefixtures("no_pauses")
def test_an_executor_that_was_down_is_probed_and_used_again(open_cluster: Any) -> None:
    executor = ScriptedExecutor(failures=[OUT_OF_ORDER] * 3)
    cluster = open_cluster([executor], retry=qexec.retries.never())
    for _ in range(3):
        with pytest.raises(qexec.ExecutorError):
            cluster.execute([flip(0.1)])
    assert np.allclose(cluster.execute([flip(0.1), flip(0.2)]), np.cos([0.1, 0.2]))


@pytest.mark.usefixtures("short_pauses")
def test_circuits_that_wait_for_anybody_are_run_after_the_only_executor_was_down(open_cluster: Any) -> None:
    executor = ScriptedExecutor(failures=[OUT_OF_ORDER] * 3)
    cluster = open_cluster([executor], selector="least_loaded", retry=qexec.retries.never())
    futures = cluster.submit([Job(flip(0.1 * index)) for index in range(5)])
    assert not concurrent.futures.wait(futures, PATIENCE).not_done
    assert sum(future.exception() is None for future in futures) == 2


def test_an_executor_that_is_offline_is_left_out(open_cluster: Any) -> None:
    offline, online = Offline("offline"), ScriptedExecutor("online")
    results = open_cluster([offline, online]).execute([flip(0.1 * index) for index in range(6)])
    assert np.allclose(results, np.cos(0.1 * np.arange(6)))
    assert offline.batches == []


def test_when_all_are_offline_the_error_says_so(open_cluster: Any) -> None:
    with pytest.raises(qexec.NoExecutorError, match="'one' is offline; 'other' is offline"):
        open_cluster([Offline("one"), Offline("other")]).execute([flip(0.1)])


def test_late_bound_circuits_do_not_go_to_an_executor_that_is_offline(open_cluster: Any) -> None:
    offline, online = Offline("offline"), ScriptedExecutor("online")
    open_cluster([offline, online], selector="least_loaded").execute([flip(0.1) for _ in range(6)])
    assert offline.batches == []


def test_late_bound_circuits_are_run_when_the_only_executor_is_online_again(
    open_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Blinks(ScriptedExecutor):
        asked = 0

        def status(self) -> qexec.Status:
            self.asked += 1
            return qexec.Status(online=self.asked > 2)

    monkeypatch.setattr("pennylane_qexec.engine.lane.FIRST_PAUSE", 0.01)
    (future,) = open_cluster([Blinks()], selector="least_loaded").submit([Job(flip(0.1))])
    assert future.result(PATIENCE).executor == "scripted"


def test_circuits_do_not_fail_over_to_an_executor_that_is_offline(open_cluster: Any) -> None:
    broken, offline = ScriptedExecutor("broken", failures=[ValueError("no")]), Offline("offline")
    with pytest.raises(qexec.ExecutorError) as raised:
        open_cluster([broken, offline]).execute([flip(0.1)])
    assert raised.value.executor == "broken"
    assert offline.batches == []
