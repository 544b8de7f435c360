"""Runs that were forked from others, and marks at which they can be."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them. The runs that are there were forked from none."""
    op.add_column("qexec_runs", sa.Column("parent", sa.BigInteger()))
    op.add_column("qexec_runs", sa.Column("fork_point", sa.BigInteger()))
    op.add_column("qexec_jobs", sa.Column("copied_from", sa.BigInteger()))
    op.create_table(
        "qexec_marks",
        sa.Column("run", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double()),
        sa.PrimaryKeyConstraint("run", "name", name="qexec_marks_pkey"),
        sa.ForeignKeyConstraint(["run"], ["qexec_runs.id"], name="qexec_marks_run_fkey"),
    )
