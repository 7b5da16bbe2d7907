"""Keep a new email address pending until it is confirmed."""

import sqlalchemy as sa
from alembic import op

revision = "pending_email"
down_revision = "account_codes"


def upgrade() -> None:
    op.add_column("users", sa.Column("pending_email", sa.Text()))


def downgrade() -> None:
    op.drop_column("users", "pending_email")
