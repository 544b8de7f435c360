"""What the pages show of runs and circuits, page by page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

from pennylane_qexec import QCluster
from pennylane_qexec.circuits.serialization import result_text, results_text, sweep_text
from pennylane_qexec.cluster import sweeps_of
from pennylane_qexec.persistence.durable import durable_run
from pennylane_qexec.persistence.store import BackendResults, Ended, Mark, NewExperimentRun, NewJob, Store
from pennylane_qexec.server.dashboard import views
from pennylane_qexec.server.dashboard.inspector import Inspector
from tests.fakes.dashboard_pages import HOSTILE, Pages, record, record_experiment


def test_circuits_are_found_by_what_is_asked_for(pages: Pages, store: Store) -> None:
    record(store, circuits=6, done=4)
    record(store, "other", circuits=1, done=1)
    assert pages.get("/circuits").count('id="circuit-') == 7
    assert pages.get("/circuits?run=vqe").count('id="circuit-') == 6
    assert pages.get("/circuits?state=failed").count('id="circuit-') == 1
    assert pages.get("/circuits?text=ValueError").count('id="circuit-') == 1
    assert pages.get("/circuits?text=100%25").count('id="circuit-') == 0
    assert pages.get("/circuits?executor=north&state=done&run=other").count('id="circuit-') == 1
    assert "like this" in pages.get("/circuits?executor=nobody")


def test_pages_of_circuits_follow_each_other_though_others_are_recorded_meanwhile(pages: Pages, store: Store) -> None:
    run = record(store, circuits=120, done=0)
    seen: list[str] = []
    path = "/circuits?run=vqe"
    while path:
        text = pages.get(path)
        seen += [part.split('"')[0] for part in text.split('id="circuit-')[1:]]
        store.record(run, [NewJob(1000 + len(seen), "k", "d", "c")])
        path = (
            text.split('rel="next" href="/dashboard')[1].split('"')[0].replace("&amp;", "&")
            if 'rel="next"' in text
            else ""
        )
    assert len(seen) == 120 == len(set(seen))


def test_a_refresh_has_the_rows_only(pages: Pages, store: Store) -> None:
    record(store)
    part = pages.get("/circuits", **{"hx-target": "circuits"})
    assert part.count('id="circuit-') == 6
    assert "<html" not in part
    for path, target in (("/runs", "runs"), ("/runs/1", "facts"), ("/", "tables"), ("/timeline", "lanes")):
        assert "<html" not in pages.get(path, **{"hx-target": target})


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/circuits/999", 404),
        ("/circuits?before=x", 400),
        ("/circuits/99999999999999999999", 400),
        ("/runs/999", 404),
        ("/runs/compare", 400),
        ("/runs/compare?run=" + "&run=".join(map(str, range(9))), 400),
        ("/runs?before=x", 400),
        ("/jobs", 404),
        ("/nowhere", 404),
    ],
)
def test_what_is_not_there_is_said_on_a_page(pages: Pages, path: str, status: int) -> None:
    answer = pages.client.get(f"/dashboard{path}")
    assert answer.status_code == status
    assert "Not shown" in answer.text
    assert "Traceback" not in answer.text


def test_a_run_shows_what_it_has_used_and_where_it_failed(pages: Pages, store: Store) -> None:
    text = pages.get(f"/runs/{record(store)}")
    for said in ("4 done", "1 failed", "1 waiting", "$1.00", "400", "vqe.py", "step 1", "ValueError"):
        assert said in text, said


def test_a_run_is_forked_from_its_page_and_both_show_the_tree(pages: Pages, store: Store) -> None:
    run = record(store)
    answer = pages.post(f"/runs/{run}/fork", at="step 1", new="colder")
    fork = store.run("colder")
    assert answer.headers["location"] == f"/dashboard/runs/{fork.id}"
    assert (fork.parent, fork.fork_point) == (run, 2)
    assert "at circuit 2" in pages.get(f"/runs/{run}")
    assert "from another run" in pages.get(f"/runs/{fork.id}")
    refused = pages.post(f"/runs/{run}/fork", at="step 9", new="newer")
    assert refused.status_code == 409
    assert "step 9" in refused.text
    assert 'value="newer"' in refused.text


def test_values_of_runs_are_those_of_their_marks_on_one_axis(pages: Pages, store: Store) -> None:
    first, second = record(store), record(store, "other")
    store.mark(second, Mark("step 2", 4, -1.2))
    chart = pages.client.get(f"/dashboard/runs/values?run={first}&run={second}").json()
    assert chart["x"] == [2, 4]
    assert [(one["name"], one["values"]) for one in chart["series"]] == [("vqe", [-1.1, None]), ("other", [-1.1, -1.2])]


def test_runs_are_compared(pages: Pages, store: Store) -> None:
    ids = [record(store, name) for name in ("one", "two")]
    text = pages.get(f"/runs/compare?run={ids[0]}&run={ids[1]}&run=77")
    assert "one" in text
    assert "two" in text
    assert "-1.1" in text


def test_the_overview_and_the_timeline_show_executors(pages: Pages, store: Store) -> None:
    record(store)
    overview = pages.get("/")
    assert "north" in overview
    assert "ValueError" in overview
    assert "Nothing ran" in pages.get("/timeline")  # 2001 was not within the last hour


def test_an_experiment_shows_its_backends_over_time(
    pages: Pages, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask(self: Inspector, key: Any, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)

    monkeypatch.setattr(Inspector, "ask", ask)
    record_experiment(store)
    assert "&lt;script&gt;" in pages.get("/experiments")
    query = f"name={quote(HOSTILE)}"
    assert "local_cirq/simulator" in pages.get(f"/experiments/one?{query}")
    shown = pages.get(f"/experiments/backends?{query}")
    assert "No backend has changed." in shown
    assert HOSTILE not in shown
    chart = pages.client.get(f"/dashboard/experiments/distances?{query}&distance=hellinger").json()
    assert [one["name"] for one in chart["series"]] == ["local_aer/aer_simulator", "local_cirq/simulator"]
    assert all(0 <= value < 0.2 for one in chart["series"] for value in one["values"])
    assert "nowhere" in pages.get(f"/experiments/backends?{query}&reference=nowhere")
    assert pages.client.get("/dashboard/experiments/one?name=other").status_code == 404


def test_an_experiment_whose_run_is_recorded_again_is_looked_into_again(
    pages: Pages, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = []

    async def ask(self: Inspector, key: Any, function: Callable[..., Any], *args: Any) -> Any:
        keys.append(key)
        return function(*args)

    monkeypatch.setattr(Inspector, "ask", ask)
    text = '[{"circuit": null}]'
    backends = (BackendResults("local", "simulator", 0, 0.0, 0.0, "", "[null]"),)
    early, late = (NewExperimentRun(key, 1.0, 2.0, "digest", text, backends) for key in ("early", "late"))
    for run in (early, late, replace(early, finished=3.0)):
        store.record_experiment("bell", run)
        pages.get("/experiments/backends?name=bell&reference=local/simulator")
        pages.get("/experiments/backends?name=bell&reference=local/simulator")
    assert keys[::2] == keys[1::2]
    assert len(set(keys)) == 3


# What is seen in circuits and results


def recorded_of(store: Store, circuits: list[QuantumScript]) -> list[tuple[str, str | None]]:
    with QCluster("lightning.qubit", seed=7) as cluster, durable_run("run", store):
        cluster.execute(circuits)
    rows = store.refresh([job.id for job in store.jobs(store.run("run").id)])
    texts = store.circuits([row.circuit for row in rows])
    return [(texts[row.circuit], row.result) for row in rows]


def test_a_view_has_drawing_parameters_counts_and_values_with_errors(store: Store) -> None:
    measurements = [
        qml.counts(wires=[0, 1]),
        qml.expval(qml.Z(2)),
        qml.probs(wires=[1]),
        qml.expval(qml.X(0) + qml.Z(1)),
    ]
    circuit = QuantumScript([qml.H(0), qml.CNOT([0, 1]), qml.RX(0.3, 2)], measurements, shots=400)
    ((text, result),) = recorded_of(store, [circuit])
    view = views.recorded(text, result)
    assert "RX(0.300)" in view.drawing
    assert view.parameters == [[0.3]]
    counts, probabilities = view.histograms
    assert [label for label, _ in counts.bars] == ["00", "11"]
    assert sum(part for _, part in counts.bars) == 1.0
    assert [label for label, _ in probabilities.bars] == ["0", "1"]
    value, together = view.values
    assert value.error == pytest.approx(((1 - value.value**2) / 400) ** 0.5)
    assert together.error is None  # of a sum, one would have to know how its terms vary together


def test_a_view_of_a_sweep_has_its_rows() -> None:
    circuits = [QuantumScript([qml.RX(0.1 * row, 0)], [qml.expval(qml.Z(0))]) for row in range(30)]
    ((_, sweep),) = sweeps_of(circuits)
    view = views.recorded(sweep_text(sweep), results_text([np.cos(0.1 * row) for row in range(30)]))
    assert view.values[2].value == pytest.approx(np.cos(0.2))
    assert view.rows == 30
    assert [value.title for value in view.values][:2] == ["row 1: expval(Z(0))", "row 2: expval(Z(0))"]
    assert view.parameters[3] == [pytest.approx(0.3)]
    assert "The first 20 of 30 rows are shown." in view.notes


def test_each_part_of_the_shots_has_its_own_results_and_errors(store: Store) -> None:
    circuit = QuantumScript([qml.RX(0.5, 0)], [qml.probs(wires=[0]), qml.expval(qml.Z(0))], shots=[10, 1000])
    ((text, result),) = recorded_of(store, [circuit])
    view = views.recorded(text, result)
    assert [one.title for one in view.histograms] == ["10 shots: probs(wires=[0])", "1,000 shots: probs(wires=[0])"]
    assert [one.title for one in view.values] == ["10 shots: expval(Z(0))", "1,000 shots: expval(Z(0))"]
    for shots, bars, value in zip((10, 1000), view.histograms, view.values, strict=True):
        zero = dict(bars.bars)["0"]
        assert value.value == pytest.approx(2 * zero - 1)
        assert value.error == pytest.approx(np.sqrt((1 - value.value**2) / shots))


def test_a_chart_has_all_results_also_those_that_came_late(
    pages: Pages, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = []

    async def ask(self: Inspector, key: Any, function: Callable[..., Any], *args: Any) -> Any:
        keys.append(key)
        return function(*args)

    monkeypatch.setattr(Inspector, "ask", ask)
    monkeypatch.setattr("pennylane_qexec.server.dashboard.runs.MOST_POINTS", 2)
    run = store.open_run("late", ["late.py"], "python 3").id
    one, two, three = (
        job.id for job in store.record(run, [NewJob(n, f"k{n}", f"d{n}", "c") for n in range(3)], "me", 60.0)
    )
    for ended in ([one, three], [two]):
        store.done([Ended(job, result_text(np.array(0.5))) for job in ended], "me")
        chart = pages.client.get(f"/dashboard/runs/values?run={run}").json()
    assert len(set(keys)) == 2
    assert chart["x"] == [2, 3]  # after how many circuits, as marks have it


def test_first_values_of_results_are_numbers_however_deep(store: Store) -> None:
    two = QuantumScript([qml.RX(0.5, 0)], [qml.expval(qml.Z(0)), qml.probs(wires=[0])])
    probabilities = QuantumScript([qml.RX(0.5, 0)], [qml.probs(wires=[0])])
    results = [(place, 1, result or "") for place, (_, result) in enumerate(recorded_of(store, [two, probabilities]))]
    places, values = views.first_values([*results, (7, 1, "no result")])
    assert (places, values) == ([0], [pytest.approx(0.8775825618903728)])
