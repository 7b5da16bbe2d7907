"""Builds the web application."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.routing import BaseRoute

from freshly import __version__
from freshly.chassis.cache.versions import MemoryVersions
from freshly.chassis.resilience.graceful_shutdown import GracefulShutdown
from freshly.chassis.web import openapi
from freshly.chassis.web.endpoints import docs, jobs, system
from freshly.chassis.web.error_handlers import install_error_handlers
from freshly.chassis.web.middleware import add_middleware
from freshly.chassis.web.preconditions import link_resources
from freshly.chassis.web.routing import SectionRouter, add_routes
from freshly.settings import Settings
from freshly.wiring.jobs import worker
from freshly.wiring.rate_limits import group_of, groups
from freshly.wiring.registry import public_routers, signed_in_routers, tags
from freshly.wiring.resources import open_resources

# FastAPI reports each request to OpenTelemetry if that is set up. Looking for it costs 5
# microseconds a request, and without the SDK it cannot be set up.
HAS_SDK = find_spec("opentelemetry.sdk") is not None
TELEMETRY = TelemetryConfig(tracing=HAS_SDK, metrics=HAS_SDK, logs=HAS_SDK)


@cache
def _routes() -> Sequence[BaseRoute]:
    """Return the routes. Building them takes 0.3 s, so all apps of a process share them."""
    built = FastAPI(
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=openapi.operation_id,
    )
    for router in (system.router, docs.router, *public_routers()):
        add_routes(built.router, router)
    for router in (*signed_in_routers(), jobs.router):
        add_routes(built.router, router, signed_in=True)
    link_resources(built.router.routes)
    return tuple(built.router.routes)


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
        async with open_resources(settings, shutdown, memory) as resources:
            state = {"resources": resources}
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
    app.router.middleware_stack = SectionRouter(app.routes, app.router.app)
    openapi.describe(app, tags(), settings.base_path)
    install_error_handlers(app)
    add_middleware(app, settings, group_of)
    return app
