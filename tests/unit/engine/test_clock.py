"""Engines, queued executors and rehearsals wait, and tell times, by the clock that they are given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from pennylane_qexec.concurrency.clock import Timer
from pennylane_qexec.engine import Engine
from pennylane_qexec.executors.rehearsal.clocks import RealClock
from pennylane_qexec.job import Job
from pennylane_qexec.policies.retries import Backoff
from pennylane_qexec.testing import FakeQPU, ScriptedExecutor, flip

HOUR = 3600.0
START = 1e9  # seconds since 1970


class JumpingClock:
    """Whoever waits is told at once that the time is over, and for all others it is over too."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.set_by = 0.0

    def time(self) -> float:
        return START + self.passed + self.set_by

    def monotonic(self) -> float:
        return self.passed

    def wait(self, seconds: float) -> None:
        self.passed += seconds

    def call_later(self, delay: float, function: Callable[..., Any], *arguments: Any) -> Timer:
        def call() -> None:
            self.passed += delay
            function(*arguments)

        return asyncio.get_running_loop().call_soon(call)

    async def sleep(self, seconds: float) -> None:
        self.passed += seconds
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> JumpingClock:
    return JumpingClock()


@pytest.fixture
def engine_of(clock: JumpingClock) -> Iterator[Callable[..., Engine]]:
    engines = []

    def make(executor: Any, batch_window: float = 0.0) -> Engine:
        rng, retry = np.random.default_rng(1), Backoff(attempts=2, initial=HOUR, maximum=HOUR)
        options: dict[str, Any] = {"failover": False, "timeout": None, "batch_window": batch_window}
        engines.append(Engine([executor], retry=retry, rng=rng, clock=clock, **options))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def test_an_engine_polls_by_its_clock_and_its_rows_have_the_times_of_it(engine_of: Callable[..., Engine]) -> None:
    qpu = FakeQPU(polls=4, batch_window=HOUR)
    qpu.poll_interval, qpu.poll_interval_max = HOUR, 2 * HOUR
    engine = engine_of(qpu)
    (outcome,) = engine.run([Job(flip(0.1), qpu)])
    (row,) = engine.history
    assert START <= row.submitted <= row.started
    assert row.finished - row.started == pytest.approx((1 + 2 + 2) * HOUR)
    assert (outcome.submitted, outcome.finished) == (row.submitted, row.finished)
    assert outcome.seconds == pytest.approx(5 * HOUR)


def test_an_engine_tries_again_by_its_clock(engine_of: Callable[..., Engine], clock: JumpingClock) -> None:
    executor = ScriptedExecutor(failures=[RuntimeError("once")])
    (outcome,) = engine_of(executor).run([Job(flip(0.1), executor)])
    assert outcome.attempt == 2
    assert clock.passed == pytest.approx(
        Backoff(initial=HOUR, maximum=HOUR).delay(1, np.random.default_rng(1).random())
    )
    assert outcome.finished == START + clock.passed


@pytest.mark.slow
def test_an_engine_gathers_a_batch_by_its_clock(engine_of: Callable[..., Engine], clock: JumpingClock) -> None:
    executor = ScriptedExecutor(batch_window=HOUR)
    engine = engine_of(executor)
    engine.submit([Job(flip(0.1), executor)], lambda: False)[0].result()
    assert 0 < clock.passed <= HOUR


def test_a_queued_executor_that_runs_by_itself_waits_by_its_clock(clock: JumpingClock) -> None:
    qpu = FakeQPU(polls=3)
    qpu.poll_interval, qpu.poll_interval_max, qpu.clock = HOUR, 2 * HOUR, clock
    qpu.run([flip(0.1)])
    assert clock.passed == (1 + 2) * HOUR


def test_the_real_clock_of_a_rehearsal_does_not_jump_when_the_computers_clock_is_set(clock: JumpingClock) -> None:
    real = RealClock(clock)
    clock.passed, clock.set_by = HOUR, -24 * HOUR
    assert real.now() == START + HOUR
