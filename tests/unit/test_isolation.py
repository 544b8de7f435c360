"""PennyLane's recording queue becomes one per thread when a cluster opens, without harm to what is being recorded.

Scripts run in processes of their own, because the change stays once it is made.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pennylane as qml
import pytest
from pennylane.queuing import AnnotatedQueue, QueuingManager

from pennylane_qexec import isolation

BEGINNING = """
import json, threading
import pennylane as qml
import pennylane_qexec as qexec
from pennylane.queuing import AnnotatedQueue, QueuingManager
from pennylane_qexec import isolation

def methods():
    return [vars(QueuingManager)[name] for name in ("recording", "active_context", "stop_recording")]

class Watched:
    # In place of PennyLane's lock: says when so many other threads are about to wait for it.
    def __init__(self, lock, expected):
        self.lock, self.expected, self.wanted = lock, expected, threading.Event()
    def acquire(self, *arguments, **options):
        if threading.current_thread() is not threading.main_thread():
            self.expected -= 1
            if self.expected <= 0:
                self.wanted.set()
        return self.lock.acquire(*arguments, **options)
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
before = methods()
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
after = methods()
isolation.install()
print(json.dumps({
    "recorded": [operation.name for operation in queue.queue],
    "recording": QueuingManager.recording(),
    "changed_by_import": any("qexec" in method.__func__.__module__ for method in before),
    "changed_by_cluster": after != before,
    "changed_by_second_install": after != methods(),
}))
"""
UNKNOWN_VERSION = """
qml.__version__ = "0.99.0"
try:
    qexec.QCluster(["default.qubit"])
except qexec.ConfigurationError as error:
    print(json.dumps({"error": str(error), "installed": isolation.installed()}))
"""
THREADS_WAIT = """
AnnotatedQueue._lock = lock = Watched(AnnotatedQueue._lock, 3)
counts = []
threads = [threading.Thread(target=lambda: counts.append(record()), daemon=True) for _ in range(3)]
{hold}
    for thread in threads:
        thread.start()
    lock.wanted.wait(20)
    isolation.install()
for thread in threads:
    thread.join(20)
print(json.dumps(counts))
"""


def result_of(script: str) -> Any:
    """What a script prints at its end, in a new process."""
    done = subprocess.run([sys.executable, "-c", BEGINNING + script], capture_output=True, text=True, timeout=300)
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
def test_an_unknown_version_of_pennylane_is_refused() -> None:
    answer = result_of(UNKNOWN_VERSION)
    assert answer["error"].startswith("pennylane 0.99.0 is not known to this version of pennylane-qexec")
    assert "Install 'pennylane>=0.45,<0.46'" in answer["error"]
    assert not answer["installed"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "hold", ["with AnnotatedQueue():", "with lock.lock:"], ids=["by one that records", "by the first cluster"]
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
