"""Add administrators, the record of their acts, and invitations to sign up."""

import sqlalchemy as sa
from alembic import op

from freshly.chassis.data import types

revision = "accounts_for_operators"
down_revision = "closed_families"


def upgrade() -> None:
    op.create_table(
        "administrator_acts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("correlation_id", sa.String(length=64), nullable=False),
        sa.Column("by_command", sa.Boolean(), nullable=False),
        sa.Column("administrator_id", sa.Integer(), nullable=True),
        sa.Column("account_id", sa.Integer(), nullable=True),
        sa.Column("detail", sa.String(length=64), nullable=True),
        sa.Column("address", sa.String(length=45), nullable=True),
        sa.Column("session_id", sa.String(length=32), nullable=True),
        sa.Column("created_at", types.Instant(), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["users.id"],
            name=op.f("administrator_acts_account_id_fkey"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["administrator_id"],
            ["users.id"],
            name=op.f("administrator_acts_administrator_id_fkey"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("administrator_acts_pkey")),
    )
    with op.batch_alter_table("administrator_acts") as batch_op:
        batch_op.create_index(batch_op.f("ix_administrator_acts_account_id"), ["account_id"])
        batch_op.create_index(
            batch_op.f("ix_administrator_acts_administrator_id"), ["administrator_id"]
        )
        batch_op.create_index("ix_administrator_acts_created_at", ["created_at"])
    op.create_table(
        "sign_up_invitations",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("expires_at", types.Instant(), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=True),
        sa.Column("makes_administrator", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("is_set_up", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_by_user_id", sa.Integer(), nullable=True),
        sa.Column("created_at", types.Instant(), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["created_by_user_id"],
            ["users.id"],
            name=op.f("sign_up_invitations_created_by_user_id_fkey"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("sign_up_invitations_pkey")),
    )
    with op.batch_alter_table("sign_up_invitations") as batch_op:
        batch_op.create_index(
            batch_op.f("ix_sign_up_invitations_created_by_user_id"), ["created_by_user_id"]
        )
        batch_op.create_index(batch_op.f("ix_sign_up_invitations_expires_at"), ["expires_at"])
    # The default lets the previous release insert users, too.
    op.add_column(
        "users",
        sa.Column("is_administrator", sa.Boolean(), server_default=sa.false(), nullable=False),
    )


def downgrade() -> None:
    op.drop_column("users", "is_administrator")
    with op.batch_alter_table("sign_up_invitations") as batch_op:
        batch_op.drop_index(batch_op.f("ix_sign_up_invitations_expires_at"))
        batch_op.drop_index(batch_op.f("ix_sign_up_invitations_created_by_user_id"))
    op.drop_table("sign_up_invitations")
    with op.batch_alter_table("administrator_acts") as batch_op:
        batch_op.drop_index("ix_administrator_acts_created_at")
        batch_op.drop_index(batch_op.f("ix_administrator_acts_administrator_id"))
        batch_op.drop_index(batch_op.f("ix_administrator_acts_account_id"))
    op.drop_table("administrator_acts")
