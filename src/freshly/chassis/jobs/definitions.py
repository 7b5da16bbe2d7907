"""What is to be done, and what people are told of it."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field


class Priority(IntEnum):
    """The lower number goes first."""

    URGENT = 0  # somebody waits for it
    NORMAL = 10
    LOW = 20


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Job(BaseModel):
    """A record of ids, which the handler reads anew; never what may not lie in a table in clear."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str]
    priority: ClassVar[Priority] = Priority.NORMAL
    max_attempts: ClassVar[int] = 5
    time_limit: ClassVar[timedelta] = timedelta(minutes=1)
    backoff: ClassVar[timedelta] = timedelta(seconds=5)  # before the second try; then four times it


Handler = Callable[[Any, Any], Awaitable[None]]  # of the record, and its Run
Handlers = Mapping[type[Job], Handler]


class PermanentFailure(Exception):
    """Trying again would not help. Its text is for the person, in plain words."""


class JobRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: str
    kind: str
    state: JobState
    progress: float = Field(ge=0, le=1)
    result_url: str | None
    error: str | None = Field(description="Why the last try failed, in plain words.")
    created_at: datetime
    updated_at: datetime
