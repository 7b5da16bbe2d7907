"""Store codes by email address, and chat messages that were cut short."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

from freshly.chassis.data import types

revision = "every_call"
down_revision = "kitchen_loop"


def upgrade() -> None:
    op.create_table(
        "email_codes",
        Column("address", sa.String(320), primary_key=True),
        Column("purpose", sa.String(16), primary_key=True),
        Column("code", sa.String(6), nullable=False),
        Column("expires_at", types.Instant(), nullable=False, index=True),
        Column("tries", sa.Integer(), nullable=False),
    )
    op.create_index("ix_oauth_accounts_user_id", "oauth_accounts", ["user_id"])
    op.create_index("ix_recipes_family_id", "recipes", ["family_id"])
    op.create_index(
        "ix_notifications_related_share_request_id", "notifications", ["related_share_request_id"]
    )
    op.add_column(
        "chat_messages",
        Column("interrupted", sa.Boolean(), server_default=sa.false(), nullable=False),
    )


def downgrade() -> None:
    op.drop_column("chat_messages", "interrupted")
    op.drop_index("ix_notifications_related_share_request_id", "notifications")
    op.drop_index("ix_recipes_family_id", "recipes")
    op.drop_index("ix_oauth_accounts_user_id", "oauth_accounts")
    op.drop_table("email_codes")
