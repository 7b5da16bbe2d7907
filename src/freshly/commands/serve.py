"""`freshly serve`: migrates the database and runs the web server."""

import asyncio
import gc
import os
import resource
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import uvicorn
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError

from freshly.app import create_app
from freshly.chassis.observability.logging import configure_logging
from freshly.chassis.resilience.graceful_shutdown import GracefulShutdown
from freshly.chassis.web.connection_limits import Connections, LimitedProtocol
from freshly.commands.failures import reason_of
from freshly.commands.migrate import migrate
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


def application() -> FastAPI:
    """Build the app. uvicorn calls this in each worker process, with the same environment."""
    settings = load()
    configure_logging(settings.log_level)
    shutdown = GracefulShutdown()
    shutdown.listen()
    app = create_app(settings, shutdown)
    # The objects that exist now live as long as the process. Exclude them from garbage collection,
    # which would look at all of them again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, *gc.get_threshold()[1:])
    return app


def serve(settings: Settings, *, reload: bool = False) -> int:
    """Migrate and serve until a signal arrives. Return the exit status.

    With `reload`, restart when a source file changes. The status is 1 if the database cannot be
    used. Raises BadSettings for bad rate limits.
    """
    if reload and settings.workers > 1:
        raise BadSettings("WORKERS: --reload is for a single process")
    configure_logging(settings.log_level)
    # Raise BadSettings once, instead of in each worker process.
    groups(settings)
    quotas(settings)
    try:
        asyncio.run(migrate(settings))
    except (SQLAlchemyError, OSError) as error:
        print(f"freshly: {reason_of(error, settings)}", file=sys.stderr)  # noqa: T201
        return 1
    warn_without_shared_cache(settings)
    if settings.workers > 1:
        return _run_with_shared_metrics(settings)
    return _run(settings, reload=reload)


def _run_with_shared_metrics(settings: Settings) -> int:
    """Run with a folder for metrics, so that any worker process can show those of all."""
    with TemporaryDirectory(prefix="freshly-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        return _run(settings)


def _run(settings: Settings, *, reload: bool = False) -> int:
    print(  # noqa: T201
        f"Freshly serves on http://{settings.host}:{settings.port} (docs at /docs)",
        file=sys.stderr,
        flush=True,
    )
    protocol = partial(LimitedProtocol, connections=Connections(_connection_limit(settings)))
    uvicorn.run(
        "freshly.commands.serve:application",
        factory=True,
        host=settings.host,
        port=settings.port,
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
    return 0


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
