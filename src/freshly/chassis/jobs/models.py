from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from freshly.chassis.data.base import Base, Created, Updated
from freshly.chassis.data.functions import now
from freshly.chassis.data.types import Instant, Json
from freshly.chassis.jobs.definitions import JobState

QUEUED = text("state = 'queued'")
UNFINISHED = text("state IN ('queued', 'running')")


class JobRow(Created, Updated, Base):
    """The truth about a job, for people, operators and workers."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)  # in the order of their making
    kind: Mapped[str] = mapped_column(String(64))
    payload: Mapped[dict[str, Any]] = mapped_column(Json)  # the record; empty once it is done
    user_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    priority: Mapped[int]
    dedup_key: Mapped[str | None] = mapped_column(String(200))
    correlation_id: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16), default=JobState.QUEUED)
    progress: Mapped[float] = mapped_column(default=0.0)
    result_url: Mapped[str | None] = mapped_column(Text, default=None)
    error: Mapped[str | None] = mapped_column(Text, default=None)
    # Asked for once more while it was running: what it has read may be old already.
    rerun: Mapped[bool] = mapped_column("again", default=False)
    attempts: Mapped[int] = mapped_column(default=0)  # that failed; a killed worker is none
    crashes: Mapped[int] = mapped_column("deaths", default=0)  # of workers that had it
    # How often it was taken. Whoever took it earlier has lost it, and commits nothing any more.
    lease: Mapped[int] = mapped_column("taken", default=0)
    worker_id: Mapped[str | None] = mapped_column(String(32), default=None)
    run_after: Mapped[datetime] = mapped_column(Instant(), init=False, insert_default=now())
    finished_at: Mapped[datetime | None] = mapped_column(Instant(), default=None)

    __table_args__ = (
        Index(
            "ix_jobs_due",
            *("priority", "run_after", "id"),
            postgresql_where=QUEUED,
            sqlite_where=QUEUED,
        ),
        Index(
            "ix_jobs_dedup_key",
            "dedup_key",
            unique=True,
            postgresql_where=UNFINISHED,
            sqlite_where=UNFINISHED,
        ),
        Index("ix_jobs_state_finished_at", "state", "finished_at"),
    )


class WorkerRow(Base):
    """A process that runs jobs, as long as its heart beats."""

    __tablename__ = "job_workers"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(255))  # host and process, for the operator
    dedicated: Mapped[bool]  # `freshly worker`; not a server that runs jobs besides
    beat_at: Mapped[datetime] = mapped_column(Instant(), init=False, insert_default=now())


class ScheduleRow(Base):
    """When work that comes round is next asked for, by whichever worker looks first."""

    __tablename__ = "job_schedules"

    kind: Mapped[str] = mapped_column(String(64), primary_key=True)
    next_at: Mapped[datetime] = mapped_column(Instant())
