"""Jobs say how many circuits their backend runs for them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the number. For the jobs that are there, it is what was counted of them: one."""
    op.add_column("qexec_jobs", sa.Column("circuits", sa.BigInteger(), server_default="1", nullable=False))
