"""When recorded experiments have last changed, for what pages remember of them."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from pennylane_qexec.persistence.store.tables import experiment_runs, experiments


def last_change(connection: Connection, name: str) -> tuple[int, float]:
    """The number of an experiment's last run, and when something came back last in any of them; 0 if there is none.

    A run is recorded again when shots of it that failed have been run elsewhere.
    """
    columns = experiment_runs.c
    query = select(func.max(columns.id), func.max(columns.finished))
    query = query.join_from(experiment_runs, experiments, columns.experiment == experiments.c.id)
    number, finished = connection.execute(query.where(experiments.c.name == name)).one()
    return number or 0, finished or 0.0
