"""`freshly worker`: runs background jobs. Start as many processes as you need."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn

from freshly import __version__
from freshly.app import create_probe_app
from freshly.chassis.observability.logging import configure_logging, get_logger
from freshly.chassis.observability.tracing import tracing
from freshly.chassis.resources import Resources
from freshly.settings import Settings
from freshly.wiring.jobs import worker
from freshly.wiring.resources import open_resources

logger = get_logger(__name__)


def work(settings: Settings) -> int:
    """Run jobs until SIGTERM or SIGINT. Return the exit status, which is 1 if the start failed."""
    configure_logging(settings.log_level, settings.log_format)
    if reason := _reason_to_refuse(settings):
        print(f"freshly: {reason}", file=sys.stderr)  # noqa: T201
        return 1
    tracing.start(__version__)
    asyncio.run(_work(settings))
    return 0


def _reason_to_refuse(settings: Settings) -> str | None:
    if settings.database.get_backend_name() == "sqlite" and settings.jobs != "worker":
        return (
            "JOBS: the server runs the jobs of an embedded database itself; "
            "to run them in this command instead, set JOBS=worker for both"
        )
    if settings.cache == "memory":
        return (
            "CACHE: with `memory` the server would not notice what this process changes; "
            "set REDIS_URL for both instead"
        )
    return None


async def _work(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_resources(settings) as resources, _probes(settings, resources):
        dedicated_worker = worker(resources, dedicated=True)
        logger.info("worker started", worker=dedicated_worker.name)
        await dedicated_worker.run(stop)
        logger.info("worker stopped", worker=dedicated_worker.name)


class _ProbeServer(uvicorn.Server):
    """uvicorn's server, which leaves the signals to the worker."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def _probes(settings: Settings, resources: Resources) -> AsyncIterator[None]:
    """Answer probes and Prometheus on WORKER_PORT, if it is set."""
    if settings.worker_port is None:
        yield
        return
    server = _ProbeServer(
        uvicorn.Config(
            create_probe_app(settings, resources),
            host=settings.host,
            port=settings.worker_port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
    )
    serving = asyncio.create_task(server.serve())
    try:
        yield
    finally:
        server.should_exit = True
        await serving
