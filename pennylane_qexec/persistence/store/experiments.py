"""Runs of experiments, within a transaction: what came back from each backend, whenever they were run."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from pennylane_qexec.errors import ConfigurationError, StoreError, unknown
from pennylane_qexec.persistence.store.database import insert_into, plain
from pennylane_qexec.persistence.store.records import (
    BackendResults,
    ExperimentRun,
    NewExperimentRun,
    StoredExperiment,
)
from pennylane_qexec.persistence.store.tables import (
    experiment_circuits,
    experiment_results,
    experiment_runs,
    experiments,
)
from pennylane_qexec.persistence.store.validation import refused, shown, test_of
from pennylane_qexec.redaction import has_secret, scrub

MOST_RUNS = 10_000
"""How many runs of an experiment stay: the latest."""

_LONGEST = 200
_NAMED = 20
_OF_RUN = {name: test_of(experiment_runs.c[name]) for name in ("id", "started", "finished", "circuits")}
_OF_RESULTS = {name: test_of(experiment_results.c[name]) for name in BackendResults._fields}
_OF_EXPERIMENT = {name: test_of(experiments.c[name]) for name in ("name", "created")}


def check_name(name: object) -> None:
    """Refuse a name for an experiment that could not be printed or typed, or that has a secret in it.

    Raises:
        ConfigurationError: it is such a name.
    """
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > _LONGEST:
        raise ConfigurationError(f"name={name!r} cannot be that of an experiment. Give a text of one line, as 'bell'.")
    if has_secret(name):
        raise ConfigurationError(
            f"the name of the experiment, {scrub(name)!r}, has a secret in it, and names are stored and shown: give "
            "another."
        )


def record(connection: Connection, name: str, run: NewExperimentRun, now: float) -> int:
    """Record a run, or what came back in one that is there already."""
    new = insert_into(connection, experiments).values(name=name, created=now)
    connection.execute(new.on_conflict_do_nothing(index_elements=["name"]))
    experiment = _id_of(connection, name)
    circuits = insert_into(connection, experiment_circuits).values(digest=run.circuits, text=run.text)
    connection.execute(circuits.on_conflict_do_nothing())
    values = {
        "experiment": experiment,
        "key": run.key,
        "started": run.started,
        "finished": run.finished,
        "circuits": run.circuits,
    }
    one = insert_into(connection, experiment_runs).values(values)
    connection.execute(one.on_conflict_do_nothing(index_elements=["key"]))
    number = int(connection.execute(select(experiment_runs.c.id).where(experiment_runs.c.key == run.key)).scalar_one())
    connection.execute(update(experiment_runs).where(experiment_runs.c.id == number).values(finished=run.finished))
    connection.execute(delete(experiment_results).where(experiment_results.c.run == number))
    if run.backends:
        texts = ("provider", "backend", "error", "results")
        rows = [
            {"run": number, **each._asdict(), **{name: plain(getattr(each, name)) for name in texts}}
            for each in run.backends
        ]
        connection.execute(insert(experiment_results), rows)
    _forget_earliest(connection, experiment)
    return number


def _forget_earliest(connection: Connection, experiment: int) -> None:
    of_experiment = experiment_runs.c.experiment == experiment
    newest = select(experiment_runs.c.id).where(of_experiment).order_by(experiment_runs.c.id.desc())
    last = connection.scalar(newest.offset(MOST_RUNS).limit(1))
    if last is None:
        return
    connection.execute(delete(experiment_runs).where(of_experiment, experiment_runs.c.id <= last))
    used = select(experiment_runs.c.id).where(experiment_runs.c.circuits == experiment_circuits.c.digest)
    connection.execute(delete(experiment_circuits).where(~used.exists()))


def page(connection: Connection, after: str, most: int) -> list[StoredExperiment]:
    """Experiments by name, from after a name on."""
    query = select(experiments).where(experiments.c.name > after).order_by(experiments.c.name).limit(most)
    return [_experiment_of(connection, row) for row in connection.execute(query).all()]


def _experiment_of(connection: Connection, row: Any) -> StoredExperiment:
    for name, test in _OF_EXPERIMENT.items():
        if not test(row._mapping[name]):
            raise refused(f"the experiment {shown(row.name)}", name, row._mapping[name])
    of_experiment = experiment_runs.c.experiment == row.id
    runs = int(connection.scalar(select(func.count()).select_from(experiment_runs).where(of_experiment)) or 0)
    newest = select(experiment_runs.c.started).where(of_experiment).order_by(experiment_runs.c.id.desc()).limit(1)
    last = connection.scalar(newest)
    if last is not None and not _OF_RUN["started"](last):
        raise refused(f"a run of the experiment {shown(row.name)}", "started", last)
    return StoredExperiment(row.name, row.created, runs, float(last or 0.0))


def page_of_runs(connection: Connection, name: str, before: int | None, most: int) -> list[ExperimentRun]:
    """Runs of an experiment, the latest first, from before one of them on."""
    experiment = _id_of(connection, name)
    query = select(*(experiment_runs.c[column] for column in _OF_RUN)).where(experiment_runs.c.experiment == experiment)
    if before is not None:
        query = query.where(experiment_runs.c.id < before)
    runs = connection.execute(query.order_by(experiment_runs.c.id.desc()).limit(most)).all()
    results: dict[int, list[BackendResults]] = {}
    if runs:
        columns = [experiment_results.c.run, *(experiment_results.c[column] for column in BackendResults._fields)]
        within = experiment_runs.c.id.between(runs[-1].id, runs[0].id)
        found = (
            select(*columns)
            .join(experiment_runs, experiment_runs.c.id == experiment_results.c.run)
            .where(experiment_runs.c.experiment == experiment, within)
            .order_by(experiment_results.c.run, experiment_results.c.provider, experiment_results.c.backend)
        )
        for number, *values in connection.execute(found):
            results.setdefault(number, []).append(BackendResults._make(values))
    return [_run_of(name, row, results.get(row.id, [])) for row in runs]


def _run_of(name: str, row: Any, results: list[BackendResults]) -> ExperimentRun:
    for column, test in _OF_RUN.items():
        if not test(row._mapping[column]):
            raise refused(f"run {shown(row.id)} of the experiment {shown(name)}", column, row._mapping[column])
    for one in results:
        for column, test in _OF_RESULTS.items():
            if not test(value := getattr(one, column)):
                raise refused(f"run {row.id} of the experiment {shown(name)}", column, value)
    return ExperimentRun(row.id, row.started, row.finished, row.circuits, tuple(results))


def circuits(connection: Connection, digest: str) -> str:
    """The circuits of a digest."""
    query = select(experiment_circuits.c.text).where(experiment_circuits.c.digest == digest)
    text = connection.scalar(query)
    if not isinstance(text, str):
        raise StoreError(f"the store has no circuits of the digest {shown(digest)}. Restore it from a backup.")
    return text


def _id_of(connection: Connection, name: str) -> int:
    number = connection.scalar(select(experiments.c.id).where(experiments.c.name == name))
    if number is None:
        known = connection.scalars(select(experiments.c.name).order_by(experiments.c.name).limit(_NAMED))
        raise StoreError(unknown("experiment", name, [str(one) for one in known]))
    return int(number)
