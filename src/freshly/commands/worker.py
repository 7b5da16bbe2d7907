"""`freshly worker`: runs background jobs. Start as many processes as you need."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import uvicorn
from sqlalchemy.exc import SQLAlchemyError

from freshly import __version__
from freshly.app import create_probe_app
from freshly.chassis.data.transactions import Database
from freshly.chassis.observability.logging import configure_logging, get_logger
from freshly.chassis.observability.tracing import tracing
from freshly.chassis.resources import Resources
from freshly.commands.hangup import run_again, terminal_is_gone
from freshly.commands.schema import newest_revision, read_schema
from freshly.settings import Settings
from freshly.wiring.jobs import worker
from freshly.wiring.resources import open_resources

logger = get_logger(__name__)

SCHEMA_PAUSE_SECONDS = 0.5  # between two looks at a schema that this release cannot use yet


def work(settings: Settings) -> int:
    """Run jobs until SIGTERM or SIGINT. Return the exit status, which is 1 if the start failed.

    SIGHUP lets the running jobs finish, and then starts the command again in the same process.
    Raises SchemaTooNew.
    """
    configure_logging(settings.log_level, settings.log_format)
    if reason := _reason_to_refuse(settings):
        print(f"freshly: {reason}", file=sys.stderr)  # noqa: T201
        return 1
    tracing.start(__version__)
    signals = _Signals()
    asyncio.run(_work(settings, signals))
    if signals.reload:
        run_again()
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


class _Signals:
    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.reload = False

    def listen(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)

    def _stop(self) -> None:
        self.reload = False
        self.stop.set()

    def _hang_up(self) -> None:
        if not self.stop.is_set():
            self.reload = not terminal_is_gone()
            self.stop.set()


async def _work(settings: Settings, signals: _Signals) -> None:
    signals.listen()
    async with open_resources(settings) as resources, _probes(settings, resources):
        await _wait_for_schema(resources.db, signals.stop)
        if signals.stop.is_set():
            return
        dedicated_worker = worker(resources, dedicated=True)
        logger.info("worker started", worker=dedicated_worker.name)
        await dedicated_worker.run(signals.stop)
        logger.info("worker stopped", worker=dedicated_worker.name)


async def _wait_for_schema(db: Database, stop: asyncio.Event) -> None:
    """Wait until the server or `freshly migrate` has migrated the database. Raises SchemaTooNew."""
    reported = ""
    while not stop.is_set() and (reason := await _reason_to_wait(db)):
        if reason != reported:
            logger.warning("worker waits", reason=reason)
            reported = reason
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), SCHEMA_PAUSE_SECONDS)


async def _reason_to_wait(db: Database) -> str:
    try:
        schema = await read_schema(db.engine)
    except (SQLAlchemyError, OSError):
        return "the database does not respond"
    schema.refuse_if_too_new()
    if not schema.is_older:
        return ""
    at = schema.revision or "(none)"
    return f"the schema is at {at}, and this release needs {newest_revision()}"


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
