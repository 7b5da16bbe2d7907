"""Builds the web app; the one list of routers."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute

from freshly import __version__
from freshly.adapters.mail import mailer_for
from freshly.adapters.model import OpenAIModel
from freshly.adapters.objects import store_for
from freshly.adapters.supabase import SupabaseVerifier
from freshly.chassis import docs, health
from freshly.chassis.database import UnitsOfWork, create_engine
from freshly.chassis.errors import Unauthenticated, install_error_handlers, problems
from freshly.chassis.events import Event, Listener
from freshly.chassis.http import wrap
from freshly.chassis.identity import require_caller
from freshly.chassis.links import LinkSigner
from freshly.domains.account import endpoints as account
from freshly.domains.auth import endpoints as auth
from freshly.domains.auth.identity import TokenIdentity
from freshly.domains.auth.passwords import Passwords
from freshly.domains.auth.tokens import TokenSigner
from freshly.domains.chat import endpoints as chat
from freshly.domains.families import endpoints as families
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
from freshly.settings import Settings
from freshly.tables import all_tables

PUBLIC = (health.router, docs.router, auth.public, storage.public)
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
        built.include_router(router)
    signed_in = APIRouter(dependencies=[require_caller], responses=problems(Unauthenticated))
    for router in SIGNED_IN:
        signed_in.include_router(router)
    built.include_router(signed_in)
    return tuple(built.router.routes)


def create_app(settings: Settings) -> FastAPI:
    all_tables()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        """Opens everything that lives as long as the process, and closes it again."""
        engine = create_engine(
            settings.pooled_database,
            pool_size=settings.database_pool_size,
            max_overflow=settings.database_max_overflow,
            pool_timeout=settings.database_pool_timeout,
            past_pooler=settings.database_url_pooler is None,
        )
        tokens = TokenSigner(settings)
        model = OpenAIModel(settings)
        try:
            yield {
                "settings": settings,
                "units": UnitsOfWork(engine),
                "tokens": tokens,
                "passwords": Passwords(),
                "identity": TokenIdentity(tokens),
                "listeners": LISTENERS,
                "mailer": mailer_for(settings),
                "oauth": SupabaseVerifier(settings),
                "objects": store_for(settings),
                "signer": LinkSigner(settings.secret_key.get_secret_value()),
                "model": model,
            }
        finally:
            await model.close()
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
    docs.describe(app, TAGS, EXAMPLES)
    install_error_handlers(app)
    wrap(app, settings)
    return app
