"""Jobs of an experiment as a table."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd

from pennylane_qexec.engine import tables
from pennylane_qexec.engine.tables import OF_EXPERIMENT as COLUMNS
from pennylane_qexec.experiment import Record, ResultCollector
from pennylane_qexec.job import JobState

DONE = Record(
    job=1,
    circuit=0,
    provider="local_aer",
    backend="fake_manila",
    shots=100,
    state=JobState.DONE,
    result={"00": 60, "11": 40},
    submitted=1000.0,
    started=1002.5,
    finished=1004.0,
    seconds=0.5,
    cost=0.25,
    attempt=2,
    instead_of="local_cirq/cirq.simulator",
)
FAILED = Record(0, 3, "qbraid", "qpu", 10, JobState.FAILED, submitted=1001.0, error="ValueError: no")


def to_dataframe(records: list[Record]) -> pd.DataFrame:
    return tables.to_dataframe(records, COLUMNS)


def test_the_docstring_names_every_column_and_the_table_has_no_others() -> None:
    assert list(to_dataframe([DONE]).columns) == list(COLUMNS)
    assert [name for name in COLUMNS if f"``{name}``" not in (ResultCollector.to_dataframe.__doc__ or "")] == []


def test_columns_have_their_order_and_their_types() -> None:
    kinds = {name: kind.kind for name, kind in to_dataframe([DONE, FAILED]).dtypes.items()}
    texts = ("provider", "backend", "state", "error", "instead_of")
    assert list(kinds) == [
        *("job", "circuit", "provider", "backend", "shots", "state", "submitted", "started", "finished"),
        *("seconds_queued", "seconds_running", "cost", "attempt", "error", "instead_of", "result"),
    ]
    assert {kinds[name] for name in ("job", "circuit", "shots", "attempt")} == {"i"}
    assert {kinds[name] for name in ("submitted", "started", "finished")} == {"M"}
    assert {kinds[name] for name in ("seconds_queued", "seconds_running", "cost")} == {"f"}
    assert all(isinstance(value, str) for name in texts for value in to_dataframe([DONE, FAILED])[name])


def test_a_job_that_is_done_has_times_in_utc_seconds_and_counts() -> None:
    row = to_dataframe([DONE]).iloc[0]
    assert (row.job, row.circuit, row.provider, row.backend, row.shots) == (1, 0, "local_aer", "fake_manila", 100)
    assert row.state == "done"
    assert row.started == datetime.fromtimestamp(1002.5, UTC)
    assert (row.seconds_queued, row.seconds_running, row.cost, row.attempt) == (2.5, 0.5, 0.25, 2)
    assert row.result == {"00": 60, "11": 40}
    assert row.instead_of == "local_cirq/cirq.simulator"
    assert row.error == ""


def test_times_that_are_unknown_are_not_the_year_1970() -> None:
    row = to_dataframe([FAILED]).iloc[0]
    assert row.submitted == datetime.fromtimestamp(1001.0, UTC)
    assert pd.isna(row.started)
    assert pd.isna(row.finished)
    assert pd.isna(row.seconds_queued)
    assert row.result is None
    assert (row.state, row.error, row.instead_of) == ("failed", "ValueError: no", "")


def test_tables_with_and_without_rows_have_the_same_kinds_of_times() -> None:
    empty, full = to_dataframe([]), to_dataframe([DONE, FAILED])
    assert len(empty) == 0
    assert list(empty.columns) == list(COLUMNS)
    for name in ("submitted", "started", "finished"):
        assert str(empty[name].dt.tz) == str(full[name].dt.tz) == "UTC"


def test_shots_by_backend_can_be_summed_up() -> None:
    table = to_dataframe([DONE, DONE, FAILED])
    assert table[table.state == "done"].groupby("backend").shots.sum().to_dict() == {"fake_manila": 200}
