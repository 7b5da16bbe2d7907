"""`freshly worker`: runs jobs, in as many processes as wanted."""

import asyncio
import signal
import sys

from freshly.chassis.observability.logging import configure_logging, get_logger
from freshly.settings import Settings
from freshly.wiring.jobs import worker
from freshly.wiring.resources import open_resources

logger = get_logger(__name__)


def work(settings: Settings) -> int:
    configure_logging(settings.log_level)
    if why := _refused(settings):
        print(f"freshly: {why}", file=sys.stderr)  # noqa: T201
        return 1
    asyncio.run(_work(settings))
    return 0


def _refused(settings: Settings) -> str | None:
    if settings.database.get_backend_name() == "sqlite" and settings.jobs != "worker":
        return (
            "JOBS: the server runs the jobs of an embedded database itself; "
            "set JOBS=worker for both, to have it leave them to this command"
        )
    if settings.cache == "memory":
        return (
            "CACHE: memory is for a single process, which would not hear of what this one changes;"
            " give both REDIS_URL instead"
        )
    return None


async def _work(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for wanted in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(wanted, stop.set)
    async with open_resources(settings) as resources:
        running = worker(resources, dedicated=True)
        logger.info("worker started", worker=running.name)
        await running.run(stop)
        logger.info("worker stopped", worker=running.name)
