"""Runs the web server."""

import asyncio
import gc
import os
import sys
from tempfile import TemporaryDirectory

import uvicorn
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError

from freshly.app import create_app
from freshly.chassis.observability.logging import configure_logging
from freshly.chassis.resilience.graceful_shutdown import GracefulShutdown
from freshly.chassis.web.coalescing_protocol import CoalescingProtocol
from freshly.commands.migrate import migrate
from freshly.settings import Settings, load
from freshly.wiring.rate_limits import groups
from freshly.wiring.resources import warn_if_apart

GRACE = 25  # seconds that requests have to finish when the server is told to stop
# Until a worker is taken for stuck; a new one that is not ready then, as on a machine that has
# much else to do, would end a restart half-way.
STARTS_WITHIN = 30
KEEP_ALIVE = 75  # seconds; longer than proxies keep theirs, so that they close first


GARBAGE = 10_000  # new objects until the next look for garbage; Python's 700 is for small ones


def application() -> FastAPI:
    """What each worker process builds for itself, from the same environment."""
    settings = load()
    configure_logging(settings.log_level)
    stopping = GracefulShutdown()
    stopping.listen()
    app = create_app(settings, stopping)
    # What is there now stays: the garbage collector need not look at all of it again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE, *gc.get_threshold()[1:])
    return app


def serve(settings: Settings) -> int:
    configure_logging(settings.log_level)
    groups(settings)  # refused here, not by each worker
    try:
        asyncio.run(migrate(settings))
    except (SQLAlchemyError, OSError) as error:
        reason = str(getattr(error, "orig", error)).splitlines()[0]
        where = settings.database.render_as_string()
        print(f"freshly: DATABASE_URL: {where}: {reason}", file=sys.stderr)  # noqa: T201
        return 1
    warn_if_apart(settings)
    if settings.workers > 1:
        return _with_numbers_together(settings)
    return _run(settings)


def _with_numbers_together(settings: Settings) -> int:
    """Where each process keeps its numbers for whichever is asked for all of them."""
    with TemporaryDirectory(prefix="freshly-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        return _run(settings)


def _run(settings: Settings) -> int:
    print(  # noqa: T201
        f"Freshly serves on http://{settings.host}:{settings.port} (docs at /docs)",
        file=sys.stderr,
        flush=True,
    )
    uvicorn.run(
        "freshly.commands.serve:application",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        http=CoalescingProtocol,
        log_config=None,
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
        timeout_worker_healthcheck=STARTS_WITHIN,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies) or None,
        server_header=False,
    )
    return 0
