"""Add jobs, workers and schedules."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

from freshly.chassis.data import types

revision = "jobs"
down_revision = "tokens"


def instant(name: str, *, default: bool = False, nullable: bool = False) -> Column:
    server_default = sa.func.now() if default else None
    return Column(name, types.Instant(), server_default=server_default, nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "jobs",
        Column("id", sa.String(32), primary_key=True),
        Column("kind", sa.String(64), nullable=False),
        Column("payload", types.Json, nullable=False),
        Column(
            "user_id",
            sa.Integer(),
            sa.ForeignKey("users.id", ondelete="CASCADE"),
            nullable=True,
            index=True,
        ),
        Column("state", sa.String(16), nullable=False),
        Column("progress", sa.Double(), nullable=False),
        Column("result_url", sa.Text(), nullable=True),
        Column("error", sa.Text(), nullable=True),
        Column("priority", sa.Integer(), nullable=False),
        Column("dedup_key", sa.String(200), nullable=True),
        Column("again", sa.Boolean(), nullable=False),
        Column("attempts", sa.Integer(), nullable=False),
        Column("deaths", sa.Integer(), nullable=False),
        Column("taken", sa.Integer(), nullable=False),
        Column("worker_id", sa.String(32), nullable=True),
        Column("correlation_id", sa.String(64), nullable=False),
        instant("run_after"),
        instant("finished_at", nullable=True),
        instant("created_at", default=True),
        instant("updated_at", default=True),
    )
    queued, unfinished = sa.text("state = 'queued'"), sa.text("state IN ('queued', 'running')")
    op.create_index(
        "ix_jobs_due",
        "jobs",
        ["priority", "run_after", "id"],
        postgresql_where=queued,
        sqlite_where=queued,
    )
    op.create_index(
        "ix_jobs_dedup_key",
        "jobs",
        ["dedup_key"],
        unique=True,
        postgresql_where=unfinished,
        sqlite_where=unfinished,
    )
    op.create_index("ix_jobs_state_finished_at", "jobs", ["state", "finished_at"])
    op.create_table(
        "job_workers",
        Column("id", sa.String(32), primary_key=True),
        Column("name", sa.String(255), nullable=False),
        Column("dedicated", sa.Boolean(), nullable=False),
        instant("beat_at"),
    )
    op.create_table(
        "job_schedules",
        Column("kind", sa.String(64), primary_key=True),
        instant("next_at"),
    )


def downgrade() -> None:
    for table in ("job_schedules", "job_workers", "jobs"):
        op.drop_table(table)
