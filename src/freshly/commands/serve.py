"""`freshly serve`: migrates the database and runs the web server."""

import asyncio
import gc
import multiprocessing
import os
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import uvicorn
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import ChangeReload

from freshly import __version__
from freshly.app import create_app
from freshly.chassis.cache.versions import MemoryVersions
from freshly.chassis.observability.logging import configure_logging
from freshly.chassis.observability.tracing import is_wanted, tracing
from freshly.chassis.resilience.graceful_shutdown import GracefulShutdown
from freshly.chassis.web.connection_limits import Connections, LimitedProtocol
from freshly.commands.accounts import announce_set_up
from freshly.commands.data_lock import lock_data
from freshly.commands.failures import reason_of
from freshly.commands.handover import Handover
from freshly.commands.hangup import run_again
from freshly.commands.listening import bind, url_of
from freshly.commands.migrate import migrate
from freshly.commands.server import Server
from freshly.commands.server_workers import Workers, end_with_parent
from freshly.settings import BadSettings, Settings, load
from freshly.wiring.quotas import quotas
from freshly.wiring.rate_limits import groups
from freshly.wiring.resources import warn_without_shared_cache

SOURCES = Path(__file__).parents[1]
SHUTDOWN_GRACE_SECONDS = 25  # that requests have to finish when the server is asked to stop
# The time until uvicorn considers a worker process stuck. On a busy machine a new process may take
# long to become ready; if it counted as stuck, a restart would end halfway.
WORKER_TIMEOUT_SECONDS = 30
KEEP_ALIVE_SECONDS = 75  # longer than proxies keep connections, so that the proxy closes them
RESERVED_FILES = 200  # open files that are no connections of clients: databases, logs, libraries
# New objects until the next garbage collection. Python's default of 700 suits small programs.
GC_THRESHOLD = 10_000


def application(
    settings: Settings | None = None,
    shutdown: GracefulShutdown | None = None,
    memory: MemoryVersions | None = None,
) -> FastAPI:
    """Build the app. uvicorn calls this in each worker process, with the same environment."""
    settings = settings or load()
    shutdown = shutdown or GracefulShutdown()
    configure_logging(settings.log_level, settings.log_format)
    tracing.start(__version__)
    shutdown.listen()
    if multiprocessing.parent_process() is not None:
        end_with_parent()
    app = create_app(settings, shutdown, memory)
    # The objects that exist now live as long as the process. Exclude them from garbage collection,
    # which would look at all of them again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, *gc.get_threshold()[1:])
    return app


def serve(settings: Settings, *, reload: bool = False) -> int:
    """Migrate and serve until a signal arrives. Return the exit status.

    With `reload`, restart when a source file changes. The status is 1 if the database cannot be
    used. Raises BadSettings for bad rate limits, and CommandFailed if another server uses the data
    folder or the port, or the schema is too new.
    """
    if reload and settings.workers > 1:
        raise BadSettings("WORKERS: --reload is for a single process")
    configure_logging(settings.log_level, settings.log_format)
    received = Handover.received()
    if received is not None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        if received.to_bridge:
            received.watch_release()
    # Raise BadSettings once, instead of in each worker process.
    groups(settings)
    quotas(settings)
    is_wanted()
    locks = lock_data(settings) if received is None else received.locks
    # Binding comes first, since a server that cannot listen must not migrate.
    sockets = bind(settings.host, settings.port) if received is None else received.open_sockets()
    with ExitStack() as opened:
        for each in sockets:
            opened.enter_context(each)
        # The bridge migrates for the server that comes after it.
        if (received is None or received.to_bridge) and (reason := _reason_not_to_serve(settings)):
            print(f"freshly: {reason}", file=sys.stderr)  # noqa: T201
            return 1
        warn_without_shared_cache(settings)
        if settings.workers > 1:
            return _run_workers(settings, sockets)
        if reload:
            return _run_reloading(settings, sockets)
        return _run_alone(settings, sockets, locks, received)


def _reason_not_to_serve(settings: Settings) -> str | None:
    try:
        asyncio.run(migrate(settings))
        asyncio.run(announce_set_up(settings))
    except (SQLAlchemyError, OSError) as error:
        return reason_of(error, settings)
    return None


def _run_workers(settings: Settings, sockets: Sequence[socket.socket]) -> int:
    """Run with a folder for metrics, so that any worker process can show those of all."""
    with TemporaryDirectory(prefix="freshly-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        config = _configuration(settings, "freshly.commands.serve:application")
        workers = Workers(config, sockets, partial(_announce, settings, sockets))
        workers.run()
        return STARTUP_FAILURE if workers.failed_to_start else 0


def _run_reloading(settings: Settings, sockets: Sequence[socket.socket]) -> int:
    """Run a process that is replaced when a source file changes, for developers."""
    config = _configuration(settings, "freshly.commands.serve:application", reload=True)
    _announce(settings, sockets)
    ChangeReload(config, uvicorn.Server(config).run, list(sockets)).run()
    return 0


def _run_alone(
    settings: Settings,
    sockets: Sequence[socket.socket],
    locks: Sequence[int],
    received: Handover | None,
) -> int:
    shutdown, memory = GracefulShutdown(), MemoryVersions(suspended=received is not None)
    if received is not None and received.to_bridge:
        settings = settings.model_copy(update={"jobs": "worker"})  # the other server runs them
    announce = partial(_announce, settings, sockets) if received is None else _say_nothing
    config = _configuration(settings, partial(application, settings, shutdown, memory))
    server = Server(config, shutdown, memory, locks, received=received, on_start=announce)
    try:
        server.run_on(sockets)
    except KeyboardInterrupt:
        return 0
    if server.next is not None:
        server.next.store()
        run_again()
    return 0 if server.started else STARTUP_FAILURE


def _announce(settings: Settings, sockets: Sequence[socket.socket]) -> None:
    url = url_of(settings.host, sockets)
    print(f"Freshly serves on {url} (docs at /docs)", file=sys.stderr, flush=True)  # noqa: T201


def _say_nothing() -> None:
    """Print nothing: the server has the address that it had before."""


def _configuration(settings: Settings, app: object, *, reload: bool = False) -> uvicorn.Config:
    protocol = partial(LimitedProtocol, connections=Connections(_connection_limit(settings)))
    return uvicorn.Config(
        app,  # type: ignore[arg-type]  # a factory, or its name
        factory=True,
        workers=settings.workers,
        reload=reload,
        reload_dirs=[str(SOURCES)] if reload else None,
        http=protocol,  # type: ignore[arg-type]  # uvicorn only calls it
        ws="none",
        log_config=None,
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_GRACE_SECONDS,
        timeout_worker_healthcheck=WORKER_TIMEOUT_SECONDS,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies) or None,
        server_header=False,
    )


def _connection_limit(settings: Settings) -> int:
    """Raise the system's limit of open files if it may be raised. Return how many clients fit."""
    wanted = settings.max_connections + RESERVED_FILES
    soft, hard = (
        wanted if limit == resource.RLIM_INFINITY else limit
        for limit in resource.getrlimit(resource.RLIMIT_NOFILE)
    )
    if soft < min(wanted, hard):
        with suppress(ValueError, OSError):  # some systems permit less than they say
            soft_and_hard = (min(wanted, hard), resource.getrlimit(resource.RLIMIT_NOFILE)[1])
            resource.setrlimit(resource.RLIMIT_NOFILE, soft_and_hard)
            soft = soft_and_hard[0]
    return max(1, min(settings.max_connections, soft - RESERVED_FILES))
