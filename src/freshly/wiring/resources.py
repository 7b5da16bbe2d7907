"""Opens the resources of a process, which is a server or a worker."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from anyio import to_thread

from freshly import __version__
from freshly.adapters.object_storage import create_object_store
from freshly.adapters.openai.client import OpenAIModel
from freshly.adapters.smtp import create_mailer
from freshly.adapters.supabase import SupabaseVerifier
from freshly.chassis.cache.store import Cache, LocalEntries, SharedEntries
from freshly.chassis.cache.versions import DisabledVersions, MemoryVersions, TagVersions
from freshly.chassis.data.engine import create_engine
from freshly.chassis.data.events import Event, Listener
from freshly.chassis.data.idempotency_keys import ResponseCipher
from freshly.chassis.data.tracing import trace_statements
from freshly.chassis.data.transactions import Database
from freshly.chassis.observability.logging import get_logger
from freshly.chassis.observability.metrics import cache_read_counter, count_statements
from freshly.chassis.observability.tracing import tracing
from freshly.chassis.rate_limits.counters import Counters, MemoryCounters
from freshly.chassis.rate_limits.policy import Limiter
from freshly.chassis.resilience.graceful_shutdown import GracefulShutdown
from freshly.chassis.resources import RedisState, Resources
from freshly.chassis.security.passwords import Passwords
from freshly.chassis.security.signed_urls import UrlSigner
from freshly.domains.auth.events import AccountStatusChanged, FamilyRestoreRequested
from freshly.domains.auth.identity import TokenIdentity
from freshly.domains.auth.listeners import confirm_new_address
from freshly.domains.auth.repository import AccountStatusReader
from freshly.domains.auth.tokens import TokenSigner
from freshly.domains.families.events import MemberJoined
from freshly.domains.families.listeners import recount_members, restore_family
from freshly.domains.families.models import Membership
from freshly.domains.grocery.listeners import (
    recompute_for_facts,
    recompute_for_meal,
    recompute_for_plan,
    recompute_for_stock,
)
from freshly.domains.ingredients.events import FactsChanged
from freshly.domains.ingredients.listeners import ensure_foods_are_visible
from freshly.domains.meal_plans.events import SlotsChanged
from freshly.domains.meals.events import MealChanged
from freshly.domains.notifications.listeners import notify_owners_of_new_member
from freshly.domains.pantry.events import StockChanged
from freshly.domains.pantry.listeners import measure_stock_anew
from freshly.domains.preferences.events import FoodsNamed
from freshly.domains.users.events import EmailChangeRequested
from freshly.settings import Settings
from freshly.wiring.quotas import quotas
from freshly.wiring.rate_limits import groups
from freshly.wiring.tables import all_tables

logger = get_logger(__name__)

LISTENERS: Mapping[type[Event], tuple[Listener, ...]] = {
    MemberJoined: (notify_owners_of_new_member,),
    FactsChanged: (measure_stock_anew, recompute_for_facts),
    StockChanged: (recompute_for_stock,),
    SlotsChanged: (recompute_for_plan,),
    MealChanged: (recompute_for_meal,),
    EmailChangeRequested: (confirm_new_address,),
    AccountStatusChanged: (recount_members,),
    FamilyRestoreRequested: (restore_family,),
    FoodsNamed: (ensure_foods_are_visible,),
}


@asynccontextmanager
async def open_resources(
    settings: Settings,
    shutdown: GracefulShutdown | None = None,
    memory: MemoryVersions | None = None,
) -> AsyncIterator[Resources]:
    """Open the resources, and close them when the context ends.

    `memory` has the versions of what is cached in memory, if this process caches there.
    """
    all_tables()
    engine = create_engine(
        settings.pooled_database,
        pool_size=settings.database_pool_size,
        max_overflow=settings.database_max_overflow,
        past_pooler=settings.database_url_pooler is None,
        statement_timeout=settings.database_statement_timeout,
    )
    account_statuses = AccountStatusReader(Membership.__table__)
    llm = OpenAIModel(settings)
    count_statements(engine)
    trace_statements(engine)
    shared = SharedState.of(settings, memory or MemoryVersions())
    ttl = timedelta(seconds=settings.cache_ttl_seconds)
    cache = Cache(shared.versions, shared.entries, settings.cache_memory, ttl, cache_read_counter())
    wait = timedelta(seconds=settings.database_pool_timeout)
    db = Database(engine, cache, wait, quotas(settings))
    try:
        async with db.watchdog.watching(), shared.watching():
            yield Resources(
                settings=settings,
                db=db,
                redis_state=shared.state,
                identity=TokenIdentity(TokenSigner(settings), account_statuses),
                passwords=Passwords(),
                limiter=Limiter(groups(settings), shared.counts),
                listeners=LISTENERS,
                mailer=create_mailer(settings),
                oauth=SupabaseVerifier(settings),
                objects=create_object_store(settings),
                llm=llm,
                url_signer=UrlSigner(settings.secret_key.get_secret_value()),
                response_cipher=ResponseCipher(settings.secret_key.get_secret_value()),
                shutdown=shutdown or GracefulShutdown(),
            )
    finally:
        await llm.close()
        await shared.close()
        await engine.dispose()
        await to_thread.run_sync(tracing.flush)


async def _no_close() -> None:
    """Close nothing."""


@asynccontextmanager
async def _nothing_to_watch() -> AsyncIterator[None]:
    yield


@dataclass(frozen=True)
class SharedState:
    """Cache and rate limit counters: in Redis for several processes, else in memory or disabled."""

    versions: TagVersions
    entries: SharedEntries
    counts: Counters
    state: Callable[[], RedisState] = lambda: "unused"
    close: Callable[[], Awaitable[None]] = _no_close
    watching: Callable[[], AbstractAsyncContextManager[None]] = _nothing_to_watch

    @classmethod
    def of(cls, settings: Settings, memory: MemoryVersions) -> Self:
        if settings.redis_url is not None and settings.cache != "memory":
            return cls._by_redis(settings, settings.redis_url.get_secret_value())
        versions = memory if settings.cache_alone else DisabledVersions()
        return cls(versions, LocalEntries(), MemoryCounters())

    @classmethod
    def _by_redis(cls, settings: Settings, url: str) -> Self:
        # The Redis library takes 10 MB of memory, so only a process that needs it imports it.
        from freshly.chassis.cache.redis_entries import RedisEntries  # noqa: PLC0415
        from freshly.chassis.cache.redis_versions import RedisVersions  # noqa: PLC0415
        from freshly.chassis.rate_limits.redis_counters import RedisCounters  # noqa: PLC0415
        from freshly.chassis.redis.client import CommandBatcher, RedisClient  # noqa: PLC0415

        client = RedisClient(url)
        prefix = _prefix(settings)
        batcher = CommandBatcher(client)
        versions = RedisVersions(client, batcher, prefix)

        async def close() -> None:
            await versions.close()
            await batcher.close()
            await client.close()

        return cls(
            versions if settings.cache == "auto" else DisabledVersions(),
            RedisEntries(client, f"{prefix}:{__version__}", settings.secret_key.get_secret_value()),
            RedisCounters(batcher, prefix),
            lambda: "connected" if client.is_available else "away",
            close,
            client.watching,
        )


def warn_without_shared_cache(settings: Settings) -> None:
    """Log a warning if there are several processes and no Redis."""
    if settings.redis_url is None and settings.cache == "auto" and not settings.cache_alone:
        logger.warning(
            "without REDIS_URL nothing is cached, and each process counts rate limits by itself;"
            " for a single process set CACHE=memory"
        )


def _prefix(settings: Settings) -> str:
    """Return a prefix of Redis keys that is the same for all processes of an installation.

    Another installation may use the same Redis; it has another database or other secrets. User name
    and password of the database are left out, since they may differ between our processes.
    """
    url = settings.database
    identity = f"{settings.jwt_secret.get_secret_value()} {url.host} {url.port} {url.database}"
    return f"freshly:{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
