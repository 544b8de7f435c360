"""An error raised by an executor reaches the user with the line that raised it, wherever that line ran."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor as Pool
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.job import Job, JobState, Result
from pennylane_qexec.testing import FakeQPU, ScriptedExecutor, flip

PATIENCE = 300.0  # seconds after which a test that hangs fails
SPAWN = multiprocessing.get_context("spawn")


class StubbornError(Exception):
    """Cannot be made again from its arguments, as pickling would have it."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)
        self.second = second


class SelfishError(Exception):
    """Leaves behind what was added to it when it is pickled."""

    def __reduce__(self) -> Any:
        return SelfishError, self.args


class UnsendableError(Exception):
    """Holds something that cannot be pickled."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.held = lambda: None


ERRORS = {
    "plain": ValueError("a plain error"),
    "stubborn": StubbornError("a stubborn error", "of two parts"),
    "selfish": SelfishError("a selfish error"),
    "unsendable": UnsendableError("an unsendable error"),
}


def fail_deep_inside(kind: str) -> Any:
    raise ERRORS[kind]  # this very line


class Fails(qexec.Executor):
    """Fails in a function of the user's own."""

    def __init__(self, kind: str = "plain", *, local: bool = False, **options: Any) -> None:
        super().__init__("fails", **options)
        self._kind = kind
        self._local = local

    @property
    def local(self) -> bool:
        return self._local

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        return [fail_deep_inside(self._kind) for _ in circuits]  # and this one


def shown(error: BaseException | None) -> str:
    """What Python prints of an error that nobody catches."""
    assert error is not None
    return "".join(traceback.format_exception(error))


def assert_shows_the_origin(error: BaseException | None, kind: str = "plain") -> None:
    assert isinstance(error, qexec.ExecutorError)
    text = shown(error)
    assert "raise ERRORS[kind]  # this very line" in text
    assert "return [fail_deep_inside(self._kind) for _ in circuits]  # and this one" in text
    assert f"Error: {ERRORS[kind]}" in text


def error_of(cluster: qexec.QCluster) -> BaseException | None:
    (future,) = cluster.submit([Job(flip(0.1), cluster.executors[0])])
    return future.exception(PATIENCE)


@pytest.fixture(params=[ThreadPoolExecutor, ProcessPoolExecutor], ids=["threads", "processes"], scope="module")
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    """A user's own pool."""
    options = {} if request.param is ThreadPoolExecutor else {"mp_context": SPAWN}
    with request.param(1, **options) as pool:
        yield pool


@pytest.fixture
def never(open_cluster: Any) -> Any:
    """Opens clusters that try nothing twice."""
    return lambda executors: open_cluster(executors, retry=qexec.retries.never())


def test_an_error_in_a_thread_shows_where_it_came_from(never: Any) -> None:
    assert_shows_the_origin(error_of(never([Fails()])))


def test_an_error_in_the_calling_thread_shows_where_it_came_from(never: Any) -> None:
    with pytest.raises(qexec.ExecutorError) as raised:
        never([Fails(local=True)]).execute([flip(0.1)])
    assert_shows_the_origin(raised.value)


def test_an_error_that_is_raised_shows_who_asked_and_where_it_came_from(never: Any) -> None:
    cluster = never([Fails()])
    with pytest.raises(qexec.ExecutorError) as raised:
        cluster.execute([flip(0.1)])  # here somebody asks
    assert_shows_the_origin(raised.value)
    assert "# here somebody asks" in shown(raised.value)


def test_an_error_after_several_attempts_shows_where_it_came_from(open_cluster: Any) -> None:
    executors = [Fails(), Fails()]
    assert_shows_the_origin(error_of(open_cluster(executors, retry=qexec.retries.backoff(attempts=2, initial=0))))


def test_an_error_of_a_cluster_inside_of_a_cluster_shows_where_it_came_from(never: Any) -> None:
    assert_shows_the_origin(error_of(never([never([Fails()])])))


def test_an_exit_shows_where_it_came_from(never: Any) -> None:
    executor = ScriptedExecutor(failures=[SystemExit("enough")])
    text = shown(error_of(never([executor])))
    assert "raise failure" in text
    assert "SystemExit: enough" in text


@pytest.mark.slow
@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_in_a_worker_process_shows_where_it_came_from(never: Any, kind: str) -> None:
    assert_shows_the_origin(error_of(never([Fails(kind, parallel="process")])), kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_in_a_pool_of_the_users_shows_where_it_came_from(never: Any, pool: Pool, kind: str) -> None:
    cluster = never([Fails(kind, parallel=pool)])
    assert_shows_the_origin(error_of(cluster), kind)
    assert_shows_the_origin(error_of(cluster), kind)  # the pool is none the worse for it


class FailsAt(FakeQPU):
    """A backend with a queue that fails in one of its methods."""

    def __init__(self, method: str) -> None:
        super().__init__("fails-at", polls=1)
        self._method = method

    def submit(self, circuits: Sequence[QuantumScript]) -> str:
        return fail_deep_inside("plain") if self._method == "submit" else super().submit(circuits)

    def poll(self, job_id: str) -> JobState:
        return fail_deep_inside("plain") if self._method == "poll" else super().poll(job_id)

    def fetch(self, job_id: str) -> Sequence[Result]:
        return fail_deep_inside("plain") if self._method == "fetch" else super().fetch(job_id)


@pytest.mark.parametrize("method", ["submit", "poll", "fetch"])
def test_an_error_at_a_backend_with_a_queue_shows_where_it_came_from(never: Any, method: str) -> None:
    assert "raise ERRORS[kind]  # this very line" in shown(error_of(never([FailsAt(method)])))
