"""Builds the web app; the one list of routers."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import cache
from typing import Any

from fastapi import FastAPI
from starlette.routing import BaseRoute

from freshly import __version__
from freshly.adapters.mail import mailer_for
from freshly.adapters.model import OpenAIModel
from freshly.adapters.objects import store_for
from freshly.adapters.supabase import SupabaseVerifier
from freshly.chassis import docs, health, metrics
from freshly.chassis.cache import Cache
from freshly.chassis.database import UnitsOfWork
from freshly.chassis.engine import create_engine
from freshly.chassis.errors import Unauthenticated, install_error_handlers, problems
from freshly.chassis.events import Event, Listener
from freshly.chassis.gate import Gate
from freshly.chassis.http import wrap
from freshly.chassis.identity import require_caller
from freshly.chassis.links import LinkSigner
from freshly.chassis.numbers import count_reads, count_statements
from freshly.chassis.pulse import Pulse
from freshly.chassis.rate_limit import Limiter
from freshly.chassis.routing import BySection, add_routes
from freshly.chassis.shared import Shared
from freshly.chassis.stopping import Stopping
from freshly.domains.account import endpoints as account
from freshly.domains.auth import endpoints as auth
from freshly.domains.auth.identity import TokenIdentity
from freshly.domains.auth.passwords import Passwords
from freshly.domains.auth.tokens import TokenSigner
from freshly.domains.chat import endpoints as chat
from freshly.domains.families import endpoints as families
from freshly.domains.families.access import families_of
from freshly.domains.families.events import MemberJoined
from freshly.domains.grocery import endpoints as grocery
from freshly.domains.ingredients import endpoints as ingredients
from freshly.domains.meal_plans import endpoints as meal_plans
from freshly.domains.meals import endpoints as meals
from freshly.domains.notifications import endpoints as notifications
from freshly.domains.notifications.listeners import tell_owners_of_new_member
from freshly.domains.pantry import endpoints as pantry
from freshly.domains.preferences import endpoints as preferences
from freshly.domains.recipes import endpoints as recipes
from freshly.domains.sharing import endpoints as sharing
from freshly.domains.storage import endpoints as storage
from freshly.domains.users import endpoints as users
from freshly.examples import EXAMPLES
from freshly.limits import group_of, groups
from freshly.settings import Settings
from freshly.tables import all_tables

PUBLIC = (health.router, metrics.router, docs.router, auth.public, storage.public)
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
}
LISTENERS: Mapping[type[Event], tuple[Listener, ...]] = {
    MemberJoined: (tell_owners_of_new_member,),
}


@cache
def _routes() -> Sequence[BaseRoute]:
    """Built once a process, which takes a third of a second; every app of it has the same."""
    built = FastAPI(
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=docs.operation_id,
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
    return tuple(built.router.routes)


def create_app(settings: Settings, stopping: Stopping | None = None) -> FastAPI:
    all_tables()
    limits = groups(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        """Opens everything that lives as long as the process, and closes it again."""
        engine = create_engine(
            settings.pooled_database,
            pool_size=settings.database_pool_size,
            max_overflow=settings.database_max_overflow,
            past_pooler=settings.database_url_pooler is None,
            statement_timeout=settings.database_statement_timeout,
        )
        tokens = TokenSigner(settings)
        model = OpenAIModel(settings)
        count_statements(engine)
        shared = Shared.of(settings)
        ttl = timedelta(seconds=settings.cache_ttl_seconds)
        cache = Cache(shared.versions, shared.entries, settings.cache_memory, ttl, count_reads())
        capacity = settings.database_pool_size + settings.database_max_overflow
        gate = Gate(capacity, settings.database_pool_timeout)
        pulse = Pulse(engine)
        units = UnitsOfWork(engine, cache, gate, pulse)
        try:
            async with pulse.beating():
                yield {
                    "settings": settings,
                    "units": units,
                    "gate": gate,
                    "shared": shared,
                    "tokens": tokens,
                    "passwords": Passwords(),
                    "identity": TokenIdentity(tokens, families_of),
                    "stopping": stopping or Stopping(),
                    "limiter": Limiter(limits, shared.counts),
                    "listeners": LISTENERS,
                    "mailer": mailer_for(settings),
                    "oauth": SupabaseVerifier(settings),
                    "objects": store_for(settings),
                    "signer": LinkSigner(settings.secret_key.get_secret_value()),
                    "model": model,
                }
        finally:
            await model.close()
            await shared.close()
            await engine.dispose()

    app = FastAPI(
        title=settings.app_name,
        version=__version__,
        summary="The kitchen backend for families who plan meals",
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        routes=list(_routes()),
    )
    app.router.middleware_stack = BySection(app.routes, app.router.app)
    docs.describe(app, TAGS, EXAMPLES)
    install_error_handlers(app)
    wrap(app, settings, group_of)
    return app
