"""Add the table that names the oldest release that may serve on the schema."""

import sqlalchemy as sa
from alembic import op

revision = "serves_since"
down_revision = "job_traces"
# Older releases do not look at the table, and refuse each revision that they do not know.
serves_since = "serves_since"


def upgrade() -> None:
    op.create_table("serves_since", sa.Column("revision", sa.String(32), primary_key=True))


def downgrade() -> None:
    op.drop_table("serves_since")
