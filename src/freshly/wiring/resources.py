"""Opens the resources of a process: of the server, and of a worker."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from freshly import __version__
from freshly.adapters.object_storage import store_for
from freshly.adapters.openai.client import OpenAIModel
from freshly.adapters.smtp import mailer_for
from freshly.adapters.supabase import SupabaseVerifier
from freshly.chassis.cache.store import Cache, LocalEntries, SharedEntries
from freshly.chassis.cache.versions import DisabledVersions, MemoryVersions, TagVersions
from freshly.chassis.data.admission import AdmissionControl
from freshly.chassis.data.engine import create_engine
from freshly.chassis.data.events import Event, Listener
from freshly.chassis.data.idempotency_keys import ResponseCipher
from freshly.chassis.data.transactions import Database
from freshly.chassis.data.watchdog import DatabaseWatchdog
from freshly.chassis.observability.logging import get_logger
from freshly.chassis.observability.metrics import count_reads, count_statements
from freshly.chassis.rate_limits.counters import Counters, MemoryCounters
from freshly.chassis.rate_limits.policy import Limiter
from freshly.chassis.resilience.graceful_shutdown import GracefulShutdown
from freshly.chassis.resources import RedisState, Resources
from freshly.chassis.security.passwords import Passwords
from freshly.chassis.security.signed_urls import UrlSigner
from freshly.domains.auth.identity import TokenIdentity
from freshly.domains.auth.repository import AccountStatusReader
from freshly.domains.auth.tokens import TokenSigner
from freshly.domains.families.events import MemberJoined
from freshly.domains.families.models import Membership
from freshly.domains.grocery.listeners import (
    recompute_for_meal,
    recompute_for_plan,
    recompute_for_stock,
)
from freshly.domains.meal_plans.events import SlotsChanged
from freshly.domains.meals.events import MealChanged
from freshly.domains.notifications.listeners import tell_owners_of_new_member
from freshly.domains.pantry.events import StockChanged
from freshly.settings import Settings
from freshly.wiring.rate_limits import groups
from freshly.wiring.tables import all_tables

logger = get_logger(__name__)

LISTENERS: Mapping[type[Event], tuple[Listener, ...]] = {
    MemberJoined: (tell_owners_of_new_member,),
    StockChanged: (recompute_for_stock,),
    SlotsChanged: (recompute_for_plan,),
    MealChanged: (recompute_for_meal,),
}


@asynccontextmanager
async def open_resources(
    settings: Settings, shutdown: GracefulShutdown | None = None
) -> AsyncIterator[Resources]:
    """Open the resources, and close them at the end."""
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
    shared = SharedState.of(settings)
    ttl = timedelta(seconds=settings.cache_ttl_seconds)
    cache = Cache(shared.versions, shared.entries, settings.cache_memory, ttl, count_reads())
    capacity = settings.database_pool_size + settings.database_max_overflow
    admission = AdmissionControl(capacity, settings.database_pool_timeout)
    watchdog = DatabaseWatchdog(engine)
    db = Database(engine, cache, admission, watchdog)
    try:
        async with watchdog.watching():
            yield Resources(
                settings=settings,
                db=db,
                redis_state=shared.state,
                identity=TokenIdentity(TokenSigner(settings), account_statuses),
                passwords=Passwords(),
                limiter=Limiter(groups(settings), shared.counts),
                listeners=LISTENERS,
                mailer=mailer_for(settings),
                oauth=SupabaseVerifier(settings),
                objects=store_for(settings),
                llm=llm,
                url_signer=UrlSigner(settings.secret_key.get_secret_value()),
                response_cipher=ResponseCipher(settings.secret_key.get_secret_value()),
                shutdown=shutdown or GracefulShutdown(),
            )
    finally:
        await llm.close()
        await shared.close()
        await engine.dispose()


async def _nothing() -> None:
    pass


@dataclass(frozen=True)
class SharedState:
    versions: TagVersions
    entries: SharedEntries
    counts: Counters
    state: Callable[[], RedisState] = lambda: "unused"
    close: Callable[[], Awaitable[None]] = _nothing

    @classmethod
    def of(cls, settings: Settings) -> Self:
        if settings.redis_url is not None and settings.cache != "memory":
            return cls._by_redis(settings, settings.redis_url.get_secret_value())
        versions = MemoryVersions() if settings.cache_alone else DisabledVersions()
        return cls(versions, LocalEntries(), MemoryCounters())

    @classmethod
    def _by_redis(cls, settings: Settings, url: str) -> Self:
        # The Redis library takes 10 MB of memory, so only a process that needs it imports it.
        from freshly.chassis.cache.redis_entries import RedisEntries  # noqa: PLC0415
        from freshly.chassis.cache.redis_versions import RedisVersions  # noqa: PLC0415
        from freshly.chassis.rate_limits.redis_counters import RedisCounters  # noqa: PLC0415
        from freshly.chassis.redis.client import CommandBatcher, RedisClient  # noqa: PLC0415

        link = RedisClient(url)
        prefix = _prefix(settings)
        batcher = CommandBatcher(link)
        versions = RedisVersions(link, batcher, prefix)

        async def close() -> None:
            await versions.close()
            await batcher.close()
            await link.close()

        return cls(
            versions if settings.cache == "auto" else DisabledVersions(),
            RedisEntries(link, f"{prefix}:{__version__}"),
            RedisCounters(batcher, prefix),
            lambda: "connected" if link.is_well else "away",
            close,
        )


def warn_if_apart(settings: Settings) -> None:
    """Once, at start."""
    if settings.redis_url is None and settings.cache == "auto" and not settings.cache_alone:
        logger.warning(
            "without REDIS_URL nothing is cached, and each process counts calls for itself;"
            " for a single process say CACHE=memory"
        )


def _prefix(settings: Settings) -> str:
    """Another Freshly may use the same Redis: it has another database, or other secrets.

    Who signs in to the database, and how, may differ between processes of one Freshly.
    """
    where = settings.database
    own = f"{settings.jwt_secret.get_secret_value()} {where.host} {where.port} {where.database}"
    return f"freshly:{hashlib.sha256(own.encode()).hexdigest()[:12]}"
