"""Recording and differentiating become safe for threads when a cluster opens, without harm to what is in progress.

Scripts run in processes of their own, because the change stays once it is made.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import autograd
import pennylane as qml
import pytest
from fakes import programs
from pennylane.queuing import AnnotatedQueue, QueuingManager

from pennylane_qexec.concurrency import isolation

BEGINNING = """
import contextlib, inspect, json, threading
import autograd, autograd.tracer
import pennylane as qml
import pennylane_qexec as qexec
from pennylane.queuing import AnnotatedQueue, QueuingManager
from pennylane_qexec import isolation

def codes():
    names = ("add_active_queue", "remove_active_queue", "recording", "active_context", "stop_recording")
    return [inspect.unwrap(vars(QueuingManager)[name].__func__).__code__ for name in names]

class Watched:
    # In place of PennyLane's lock: the main thread has it once the other threads are about to wait for it.
    def __init__(self, lock, others):
        self.lock, self.others, self.expected, self.wanted = lock, others, len(others), threading.Event()
    def acquire(self, *arguments, **options):
        main = threading.current_thread() is threading.main_thread()
        if not main:
            self.expected -= 1
            if self.expected <= 0:
                self.wanted.set()
        acquired = self.lock.acquire(*arguments, **options)
        while main and self.others:
            self.others.pop().start()
            if not self.others:
                self.wanted.wait(20)
        return acquired
    def release(self):
        self.lock.release()
    def _is_owned(self):
        return self.lock._is_owned()

def record():
    with AnnotatedQueue() as queue:
        qml.X(0)
    return len(queue.queue)
"""
FIRST_CLUSTER = """
before = codes()
with AnnotatedQueue() as queue:
    qml.X(0)
    with qexec.QCluster(["default.qubit"]):
        pass
    qml.Y(1)
    thread = threading.Thread(target=lambda: qml.Z(2))
    thread.start()
    thread.join()
    with QueuingManager.stop_recording():
        qml.S(3)
    qml.T(4)
after = codes()
isolation.install()
print(json.dumps({
    "recorded": [operation.name for operation in queue.queue],
    "recording": QueuingManager.recording(),
    "changed_by_import": any("qexec" in code.co_filename for code in before),
    "changed_by_cluster": all("qexec" in code.co_filename for code in after),
    "changed_by_second_install": after != codes(),
}))
"""
UNKNOWN = """
{change}
try:
    qexec.QCluster(["default.qubit"])
except qexec.ConfigurationError as error:
    print(json.dumps({{"error": str(error), "installed": isolation.installed()}}))
"""
SUSPENDED = """
with AnnotatedQueue() as queue:
    qml.X(0)
    with QueuingManager.stop_recording():
        try:
            qexec.QCluster(["default.qubit"])
        except qexec.ConfigurationError as error:
            refusal = str(error)
    qml.Y(1)
with qexec.QCluster(["default.qubit"]):
    pass
print(json.dumps([refusal, [operation.name for operation in queue.queue], record()]))
"""
DIFFERENTIATED_MEANWHILE = """
inside, installed = threading.Event(), threading.Event()
slopes = []

def derivative_in_progress(wait):
    # Of x * d(xy)/dy, which is x squared, at 3: the inner derivative begins after wait() returns.
    def outer(x):
        wait()
        return x * autograd.grad(lambda y: x * y)(1.0)
    slopes.append(autograd.grad(outer)(3.0))

def install_between():
    inside.wait(20)
    isolation.install()
    installed.set()

def wait_for_installation():
    inside.set()
    installed.wait(20)

other = threading.Thread(target=derivative_in_progress, args=[wait_for_installation])
other.start()
derivative_in_progress(install_between)
other.join(20)
derivative_in_progress(isolation.install)
print(json.dumps(slopes))
"""
THREADS_WAIT = """
counts = []
threads = [threading.Thread(target=lambda: counts.append(record()), daemon=True) for _ in range(3)]
AnnotatedQueue._lock = Watched(AnnotatedQueue._lock, list(threads))
{hold}
    isolation.install()
for thread in threads:
    thread.join(20)
print(json.dumps(counts))
"""


def result_of(script: str) -> Any:
    """What a script prints at its end, in a new process."""
    done = programs.run(BEGINNING + script)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def first_cluster() -> Any:
    return result_of(FIRST_CLUSTER)


@pytest.mark.slow
def test_importing_the_package_changes_nothing(first_cluster: Any) -> None:
    assert not first_cluster["changed_by_import"]


@pytest.mark.slow
def test_opening_a_cluster_makes_recording_per_thread(first_cluster: Any) -> None:
    assert first_cluster["changed_by_cluster"]


@pytest.mark.slow
def test_what_is_being_recorded_goes_on_and_other_threads_add_nothing(first_cluster: Any) -> None:
    assert first_cluster["recorded"] == ["PauliX", "PauliY", "T"]
    assert not first_cluster["recording"]


@pytest.mark.slow
def test_installing_again_changes_nothing(first_cluster: Any) -> None:
    assert not first_cluster["changed_by_second_install"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "complaint", "advice"),
    [
        ("qml.__version__ = '0.99.0'", "pennylane 0.99.0 is not known", "Install 'pennylane>=0.45,<0.46'"),
        ("del QueuingManager.recording", "pennylane 0.45.", "Install 'pennylane>=0.45,<0.46'"),
        ("QueuingManager.recording = lambda: False", "pennylane 0.45.", "Install 'pennylane>=0.45,<0.46'"),
        ("del AnnotatedQueue._lock", "pennylane 0.45.", "Install 'pennylane>=0.45,<0.46'"),
        ("del qml.Tracker.update", "this pennylane is not known", "Install 'pennylane>=0.45,<0.46'"),
        ("autograd.tracer.trace_stack.other = 0", "autograd ", "Install 'autograd>=1.7,<1.9'"),
        ("del autograd.tracer.TraceStack.new_trace", "autograd ", "Install 'autograd>=1.7,<1.9'"),
    ],
    ids=[
        "another version of pennylane",
        "a missing method of the queue",
        "another method of the queue",
        "no lock of the queue",
        "another tracker",
        "other things on autograd's stack",
        "another method of autograd's stack",
    ],
)
def test_what_is_not_known_is_refused_and_left_as_it_is(change: str, complaint: str, advice: str) -> None:
    answer = result_of(UNKNOWN.format(change=change))
    assert answer["error"].startswith(complaint)
    assert "is not known to this version of pennylane-qexec" in answer["error"]
    assert advice in answer["error"]
    assert not answer["installed"]


@pytest.mark.slow
def test_a_circuit_whose_recording_is_suspended_is_recorded_on_and_the_cluster_opens_later() -> None:
    refusal, recorded, counted = result_of(SUSPENDED)
    assert refusal.startswith("recording is suspended by QueuingManager.stop_recording()")
    assert "Open the cluster before the circuit is recorded" in refusal
    assert recorded == ["PauliX", "PauliY"]
    assert counted == 1


@pytest.mark.slow
def test_derivatives_in_progress_go_on_in_every_thread() -> None:
    assert result_of(DIFFERENTIATED_MEANWHILE) == [6, 6, 6]


@pytest.mark.slow
@pytest.mark.parametrize(
    "hold",
    ["with AnnotatedQueue():", "with contextlib.nullcontext():"],
    ids=["by one that records", "by the first cluster"],
)
def test_threads_that_are_kept_waiting_to_record_all_get_to_it(hold: str) -> None:
    assert result_of(THREADS_WAIT.format(hold=hold)) == [1, 1, 1]


def test_a_thread_that_stops_recording_stops_only_itself() -> None:
    isolation.install()
    inside, over = threading.Event(), threading.Event()

    def stop_recording() -> None:
        with QueuingManager.stop_recording():
            inside.set()
            over.wait(20)

    thread = threading.Thread(target=stop_recording)
    thread.start()
    assert inside.wait(20)
    with AnnotatedQueue() as queue:
        qml.X(0)
        over.set()
        thread.join(20)
        qml.Y(0)
    assert [operation.name for operation in queue.queue] == ["PauliX", "PauliY"]


def test_two_threads_record_at_the_same_time() -> None:
    isolation.install()
    meeting = threading.Barrier(2)

    def record(number: int) -> list[int]:
        with AnnotatedQueue() as queue:
            for _ in range(5):
                meeting.wait(20)
                qml.X(number)
        return [operation.wires[0] for operation in queue.queue]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(record, [0, 1])) == [[0] * 5, [1] * 5]


@pytest.mark.parametrize("others", [1, 3])
def test_a_derivative_inside_another_is_right_when_those_of_other_threads_end_between(others: int) -> None:
    """Without isolation, the inner one gets the number of the outer one (1 other) or a lower one (3 others)."""
    isolation.install()
    inside, outer_began, over = threading.Barrier(others + 1), threading.Event(), threading.Barrier(others + 1)

    def identity(x: float) -> float:
        inside.wait(20)
        assert outer_began.wait(20)
        return x

    def differentiate() -> None:
        autograd.grad(identity)(0.5)
        over.wait(20)

    def square(x: Any) -> Any:
        outer_began.set()
        over.wait(20)
        return x * autograd.grad(lambda y: x * y)(1.0)

    threads = [threading.Thread(target=differentiate) for _ in range(others)]
    for thread in threads:
        thread.start()
    inside.wait(20)
    assert autograd.grad(square)(3.0) == 6
    for thread in threads:
        thread.join(20)


def test_a_derivative_inside_another_is_right_when_another_thread_computes_it() -> None:
    isolation.install()
    with ThreadPoolExecutor(1) as pool:

        def square(x: Any) -> Any:
            return x * pool.submit(autograd.grad(lambda y: x * y), 1.0).result(20)

        assert autograd.grad(square)(3.0) == 6


def test_what_two_threads_differentiate_in_turns_does_not_mix() -> None:
    isolation.install()
    meeting = threading.Barrier(2)

    def sixth_power(x: Any) -> Any:
        meeting.wait(20)
        return x**3 * autograd.grad(square_of_cube, 1)(x, 0.5)

    def square_of_cube(x: Any, y: Any) -> Any:
        meeting.wait(20)
        return x**3 * y

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(autograd.grad(sixth_power), [1.0, 2.0])) == [6, 192]


@pytest.fixture
def switching_often() -> Iterator[None]:
    """Threads take turns a thousand times as often."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(usual / 1000)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("switching_often")
def test_a_tracker_counts_everything_that_threads_add_at_the_same_time() -> None:
    """Without isolation, some are lost."""
    isolation.install()
    tracker = qml.Tracker()

    def add(number: int) -> None:
        for _ in range(number):
            tracker.update(executions=1)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(add, [500] * 8)) == [None] * 8
    assert tracker.totals == {"executions": 4000}
