"""Runs the web server."""

import asyncio
import sys

import uvicorn
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError

from freshly.app import create_app
from freshly.chassis.logging import configure_logging
from freshly.migrate import migrate
from freshly.settings import Settings, load

GRACE = 25  # seconds that requests have to finish when the server is told to stop
KEEP_ALIVE = 75  # seconds; longer than proxies keep theirs, so that they close first


def application() -> FastAPI:
    """What each worker process builds for itself, from the same environment."""
    settings = load()
    configure_logging(settings.log_level)
    return create_app(settings)


def serve(settings: Settings) -> int:
    configure_logging(settings.log_level)
    try:
        asyncio.run(migrate(settings))
    except (SQLAlchemyError, OSError) as error:
        reason = str(getattr(error, "orig", error)).splitlines()[0]
        where = settings.database.render_as_string()
        print(f"freshly: DATABASE_URL: {where}: {reason}", file=sys.stderr)  # noqa: T201
        return 1
    print(  # noqa: T201
        f"Freshly serves on http://{settings.host}:{settings.port} (docs at /docs)",
        file=sys.stderr,
        flush=True,
    )
    uvicorn.run(
        "freshly.serve:application",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        log_config=None,
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies) or None,
        server_header=False,
    )
    return 0
