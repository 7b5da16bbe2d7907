"""Count the tokens that users and families use per day."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

revision = "tokens"
down_revision = "every_call"

ONE_OWNER = (
    "(family_id IS NOT NULL AND owner_user_id IS NULL)"
    " OR (family_id IS NULL AND owner_user_id IS NOT NULL)"
)


def upgrade() -> None:
    op.create_table(
        "model_usage",
        Column("id", sa.Integer(), primary_key=True),
        Column(
            "family_id", sa.Integer(), sa.ForeignKey("families.id", ondelete="CASCADE"), index=True
        ),
        Column(
            "owner_user_id", sa.Integer(), sa.ForeignKey("users.id", ondelete="CASCADE"), index=True
        ),
        Column("day", sa.Date(), nullable=False, index=True),
        Column("tokens", sa.BigInteger(), nullable=False),
        Column("calls", sa.Integer(), nullable=False),
        sa.UniqueConstraint("owner_user_id", "day"),
        sa.UniqueConstraint("family_id", "day"),
        sa.CheckConstraint(ONE_OWNER, name="ck_model_usage_one_owner"),
    )


def downgrade() -> None:
    op.drop_table("model_usage")
