"""Store codes as seeds, and the links in emails. Neither shows a code without the secret."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

from freshly.chassis.data import types

revision = "account_codes"
down_revision = "offers_as_snapshots"


def upgrade() -> None:
    op.create_table(
        "account_codes",
        Column("subject", sa.String(320), primary_key=True),
        Column("purpose", sa.String(16), primary_key=True),
        Column("seed", sa.String(32), nullable=False),
        Column("expires_at", types.Instant(), nullable=False, index=True),
        Column("tries", sa.Integer(), nullable=False),
        Column("known_tries", sa.Integer(), nullable=False),
    )
    op.create_table(
        "account_links",
        Column("id", sa.String(32), primary_key=True),
        Column(
            "user_id",
            sa.Integer(),
            sa.ForeignKey("users.id", ondelete="CASCADE"),
            nullable=False,
            index=True,
        ),
        Column("purpose", sa.String(32), nullable=False),
        Column("expires_at", types.Instant(), nullable=False, index=True),
        Column("address", sa.String(320)),
        Column("created_at", types.Instant(), server_default=sa.func.now(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("account_links")
    op.drop_table("account_codes")
