"""Programs in durable runs, left and taken up again, on circuits of one qubit."""

import threading
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress

import numpy as np
import pytest

from pennylane_qexec import Budget, ConfigurationError, ExecutorError, QCluster, ReplayMismatchError
from pennylane_qexec.errors import BudgetExceededError, StoreError, UnansweredError
from pennylane_qexec.job import JobState
from pennylane_qexec.persistence.durable import durable_run
from pennylane_qexec.persistence.store import State, open_store
from pennylane_qexec.testing.fakes import FakeQPU, ScriptedExecutor, flip


class Crash(Exception):
    """What ends a program in these tests."""


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "runs.db") as opened:
        yield opened


@contextmanager
def crashing(run):
    """A run that is left by an error at its end."""
    with suppress(Crash), run as opened:
        yield opened
        raise Crash


def values(cluster, *angles, shots=None):
    return [float(result) for result in cluster.execute([flip(angle, shots) for angle in angles])]


def in_background(function):
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def test_what_had_finished_is_answered_from_the_store(store):
    executor = ScriptedExecutor()
    with QCluster(executor) as cluster:
        with crashing(durable_run("run", store)):
            before = values(cluster, 0.1, 0.2, shots=50)
        with durable_run("run", store) as run:
            assert values(cluster, 0.1, 0.2, shots=50) == before
            assert run.replayed == 2
            values(cluster, 0.3, shots=50)
    assert executor.shots_run == 150
    assert run.executed == 1


def test_the_third_time_that_a_circuit_is_asked_for_it_gets_the_third_result(store):
    with QCluster(ScriptedExecutor()) as cluster:
        with crashing(durable_run("run", store)):
            before = [values(cluster, 1.0, shots=1000) for _ in range(3)]
        with durable_run("run", store):
            assert [values(cluster, 1.0, shots=1000) for _ in range(3)] == before
    assert len({one for (one,) in before}) == 3


def test_outcomes_say_who_had_run_what_and_when(store):
    with QCluster(ScriptedExecutor("left", cost={"per_shot": 0.5})) as cluster:
        with crashing(durable_run("run", store)):
            (first,) = cluster.submit([_job(cluster, flip(0.1, 10))])
            first = first.result()
        with durable_run("run", store):
            (again,) = cluster.submit([_job(cluster, flip(0.1, 10))])
    assert again.result().executor == first.executor == "left"
    assert again.result().shots == 10
    assert again.result().cost == first.cost == 5.0
    assert again.result().finished == first.finished


def test_a_job_at_a_backend_is_picked_up_by_its_id(store):
    qpu = FakeQPU(polls=None)
    with QCluster(qpu) as cluster, crashing(durable_run("run", store)):
        cluster.submit([_job(cluster, flip(0.1, 10)), _job(cluster, flip(0.2, 10))])
        _wait_until_sent(store, 2)
    assert not qpu.cancelled
    later = qpu.another()
    later._polls = 1
    with QCluster(later) as cluster, durable_run("run", store) as run:
        values(cluster, 0.1, 0.2, shots=10)
    assert later.adopted == list(qpu.jobs)
    assert (run.picked_up, run.executed) == (2, 0)


def test_circuits_that_came_along_in_a_job_are_recorded_too(store):
    qpu = FakeQPU(polls=None)
    with QCluster(qpu) as cluster, crashing(durable_run("run", store)):
        cluster.submit([_job(cluster, flip(0.1, 10)), _job(cluster, flip(0.2, 10))])
        _wait_until_sent(store, 2)
    qpu._polls = 1
    with QCluster(qpu.another()) as cluster, durable_run("run", store) as run:
        values(cluster, 0.1, shots=10)
        values(cluster, 0.2, shots=10)
    assert len(qpu.jobs) == 1
    assert run.executed == 0


def test_a_job_whose_id_was_not_noted_is_found_by_its_label(store):
    qpu = FakeQPU(polls=1)
    with QCluster(qpu) as cluster, crashing(durable_run("run", store)):
        values(cluster, 0.1, shots=10)
    _pretend(store, "sending", next(iter(qpu.labelled.values())))
    with QCluster(qpu.another()) as cluster, durable_run("run", store) as run:
        values(cluster, 0.1, shots=10)
    assert len(qpu.jobs) == 1
    assert run.picked_up == 1


def test_a_job_that_never_reached_its_backend_is_sent_again(store):
    qpu = FakeQPU(polls=1)
    with QCluster(qpu) as cluster:
        with crashing(durable_run("run", store)):
            values(cluster, 0.1, shots=10)
        qpu.labelled.clear()
        _pretend(store, "sending", "a-label")
        with durable_run("run", store) as run:
            values(cluster, 0.1, shots=10)
    assert len(qpu.jobs) == 2
    assert run.executed == 1


def test_where_labels_are_not_kept_it_is_said_that_a_circuit_is_sent_again(store, caplog):
    qpu = FakeQPU(polls=1, labels=False)
    with QCluster(qpu) as cluster:
        with crashing(durable_run("run", store)):
            values(cluster, 0.1, shots=10)
        _pretend(store, "sending", "a-label")
        with durable_run("run", store):
            values(cluster, 0.1, shots=10)
    assert len(qpu.jobs) == 2
    assert "whether it arrived cannot be found out" in caplog.text


def test_a_job_that_has_failed_at_its_backend_meanwhile_runs_again(store, caplog):
    qpu = FakeQPU(polls=None)
    with QCluster(qpu) as cluster, crashing(durable_run("run", store)):
        cluster.submit([_job(cluster, flip(0.1, 10))])
        _wait_until_sent(store, 1)
    later = FakeQPU(polls=1)  # it does not know the job
    with QCluster(later) as cluster, durable_run("run", store) as run:
        values(cluster, 0.1, shots=10)
    assert len(later.jobs) == 1
    assert run.executed == 1
    assert "has no results and runs again" in caplog.text


def test_a_job_that_ended_as_failed_meanwhile_runs_again(store):
    qpu = FakeQPU(polls=None)
    with QCluster(qpu) as cluster, crashing(durable_run("run", store)):
        cluster.submit([_job(cluster, flip(0.1, 10))])
        _wait_until_sent(store, 1)
    qpu.cancelled.append("fake-qpu-1")  # by somebody else
    qpu._polls = 1
    with QCluster(qpu) as cluster, durable_run("run", store) as run:
        values(cluster, 0.1, shots=10)
    assert len(qpu.jobs) == 2
    assert run.executed == 1


class Unreachable(FakeQPU):
    """A backend that takes jobs, and then does not answer."""

    patience = 0.01

    def poll(self, job_id):
        raise TimeoutError("no answer")


def test_a_job_that_its_backend_says_nothing_of_is_not_sent_again_and_picked_up_later(store):
    qpu = Unreachable()
    with QCluster([qpu, ScriptedExecutor()], failover=True) as cluster:
        with pytest.raises(UnansweredError, match="'fake-qpu' was asked for job"), durable_run("run", store):
            values(cluster, 0.1, shots=10)
        assert _states(store) == [State.SENT]
    later = FakeQPU(polls=1)
    later.jobs, later._polled = qpu.jobs, qpu._polled
    with QCluster([later, ScriptedExecutor()]) as cluster, durable_run("run", store) as run:
        values(cluster, 0.1, shots=10)
    assert len(qpu.jobs) == 1
    assert run.picked_up == 1


def test_a_durable_run_asks_for_longer_than_others(store):
    class Hiccups(FakeQPU):
        hiccups = 20

        def poll(self, job_id):
            self.hiccups -= 1
            if self.hiccups > 0:
                raise TimeoutError("no answer")
            return super().poll(job_id)

    Hiccups.poll_interval = 1e-9
    qpu = Hiccups(polls=1)
    with QCluster(qpu) as cluster, durable_run("run", store):
        values(cluster, 0.1, shots=10)
    assert len(qpu.jobs) == 1


def test_leaving_a_run_says_which_jobs_still_run(store, caplog):
    qpu = FakeQPU("qpu", polls=None)
    with QCluster(qpu) as cluster, crashing(durable_run("run", store)):
        cluster.submit([_job(cluster, flip(0.1, 10))])
        _wait_until_sent(store, 1)
    assert "'qpu-1' at 'qpu'" in caplog.text
    assert "picked up when the program is run again" in caplog.text


def test_closing_the_cluster_first_leaves_jobs_at_their_backend_too(store):
    qpu = FakeQPU(polls=None)
    with crashing(durable_run("run", store)), QCluster(qpu) as cluster:
        cluster.submit([_job(cluster, flip(0.1, 10))])
        _wait_until_sent(store, 1)
    assert not qpu.cancelled
    assert _states(store) == [State.SENT]


def test_a_job_that_its_caller_cancels_is_cancelled_at_the_backend(store):
    qpu = FakeQPU(polls=None)
    with QCluster(qpu) as cluster, durable_run("run", store):
        (future,) = cluster.submit([_job(cluster, flip(0.1, 10))])
        _wait_until_sent(store, 1)
        assert future.cancel()
        assert qpu.stopped.wait(30)
        with pytest.raises(CancelledError):
            future.result()
    assert _states(store) == [State.CANCELLED]


def test_a_circuit_that_failed_is_tried_again_the_next_time(store):
    executor = ScriptedExecutor(failures=[ConnectionError("no")])
    with QCluster(executor, retry={"attempts": 1}) as cluster:
        with pytest.raises(ExecutorError), durable_run("run", store):
            values(cluster, 0.1, shots=10)
        assert _states(store) == [State.FAILED]
        with durable_run("run", store):
            values(cluster, 0.1, shots=10)
    assert _states(store) == [State.DONE]


def test_a_program_that_asks_for_something_else_is_told_the_first_difference(store):
    executor = ScriptedExecutor()
    with QCluster(executor) as cluster:
        with crashing(durable_run("run", store)):
            values(cluster, 0.1, 0.2, 0.3)
        with durable_run("run", store):
            values(cluster, 0.1)
            with pytest.raises(ReplayMismatchError, match=r"number 2.*RX\(0.7.*in place of RX\(0.2"):
                values(cluster, 0.7)
    assert len(executor.batches) == 1
    assert _states(store) == [State.DONE] * 3


def test_after_a_mismatch_the_program_as_it_was_goes_on(store):
    with QCluster(ScriptedExecutor()) as cluster:
        with crashing(durable_run("run", store)):
            before = values(cluster, 0.1, 0.2, shots=20)
        with pytest.raises(ReplayMismatchError), durable_run("run", store):
            values(cluster, 0.1, 0.7, shots=20)
        with durable_run("run", store):
            assert values(cluster, 0.1, 0.2, shots=20) == before


def test_threads_may_ask_in_another_order_the_next_time(store):
    with QCluster(ScriptedExecutor()) as cluster:
        with crashing(durable_run("run", store)):
            before = {0.1: values(cluster, 0.1, shots=20)}
            in_background(lambda: before.update({0.2: values(cluster, 0.2, shots=20)})).join()
        with durable_run("run", store) as run:
            values(cluster, 0.3, shots=20)
            assert values(cluster, 0.2, shots=20) == before[0.2]
            assert values(cluster, 0.1, shots=20) == before[0.1]
    assert (run.replayed, run.executed) == (2, 1)


def test_a_run_that_asks_for_less_than_it_has_recorded_says_so(store, caplog):
    with QCluster(ScriptedExecutor()) as cluster:
        with crashing(durable_run("run", store)):
            values(cluster, 0.1, 0.2)
        with durable_run("run", store):
            values(cluster, 0.1)
    assert "without asking for 1 of the circuits" in caplog.text


def test_two_runs_of_one_name_at_once_share_the_work(store):
    executor = ScriptedExecutor(gate=threading.Event())
    results = []
    with QCluster(executor) as cluster, QCluster(executor) as other:
        with durable_run("run", store):
            first = in_background(lambda: results.append(values(cluster, 0.1, 0.2, shots=20)))
            assert executor.started.wait(30)
            second = in_background(lambda: _in_a_run_of_its_own(store, other, results))
            executor._gate.set()
            first.join(30)
        second.join(30)
    assert results[0] == results[1]
    assert executor.shots_run == 40


def test_a_finished_run_is_marked_as_finished_and_one_left_is_not(store):
    with QCluster(ScriptedExecutor()) as cluster:
        with crashing(durable_run("run", store)):
            values(cluster, 0.1)
        assert not store.run("run").finished
        with durable_run("run", store):
            values(cluster, 0.1)
        assert store.run("run").finished


def test_what_was_submitted_is_waited_for_at_the_end(store):
    with QCluster(FakeQPU(polls=3)) as cluster:
        with durable_run("run", store):
            (future,) = cluster.submit([_job(cluster, flip(0.1, 10))])
        assert future.done()
    assert _states(store) == [State.DONE]


def test_circuits_outside_of_the_block_are_not_recorded(store):
    with QCluster(ScriptedExecutor()) as cluster:
        with durable_run("run", store):
            pass
        values(cluster, 0.1)
    assert _states(store) == []


def test_a_cluster_inside_of_a_cluster_has_its_jobs_recorded_once(store):
    qpu = FakeQPU(polls=1)
    with QCluster(qpu) as inner, QCluster([inner]) as outer:
        with crashing(durable_run("run", store)):
            before = values(outer, 0.1, 0.2, shots=10)
        assert [job.executor for job in store.jobs()] == ["fake-qpu"] * 2
        with durable_run("run", store) as run:
            assert values(outer, 0.1, 0.2, shots=10) == before
    assert run.executed == 0


def test_a_budget_of_a_run_counts_what_was_used_before(store):
    with QCluster(ScriptedExecutor()) as cluster:
        with crashing(durable_run("run", store, budget={"shots": 100})):
            values(cluster, 0.1, shots=80)
        budget = Budget(shots=100)
        with durable_run("run", store, budget=budget):
            values(cluster, 0.1, shots=80)
            assert budget.used.shots == 80
            with pytest.raises(BudgetExceededError):
                values(cluster, 0.2, shots=30)
        assert _states(store) == [State.DONE, State.WAITING]


def test_failing_over_records_who_ran_it(store):
    bad = ScriptedExecutor("bad", failures=[ConnectionError("no")] * 9)
    with QCluster([bad, ScriptedExecutor("good")], retry={"attempts": 1}) as cluster, durable_run("run", store):
        values(cluster, 0.1)
    assert [job.executor for job in store.jobs()] == ["good"]


def test_a_submission_whose_answer_got_lost_is_found_and_not_sent_again(store):
    qpu = FakeQPU(polls=1, unheard=1)
    with QCluster(qpu, retry={"initial": 0.0}) as cluster, durable_run("run", store):
        values(cluster, 0.1, 0.2, shots=10)
    assert len(qpu.jobs) == 1
    assert _states(store) == [State.DONE] * 2


def test_a_submission_whose_answer_got_lost_with_the_line_is_looked_for_before_it_is_sent_again(store):
    class DeadLine(FakeQPU):
        asked = 0

        def find(self, label):
            self.asked += 1
            if self.asked <= 6:
                raise ConnectionError("the line is dead")
            return super().find(label)

    DeadLine.poll_interval = 1e-9
    qpu = DeadLine(polls=1, unheard=1)
    with QCluster(qpu, retry={"initial": 0.0}) as cluster, durable_run("run", store):
        values(cluster, 0.1, 0.2, shots=10)
    assert len(qpu.jobs) == 1


def test_where_labels_are_not_kept_a_submission_whose_answer_got_lost_is_sent_again(store):
    qpu = FakeQPU(polls=1, unheard=1, labels=False)
    with QCluster(qpu, retry={"initial": 0.0}) as cluster, durable_run("run", store):
        values(cluster, 0.1, 0.2, shots=10)
    assert len(qpu.jobs) == 2
    assert _states(store) == [State.DONE] * 2


def test_a_job_that_fails_at_a_backend_goes_on_to_another_executor(store):
    qpu = FakeQPU("qpu", ends=JobState.FAILED, polls=1)
    with QCluster([qpu, ScriptedExecutor("local")], retry={"attempts": 1}) as cluster, durable_run("run", store):
        values(cluster, 0.1, shots=10)
    (job,) = store.jobs()
    assert (job.executor, job.state) == ("local", State.DONE)


def test_results_of_derivatives_are_recorded(store):
    import pennylane as qml
    from pennylane import numpy as pnp

    device = qml.device("qexec.cluster", executors=["lightning.qubit"], wires=1)

    @qml.qnode(device, diff_method="adjoint")
    def circuit(x):
        qml.RX(x, 0)
        return qml.expval(qml.Z(0))

    x = pnp.array(0.4, requires_grad=True)
    with crashing(durable_run("run", store)):
        before = qml.grad(circuit)(x)
    with durable_run("run", store) as run:
        assert qml.grad(circuit)(x) == before
    assert run.executed == 0
    np.testing.assert_allclose(before, -np.sin(0.4))


@pytest.mark.parametrize("selector", ["cyclic", "random", {"weighted": {"one": 1, "two": 2}}])
def test_policies_begin_anew_with_the_program(store, selector):
    with QCluster([ScriptedExecutor("one"), ScriptedExecutor("two")], selector=selector) as cluster:
        runs = []
        for name in ("first", "first", "second"):
            with durable_run(name, store):
                circuits = [flip(0.1 * place, 10) for place in range(40)]
                runs.append([cluster.select(circuit, cluster.executors).name for circuit in circuits])
            cluster.select(circuits[0], cluster.executors)
    assert runs[0] == runs[1]
    assert (runs[1] == runs[2]) == (selector == "cyclic")


def test_who_is_down_does_not_change_what_is_asked_for(store):
    bad = ScriptedExecutor("bad", failures=[ConnectionError("no")] * 9)
    with QCluster([bad, ScriptedExecutor("good")], retry={"attempts": 1}) as cluster:
        with durable_run("run", store):
            before = [values(cluster, 0.1 * place, shots=10) for place in range(6)]
        with durable_run("run", store) as run:
            assert [values(cluster, 0.1 * place, shots=10) for place in range(6)] == before
    assert run.executed == 0


def test_a_split_by_measured_speed_is_refused(store):
    with QCluster([ScriptedExecutor("one"), ScriptedExecutor("two")], split="proportional") as cluster:
        with pytest.raises(ConfigurationError, match="proportional"), durable_run("run", store):
            values(cluster, 0.1, shots=10)
        values(cluster, 0.1, shots=10)


@pytest.mark.parametrize("lease", [0, -1.0, "60", True, None])
def test_a_lease_that_is_no_time_is_refused(store, lease):
    with pytest.raises(ConfigurationError, match="lease"):
        durable_run("run", store, lease=lease)


def test_a_store_that_cannot_be_opened_is_told_on_entering(tmp_path):
    (tmp_path / "runs.db").write_text("this is no database, and long enough to be looked at as one " * 20)
    with pytest.raises(StoreError), durable_run("run", tmp_path / "runs.db"):
        pass


def test_a_store_that_is_given_stays_open(store):
    with durable_run("run", store):
        pass
    assert store.run("run").finished


def test_a_run_cannot_be_entered_twice_at_once(store):
    run = durable_run("run", store)
    with run, pytest.raises(ConfigurationError, match="open already"), run:
        pass


def test_a_thread_that_belongs_to_none_of_several_runs_is_refused(store):
    errors = []

    def ask():
        try:
            values(cluster, 0.1)
        except ConfigurationError as error:
            errors.append(str(error))

    with QCluster(ScriptedExecutor()) as cluster, durable_run("one", store), durable_run("two", store):
        in_background(ask).join(30)
    assert "'one', 'two' are open" in errors[0]


def test_a_cluster_with_a_store_records_what_it_runs(store):
    qpu = FakeQPU("qpu", polls=1)
    with QCluster(qpu, store=store) as cluster:
        values(cluster, 0.1, 0.2, shots=10)
    (run,) = store.runs()
    jobs = list(store.jobs(run.id))
    assert [(job.executor, job.state, job.remote_id) for job in jobs] == [("qpu", State.DONE, "qpu-1")] * 2
    assert run.finished


def test_a_cluster_with_a_store_runs_what_it_is_asked_for_again(store):
    executor = ScriptedExecutor()
    for _ in range(2):
        with QCluster(executor, store=store) as cluster:
            values(cluster, 0.1, shots=10)
    assert executor.shots_run == 20


def test_a_cluster_with_a_store_cancels_what_runs_when_it_is_closed(store):
    qpu = FakeQPU(polls=None)
    with QCluster(qpu, store=store) as cluster:
        cluster.submit([_job(cluster, flip(0.1, 10))])
        _wait_until_sent(store, 1)
    assert qpu.stopped.wait(30)
    assert _states(store) == [State.CANCELLED]


def test_in_a_durable_run_a_cluster_with_a_store_records_there_only(store):
    with QCluster(ScriptedExecutor(), store=store) as cluster, durable_run("run", store):
        values(cluster, 0.1)
        assert [job.run for job in store.jobs()] == [store.run("run").id]


def _job(cluster, circuit):
    from pennylane_qexec.job import Job

    return Job(circuit, cluster.executors[0])


def _states(store):
    return [State(job.state) for job in store.jobs()]


def _wait_until_sent(store, jobs):
    while _states(store).count(State.SENT) < jobs:
        pass


def _pretend(store, state, label):
    """Put a run's only job back to where it was when its letter was on the way, as if the process had been killed."""
    from sqlalchemy import update

    from pennylane_qexec.persistence.store.tables import jobs

    values = {"state": state, "remote_id": label, "remote_index": 0, "worker": None, "finished": None, "result": None}
    store._transactions.write(lambda connection: connection.execute(update(jobs).values(**values)))


def _in_a_run_of_its_own(store, cluster, results):
    with durable_run("run", store):
        results.append(values(cluster, 0.1, 0.2, shots=20))


def test_a_finished_run_stays_finished_when_a_program_is_refused_there(store):
    with QCluster(ScriptedExecutor()) as cluster:
        with durable_run("run", store):
            values(cluster, 0.1, 0.2)
        with pytest.raises(ReplayMismatchError), durable_run("run", store):
            values(cluster, 0.9)
        assert store.run("run").finished
        with crashing(durable_run("run", store)):
            values(cluster, 0.1, 0.2, 0.3)
        assert not store.run("run").finished
