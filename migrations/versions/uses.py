"""Add notification preferences, and count the generated pantry images per day."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

revision = "uses"
down_revision = "kept_answers"


def upgrade() -> None:
    op.create_table(
        "notice_choices",
        Column("id", sa.Integer(), primary_key=True),
        Column(
            "user_id",
            sa.Integer(),
            sa.ForeignKey("users.id", ondelete="CASCADE"),
            nullable=False,
            unique=True,
        ),
        Column("digest", sa.String(16), nullable=False),
        Column("digest_on", sa.Date()),
    )
    op.add_column(
        "model_usage", Column("pictures", sa.Integer(), nullable=False, server_default="0")
    )


def downgrade() -> None:
    op.drop_column("model_usage", "pictures")
    op.drop_table("notice_choices")
