"""`freshly worker` with two jobs more: one that leaves a mark in the database, one that cannot."""

import asyncio
import sys
from datetime import timedelta
from typing import ClassVar

from sqlalchemy import text

from freshly.chassis.jobs import Job, Run
from freshly.cli import main
from freshly.wiring import jobs


class Mark(Job):
    kind: ClassVar[str] = "faults.mark"
    number: int
    seconds: float  # that it takes


class Poison(Job):
    kind: ClassVar[str] = "faults.poison"
    backoff: ClassVar[timedelta] = timedelta(milliseconds=10)


async def mark(job: Mark, run: Run) -> None:
    await asyncio.sleep(job.seconds)
    async with run.complete() as session:
        await session.execute(text("INSERT INTO marks VALUES (:number)"), {"number": job.number})


async def fail(_job: Poison, _run: Run) -> None:
    raise RuntimeError("this never works")


if __name__ == "__main__":
    jobs.HANDLERS = {**jobs.HANDLERS, Mark: mark, Poison: fail}
    sys.exit(main(["worker"]))
