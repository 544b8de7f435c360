"""The first tables: runs, circuits, jobs, workers and the cache."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    _make_runs_and_circuits()
    _make_jobs()
    _make_workers_and_cache()


def _make_runs_and_circuits() -> None:
    op.create_table(
        "qexec_runs",
        sa.Column("id", _LONG, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("opened", sa.Double(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("argv", sa.Text(), nullable=False),
        sa.Column("versions", sa.Text(), nullable=False),
        sa.Column("finished", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="qexec_runs_pkey"),
        sa.UniqueConstraint("name", name="qexec_runs_name_key"),
    )
    op.create_table(
        "qexec_circuits",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="qexec_circuits_pkey"),
    )


def _make_jobs() -> None:
    op.create_table(
        "qexec_jobs",
        sa.Column("id", _LONG, nullable=False),
        sa.Column("run", _LONG, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("circuit", sa.Text(), nullable=False),
        sa.Column("executor", sa.Text(), nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("shots", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="1", nullable=False),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("worker", sa.Text()),
        sa.Column("remote_id", sa.Text()),
        sa.Column("remote_index", sa.Integer()),
        sa.Column("submitted", sa.Double(), nullable=False),
        sa.Column("started", sa.Double(), server_default="0", nullable=False),
        sa.Column("finished", sa.Double()),
        sa.Column("seconds", sa.Double(), server_default="0", nullable=False),
        sa.Column("cost", sa.Double(), server_default="0", nullable=False),
        sa.Column("error", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("result", sa.Text()),
        sa.Column("claim", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="qexec_jobs_pkey"),
        sa.ForeignKeyConstraint(["run"], ["qexec_runs.id"], name="qexec_jobs_run_fkey"),
        sa.ForeignKeyConstraint(["circuit"], ["qexec_circuits.digest"], name="qexec_jobs_circuit_fkey"),
        sa.UniqueConstraint("run", "number", name="qexec_jobs_run_number_key"),
    )
    unfinished = sa.text("finished IS NULL")
    op.create_index(
        "qexec_jobs_open", "qexec_jobs", ["worker", "run"], sqlite_where=unfinished, postgresql_where=unfinished
    )


def _make_workers_and_cache() -> None:
    op.create_table(
        "qexec_workers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.Column("lease", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="qexec_workers_pkey"),
    )
    op.create_table(
        "qexec_cache",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("used", sa.Double(), nullable=False),
        sa.Column("uses", sa.BigInteger(), nullable=False),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="qexec_cache_pkey"),
    )
    op.create_index("qexec_cache_turn", "qexec_cache", ["turn", "bytes"])
