"""The tables of the store's database.

A change of them needs a step in ``migrations/versions``, and its name as :data:`REVISION`.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

REVISION = "0007"
"""The last migration: what an opened database is at."""

VERSION_TABLE = "qexec_version"

metadata = MetaData(
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "pk": "%(table_name)s_pkey",
    }
)

_LONG = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows only by themselves if it is an INTEGER

runs = Table(
    "qexec_runs",
    metadata,
    Column("id", _LONG, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("created", Double, nullable=False),
    Column("opened", Double, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("argv", Text, nullable=False),
    Column("versions", Text, nullable=False),
    Column("finished", Boolean, nullable=False),
    Column("concurrent", Boolean, nullable=False, server_default=false()),
    Column("parent", BigInteger),  # id of the run that it was forked from
    Column("fork_point", BigInteger),  # how many circuits came from there
)

marks = Table(
    "qexec_marks",
    metadata,
    Column("run", _LONG, ForeignKey("qexec_runs.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("value", Double),
)

circuits = Table(
    "qexec_circuits",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("text", Text, nullable=False),
)

jobs = Table(
    "qexec_jobs",
    metadata,
    Column("id", _LONG, primary_key=True),
    Column("run", _LONG, ForeignKey("qexec_runs.id"), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("key", Text, nullable=False),
    Column("circuit", Text, ForeignKey("qexec_circuits.digest"), nullable=False),
    Column("executor", Text, nullable=False),
    Column("backend", Text, nullable=False),
    Column("shots", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False, server_default="1"),
    Column("state", Text, nullable=False, server_default="waiting"),
    Column("worker", Text),
    Column("remote_id", Text),
    Column("remote_index", Integer),
    Column("submitted", Double, nullable=False),
    Column("started", Double, nullable=False, server_default="0"),
    Column("finished", Double),  # NULL as long as the job has not ended
    Column("seconds", Double, nullable=False, server_default="0"),
    Column("cost", Double, nullable=False, server_default="0"),
    Column("error", Text, nullable=False, server_default=text("''")),
    Column("result", Text),
    Column("claim", Text),  # which call of claim() got the job, so that the call can be repeated
    Column("circuits", BigInteger, nullable=False, server_default="1"),
    Column("rows", BigInteger, nullable=False, server_default="1"),
    Column("copied_from", BigInteger),  # id of the job of another run that this is a copy of
    UniqueConstraint("run", "number"),
)

_OPEN = jobs.c.finished.is_(None)
Index("qexec_jobs_open", jobs.c.worker, jobs.c.run, sqlite_where=_OPEN, postgresql_where=_OPEN)

workers = Table(
    "qexec_workers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("beat", BigInteger, nullable=False),
    Column("lease", Double, nullable=False),
)

cache = Table(
    "qexec_cache",
    metadata,
    Column("key", Text, primary_key=True),
    Column("result", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("created", Double, nullable=False),
    Column("used", Double, nullable=False),
    Column("uses", BigInteger, nullable=False),
    Column("turn", BigInteger, nullable=False),  # counts up with every use: clocks jump
    Index("qexec_cache_turn", "turn", "bytes"),
)


# Experiments

experiments = Table(
    "qexec_experiments",
    metadata,
    Column("id", _LONG, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("created", Double, nullable=False),
)

experiment_circuits = Table(
    "qexec_experiment_circuits",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("text", Text, nullable=False),
)

experiment_runs = Table(
    "qexec_experiment_runs",
    metadata,
    Column("id", _LONG, primary_key=True),
    Column("experiment", _LONG, ForeignKey("qexec_experiments.id"), nullable=False),
    Column("key", Text, nullable=False, unique=True),  # so that a run can be recorded again
    Column("started", Double, nullable=False),
    Column("finished", Double, nullable=False),
    Column("circuits", Text, ForeignKey("qexec_experiment_circuits.digest"), nullable=False),
    Index("qexec_experiment_runs_experiment", "experiment", "id"),
    Index("qexec_experiment_runs_circuits", "circuits"),
)

experiment_results = Table(
    "qexec_experiment_results",
    metadata,
    Column("run", _LONG, ForeignKey("qexec_experiment_runs.id", ondelete="CASCADE"), primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("backend", Text, primary_key=True),
    Column("shots", BigInteger, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("cost", Double, nullable=False),
    Column("error", Text, nullable=False),
    Column("results", Text, nullable=False),
)


# The server's

server_jobs = Table(
    "qexec_server_jobs",
    metadata,
    Column("number", _LONG, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("user", Text, nullable=False),
    Column("program", Text, nullable=False),
    Column("backend", Text, nullable=False),
    Column("session", Text),
    Column("tags", Text, nullable=False),  # a JSON list; to be found by, they are in a table of their own
    Column("log_level", Text, nullable=False),
    Column("max_seconds", Double),
    Column("private", Boolean, nullable=False),
    Column("runtime", Text),
    Column("calibration_id", Text),
    Column("key", Text),
    Column(
        "queue", Text, nullable=False
    ),  # jobs of one queue run in turn: those of a session, or of a user, at a backend
    Column("status", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=text("''")),
    Column("reason_code", Integer),
    Column("created", Double, nullable=False),
    Column("started", Double),
    Column("finished", Double),  # NULL as long as the job has not ended
    Column("seconds", Double, nullable=False, server_default="0"),
    Column("server", Text),
    Column("attempt", Integer, nullable=False, server_default="1"),
    Column("cancel_requested", Boolean, nullable=False, server_default=false()),
    Column("claim", Text),  # which call of claim() got the job, so that the call can be repeated
    Index("qexec_server_jobs_user", "user", "created", "number"),
    Index("qexec_server_jobs_created", "created", "number"),
    Index("qexec_server_jobs_session", "session", "number"),
    Index("qexec_server_jobs_finished", "finished"),
)

_PENDING = server_jobs.c.finished.is_(None)
_WAITS = server_jobs.c.status == "Queued"
_RUNS = server_jobs.c.status == "Running"
Index(
    "qexec_server_jobs_queue", server_jobs.c.queue, server_jobs.c.number, sqlite_where=_WAITS, postgresql_where=_WAITS
)
Index(
    "qexec_server_jobs_pending",
    server_jobs.c.user,
    server_jobs.c.created,
    server_jobs.c.number,
    sqlite_where=_PENDING,
    postgresql_where=_PENDING,
)
Index("qexec_server_jobs_running", server_jobs.c.server, sqlite_where=_RUNS, postgresql_where=_RUNS)


def _of_a_job() -> Column[int]:
    return Column("job", _LONG, ForeignKey("qexec_server_jobs.number", ondelete="CASCADE"), primary_key=True)


server_params = Table("qexec_server_params", metadata, _of_a_job(), Column("params", LargeBinary, nullable=False))

server_results = Table(
    "qexec_server_results", metadata, _of_a_job(), Column("result", Text), Column("log", Text, nullable=False)
)

server_tags = Table(
    "qexec_server_tags",
    metadata,
    _of_a_job(),
    Column("tag", Text, primary_key=True),
    Index("qexec_server_tags_tag", "tag", "job"),
)

server_sessions = Table(
    "qexec_server_sessions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user", Text, nullable=False),
    Column("backend", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("instance", Text),
    Column("max_ttl", Double, nullable=False),
    Column("interactive_ttl", Double, nullable=False),
    Column("created", Double, nullable=False),
    Column("activated", Double),
    Column("last_job_started", Double),
    Column("last_job_completed", Double),
    Column("seconds", Double, nullable=False, server_default="0"),
    Column("stopped", Double),  # NULL as long as it takes jobs
    Column("closed", Double),  # NULL as long as it was not closed
    Index("qexec_server_sessions_user", "user", "created"),
)

_OPEN_SESSION = server_sessions.c.closed.is_(None)
Index("qexec_server_sessions_open", server_sessions.c.id, sqlite_where=_OPEN_SESSION, postgresql_where=_OPEN_SESSION)

server_usage = Table(
    "qexec_server_usage",
    metadata,
    Column("user", Text, primary_key=True),
    Column("day", BigInteger, primary_key=True),  # since 1970
    Column("seconds", Double, nullable=False),
    Column("jobs", BigInteger, nullable=False),
)

server_tokens = Table(
    "qexec_server_tokens",
    metadata,
    Column("id", _LONG, primary_key=True),
    Column("digest", Text, nullable=False, unique=True),  # SHA-256, in hexadecimal digits
    Column("user", Text, nullable=False),
    Column("admin", Boolean, nullable=False),
    Column("created", Double, nullable=False),
    Column("revoked", Double),
)

server_secrets = Table(
    "qexec_server_secrets", metadata, Column("name", Text, primary_key=True), Column("secret", Text, nullable=False)
)
