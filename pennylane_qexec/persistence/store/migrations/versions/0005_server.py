"""What the server records: jobs, sessions, usage, tokens."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    _make_jobs()
    _make_what_belongs_to_jobs()
    _make_sessions()
    _make_users()


def _make_jobs() -> None:
    op.create_table(
        "qexec_server_jobs",
        sa.Column("number", _LONG, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("program", sa.Text(), nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("session", sa.Text()),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("log_level", sa.Text(), nullable=False),
        sa.Column("max_seconds", sa.Double()),
        sa.Column("private", sa.Boolean(), nullable=False),
        sa.Column("runtime", sa.Text()),
        sa.Column("calibration_id", sa.Text()),
        sa.Column("key", sa.Text()),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("reason_code", sa.Integer()),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("started", sa.Double()),
        sa.Column("finished", sa.Double()),
        sa.Column("seconds", sa.Double(), server_default="0", nullable=False),
        sa.Column("server", sa.Text()),
        sa.Column("attempt", sa.Integer(), server_default="1", nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("claim", sa.Text()),
        sa.PrimaryKeyConstraint("number", name="qexec_server_jobs_pkey"),
        sa.UniqueConstraint("id", name="qexec_server_jobs_id_key"),
    )
    op.create_index("qexec_server_jobs_user", "qexec_server_jobs", ["user", "created", "number"])
    op.create_index("qexec_server_jobs_created", "qexec_server_jobs", ["created", "number"])
    op.create_index("qexec_server_jobs_session", "qexec_server_jobs", ["session", "number"])
    op.create_index("qexec_server_jobs_finished", "qexec_server_jobs", ["finished"])
    some = {
        "pending": (["user", "created", "number"], "finished IS NULL"),
        "queue": (["queue", "number"], "status = 'Queued'"),
        "running": (["server"], "status = 'Running'"),
    }
    for name, (columns, condition) in some.items():
        where = sa.text(condition)
        op.create_index(
            f"qexec_server_jobs_{name}", "qexec_server_jobs", columns, sqlite_where=where, postgresql_where=where
        )


def _make_what_belongs_to_jobs() -> None:
    _make_of_jobs("qexec_server_params", sa.Column("params", sa.LargeBinary(), nullable=False))
    _make_of_jobs("qexec_server_results", sa.Column("result", sa.Text()), sa.Column("log", sa.Text(), nullable=False))
    _make_of_jobs("qexec_server_tags", sa.Column("tag", sa.Text(), nullable=False), key=("job", "tag"))
    op.create_index("qexec_server_tags_tag", "qexec_server_tags", ["tag", "job"])


def _make_of_jobs(name: str, *columns: sa.Column[Any], key: tuple[str, ...] = ("job",)) -> None:
    op.create_table(
        name,
        sa.Column("job", _LONG, nullable=False),
        *columns,
        sa.PrimaryKeyConstraint(*key, name=f"{name}_pkey"),
        sa.ForeignKeyConstraint(["job"], ["qexec_server_jobs.number"], name=f"{name}_job_fkey", ondelete="CASCADE"),
    )


def _make_sessions() -> None:
    op.create_table(
        "qexec_server_sessions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("instance", sa.Text()),
        sa.Column("max_ttl", sa.Double(), nullable=False),
        sa.Column("interactive_ttl", sa.Double(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("activated", sa.Double()),
        sa.Column("last_job_started", sa.Double()),
        sa.Column("last_job_completed", sa.Double()),
        sa.Column("seconds", sa.Double(), server_default="0", nullable=False),
        sa.Column("stopped", sa.Double()),
        sa.Column("closed", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="qexec_server_sessions_pkey"),
    )
    op.create_index("qexec_server_sessions_user", "qexec_server_sessions", ["user", "created"])
    is_open = sa.text("closed IS NULL")
    op.create_index(
        "qexec_server_sessions_open", "qexec_server_sessions", ["id"], sqlite_where=is_open, postgresql_where=is_open
    )


def _make_users() -> None:
    op.create_table(
        "qexec_server_usage",
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("day", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("jobs", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user", "day", name="qexec_server_usage_pkey"),
    )
    op.create_table(
        "qexec_server_tokens",
        sa.Column("id", _LONG, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("admin", sa.Boolean(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("revoked", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="qexec_server_tokens_pkey"),
        sa.UniqueConstraint("digest", name="qexec_server_tokens_digest_key"),
    )
    op.create_table(
        "qexec_server_secrets",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="qexec_server_secrets_pkey"),
    )
