"""Tables of jobs, workers and schedules."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from freshly.chassis.data.base import Base, Created, Updated
from freshly.chassis.data.functions import now
from freshly.chassis.data.quotas import CountsTowards
from freshly.chassis.data.types import Instant, Json
from freshly.chassis.jobs.definitions import JobState

IS_QUEUED = text("state = 'queued'")
IS_UNFINISHED = text("state IN ('queued', 'running')")


class JobRow(Created, Updated, Base):
    """A job: its payload, its state, and the lease of the worker that runs it."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)  # sorts by time of creation
    kind: Mapped[str] = mapped_column(String(64))
    payload: Mapped[dict[str, Any]] = mapped_column(Json)  # emptied when the job is done
    user_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    priority: Mapped[int]
    dedup_key: Mapped[str | None] = mapped_column(String(200))
    correlation_id: Mapped[str] = mapped_column(String(64))
    # The span that enqueued the job, as in the header of that name, while requests are traced.
    traceparent: Mapped[str | None] = mapped_column(String(55), default=None, kw_only=True)
    state: Mapped[str] = mapped_column(String(16), default=JobState.QUEUED)
    progress: Mapped[float] = mapped_column(default=0.0)  # from 0 to 1
    result_url: Mapped[str | None] = mapped_column(Text, default=None)
    error: Mapped[str | None] = mapped_column(Text, default=None)
    # Set when the same key is enqueued while the job runs: the run may have read old rows.
    rerun: Mapped[bool] = mapped_column("again", default=False)
    attempts: Mapped[int] = mapped_column(default=0)  # failed runs; a crash does not count
    crashes: Mapped[int] = mapped_column("deaths", default=0)  # of workers that ran this job
    # A fencing token: it rises with each claim, and earlier holders can no longer commit.
    lease: Mapped[int] = mapped_column("taken", default=0)
    worker_id: Mapped[str | None] = mapped_column(String(32), default=None)
    run_after: Mapped[datetime] = mapped_column(Instant(), init=False, insert_default=now())
    finished_at: Mapped[datetime | None] = mapped_column(Instant(), default=None)

    __quotas__ = (CountsTowards("jobs", person="user_id"),)
    __table_args__ = (
        Index(
            "ix_jobs_due",
            *("priority", "run_after", "id"),
            postgresql_where=IS_QUEUED,
            sqlite_where=IS_QUEUED,
        ),
        Index(
            "ix_jobs_dedup_key",
            "dedup_key",
            unique=True,
            postgresql_where=IS_UNFINISHED,
            sqlite_where=IS_UNFINISHED,
        ),
        Index("ix_jobs_state_finished_at", "state", "finished_at"),
    )


class WorkerRow(Base):
    """A worker that is alive. Other workers delete the row when its heartbeats stop."""

    __tablename__ = "job_workers"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(255))  # host and process id, for the operator
    dedicated: Mapped[bool]  # true for `freshly worker`, false for a server that also runs jobs
    beat_at: Mapped[datetime] = mapped_column(Instant(), init=False, insert_default=now())


class ScheduleRow(Base):
    """The next time at which a schedule's job is enqueued."""

    __tablename__ = "job_schedules"

    kind: Mapped[str] = mapped_column(String(64), primary_key=True)
    next_at: Mapped[datetime] = mapped_column(Instant())
