"""Close accounts before they are deleted."""

import sqlalchemy as sa
from alembic import op

from freshly.chassis.data import types

revision = "delete_after"
down_revision = "pending_email"


def upgrade() -> None:
    op.add_column("users", sa.Column("delete_after", types.Instant()))


def downgrade() -> None:
    op.drop_column("users", "delete_after")
