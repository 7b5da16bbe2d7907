"""Start what is measured: Freshly embedded or in production, beside its reference servers."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
from pydantic import SecretStr

from bench.floor import floor, record_statements
from bench.household import HOT, PAGED, Household, cold_paths, seed_households, tokens_for
from bench.load import Outcome
from bench.servers import SECRET, Server, bare, freshly
from freshly.settings import Settings
from tests.support.servers import postgres, redis


@dataclass
class Target:
    """Freshly embedded or in production, with its reference servers and its measurements."""

    name: str
    workers: int
    least_cached: float  # the promised speed of cached reads, as a share of the bare route's
    cached: Server
    uncached: Server
    reference: Server
    floor: Server
    households: list[Household]
    idle: float  # MB before the first request
    cold: dict[str, Iterator[bytes]] = field(init=False)  # requests by path
    rates: dict[str, list[float]] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cold = {path: cold_paths(path, self.households) for path in PAGED}


def embedded(stack: ExitStack, households: int) -> Target:
    """Start Freshly as one process on SQLite."""
    home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="freshly-bench-")))
    cache_on, cache_off = home / "on", home / "off"
    with freshly(cache_on, 1, {}) as server:
        idle = server.memory
        seeded = asyncio.run(seed_households(server.port, households))
    shutil.copytree(cache_on, cache_off)
    return Target(
        name="embedded",
        workers=1,
        least_cached=0.4,
        cached=stack.enter_context(freshly(cache_on, 1, {})),
        uncached=stack.enter_context(freshly(cache_off, 1, {"CACHE": "off"})),
        reference=stack.enter_context(bare(1)),
        floor=stack.enter_context(_start_floor(home, {"DATA_DIR": str(cache_off)}, seeded, 1)),
        households=seeded,
        idle=idle,
    )


def production(stack: ExitStack, households: int) -> Target:
    """Start Freshly as two workers on PostgreSQL and Redis."""
    home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="freshly-bench-")))
    server_url, redis_url = stack.enter_context(postgres()), stack.enter_context(redis())
    base = server_url.rsplit("/", 1)[0]
    folders = {name: home / name for name in ("kitchen", "uncached")}
    asyncio.run(_sql(server_url, "CREATE DATABASE kitchen"))
    cached = {"DATABASE_URL": f"{base}/kitchen", "REDIS_URL": redis_url}
    with freshly(folders["kitchen"], 2, cached) as server:
        idle = server.memory
        seeded = asyncio.run(seed_households(server.port, households))
    asyncio.run(_sql(server_url, "CREATE DATABASE uncached TEMPLATE kitchen"))
    uncached = {"DATABASE_URL": f"{base}/uncached", "REDIS_URL": redis_url, "CACHE": "off"}
    return Target(
        name="production",
        workers=2,
        least_cached=0.25,
        cached=stack.enter_context(freshly(folders["kitchen"], 2, cached)),
        uncached=stack.enter_context(freshly(folders["uncached"], 2, uncached)),
        reference=stack.enter_context(bare(2)),
        floor=stack.enter_context(_start_floor(home, uncached, seeded, 2)),
        households=seeded,
        idle=idle,
    )


def _start_floor(
    home: Path, environment: Mapping[str, str], households: list[Household], workers: int
) -> AbstractContextManager[Server]:
    settings = Settings(
        data_dir=Path(environment.get("DATA_DIR", home / "floor")),
        database_url=SecretStr(environment.get("DATABASE_URL", "")),
        cache="off",
        rate_limit_enabled=False,
        secret_key=SecretStr(SECRET),
        jwt_secret=SecretStr(SECRET),
        allowed_hosts=("test",),  # of client_of
    )
    tokens = {path: tokens_for(path, households)[0] for path in HOT}
    statements = asyncio.run(record_statements(settings, tokens))
    url = environment.get("DATABASE_URL") or str(settings.data_dir / "freshly.db")
    return floor(home, statements, url, workers)


async def _sql(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
