"""Store responses under idempotency keys."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

from freshly.chassis.data import types

revision = "kept_answers"
down_revision = "account"


def upgrade() -> None:
    op.create_table(
        "idempotency_keys",
        Column("id", sa.String(64), primary_key=True),
        Column("user_id", sa.Integer(), sa.ForeignKey("users.id", ondelete="CASCADE"), index=True),
        Column("fingerprint", sa.String(64), nullable=False),
        Column("holder", sa.String(32), nullable=False),
        Column("expires_at", types.Instant(), nullable=False, index=True),
        Column("status", sa.Integer()),
        Column("sealed", sa.LargeBinary()),
    )


def downgrade() -> None:
    op.drop_table("idempotency_keys")
