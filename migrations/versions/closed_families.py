"""Close families before they are deleted."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

from freshly.chassis.data import types

revision = "closed_families"
down_revision = "invitations"


def upgrade() -> None:
    op.add_column("families", Column("delete_after", types.Instant()))
    op.create_index("ix_families_delete_after", "families", ["delete_after"])
    op.add_column("account_links", Column("family_id", sa.Integer()))
    op.create_table(
        "closed_memberships",
        _family_id(),
        Column(
            "user_id",
            sa.Integer(),
            sa.ForeignKey("users.id", ondelete="CASCADE"),
            primary_key=True,
            index=True,
        ),
        Column("membership_id", sa.Integer(), nullable=False, unique=True),
        Column("role", sa.Text(), nullable=False),
        Column("joined_at", types.Instant(), nullable=False),
    )
    op.create_table(
        "closed_references",
        _family_id(),
        Column("table_name", sa.String(64), primary_key=True),
        Column("column_name", sa.String(64), primary_key=True),
        Column("row_id", sa.Integer(), primary_key=True),
        Column("value", sa.Integer(), nullable=False),
    )


def downgrade() -> None:
    """Give closed families back to their members, because the older release cannot undo it."""
    op.execute(
        "INSERT INTO family_memberships (id, family_id, user_id, role, joined_at)"
        " SELECT membership_id, family_id, user_id, role, joined_at FROM closed_memberships"
    )
    references = op.get_bind().execute(
        sa.text("SELECT DISTINCT table_name, column_name FROM closed_references")
    )
    for table, column in references.all():
        op.execute(
            f"UPDATE {table} SET {column} = (SELECT value FROM closed_references"  # noqa: S608
            f" WHERE table_name = '{table}' AND column_name = '{column}' AND row_id = {table}.id)"
            f" WHERE {column} IS NULL AND id IN (SELECT row_id FROM closed_references"
            f" WHERE table_name = '{table}' AND column_name = '{column}')"
        )
    op.drop_table("closed_references")
    op.drop_table("closed_memberships")
    op.drop_column("account_links", "family_id")
    op.drop_index("ix_families_delete_after", "families")
    op.drop_column("families", "delete_after")


def _family_id() -> Column[int]:
    return Column(
        "family_id",
        sa.Integer(),
        sa.ForeignKey("families.id", ondelete="CASCADE"),
        primary_key=True,
    )
