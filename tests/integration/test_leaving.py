"""The end of a program: what was submitted is waited for, and nothing else."""

from __future__ import annotations

import signal
import subprocess

import pytest
from fakes import programs

pytestmark = [pytest.mark.integration, pytest.mark.slow]

HEAD = """
import logging, signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells let what runs in the background ignore it
import pennylane_qexec as qexec
from pennylane_qexec.job import Job
from pennylane_qexec.testing import FakeQPU, ScriptedExecutor, flip

main_has_ended = threading.Event()

class Listener(logging.Handler):
    "Hears when the main program has ended and what was submitted is waited for."

    def emit(self, record):
        if "the program ends when" in record.getMessage():
            main_has_ended.set()

logging.getLogger("pennylane_qexec").addHandler(Listener())
logging.getLogger("pennylane_qexec").setLevel(logging.INFO)

class AfterMain(qexec.Executor):
    "Goes on when the main program has ended."

    def run(self, circuits):
        main_has_ended.wait()
        return [0.25] * len(circuits)

def tell(future):
    sys.stdout.write(f"told: {future.result().result}\\n")  # at once, since several threads write
"""


def run(script: str) -> subprocess.CompletedProcess[str]:
    return programs.run(HEAD + script)


def test_a_program_ends_after_what_it_submitted_to_threads() -> None:
    done = run(
        """
executor = AfterMain()
cluster = qexec.QCluster([executor])
for _ in range(3):
    cluster.submit([Job(flip(0.1), executor)])[0].add_done_callback(tell)
print("end of main", flush=True)
"""
    )
    assert done.stdout.splitlines() == ["end of main", *["told: 0.25"] * 3]
    assert (done.returncode, done.stderr) == (0, "")


def test_a_program_ends_after_what_it_submitted_to_processes() -> None:
    done = run(
        """
executor = qexec.DeviceExecutor("default.qubit", parallel="process", workers=1)
cluster = qexec.QCluster([executor])
cluster.submit([Job(flip(0.0), executor)])[0].add_done_callback(tell)
"""
    )
    assert done.stdout.splitlines() == ["told: 1.0"]
    assert (done.returncode, done.stderr) == (0, "")


def test_a_program_ends_after_what_it_submitted_to_its_own_pool() -> None:
    done = run(
        """
from concurrent.futures import ThreadPoolExecutor

executor = qexec.DeviceExecutor("default.qubit", parallel=ThreadPoolExecutor(1), max_circuits=1)
first, cluster = AfterMain(), qexec.QCluster([executor])
other = qexec.QCluster([first])
begin = other.submit([Job(flip(0.1), first)])[0]
begin.add_done_callback(lambda _: cluster.submit([Job(flip(0.0), executor)])[0].add_done_callback(tell))
"""
    )
    assert (done.stdout.splitlines(), done.stderr) == (["told: 1.0"], "")


@pytest.mark.parametrize("parallel", ["thread", "process"])
def test_no_thread_has_to_be_started_at_the_end(parallel: str) -> None:
    """Python 3.12 starts none when a program is ending."""
    done = run(
        f"""
def refuse(thread):
    raise RuntimeError("can't create new thread at interpreter shutdown")

first = AfterMain()
other = qexec.QCluster([first])
executor = qexec.DeviceExecutor("default.qubit", parallel={parallel!r}, workers=8, max_circuits=1)
cluster = qexec.QCluster([executor])
begin = other.submit([Job(flip(0.1), first)])
cluster.submit([Job(flip(0.0), executor)])[0].add_done_callback(tell)
threading._register_atexit(lambda: setattr(threading.Thread, "start", refuse))
begin[0].add_done_callback(lambda _: cluster.submit([Job(flip(0.0), executor)])[0].add_done_callback(tell))
"""
    )
    assert (done.stdout.splitlines(), done.stderr) == (["told: 1.0"] * 2, "")


def test_a_program_ends_after_what_its_callbacks_submit() -> None:
    done = run(
        """
executor = AfterMain()
cluster = qexec.QCluster([executor])

def again(future):
    cluster.submit([Job(flip(0.1), executor)])[0].add_done_callback(tell)

cluster.submit([Job(flip(0.1), executor)])[0].add_done_callback(again)
"""
    )
    assert done.stdout.splitlines() == ["told: 0.25"]


def test_an_experiment_whose_executors_are_not_built_yet_is_waited_for_and_its_failed_shots_are_run_by_others() -> None:
    done = run(
        """
def work():
    for _ in range(10**7):  # long enough for a program to end that does not wait
        pass

class Burnt(qexec.Executor):
    def __init__(self):
        super().__init__()
        work()

    def run(self, circuits):
        raise ValueError("burnt out")

class Well(qexec.Executor):
    def run(self, circuits):
        work()
        return [{"0": circuit.shots.total_shots} for circuit in circuits]

class Lab(qexec.Provider):
    def backends(self):
        return {one.__name__: qexec.Backend("lab", one.__name__, one) for one in (Burnt, Well)}

executor = qexec.QuantumExecutor(providers={"lab": Lab()})
circuit = "OPENQASM 2.0; qreg q[1]; creg c[1]; measure q -> c;"
collector = executor.run_experiment(
    circuit, 10, ["lab/Burnt", "lab/Well"], wait=False, on_failure="rerun", retry=qexec.retries.never()
)
collector.listen(lambda: print([str(record.state) for record in collector.records], flush=True))
"""
    )
    assert done.stdout.splitlines()[-1:] == ["['failed', 'done', 'done']"]
    assert done.returncode == 0


def test_jobs_of_a_cluster_that_was_forgotten_are_waited_for() -> None:
    done = run(
        """
import gc

def work():
    executor = AfterMain(max_circuits=1)
    cluster = qexec.QCluster([executor])
    for _ in range(2):
        cluster.submit([Job(flip(0.1), executor)])[0].add_done_callback(tell)

work()
gc.collect()
"""
    )
    assert done.stdout.splitlines() == ["told: 0.25"] * 2


def test_what_waits_for_a_window_is_waited_for_too() -> None:
    done = run(
        """
executor = AfterMain(batch_window=0.2)
cluster = qexec.QCluster([executor])
cluster.submit([Job(flip(0.1), executor)])[0].add_done_callback(tell)
"""
    )
    assert done.stdout.splitlines() == ["told: 0.25"]


def test_a_cluster_closed_before_the_end_is_not_waited_for() -> None:
    done = run(
        """
qpu = FakeQPU(polls=None)
with qexec.QCluster([qpu]) as cluster:
    (future,) = cluster.submit([Job(flip(0.1), qpu)])
print(type(future.exception()).__name__)
"""
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "JobCancelledError\n", "")


def test_what_was_cancelled_is_not_waited_for() -> None:
    done = run(
        """
qpu = FakeQPU(polls=None)
cluster = qexec.QCluster([qpu])
(future,) = cluster.submit([Job(flip(0.1), qpu)])
print(future.cancel())
"""
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_what_a_daemon_thread_waits_for_is_not_waited_for() -> None:
    done = run(
        """
qpu = FakeQPU(polls=None)
cluster = qexec.QCluster([qpu])
threading.Thread(target=cluster.execute, args=([flip(0.1)],), daemon=True).start()
qpu.submitted.wait()
"""
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_an_error_of_the_main_program_is_shown_and_what_it_submitted_is_waited_for() -> None:
    done = run(
        """
executor = AfterMain()
cluster = qexec.QCluster([executor])
cluster.submit([Job(flip(0.1), executor)])[0].add_done_callback(tell)
raise ValueError("the end of the main program")
"""
    )
    assert done.returncode == 1
    assert done.stdout.splitlines() == ["told: 0.25"]
    assert done.stderr.splitlines()[0].startswith("Traceback")
    assert done.stderr.splitlines()[-1] == "ValueError: the end of the main program"


def test_a_program_that_submitted_nothing_ends_at_once() -> None:
    done = run(
        """
cluster = qexec.QCluster([ScriptedExecutor()])
cluster.execute([flip(0.1)])
print(len(threading._threading_atexits) - len([f for f in threading._threading_atexits if "qexec" not in repr(f)]))
"""
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


def test_ctrl_c_ends_the_wait() -> None:
    script = """
qpu = FakeQPU(polls=None)
cluster = qexec.QCluster([qpu])
cluster.submit([Job(flip(0.1), qpu)])
logging.basicConfig(format="%(message)s")
"""
    with programs.running(HEAD + script) as program:
        program.wait_for_error("ends when its last 1 jobs have ended")
        program.interrupt()
        _, errors = program.end()
    assert errors == ["interrupted while waiting for the last jobs: 1 have not ended"]
    assert program.code == -signal.SIGINT


def test_a_forked_process_does_not_wait_for_jobs_of_its_parent() -> None:
    done = run(
        """
import multiprocessing
qpu = FakeQPU(polls=None)
with qexec.QCluster([qpu]) as cluster:
    cluster.submit([Job(flip(0.1), qpu)])
    child = multiprocessing.get_context("fork").Process(target=print, args=("in the child",), kwargs=dict(flush=True))
    child.start()
    child.join()
"""
    )
    assert (done.returncode, done.stdout) == (0, "in the child\n")


def test_other_modules_can_have_their_own_work_waited_for() -> None:
    done = run(
        """
from pennylane_qexec.engine import wait_at_exit

executor = ScriptedExecutor()
cluster = qexec.QCluster([executor])
left = [1, 2]

def wait():
    if not left:
        return False
    sys.stdout.write(f"waited for {left.pop()}\\n")
    cluster.submit([Job(flip(0.0), executor)])[0].add_done_callback(tell)
    return True

wait_at_exit(wait)
wait_at_exit(wait)
"""
    )
    assert done.stdout.splitlines().count("told: 1.0") == 2
    assert [line for line in done.stdout.splitlines() if "waited" in line] == ["waited for 2", "waited for 1"]


def test_the_end_has_an_order_in_one_process_only_and_what_fails_is_no_hindrance() -> None:
    done = run(
        """
import atexit, os
from pennylane_qexec.concurrency.lifecycle import ExitPhase, at_exit

logging.basicConfig(format="%(message)s")
said, parent = [], os.getpid()

def say(word):
    if word not in said:
        said.append(word)
        print("child:" * (os.getpid() != parent), word, flush=True)

def fail():
    say("SESSIONS")
    raise ValueError("the network")

atexit.register(say, "what a library registered before")
at_exit(ExitPhase.PROCESSES, lambda: say("PROCESSES"))
at_exit(ExitPhase.WORK, lambda: say("WORK"))
at_exit(ExitPhase.COMPILERS, lambda: say("COMPILERS"))
atexit.register(say, "what a library registered meanwhile")
at_exit(ExitPhase.SESSIONS, fail)
at_exit(ExitPhase.REMOTE_JOBS, lambda: say("REMOTE_JOBS"))
threading.Thread(target=lambda: (threading.main_thread().join(), say("a thread of the program"))).start()
if child := os.fork():
    os.waitpid(child, 0)
"""
    )
    told = [line.strip() for line in done.stdout.splitlines()]
    libraries = ["what a library registered meanwhile", "what a library registered before"]
    phases = ["REMOTE_JOBS", "SESSIONS", "PROCESSES", "COMPILERS"]
    assert [line for line in told if line.startswith("child")] == [f"child: {library}" for library in libraries]
    assert told[2:] == ["WORK", "a thread of the program", *phases, *libraries]
    assert "ValueError: the network" in done.stderr


def test_importing_has_no_part_in_the_end_and_jobs_are_cancelled_before_sessions_workers_and_compilers_end() -> None:
    done = run(
        """
from types import SimpleNamespace
from pennylane_qexec.concurrency import lifecycle
from pennylane_qexec.engine.process_pool import _Worker
from pennylane_qexec.executors.jax.compiler import CompileQueue
from pennylane_qexec.executors.runtime.sessions import Mode

assert not lifecycle._hooks

def tells(kind, name, word):
    theirs = getattr(kind, name)
    setattr(kind, name, lambda self, *arguments: (print(word, flush=True), theirs(self, *arguments))[1])

tells(FakeQPU, "cancel", "job cancelled")
tells(_Worker, "kill", "worker ended")
tells(CompileQueue, "close", "compiler stopped")

class Session:
    def __init__(self, backend, max_time):
        pass

    def close(self):
        print("session closed", flush=True)

sys.modules["qiskit_ibm_runtime"] = SimpleNamespace(Session=Session, Batch=None)
queue = CompileQueue()
queue.add("key", lambda: None)
worker = _Worker(0, 1)
mode = Mode("session")
mode.send("backend", print)
qpu = FakeQPU(polls=None)
threading.Thread(target=qexec.QCluster([qpu]).execute, args=([flip(0.1)],), daemon=True).start()
qpu.submitted.wait()
"""
    )
    told = list(dict.fromkeys(done.stdout.splitlines()))[1:]  # without what the session was told to send
    assert told == ["job cancelled", "session closed", "worker ended", "compiler stopped"]
    assert (done.returncode, done.stderr) == (0, "")
