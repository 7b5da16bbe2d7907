"""Where a scenario plays: Freshly in processes of its own, people who use it, and a watch."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import asyncpg
from httpx2 import AsyncClient

from bench.load import request
from bench.servers import A_LOT, LIMITS, Server, freshly
from faults.load import OK, Client, Load, Sample, seated
from faults.proxy import Proxy, proxy
from faults.report import Report, longest
from faults.services import Database, Redis
from tests.support.api import Kitchen
from tests.support.servers import workplace

WORKERS = 2
FEW = 5  # people, in a brief one
MOST_CONNECTIONS = 50  # of each process: 20 and 30 more
EVERY = 0.1  # seconds between two looks of the watch
# Nobody meets a limit, except who signs in: each from an address of their own.
COUNTED = {
    **{name: limit for name, limit in json.loads(LIMITS).items() if name != "auth-login"},
    "auth-code": {"default": A_LOT},
    "chat": {"free": A_LOT},
}
SETTINGS = {"RATE_LIMIT_OVERRIDES": json.dumps(COUNTED), "TRUSTED_PROXIES": "127.0.0.1"}


@dataclass
class Watch:
    """Looks at what an operator would look at, all the time."""

    server: Server
    database: Database | None = None
    samples: list[Sample] = field(default_factory=list)
    most_connections: int = 0
    most_memory: float = 0.0  # MB

    @asynccontextmanager
    async def on(self) -> AsyncIterator[None]:
        looking = [asyncio.create_task(self._ask(path)) for path in ("/health", "/ready")]
        looking.append(asyncio.create_task(self._measure()))
        try:
            yield
        finally:
            for task in looking:
                task.cancel()
            await asyncio.gather(*looking, return_exceptions=True)

    async def _ask(self, path: str) -> None:
        client = Client(self.server.port, self.samples)
        while True:
            await client.ask(path, request("GET", path))
            await asyncio.sleep(EVERY)

    async def _measure(self) -> None:
        while True:
            with suppress(FileNotFoundError, ProcessLookupError):  # one ended between two looks
                self.most_memory = max(self.most_memory, self.server.memory)
            if self.database is not None:
                with suppress(OSError, asyncpg.PostgresError):  # it is away, and nobody connected
                    found = await self.database.connections()
                    self.most_connections = max(self.most_connections, found)
            await asyncio.sleep(3 * EVERY)

    def of(self, path: str, since: float = 0.0, until: float = float("inf")) -> list[Sample]:
        return [s for s in self.samples if s.what == path and since <= s.sent and s.ended <= until]


@dataclass
class Environment:
    report: Report
    server: Server
    load: Load
    watch: Watch
    folder: Path
    database: Database | None = None
    redis: Redis | None = None
    between: Proxy | None = None  # Freshly and its database
    warm_at: float = 0.0  # from then on the calm is a measure for what follows
    measured_since: float | None = None

    @asynccontextmanager
    async def busy(self, calm: float = 5.0, after: float = 4.0) -> AsyncIterator[None]:
        """People cook: for a while in peace, then while the scenario goes on, and afterwards."""
        calm, after = self.report.lasting(calm), self.report.lasting(after)
        async with self.watch.on(), self.load.on(self.server.port):
            await asyncio.sleep(calm / 3)
            self.warm_at = monotonic()
            await asyncio.sleep(calm * 2 / 3)
            yield
            await asyncio.sleep(after)

    async def judge(self, **bars: float | None) -> None:
        report, watch = self.report, self.watch
        await report.judge(self.load, self.server.port, **bars)  # type: ignore[arg-type]
        looks = watch.of("/health")
        wrong = sum(look.status != OK for look in looks)
        detail = f"{len(looks)} looks, the slowest {longest(looks) * 1e3:.0f} ms"
        report.expect("/health other than 200", wrong, at_most=0, detail=detail)
        if self.database is not None:
            most = WORKERS * MOST_CONNECTIONS
            report.expect("connections at most", watch.most_connections, at_most=most)
        report.expect("memory at most", watch.most_memory, "MB")

    def not_ready(self, of_those_after: float) -> None:
        """That /ready said so while the fault lasted, from so many seconds after its begin."""
        report = self.report
        looks = self.watch.of("/ready", report.began + of_those_after, report.ended)
        wrong = sum(look.status == OK for look in looks)
        report.expect("/ready 200 meanwhile", wrong, at_most=0, detail=f"of {len(looks)} looks")
        report.expect("looks at /ready", len(looks), at_least=1)

    def ready_throughout(self) -> None:
        wrong = sum(look.status != OK for look in self.watch.of("/ready"))
        self.report.expect("/ready other than 200", wrong, at_most=0)


@asynccontextmanager
async def production(
    report: Report,
    *,
    settings: Mapping[str, str] | None = None,
    people: int = 20,
    rate: float = 100,
    through_a_proxy: bool = False,
    prepare: Callable[[Redis], None] = Redis.start,
) -> AsyncIterator[Environment]:
    """Two workers on PostgreSQL and Redis."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(workplace())
        redis = Redis(folder)
        prepare(redis)
        stack.callback(redis.go_on)
        database = await asyncio.to_thread(Database, folder)
        await asyncio.to_thread(database.start)
        await database.furnish()
        between = None
        port = database.port
        if through_a_proxy:
            between = await stack.enter_async_context(proxy(port))
            port = between.port
        given = {"DATABASE_URL": database.url(port), "REDIS_URL": redis.url, **SETTINGS}
        given |= settings or {}
        server = await started(stack, folder / "data", WORKERS, given)
        load = Load(await at(server, min(people, FEW) if report.brief else people), rate)
        watch = Watch(server, database)
        yield Environment(report, server, load, watch, folder, database, redis, between)


@asynccontextmanager
async def embedded(
    report: Report, data: Path, *, people: int = 8, rate: float = 40
) -> AsyncIterator[Environment]:
    """One process on SQLite."""
    async with AsyncExitStack() as stack:
        server = await started(stack, data, 1, SETTINGS)
        load = Load(await at(server, min(people, FEW) if report.brief else people), rate)
        yield Environment(report, server, load, Watch(server), data)


async def started(
    stack: AsyncExitStack, folder: Path, workers: int, settings: Mapping[str, str]
) -> Server:
    """Out of this thread, in which a proxy of the server's may live."""
    own = ExitStack()

    async def stop() -> None:
        await asyncio.to_thread(own.close)

    server = await asyncio.to_thread(own.enter_context, freshly(folder, workers, settings))
    stack.push_async_callback(stop)
    return server


async def at(server: Server, people: int) -> list:
    async with AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=60) as client:
        return await seated(Kitchen(client), people)


@asynccontextmanager
async def a_folder() -> AsyncIterator[Path]:
    with tempfile.TemporaryDirectory(prefix="freshly-faults-") as name:
        yield Path(name)
