"""Job payloads, states and handlers, and the view of a job that the API shows."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field


class Priority(IntEnum):
    """The order in which due jobs are claimed, lowest number first."""

    URGENT = 0  # a user is waiting for it
    NORMAL = 10
    LOW = 20


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Job(BaseModel):
    """Job payload: ids only; handlers re-read rows. Never secrets, it is stored in plain text.

    `time_limit` ends a run that takes longer. A run that fails is retried until `max_attempts`.
    `backoff` is the wait before the second attempt; each later wait is four times as long.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str]
    priority: ClassVar[Priority] = Priority.NORMAL
    max_attempts: ClassVar[int] = 5
    time_limit: ClassVar[timedelta] = timedelta(minutes=1)
    backoff: ClassVar[timedelta] = timedelta(seconds=5)


# Called with the payload and the JobContext. The payload's class differs from handler to handler,
# so the type says Any.
Handler = Callable[[Any, Any], Awaitable[None]]
Handlers = Mapping[type[Job], Handler]


class PermanentFailure(Exception):
    """A failure that a retry cannot mend. Users read its text, so write it in plain words."""


class JobRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: str
    kind: str
    state: JobState
    progress: float = Field(ge=0, le=1)
    result_url: str | None
    error: str | None = Field(description="Reason of the last failed attempt, in plain words.")
    created_at: datetime
    updated_at: datetime
