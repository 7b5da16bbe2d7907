"""What the processes of one Freshly share, by way of Redis or of being only one."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

from freshly import __version__
from freshly.chassis.cache.store import LocalEntries, SharedEntries
from freshly.chassis.cache.versions import DisabledVersions, MemoryVersions, TagVersions
from freshly.chassis.observability.logging import get_logger
from freshly.chassis.rate_limits.counters import Counters, MemoryCounters
from freshly.chassis.resources import RedisState
from freshly.settings import Settings

logger = get_logger(__name__)


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
