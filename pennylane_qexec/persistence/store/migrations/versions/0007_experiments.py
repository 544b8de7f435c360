"""Experiments that were recorded, with what came back from each of their backends."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make their tables."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "qexec_experiments",
        sa.Column("id", number, primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="qexec_experiments_pkey"),
        sa.UniqueConstraint("name", name="qexec_experiments_name_key"),
    )
    op.create_table(
        "qexec_experiment_circuits",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="qexec_experiment_circuits_pkey"),
    )
    op.create_table(
        "qexec_experiment_runs",
        sa.Column("id", number, primary_key=True),
        sa.Column("experiment", number, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("started", sa.Double(), nullable=False),
        sa.Column("finished", sa.Double(), nullable=False),
        sa.Column("circuits", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="qexec_experiment_runs_pkey"),
        sa.UniqueConstraint("key", name="qexec_experiment_runs_key_key"),
        sa.ForeignKeyConstraint(["experiment"], ["qexec_experiments.id"], name="qexec_experiment_runs_experiment_fkey"),
        sa.ForeignKeyConstraint(
            ["circuits"], ["qexec_experiment_circuits.digest"], name="qexec_experiment_runs_circuits_fkey"
        ),
    )
    op.create_index("qexec_experiment_runs_experiment", "qexec_experiment_runs", ["experiment", "id"])
    op.create_index("qexec_experiment_runs_circuits", "qexec_experiment_runs", ["circuits"])
    op.create_table(
        "qexec_experiment_results",
        sa.Column("run", number, nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("shots", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("cost", sa.Double(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("results", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run", "provider", "backend", name="qexec_experiment_results_pkey"),
        sa.ForeignKeyConstraint(
            ["run"], ["qexec_experiment_runs.id"], name="qexec_experiment_results_run_fkey", ondelete="CASCADE"
        ),
    )
