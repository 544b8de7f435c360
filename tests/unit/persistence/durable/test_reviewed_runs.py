"""What was found by trying to break durable runs."""

import gc
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pennylane as qml
import pytest

from pennylane_qexec import Budget, ConfigurationError, ExecutorError, QCluster, ReplayMismatchError, StoreError
from pennylane_qexec.concurrency import lifecycle
from pennylane_qexec.errors import BudgetExceededError
from pennylane_qexec.job import Job
from pennylane_qexec.persistence.durable import durable_run
from pennylane_qexec.persistence.store import State, open_store
from pennylane_qexec.testing.fakes import FakeQPU, ScriptedExecutor, flip


class Crash(Exception):
    """What ends a program in these tests."""


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "runs.db") as opened:
        yield opened


def values(cluster, *circuits):
    return [float(result) for result in cluster.execute(circuits)]


def sent(store, cluster, *circuits, **options):
    """A run that was left when circuits had been sent to a backend."""
    with suppress(Crash), durable_run("run", store, **options):
        cluster.submit([Job(circuit, cluster.executors[0]) for circuit in circuits])
        while sum(job.state == State.SENT for job in store.jobs()) < len(circuits):
            pass
        raise Crash


def test_the_same_circuit_of_two_clusters_is_not_mixed_up_by_threads(store):
    ideal, noisy = QCluster(ScriptedExecutor("ideal")), QCluster(ScriptedExecutor("noisy", seed=1))
    found = []
    with ideal, noisy, ThreadPoolExecutor(1) as pool:
        for order in ((ideal, noisy), (noisy, ideal)):
            with durable_run("run", store):
                found.append({one: pool.submit(values, one, flip(1.0, 100)).result() for one in order})
    assert found[0] == found[1]


def test_a_cluster_without_an_executor_that_is_gone_goes_on_with_what_was_recorded(store):
    one, other = ScriptedExecutor("one"), ScriptedExecutor("other")
    with QCluster([one, other]) as cluster, durable_run("run", store):
        before = [values(cluster, flip(0.1, 50)), values(cluster, flip(0.2, 50))]
    with QCluster([other]) as cluster, durable_run("run", store) as run:
        assert [values(cluster, flip(0.1, 50)), values(cluster, flip(0.2, 50))] == before
    assert run.executed == 0


def test_a_budget_of_a_run_counts_in_all_threads(store):
    executor = ScriptedExecutor()
    run = durable_run("run", store, budget={"shots": 100})
    with QCluster(executor) as cluster, ThreadPoolExecutor(1) as pool, run:
        pool.submit(values, cluster, flip(0.1, 80)).result()
        with pytest.raises(BudgetExceededError):
            pool.submit(values, cluster, flip(0.2, 80)).result()
    assert executor.shots_run == 80


def test_a_program_that_tries_again_after_an_error_has_one_record_of_it_and_can_go_on(store):
    executor = ScriptedExecutor(failures=[ValueError("a bad moment")])
    with QCluster(executor) as cluster:
        with durable_run("run", store):
            with pytest.raises(ExecutorError):
                values(cluster, flip(0.1, 10))
            before = values(cluster, flip(0.1, 10))
        with durable_run("run", store) as run:
            assert values(cluster, flip(0.1, 10)) == before
            values(cluster, flip(0.2, 10))
    assert [job.state for job in store.jobs()] == [State.DONE] * 2
    assert run.executed == 1


def test_a_program_that_goes_on_after_an_error_may_ask_for_something_else(store):
    executor = ScriptedExecutor(failures=[ValueError("a bad moment")])
    with QCluster(executor) as cluster, durable_run("run", store):
        with pytest.raises(ExecutorError):
            values(cluster, flip(0.1, 10))
        values(cluster, flip(0.2, 10))
    assert [job.state for job in store.jobs()] == [State.FAILED, State.DONE]


def test_a_store_that_fails_while_results_are_looked_up_is_an_error_that_can_be_tried_again(store, monkeypatch):
    executor = ScriptedExecutor()
    with QCluster(executor) as cluster:
        with durable_run("run", store):
            before = values(cluster, flip(0.1, 10))
        with durable_run("run", store):
            with monkeypatch.context() as patched:
                patched.setattr(type(store), "refresh", _locked)
                with pytest.raises(StoreError, match="locked"):
                    values(cluster, flip(0.1, 10))
            assert values(cluster, flip(0.1, 10)) == before
    assert executor.shots_run == 10


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (qml.tape.QuantumScript([qml.RX(0.1, 0)], [qml.expval(qml.Z(0))], shots=[5, 5]), "shots are"),
        (qml.tape.QuantumScript([qml.RX(0.1, 0)], [qml.expval(qml.X(0))], shots=10), "measurement 1 is"),
        (qml.tape.QuantumScript([qml.RX(0.1, 0), qml.X(0)], [qml.expval(qml.Z(0))], shots=10), "operation 2 is"),
        (
            qml.tape.QuantumScript([qml.RX(0.1, 0)], [qml.expval(qml.Z(0))], shots=10, trainable_params=[]),
            "trainable parameters are",
        ),
    ],
)
def test_a_mismatch_names_what_is_different(store, asked, said):
    with QCluster(ScriptedExecutor()) as cluster:
        with durable_run("run", store):
            values(cluster, flip(0.1, 10))
        with durable_run("run", store), pytest.raises(ReplayMismatchError, match=said):
            cluster.execute([asked])


@pytest.mark.slow
def test_a_mismatch_far_inside_of_an_observable_is_shown(store):
    def circuit(last):
        coefficients = [0.1] * 20 + [last]
        observable = qml.Hamiltonian(coefficients, [qml.Z(0) @ qml.X(wire + 1) for wire in range(21)])
        return qml.tape.QuantumScript([], [qml.expval(observable)])

    with QCluster("lightning.qubit") as cluster:
        with durable_run("run", store):
            cluster.execute([circuit(0.25)])
        with durable_run("run", store), pytest.raises(ReplayMismatchError, match=r"0\.75.*in place of.*0\.25"):
            cluster.execute([circuit(0.75)])


def test_circuits_that_cannot_be_written_are_picked_up_when_all_of_a_job_were_asked_for(store, caplog):
    def circuit():
        first, second = qml.measure(0), qml.measure(1)
        return qml.expval(first + second)

    script = qml.tape.make_qscript(circuit)().copy(shots=10)
    qpu = FakeQPU(polls=None)
    with QCluster(qpu) as cluster:
        sent(store, cluster, script, script)
    qpu._polls = 1
    with QCluster(qpu.another()) as cluster, durable_run("run", store) as run:
        futures = [cluster.submit([Job(script, cluster.executors[0])])[0] for _ in range(2)]
        assert [float(future.result(30).result) for future in futures] == [0.0, 0.0]
    assert "has asked for 1 more of its circuits" in caplog.text
    assert (len(qpu.jobs), run.picked_up) == (1, 2)


def test_a_job_is_picked_up_once_for_all_who_ask_for_parts_of_it(store):
    qpu = FakeQPU(polls=None)
    circuits = [flip(0.1 * place, 10) for place in range(20)]
    with QCluster(qpu) as cluster:
        sent(store, cluster, *circuits)
    later = qpu.another()
    later._polls = 5 + qpu._polled["fake-qpu-1"]
    with QCluster(later) as cluster, durable_run("run", store) as run:
        futures = [cluster.submit([Job(circuit, cluster.executors[0])])[0] for circuit in circuits]
        assert all(future.result(30).shots == 10 for future in futures)
    assert (run.picked_up, len(cluster.history)) == (20, 20)


def test_what_a_crash_has_left_at_a_backend_counts_for_the_budget_of_the_run(store):
    qpu = FakeQPU(polls=None, cost={"per_shot": 5.0})
    with QCluster(qpu) as cluster:
        sent(store, cluster, flip(0.1, 10), budget={"cost": 60.0})
    qpu._polls = 1
    budget = Budget(cost=60.0)
    with QCluster(qpu) as cluster, durable_run("run", store, budget=budget):
        values(cluster, flip(0.1, 10))
        assert budget.used.cost == 50.0
        with pytest.raises(BudgetExceededError):
            values(cluster, flip(0.2, 10))


def test_attempts_that_failed_count_for_the_budget_of_the_run_later_too(store):
    executor = ScriptedExecutor(failures=[ConnectionError("no")] * 2, cost={"per_shot": 1.0})
    first, second = Budget(), Budget()
    with QCluster(executor, retry={"initial": 0.0}) as cluster:
        with durable_run("run", store, budget=first):
            values(cluster, flip(0.1, 100))
        with durable_run("run", store, budget=second):
            values(cluster, flip(0.1, 100))
    assert first.used[:3] == second.used[:3] == (300, 3, 300.0)


def test_a_job_that_failed_over_is_said_to_run_where_it_does(store, caplog):
    bad, qpu = ScriptedExecutor("bad", failures=[ConnectionError("no")] * 9), FakeQPU("qpu", polls=None)
    with QCluster([bad, qpu], retry={"attempts": 1}) as cluster:
        sent(store, cluster, flip(0.1, 10))
    assert "'qpu-1' at 'qpu'" in caplog.text


def test_what_waits_for_whoever_is_free_is_recorded_inside_of_a_cluster_that_may_run_it(store):
    qpu = FakeQPU("qpu", polls=1)
    with QCluster(qpu) as inner, QCluster([inner], selector="least_loaded") as outer, durable_run("run", store):
        values(outer, flip(0.1, 10))
    assert [(job.executor, job.state) for job in store.jobs()] == [("qpu", State.DONE)]


def around(shape, executors):
    """A cluster with clusters among its executors."""
    one, two, three = executors
    late = {"selector": "least_loaded"}
    return {
        "a cluster among others": lambda: QCluster([one, QCluster([two]), three], **late),
        "several clusters": lambda: QCluster([QCluster([one]), QCluster([two, three], **late)], **late),
        "clusters in clusters": lambda: QCluster([one, QCluster([two, QCluster([three])], **late)], **late),
        "in turns": lambda: QCluster([one, QCluster([two]), QCluster([three])], selector="cyclic"),
    }[shape]()


@pytest.mark.parametrize("shape", ["a cluster among others", "several clusters", "clusters in clusters", "in turns"])
def test_what_a_cluster_shares_with_clusters_inside_is_run_once_however_often_the_program_is_left(store, shape):
    circuits = [flip(0.1 * place, 10) for place in range(6) for _ in range(place % 2 + 1)]
    ran, seen = [], []
    for end in (4, len(circuits), len(circuits)):
        executors = [ScriptedExecutor(name, seed=place) for place, name in enumerate("abc")]
        with suppress(Crash), around(shape, executors) as cluster, durable_run("run", store) as run:
            seen.append(values(cluster, *circuits[:4]))
            for circuit in circuits[4:end]:
                seen[-1] += values(cluster, circuit)
            if end == 4:
                raise Crash
        ran.append(sum(len(batch) for one in executors for batch in one.batches))
    assert ran == [4, len(circuits) - 4, 0]
    assert (run.replayed, run.executed) == (len(circuits), 0)
    assert seen[0] == seen[1][:4]
    assert seen[1] == seen[2]
    assert [job.state for job in store.jobs()] == [State.DONE] * len(circuits)


@pytest.mark.parametrize("inside_fails", [True, False])
def test_what_waits_for_whoever_is_free_is_recorded_where_it_fails_over_to_a_cluster_inside_or_from_it(
    store, inside_fails
):
    for executed in (4, 0):
        bad, good = ScriptedExecutor("bad", failures=[ConnectionError("no")] * 9), ScriptedExecutor("good")
        one, other = (good, bad) if inside_fails else (bad, good)
        once = {"retry": {"attempts": 1}}
        cluster = QCluster([one, QCluster([other], **once)], selector="least_loaded", **once)
        with cluster, durable_run("run", store) as run:
            values(cluster, *(flip(0.1 * place, 10) for place in range(4)))
        assert (run.executed, run.replayed) == (executed, 4 - executed)
        assert sum(map(len, good.batches)) == executed
    assert [(job.executor, job.state) for job in store.jobs()] == [("good", State.DONE)] * 4


def test_seeds_draw_the_same_inside_of_a_cluster_however_the_program_was_interrupted(store, tmp_path):
    def drawn(store, end):
        bad = ScriptedExecutor("bad", failures=[ConnectionError("no")] * 99)
        cluster = QCluster([bad, QCluster("default.qubit", seed=7)], selector="least_loaded")
        with suppress(Crash), cluster, durable_run("run", store):
            found = [value for place in range(end) for value in values(cluster, flip(0.3 * place, 1000))]
            if end < 5:
                raise Crash
        return found

    with open_store(tmp_path / "whole.db") as other:
        whole = drawn(other, 5)
    assert drawn(store, 2) == whole[:2]
    assert drawn(store, 5) == whole


def test_jobs_at_a_backend_inside_are_followed_although_others_are_free_to_run_them(store):
    bad, qpu = ScriptedExecutor("bad", failures=[ConnectionError("no")] * 9), FakeQPU("qpu", polls=1)
    with QCluster([bad, QCluster([QCluster(qpu)])], selector="least_loaded") as cluster, durable_run("run", store):
        values(cluster, flip(0.1, 10))
    assert [(job.executor, job.state, job.remote_id) for job in store.jobs()] == [("qpu", State.DONE, "qpu-1")]


def test_what_earlier_versions_recorded_inside_of_a_cluster_only_is_not_run_again(store):
    circuits = [flip(0.1 * place, 10) for place in range(3)]
    inner, other = ScriptedExecutor("inner"), ScriptedExecutor("other")
    with suppress(Crash), QCluster([inner]) as cluster, durable_run("run", store):
        before = values(cluster, *circuits)
        raise Crash
    with QCluster([other, QCluster([inner])], selector="least_loaded") as cluster, durable_run("run", store) as run:
        assert values(cluster, *circuits) == before
    assert (run.replayed, run.executed) == (3, 0)


def test_snapshots_are_taken_again(store):
    @qml.qnode(qml.device("qexec.cluster", executors=["default.qubit"], wires=1))
    def circuit():
        qml.RX(0.3, 0)
        qml.Snapshot("a")
        return qml.expval(qml.Z(0))

    with durable_run("run", store):
        before = qml.snapshots(circuit)()
    with durable_run("run", store):
        assert qml.snapshots(circuit)().keys() == before.keys()


def test_a_job_that_could_not_be_picked_up_since_the_store_failed_is_when_it_is_asked_for_again(store, monkeypatch):
    qpu = FakeQPU(polls=None)
    with QCluster(qpu) as cluster:
        sent(store, cluster, flip(0.1, 10))
    qpu._polls = 1
    with QCluster(qpu.another()) as cluster, durable_run("run", store) as run:
        with monkeypatch.context() as patched:
            patched.setattr(type(store), "circuits", _locked)
            with pytest.raises(StoreError, match="locked"):
                values(cluster, flip(0.1, 10))
        (future,) = cluster.submit([Job(flip(0.1, 10), cluster.executors[0])])
        assert future.result(30).shots == 10
    assert (len(qpu.jobs), run.picked_up) == (1, 1)


def test_a_program_ends_that_has_submitted_only_what_is_not_recorded(store):
    waited_for = dict(lifecycle._jobs)
    script = qml.tape.QuantumScript([qml.Snapshot("a")], [qml.expval(qml.Z(0))])
    with QCluster("default.qubit") as cluster, durable_run("run", store):
        (future,) = cluster.submit([Job(script, cluster.executors[0])])
        assert future.result().result == 1.0
    assert lifecycle._jobs == waited_for


def test_a_forked_process_has_no_part_in_the_run(store):
    with durable_run("run", store), QCluster(ScriptedExecutor()) as cluster:
        values(cluster, flip(0.1, 10))
        child = os.fork()
        if not child:
            with QCluster(ScriptedExecutor()) as own:
                os._exit(not values(own, flip(0.2, 10)))
        assert os.waitpid(child, 0)[1] == 0
        values(cluster, flip(0.3, 10))
    assert len(list(store.jobs())) == 2


@pytest.mark.slow
def test_a_cluster_with_a_store_that_is_forgotten_in_any_thread_does_not_hang(store):
    def use():
        cluster = QCluster(ScriptedExecutor(), store=store)
        cluster.itself = cluster
        values(cluster, flip(0.1, 10))

    use()
    collecting = threading.Thread(target=gc.collect, daemon=True)
    collecting.start()
    collecting.join(30)
    assert not collecting.is_alive()


def test_a_run_that_could_not_be_entered_can_be_entered_later(store, monkeypatch):
    run = durable_run("run", store, budget={"shots": 10})
    with monkeypatch.context() as patched:
        patched.setattr(type(store), "jobs", _locked)
        with pytest.raises(StoreError), run:
            pass
    with run:
        assert run.executed == 0


def _locked(*_, **__):
    raise StoreError("the store is locked")


def test_cancelling_one_circuit_of_a_job_that_was_picked_up_leaves_it_to_those_not_asked_for_yet(store):
    qpu = FakeQPU(polls=None)
    with QCluster(qpu) as cluster:
        sent(store, cluster, flip(0.1, 10), flip(0.2, 10))
    later = qpu.another()
    with QCluster(later) as cluster, durable_run("run", store):
        (future,) = cluster.submit([Job(flip(0.1, 10), cluster.executors[0])])
        while not later.adopted:
            pass
        future.cancel()
        later._polls = 1
        values(cluster, flip(0.2, 10))
    assert not qpu.cancelled
    assert len(qpu.jobs) == 1


def test_threads_that_ask_for_the_same_samples_are_warned_once(store, caplog):
    with QCluster(ScriptedExecutor()) as cluster, durable_run("run", store):
        for _ in range(2):
            with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
                for pool in (one, other):
                    pool.submit(values, cluster, flip(0.1, 10)).result()
    assert caplog.text.count("give each thread a durable run of its own") == 1


def test_results_of_executors_that_the_cluster_does_not_have_are_warned_of(store, caplog):
    with QCluster(ScriptedExecutor("rehearsed")) as cluster, durable_run("run", store):
        values(cluster, flip(0.1, 10))
    with QCluster(ScriptedExecutor("real")) as cluster, durable_run("run", store):
        values(cluster, flip(0.1, 10))
    assert "was recorded with other executors" in caplog.text


def test_a_run_that_nothing_was_asked_for_in_says_so(store, caplog):
    with durable_run("run", store):
        qml.device("default.qubit", wires=1).execute(flip(0.1))
    assert "nothing was asked for in the durable run 'run'" in caplog.text


def test_what_a_program_cancels_since_it_is_interrupted_is_left_at_its_backend(store):
    qpu = FakeQPU(polls=None)
    with QCluster(qpu) as cluster, suppress(KeyboardInterrupt), durable_run("run", store):
        (future,) = cluster.submit([Job(flip(0.1, 10), cluster.executors[0])])
        while not any(job.state == State.SENT for job in store.jobs()):
            pass
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            future.cancel()  # as whoever waits for several futures does
            raise
    assert not qpu.cancelled
    assert [job.state for job in store.jobs()] == [State.SENT]


@pytest.mark.parametrize("cache", ["shot", "Shots", "true"])
def test_a_word_that_is_nearly_an_option_is_no_file_for_a_cache(cache):
    with pytest.raises(ConfigurationError, match="did you mean 'shots'"):
        QCluster(ScriptedExecutor(), cache=cache)
