"""Builds the web application."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.routing import BaseRoute

from freshly import __version__
from freshly.chassis.cache.versions import MemoryVersions
from freshly.chassis.data.schema_state import Revisions
from freshly.chassis.resilience.graceful_shutdown import GracefulShutdown
from freshly.chassis.resources import Resources
from freshly.chassis.web import openapi
from freshly.chassis.web.endpoints import docs, jobs, metrics, system
from freshly.chassis.web.endpoints.metrics import measuring
from freshly.chassis.web.error_handlers import install_error_handlers
from freshly.chassis.web.middleware import add_middleware, add_probe_middleware
from freshly.chassis.web.preconditions import link_resources
from freshly.chassis.web.readiness import Readiness
from freshly.chassis.web.routing import SectionRouter, add_routes
from freshly.settings import Settings
from freshly.wiring.jobs import worker
from freshly.wiring.rate_limits import group_of, groups
from freshly.wiring.registry import public_routers, signed_in_routers, tags
from freshly.wiring.resources import open_resources

# FastAPI's own traces would hold query strings, such as those of signed links, and would not know
# our routes. To look for an SDK at each request costs 5 microseconds.
TELEMETRY = TelemetryConfig(tracing=False, metrics=False, logs=False)
MIGRATIONS = Path(__file__).parents[2] / "migrations" / "versions"


@cache
def revisions() -> Revisions:
    """Return the revisions of the migrations of this release."""
    return Revisions.in_folder(MIGRATIONS)


@cache
def _routes() -> Sequence[BaseRoute]:
    """Return the routes. Building them takes 0.3 s, so all apps of a process share them."""
    built = FastAPI(
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=openapi.operation_id,
    )
    for router in (system.router, metrics.router, docs.router, *public_routers()):
        add_routes(built.router, router)
    for router in (*signed_in_routers(), jobs.router):
        add_routes(built.router, router, signed_in=True)
    link_resources(built.router.routes)
    return tuple(built.router.routes)


def create_probe_app(settings: Settings, resources: Resources) -> FastAPI:
    """Return an app that answers only `/health`, `/ready` and `/metrics`, for a worker."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        yield {"resources": resources, "readiness": Readiness(revisions())}

    app = FastAPI(
        title=settings.app_name,
        version=__version__,
        lifespan=lifespan,
        openapi_url=None,
        telemetry=TELEMETRY,
    )
    app.include_router(system.router)
    app.include_router(metrics.router)
    install_error_handlers(app)
    add_probe_middleware(app, settings)
    return app


def create_app(
    settings: Settings,
    shutdown: GracefulShutdown | None = None,
    memory: MemoryVersions | None = None,
) -> FastAPI:
    """Return the app. Raises BadSettings if the rate limits are wrong.

    `shutdown` and `memory` are for a process that controls them: see `open_resources`.
    """
    groups(settings)  # raises BadSettings at start, not at the first request

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with open_resources(settings, shutdown, memory) as resources, measuring(resources.db):
            state = {"resources": resources, "readiness": Readiness(revisions())}
            if settings.jobs == "worker":
                yield state
                return
            async with worker(resources, dedicated=False).running():
                yield state

    app = FastAPI(
        title=settings.app_name,
        version=__version__,
        summary="The kitchen backend for families who plan meals",
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        routes=list(_routes()),
        telemetry=TELEMETRY,
    )
    sections = SectionRouter(app.routes, app.router.app)
    app.router.middleware_stack = sections
    openapi.describe(app, tags(), settings.base_path)
    install_error_handlers(app)
    add_middleware(app, settings, group_of, sections.template)
    return app
