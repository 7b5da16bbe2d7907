"""Scenarios in which Redis is down, silent, flapping, full, flushed or full of garbage."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic

from httpx2 import AsyncClient
from redis.asyncio import Redis as Client

from faults.environment import WORKERS, Environment, production
from faults.load import OK
from faults.report import Report, quantile
from faults.scenarios import scenario
from faults.services import Redis
from tests.support.api import PASSWORD, Kitchen

FAULT = 6.0  # seconds
LONG_FAULT = 30.0  # seconds; so long that the first moments are under 1 % of the requests
BACK_WITHIN = 5.0  # seconds
MAX_RATIO = 2.0  # of the p99 during the fault to the p99 before
SIGN_INS = 10  # allowed per minute
TOO_MANY = 429
UNAUTHENTICATED = 401


def _check_speed(
    environment: Environment, since: float | None = None, most: float | None = MAX_RATIO
) -> None:
    """Expect that /ready never failed, and that requests took at most twice as long as before.

    With `since`, only requests after that time count, because others were slow for another reason.
    """
    report, samples = environment.report, environment.load.samples
    begin = since or report.began
    before = [s for s in samples if environment.warm_at < s.sent and s.ended < report.began]
    during = [s for s in samples if begin <= s.sent and s.ended <= report.ended]
    calm, meanwhile = quantile(before, 0.99), quantile(during, 0.99)
    detail = f"{calm * 1e3:.0f} ms before, {meanwhile * 1e3:.0f} ms while it was away"
    report.expect("p99", meanwhile / calm, "x before", at_most=most, detail=detail)
    environment.expect_always_ready()


async def _expect_reconnected(environment: Environment) -> None:
    """Wait until each process reports Redis as connected, and add the time as a row."""
    since = monotonic()
    connected = 0  # responses in a row; enough of them reach every process
    async with AsyncClient(base_url=f"http://127.0.0.1:{environment.server.port}") as client:
        while connected < 5 * WORKERS and monotonic() - since < 3 * BACK_WITHIN:
            response = await client.get("/ready", headers={"Connection": "close"})
            connected = connected + 1 if response.json().get("redis") == "connected" else 0
            await asyncio.sleep(0.02)
    took = monotonic() - since if connected else float("inf")
    environment.report.expect("used again after", took, "s", at_most=BACK_WITHIN)


@asynccontextmanager
async def _without_redis(
    report: Report, stop: Callable[[Redis], None], restart: Callable[[Redis], None]
) -> AsyncIterator[Environment]:
    async with production(report) as environment:
        assert environment.redis is not None
        async with environment.under_load():
            with report.fault():
                await asyncio.to_thread(stop, environment.redis)
                yield environment
            await asyncio.to_thread(restart, environment.redis)
            await _expect_reconnected(environment)
        await environment.check_promises(failures=0)
        _check_speed(environment, environment.measured_since)


@scenario("Redis killed with -9 under 100 requests/s, and started again", short=True)
async def redis_killed(report: Report) -> None:
    async with _without_redis(report, Redis.kill, Redis.start) as environment:
        async with AsyncClient(base_url=f"http://127.0.0.1:{environment.server.port}") as client:
            await _check_revoked_tokens(environment, client)
            await _check_sign_in_limit(environment, client)
        environment.measured_since = monotonic()  # sign-ins are slow by design
        await asyncio.sleep(report.scaled(FAULT))


async def _check_revoked_tokens(environment: Environment, client: AsyncClient) -> None:
    """Expect that each process refuses a revoked token without Redis."""
    client.headers["X-Forwarded-For"] = "10.0.1.1"
    person = await Kitchen(client).person("Leaver", email="leaver@example.com")
    assert (await person.post("/auth/logout")).status_code == OK
    calls = [person.get("/families", headers={"Connection": "close"}) for _ in range(10 * WORKERS)]
    let_in = sum(
        response.status_code != UNAUTHENTICATED for response in await asyncio.gather(*calls)
    )
    environment.report.expect("revoked tokens let in", let_in, f"of {10 * WORKERS}", at_most=0)


async def _check_sign_in_limit(environment: Environment, client: AsyncClient) -> None:
    """Expect that each process counts sign-ins itself while Redis is down.

    The processes together allow one limit each, and twice that if a minute begins meanwhile.
    """
    client.headers["X-Forwarded-For"] = "10.0.1.2"
    guess = {"email": "cook0@example.com", "password": f"not {PASSWORD}"}
    calls = [
        client.post("/auth/login", json=guess, headers={"Connection": "close"})
        for _ in range(5 * WORKERS * SIGN_INS)
    ]
    statuses = [response.status_code for response in await asyncio.gather(*calls)]
    allowed = sum(status != TOO_MANY for status in statuses)
    most = 2 * WORKERS * SIGN_INS
    environment.report.expect("guesses at a password", allowed, f"of {len(calls)}", at_most=most)


@scenario("Redis stopped (SIGSTOP), so that it is silent, and continued")
async def redis_stopped(report: Report) -> None:
    async with _without_redis(report, Redis.pause, Redis.resume):
        await asyncio.sleep(report.scaled(LONG_FAULT))


@scenario("Redis killed and started again every second, ten times")
async def redis_flapping(report: Report) -> None:
    async with _without_redis(report, Redis.kill, lambda _: None) as environment:
        assert environment.redis is not None
        for _ in range(9):
            await asyncio.sleep(0.5)
            await asyncio.to_thread(environment.redis.start)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(environment.redis.kill)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(environment.redis.start)


@scenario("Redis not there when Freshly starts, and started later")
async def redis_absent_at_start(report: Report) -> None:
    async with production(report, prepare=lambda _: None) as environment:
        assert environment.redis is not None
        async with environment.under_load():
            with report.fault():
                await asyncio.sleep(1)
            await asyncio.to_thread(environment.redis.start)
            await _expect_reconnected(environment)
        await environment.check_promises(failures=0)
        environment.expect_always_ready()


@asynccontextmanager
async def _redis_client(environment: Environment) -> AsyncIterator[Client]:
    assert environment.redis is not None
    client = Client.from_url(environment.redis.url)
    try:
        yield client
    finally:
        await client.aclose()


@scenario("Redis full: 2 MB over its limit, with noeviction; then with room again")
async def redis_full(report: Report) -> None:
    async with production(report) as environment, _redis_client(environment) as redis:
        async with environment.under_load():
            with report.fault():
                await redis.config_set("maxmemory-policy", "noeviction")
                await redis.set("another application's", b"x" * 2**21)
                await redis.config_set("maxmemory", 2**20)
                await asyncio.sleep(report.scaled(FAULT))
            await redis.config_set("maxmemory", 0)
            await _expect_reconnected(environment)
        await environment.check_promises(failures=0)
        _check_speed(environment)


@scenario("FLUSHALL twice a second; each user reads back what they wrote")
async def redis_flushed(report: Report) -> None:
    async with production(report) as environment, _redis_client(environment) as redis:
        async with environment.under_load():
            with report.fault():
                for _ in range(int(2 * FAULT)):
                    await redis.flushall()
                    await asyncio.sleep(0.5)
        await environment.check_promises(failures=0)
        _check_speed(environment, most=None)  # Redis works, but the cache is empty


POISON = (b"garbage", b"\x00\xff" * 50, b"", b"-1", b'{"versions": 1}\nx')


@scenario("garbage, and values of wrong types, under all of Freshly's keys, ten times a second")
async def redis_poisoned(report: Report) -> None:
    async with production(report) as environment, _redis_client(environment) as redis:
        spoilt = 0
        async with environment.under_load():
            with report.fault():
                for turn in range(int(10 * FAULT)):
                    keys = [key async for key in redis.scan_iter(match="freshly:*", count=1000)]
                    spoilt += len(keys)
                    for place, key in enumerate(keys):
                        await _spoil(redis, key, turn + place)
                    await asyncio.sleep(0.1)
        report.expect("keys spoilt", spoilt, at_least=100)
        await environment.check_promises(failures=0)
        _check_speed(environment, most=None)


async def _spoil(redis: Client, key: bytes, turn: int) -> None:
    """Overwrite a key with garbage, or replace it by a list.

    A third of the keys stays, because the cache stores nothing under a tag without a valid version.
    """
    if turn % 3 == 0:
        return
    pipeline = redis.pipeline()
    pipeline.delete(key)
    if turn % 3 == 1:
        pipeline.set(key, POISON[turn % len(POISON)], ex=60)
    else:
        pipeline.rpush(key, "a list")
    await pipeline.execute()
