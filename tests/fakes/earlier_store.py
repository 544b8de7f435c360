"""Databases as earlier versions of the package have left them."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

from pennylane_qexec.persistence.store.sql import MIGRATIONS

_RUN = (
    "INSERT INTO qexec_runs (id, name, created, opened, seed, argv, versions, finished)"
    " VALUES (7, 'vqe', 1.5, 2.5, 42, '[\"vqe.py\"]', 'pennylane 1', :finished)"
)
_JOB = (
    "INSERT INTO qexec_jobs (run, number, key, circuit, executor, backend, shots, submitted, finished, state, result)"
    " VALUES (7, 0, 'key0', 'digest0', 'simulator', '', 100, 1.5, 2.5, 'done', 'the result')"
)


def make_store_of_0001(url: str) -> None:
    """A database at the first migration: the run ``"vqe"``, finished, with one job that is done."""
    with create_engine(url).begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        command.upgrade(config, "0001")
        connection.execute(text(_RUN), {"finished": True})
        connection.execute(text("INSERT INTO qexec_circuits (digest, text) VALUES ('digest0', 'circuit 0')"))
        connection.execute(text(_JOB))
