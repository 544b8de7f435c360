"""Runs whose jobs were asked for by several threads are marked."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the mark. The runs that are there had no use for it."""
    op.add_column("qexec_runs", sa.Column("concurrent", sa.Boolean(), server_default=sa.false(), nullable=False))
