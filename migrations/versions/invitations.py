"""Add invitations to families, and let invite codes expire."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

from freshly.chassis.data import types

revision = "invitations"
down_revision = "own_foods"


def upgrade() -> None:
    # Null means expired. A job renews these codes soon after the start.
    op.add_column("families", Column("invite_code_expires_at", types.Instant()))
    op.create_table(
        "family_invitations",
        Column("id", sa.Integer(), primary_key=True),
        Column(
            "family_id",
            sa.Integer(),
            sa.ForeignKey("families.id", ondelete="CASCADE"),
            nullable=False,
            index=True,
        ),
        Column(
            "created_by_user_id",
            sa.Integer(),
            sa.ForeignKey("users.id", ondelete="CASCADE"),
            nullable=False,
            index=True,
        ),
        Column("role", sa.Text(), nullable=False),
        Column("token_hash", sa.String(64), nullable=False, unique=True),
        Column("code_hash", sa.String(64), nullable=False, unique=True),
        Column("code_expires_at", types.Instant(), nullable=False),
        Column("expires_at", types.Instant(), nullable=False, index=True),
        Column("uses_left", sa.Integer(), nullable=False),
        Column("created_at", types.Instant(), server_default=sa.func.now(), nullable=False),
        sa.CheckConstraint("role IN ('admin', 'member')", name="ck_family_invitations_role"),
    )


def downgrade() -> None:
    op.drop_table("family_invitations")
    op.drop_column("families", "invite_code_expires_at")
