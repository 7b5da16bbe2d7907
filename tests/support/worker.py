"""A worker with jobs of its own that a test may kill: `python -m tests.support.worker`.

What a job does is seen in the table `marks`: written with the job's end, or not at all.
"""

import asyncio
import os
import signal
import sys
from datetime import timedelta
from typing import ClassVar

from sqlalchemy import text

from freshly.chassis.jobs import Job, Schedule, every
from freshly.chassis.jobs.worker import Worker
from freshly.chassis.observability.logging import configure_logging
from freshly.settings import load
from freshly.wiring.resources import open_resources

SILENCE = timedelta(seconds=1)


class Mark(Job):
    kind: ClassVar[str] = "test.mark"

    number: int
    seconds: float = 0


class Tick(Job):
    kind: ClassVar[str] = "test.tick"


async def mark(job, run):
    sys.stdout.write(f"began {job.number}\n")
    sys.stdout.flush()
    await asyncio.sleep(job.seconds)
    async with run.complete() as session:
        await session.execute(text("INSERT INTO marks (number) VALUES (:n)"), {"n": job.number})


async def tick(_job, run):
    async with run.complete() as session:
        await session.execute(text("INSERT INTO marks (number) VALUES (-1)"))


async def main():
    configure_logging("INFO")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    schedules = [Schedule(Tick(), every(timedelta(seconds=2)))] if "tick" in sys.argv else []
    async with open_resources(load()) as resources:
        handlers = {Mark: mark, Tick: tick}
        grace = float(os.environ.get("GRACE", "5"))
        worker = Worker(
            resources, handlers, schedules, silence=SILENCE, dedicated=True, grace=grace
        )
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await worker.run(stop)


if __name__ == "__main__":
    asyncio.run(main())
