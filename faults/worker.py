"""`freshly worker` with two more jobs: one inserts a row into `marks`, one always fails."""

import asyncio
import sys
from datetime import timedelta
from typing import ClassVar

from sqlalchemy import text

from freshly.chassis.jobs import Job, JobContext
from freshly.cli import main
from freshly.wiring import jobs


class Mark(Job):
    kind: ClassVar[str] = "faults.mark"
    number: int
    seconds: float  # the duration of the job


class Poison(Job):
    kind: ClassVar[str] = "faults.poison"
    backoff: ClassVar[timedelta] = timedelta(milliseconds=10)


async def mark(job: Mark, context: JobContext) -> None:
    await asyncio.sleep(job.seconds)
    async with context.complete() as session:
        await session.execute(text("INSERT INTO marks VALUES (:number)"), {"number": job.number})


async def fail(_job: Poison, _context: JobContext) -> None:
    raise RuntimeError("this job always fails")


if __name__ == "__main__":
    jobs.HANDLERS = {**jobs.HANDLERS, Mark: mark, Poison: fail}
    sys.exit(main(["worker"]))
