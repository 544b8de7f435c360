"""The tables. A change of them needs a step in ``migrations/versions``, and its name as :data:`REVISION`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

REVISION = "0003"
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
