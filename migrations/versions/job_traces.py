"""Keep the trace of the request that enqueued a job."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

revision = "job_traces"
down_revision = "accounts_for_operators"


def upgrade() -> None:
    op.add_column("jobs", Column("traceparent", sa.String(55), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "traceparent")
