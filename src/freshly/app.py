"""Builds the web app; the one list of routers."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.routing import BaseRoute

from freshly import __version__
from freshly.chassis.errors import Unauthenticated, install_error_handlers, problems
from freshly.chassis.resilience.graceful_shutdown import GracefulShutdown
from freshly.chassis.security.caller import require_caller
from freshly.chassis.web import openapi
from freshly.chassis.web.endpoints import jobs, metrics, system
from freshly.chassis.web.middleware import wrap
from freshly.chassis.web.preconditions import link_resources
from freshly.chassis.web.routing import BySection, add_routes
from freshly.domains.account import endpoints as account
from freshly.domains.auth import endpoints as auth
from freshly.domains.chat import endpoints as chat
from freshly.domains.families import endpoints as families
from freshly.domains.grocery import endpoints as grocery
from freshly.domains.ingredients import endpoints as ingredients
from freshly.domains.meal_plans import endpoints as meal_plans
from freshly.domains.meals import endpoints as meals
from freshly.domains.notifications import endpoints as notifications
from freshly.domains.pantry import endpoints as pantry
from freshly.domains.preferences import endpoints as preferences
from freshly.domains.recipes import endpoints as recipes
from freshly.domains.sharing import endpoints as sharing
from freshly.domains.storage import endpoints as storage
from freshly.domains.users import endpoints as users
from freshly.examples import EXAMPLES
from freshly.settings import Settings
from freshly.wiring.jobs import worker
from freshly.wiring.rate_limits import group_of, groups
from freshly.wiring.resources import open_resources

PUBLIC = (system.router, metrics.router, openapi.router, auth.public, storage.public)
SIGNED_IN = (
    auth.router,
    users.router,
    preferences.router,
    families.router,
    ingredients.router,
    storage.router,
    pantry.router,
    recipes.router,
    meals.router,
    meal_plans.router,
    grocery.router,
    notifications.router,
    sharing.router,
    chat.router,
    account.router,
    jobs.router,
)
TAGS = {
    "system": "Is it there, and is it well",
    "users": "The person",
    "preferences": "What a person eats and aims at",
    "auth": "Accounts, sign-in, codes by mail",
    "families": "Who belongs together, and who may do what",
    "ingredients": "The catalogue of foods, and units",
    "storage": "Pictures",
    "pantry": "What is in the kitchen",
    "recipes": "How a family cooks it; diet tags",
    "meals": "Dishes that a person keeps",
    "meal plans": "Meals on the days of a week",
    "grocery lists": "What to buy",
    "notifications": "What a person is told",
    "sharing": "Offering a meal to somebody",
    "chat": "The assistant: conversations, scans, pictures",
    "jobs": "What takes longer",
}

# FastAPI tells OpenTelemetry of every request, if anybody has set that up. To look whether somebody
# has takes microseconds of each, and without the SDK nobody can have.
HAS_SDK = find_spec("opentelemetry.sdk") is not None
TELEMETRY = TelemetryConfig(tracing=HAS_SDK, metrics=HAS_SDK, logs=HAS_SDK)


@cache
def _routes() -> Sequence[BaseRoute]:
    """Built once a process, which takes a third of a second; every app of it has the same."""
    built = FastAPI(
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=openapi.operation_id,
    )
    for router in PUBLIC:
        add_routes(built.router, router)
    for router in SIGNED_IN:
        add_routes(
            built.router,
            router,
            dependencies=[require_caller],
            responses=problems(Unauthenticated),
        )
    link_resources(built.router.routes)
    return tuple(built.router.routes)


def create_app(settings: Settings, stopping: GracefulShutdown | None = None) -> FastAPI:
    groups(settings)  # refused here, not when the first request comes

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with open_resources(settings) as found:
            parts = {**found, "stopping": stopping or GracefulShutdown()}
            if settings.jobs == "worker":
                yield parts
                return
            async with worker(parts, dedicated=False).running():
                yield parts

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
    app.router.middleware_stack = BySection(app.routes, app.router.app)
    openapi.describe(app, TAGS, EXAMPLES)
    install_error_handlers(app)
    wrap(app, settings, group_of)
    return app
