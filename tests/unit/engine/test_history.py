"""What a cluster remembers of the jobs that ended."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import matplotlib as mpl
import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.circuits.fingerprint import fingerprint
from pennylane_qexec.engine import Row
from pennylane_qexec.engine.records import compact
from pennylane_qexec.job import JobState
from pennylane_qexec.testing import FakeQPU, ScriptedExecutor, flip

COLUMNS = [
    *("fingerprint", "executor", "backend", "shots", "batch", "attempt", "state"),
    *("submitted", "started", "finished", "seconds_queued", "seconds_running", "cost", "error"),
]


@pytest.fixture
def picture(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Axes that need no screen."""
    mpl.use("Agg")
    from matplotlib.figure import Figure

    return Figure().add_subplot()


def row(executor: str = "qpu", state: JobState = JobState.DONE, start: float = 0.0) -> Row:
    return Row(flip(0.1), executor, executor, 100, 1, 1, state, start, start + 1, start + 3)


def test_there_is_one_row_for_each_job(open_cluster: Any) -> None:
    cluster = open_cluster(["lightning.qubit", ScriptedExecutor("scripted"), FakeQPU()])
    cluster.execute([flip(0.1 * index, shots=10) for index in range(6)])
    table = cluster.history.to_dataframe()
    assert list(table.columns) == COLUMNS
    assert {table[name].dtype.kind for name in ("shots", "batch", "attempt")} == {"i"}
    assert {str(table[name].dt.tz) for name in ("submitted", "started", "finished")} == {"UTC"}
    assert {table[name].dtype.kind for name in ("seconds_queued", "seconds_running", "cost")} == {"f"}
    assert sorted(table.executor) == sorted(["lightning.qubit", "scripted", "fake-qpu"] * 2)
    assert set(table.shots) == {10}
    assert set(table.state) == {"done"}


def test_an_empty_history_is_a_table_with_all_columns() -> None:
    table = qexec.History().to_dataframe()
    assert len(table) == 0
    assert list(table.columns) == COLUMNS


def test_jobs_of_one_batch_have_its_number_and_other_batches_have_others(open_cluster: Any) -> None:
    cluster = open_cluster([ScriptedExecutor(max_circuits=2)])
    cluster.execute([flip(0.1) for _ in range(4)])
    assert len(set(cluster.history.to_dataframe().batch)) == 2


def test_equal_circuits_have_equal_fingerprints_and_others_have_others(open_cluster: Any) -> None:
    cluster = open_cluster(["lightning.qubit", "lightning.qubit"])
    cluster.execute([flip(0.1), flip(0.1), flip(0.2)])
    first, second, third = cluster.history.to_dataframe().sort_values("batch").fingerprint
    assert len(first) == 32
    assert len({first, second, third}) == 2


def test_times_are_in_utc_and_in_order(open_cluster: Any) -> None:
    before = datetime.now(UTC)
    cluster = open_cluster([ScriptedExecutor()])
    cluster.execute([flip(0.1)])
    (only,) = cluster.history.to_dataframe().itertuples()
    assert before <= only.submitted <= only.started <= only.finished <= datetime.now(UTC)
    assert only.seconds_queued == pytest.approx((only.started - only.submitted).total_seconds(), abs=1e-5)


@pytest.mark.parametrize("spec", ["default.qubit", "scripted"])
def test_the_cost_is_that_of_the_circuits_and_their_shots(open_cluster: Any, spec: str) -> None:
    cost = qexec.Cost(per_circuit=0.3, per_shot=0.01)
    executor = ScriptedExecutor(cost=cost) if spec == "scripted" else {"type": spec, "cost": cost}
    cluster = open_cluster([executor])
    cluster.execute([flip(0.1, shots=10), flip(0.2, shots=20)])
    assert sorted(cluster.history.to_dataframe().cost) == pytest.approx([0.4, 0.5])


def test_seconds_of_a_batch_are_charged_once(open_cluster: Any) -> None:
    cluster = open_cluster([ScriptedExecutor(cost=qexec.Cost(per_second=1.0))])
    cluster.execute([flip(0.1) for _ in range(4)])
    table = cluster.history.to_dataframe()
    assert 0 < table.cost.sum() == pytest.approx(table.seconds_running.sum())
    assert table.seconds_running.sum() <= (table.finished - table.started).max().total_seconds() + 1e-3


def test_a_job_that_failed_says_how_often_and_why(open_cluster: Any) -> None:
    cluster = open_cluster(
        [ScriptedExecutor("trap", failures=[OSError("the laser is off")] * 2)],
        retry=qexec.retries.backoff(2, initial=0),
    )
    with pytest.raises(qexec.ExecutorError):
        cluster.execute([flip(0.1, shots=10)])
    (only,) = cluster.history
    assert (only.executor, only.state, only.attempt) == ("trap", JobState.FAILED, 2)
    assert only.error == "OSError: the laser is off"
    assert only.cost == 0


def test_attempts_on_all_executors_are_counted(open_cluster: Any) -> None:
    trap = ScriptedExecutor("trap", failures=[OSError("off")] * 2)
    cluster = open_cluster([trap, ScriptedExecutor("good")], retry=qexec.retries.backoff(2, initial=0))
    cluster.execute([flip(0.1)])
    (only,) = cluster.history
    assert (only.executor, only.state, only.attempt) == ("good", JobState.DONE, 3)


def test_a_timeout_is_written_down(open_cluster: Any) -> None:
    cluster = open_cluster([FakeQPU(polls=None)], timeout=0.05)
    with pytest.raises(qexec.JobTimeoutError):
        cluster.execute([flip(0.1)])
    (only,) = cluster.history
    assert (only.executor, only.state) == ("fake-qpu", JobState.FAILED)
    assert only.error.startswith("JobTimeoutError: a circuit had no result after 0.05 s")


def test_old_rows_are_forgotten() -> None:
    history = qexec.History(kept=3)
    history.add([row(str(index)) for index in range(5)])
    assert [one.executor for one in history] == ["2", "3", "4"]


def test_what_is_dropped_is_said() -> None:
    history = qexec.History(kept=3)
    history.add([row(str(index)) for index in range(3)])
    assert (history.dropped, repr(history), history.to_dataframe().attrs["dropped"]) == (0, "<History of 3 jobs>", 0)
    history.add([row("3"), row("4")])
    assert (history.dropped, history.to_dataframe().attrs["dropped"]) == (2, 2)
    assert repr(history) == "<History of 3 jobs, and 2 older ones that were dropped>"


def test_totals_go_on_when_rows_are_dropped(open_cluster: Any) -> None:
    cluster = open_cluster([ScriptedExecutor(cost={"per_shot": 0.1})], history_limit=2, budget=qexec.Budget())
    cluster.execute([flip(0.1, 10)] * 5)
    assert (len(cluster.history), cluster.history.dropped) == (2, 3)
    assert cluster.history.totals[:3] == (5, 50, pytest.approx(5.0))
    circuits, shots, cost, seconds = cluster.history.totals
    assert cluster.budget.used == (shots, circuits, cost, seconds)


def test_totals_have_the_attempts_that_failed_in_the_calling_thread_too(open_cluster: Any) -> None:
    class Local(ScriptedExecutor):
        local = True

    cluster = open_cluster([Local(failures=[ConnectionError("no")])], retry={"initial": 0.001}, budget=qexec.Budget())
    cluster.execute([flip(0.1, 10)] * 2)
    assert cluster.history.totals[:2] == (4, 40) == cluster.budget.used[1::-1]


@pytest.mark.parametrize("limit", [0, None])
def test_a_history_may_keep_nothing_or_everything(open_cluster: Any, limit: Any) -> None:
    cluster = open_cluster(["default.qubit"], history_limit=limit)
    cluster.execute([flip(0.1, 10)] * 3)
    assert (len(cluster.history), cluster.history.dropped) == ((0, 3) if limit == 0 else (3, 0))
    assert cluster.history.totals.shots == 30


@pytest.mark.parametrize("limit", [-1, 2.5, "many", True])
def test_a_limit_that_is_no_number_of_jobs_is_refused(limit: Any) -> None:
    with pytest.raises(qexec.ConfigurationError, match="history_limit"):
        qexec.QCluster(["default.qubit"], history_limit=limit)


def test_a_device_takes_the_limit_of_its_history() -> None:
    with qml.device("qexec.cluster", wires=1, executors="default.qubit", history_limit=1) as device:
        qml.execute([flip(0.1, 10)] * 2, device)
        assert (len(device.history), device.history.dropped) == (1, 1)


def test_a_history_can_be_cleared() -> None:
    history = qexec.History()
    history.add([row()])
    history.clear()
    assert len(history) == 0


def test_a_history_is_a_sequence() -> None:
    history = qexec.History()
    history.add([row("a"), row("b"), row("c")])
    assert (history[0].executor, history[-1].executor) == ("a", "c")
    assert [one.executor for one in history[1:]] == ["b", "c"]


def test_large_matrices_are_not_kept_but_their_fingerprint_is() -> None:
    circuit = QuantumScript([qml.QubitUnitary(np.eye(16), wires=range(4))], [qml.probs()])
    history = qexec.History()
    history.add([Row(compact(circuit), "qpu", "qpu", 0, 1, 1, JobState.DONE, 0.0, 0.0, 0.0)])
    assert isinstance(history[0].circuit, str)
    assert history[0].fingerprint == fingerprint(circuit)


@pytest.mark.parametrize("operation", [qml.RX, qml.StatePrep], ids=["numbers of a gate", "a state"])
def test_a_row_tells_of_an_array_as_it_was_when_the_circuit_ran(open_cluster: Any, operation: Any) -> None:
    array = np.array([1.0, 0.0])
    cluster = open_cluster(["default.qubit"])
    circuit = QuantumScript([operation(array, wires=0)], [qml.probs(wires=0)])
    cluster.execute([circuit])
    ran = fingerprint(circuit)
    array[:] = [0.0, 1.0]
    assert fingerprint(circuit) != ran
    assert cluster.history[0].fingerprint == ran


def test_the_history_of_a_device_is_that_of_its_cluster(open_device: Any) -> None:
    device = open_device("default.qubit", wires=1)
    qml.QNode(lambda: qml.expval(qml.Z(0)), device)()
    assert device.history is device.cluster.history
    assert len(device.history) == 1


def test_the_timeline_has_a_line_for_each_executor(picture: Any) -> None:
    history = qexec.History()
    history.add([row("left"), row("right", start=2.0), row("left", JobState.FAILED, start=4.0)])
    axes = history.plot_timeline(picture)
    assert axes is picture
    assert [label.get_text() for label in axes.get_yticklabels()] == ["left", "right"]
    assert axes.dataLim.x1 == pytest.approx(7.0)


def test_the_timeline_of_nothing_can_be_drawn(picture: Any) -> None:
    assert qexec.History().plot_timeline(picture) is picture


def test_the_timeline_makes_axes_of_its_own(open_cluster: Any) -> None:
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    cluster = open_cluster(["default.qubit"])
    cluster.execute([flip(0.1)])
    axes = cluster.history.plot_timeline()
    plt.close(axes.figure)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["default.qubit"]


@pytest.mark.parametrize("array", [np.array, pnp.array])
def test_a_row_keeps_the_number_that_was_run_whatever_is_written_into_its_array_later(array: Any) -> None:
    angle = array(0.5)
    with qexec.QCluster("lightning.qubit") as cluster:
        cluster.execute([flip(angle)])
        angle[...] = 2.5
        cluster.execute([flip(angle)])
        one, other = (row.fingerprint for row in cluster.history)
    assert one == fingerprint(flip(0.5)) != other
