"""A worker process for tests that kill it: `python -m tests.support.worker`.

Each job writes to the table `marks` in the transaction that marks the job done, so a test sees how
often it was done. The argument `tick` adds a schedule that fires every two seconds.
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

HEARTBEAT_TIMEOUT = timedelta(seconds=1)


class Mark(Job):
    kind: ClassVar[str] = "test.mark"

    number: int
    seconds: float = 0


class Tick(Job):
    kind: ClassVar[str] = "test.tick"


async def mark(job, context):
    sys.stdout.write(f"began {job.number}\n")
    sys.stdout.flush()
    await asyncio.sleep(job.seconds)
    async with context.complete() as session:
        await session.execute(text("INSERT INTO marks (number) VALUES (:n)"), {"n": job.number})


async def tick(_job, context):
    async with context.complete() as session:
        await session.execute(text("INSERT INTO marks (number) VALUES (-1)"))


async def main():
    configure_logging("INFO")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    schedules = [Schedule(Tick(), every(timedelta(seconds=2)))] if "tick" in sys.argv else []
    async with open_resources(load()) as resources:
        worker = Worker(
            resources,
            {Mark: mark, Tick: tick},
            schedules,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            dedicated=True,
            shutdown_grace=timedelta(seconds=float(os.environ.get("GRACE_SECONDS", "5"))),
        )
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await worker.run(stop)


if __name__ == "__main__":
    asyncio.run(main())
