"""Jobs say how many circuits were asked for in them: the rows of a sweep."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the number. The jobs that are there are of one circuit each."""
    op.add_column("qexec_jobs", sa.Column("rows", sa.BigInteger(), server_default="1", nullable=False))
