"""The environment of a scenario: Freshly in processes of its own, its users, and a monitor."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import asyncpg
from httpx2 import AsyncClient

from bench.load import request
from bench.servers import A_LOT, LIMITS, Server, freshly
from faults.load import OK, Client, Load, Sample, User, create_users
from faults.proxy import Proxy, proxy
from faults.report import Report, longest
from faults.services import Database, Redis
from tests.support.api import Kitchen
from tests.support.servers import workplace

WORKERS = 2
USERS_IN_SHORT_FORM = 5
MAX_CONNECTIONS = 50  # of each process: 20 and 30 more
INTERVAL = 0.1  # seconds between two requests of the monitor
# No request reaches a limit, except sign-ins: each user signs in from an address of its own.
OVERRIDES = {
    **{name: limit for name, limit in json.loads(LIMITS).items() if name != "auth-login"},
    **{key: {"default": A_LOT} for key in ("auth-code", "auth-attempts", "auth-emails")},
    "chat": {"free": A_LOT},
}
SETTINGS = {"RATE_LIMIT_OVERRIDES": json.dumps(OVERRIDES), "TRUSTED_PROXIES": "127.0.0.1"}


@dataclass
class Monitor:
    """Watches health, readiness, memory and connections all the time, as an operator would."""

    server: Server
    database: Database | None = None
    samples: list[Sample] = field(default_factory=list)
    most_connections: int = 0
    most_memory: float = 0.0  # MB

    @asynccontextmanager
    async def on(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._request(path)) for path in ("/health", "/ready")]
        tasks.append(asyncio.create_task(self._measure()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _request(self, path: str) -> None:
        client = Client(self.server.port, self.samples)
        while True:
            await client.send(path, request("GET", path))
            await asyncio.sleep(INTERVAL)

    async def _measure(self) -> None:
        while True:
            with suppress(FileNotFoundError, ProcessLookupError):  # a process ended meanwhile
                self.most_memory = max(self.most_memory, self.server.memory)
            if self.database is not None:
                with suppress(OSError, asyncpg.PostgresError):  # the database is unavailable
                    connections = await self.database.connections()
                    self.most_connections = max(self.most_connections, connections)
            await asyncio.sleep(3 * INTERVAL)

    def samples_of(
        self, path: str, since: float = 0.0, until: float = float("inf")
    ) -> list[Sample]:
        return [s for s in self.samples if s.kind == path and since <= s.sent and s.ended <= until]


@dataclass
class Environment:
    """Everything that a scenario works with."""

    report: Report
    server: Server
    load: Load
    monitor: Monitor
    folder: Path
    database: Database | None = None
    redis: Redis | None = None
    database_proxy: Proxy | None = None
    warm_at: float = 0.0  # requests from then until the fault are the reference
    measured_since: float | None = None

    @asynccontextmanager
    async def under_load(self, calm: float = 5.0, after: float = 4.0) -> AsyncIterator[None]:
        """Send requests for some seconds before the scenario, during it, and after it."""
        calm, after = self.report.scaled(calm), self.report.scaled(after)
        async with self.monitor.on(), self.load.on(self.server.port):
            await asyncio.sleep(calm / 3)
            self.warm_at = monotonic()
            await asyncio.sleep(calm * 2 / 3)
            yield
            await asyncio.sleep(after)

    async def check_promises(self, **promises: float | None) -> None:
        """Add the rows of `Report.check_promises`, and those of the monitor."""
        report, monitor = self.report, self.monitor
        await report.check_promises(self.load, self.server.port, **promises)  # type: ignore[arg-type]
        health = monitor.samples_of("/health")
        wrong = sum(sample.status != OK for sample in health)
        detail = f"{len(health)} checks, the slowest {longest(health) * 1e3:.0f} ms"
        report.expect("/health other than 200", wrong, at_most=0, detail=detail)
        if self.database is not None:
            most = WORKERS * MAX_CONNECTIONS
            report.expect("connections at most", monitor.most_connections, at_most=most)
        report.expect("memory at most", monitor.most_memory, "MB")

    def expect_not_ready(self, after: float) -> None:
        """Expect that /ready failed during the fault, from `after` seconds after its begin."""
        report = self.report
        samples = self.monitor.samples_of("/ready", report.began + after, report.ended)
        wrong = sum(sample.status == OK for sample in samples)
        detail = f"of {len(samples)} checks"
        report.expect("/ready 200 meanwhile", wrong, at_most=0, detail=detail)
        report.expect("checks of /ready", len(samples), at_least=1)

    def expect_always_ready(self) -> None:
        wrong = sum(sample.status != OK for sample in self.monitor.samples_of("/ready"))
        self.report.expect("/ready other than 200", wrong, at_most=0)


@asynccontextmanager
async def production(
    report: Report,
    *,
    settings: Mapping[str, str] | None = None,
    users: int = 20,
    rate: float = 100,
    through_a_proxy: bool = False,
    prepare: Callable[[Redis], None] = Redis.start,
) -> AsyncIterator[Environment]:
    """Start two workers on PostgreSQL and Redis.

    With `through_a_proxy`, Freshly connects to PostgreSQL through `Environment.database_proxy`.
    `prepare` is called in place of starting Redis.
    """
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(workplace())
        redis = Redis(folder)
        prepare(redis)
        stack.callback(redis.resume)
        database = await asyncio.to_thread(Database, folder)
        await asyncio.to_thread(database.start)
        await database.create_role_and_database()
        database_proxy = None
        port = database.port
        if through_a_proxy:
            database_proxy = await stack.enter_async_context(proxy(port))
            port = database_proxy.port
        variables = {"DATABASE_URL": database.url(port), "REDIS_URL": redis.url, **SETTINGS}
        variables |= settings or {}
        server = await start_server(stack, folder / "data", WORKERS, variables)
        load = Load(await _create_users(server, users, report), rate)
        monitor = Monitor(server, database)
        yield Environment(report, server, load, monitor, folder, database, redis, database_proxy)


@asynccontextmanager
async def embedded(
    report: Report, data: Path, *, users: int = 8, rate: float = 40
) -> AsyncIterator[Environment]:
    """Start one process on SQLite."""
    async with AsyncExitStack() as stack:
        server = await start_server(stack, data, 1, SETTINGS)
        load = Load(await _create_users(server, users, report), rate)
        yield Environment(report, server, load, Monitor(server), data)


async def start_server(
    stack: AsyncExitStack, folder: Path, workers: int, settings: Mapping[str, str]
) -> Server:
    """Start a server, and stop it when the stack closes.

    Both happen in another thread, because the server's proxy may run in this one.
    """
    server_stack = ExitStack()

    async def stop() -> None:
        await asyncio.to_thread(server_stack.close)

    starting = asyncio.to_thread(server_stack.enter_context, freshly(folder, workers, settings))
    server = await starting
    stack.push_async_callback(stop)
    return server


async def _create_users(server: Server, number: int, report: Report) -> list[User]:
    number = min(number, USERS_IN_SHORT_FORM) if report.short else number
    async with AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=60) as client:
        return await create_users(Kitchen(client), number)
