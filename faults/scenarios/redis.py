"""Redis gone, in all the ways in which it goes."""

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

AWAY = 6.0  # seconds
SILENT = 30.0  # long enough that the first moments are not one request in a hundred
BACK_WITHIN = 5.0
SLOWER = 2.0  # times as slow at most
SIGN_INS = 10  # a minute
TOO_MANY = 429
UNAUTHENTICATED = 401


def _away(
    environment: Environment, since: float | None = None, slower: float | None = SLOWER
) -> None:
    """What holds whenever Redis is away: nothing fails, and nothing takes twice as long.

    Timings are those `since` then, if something else was going on before.
    """
    report, samples = environment.report, environment.load.samples
    begin = since or report.began
    before = [s for s in samples if environment.warm_at < s.sent and s.ended < report.began]
    during = [s for s in samples if begin <= s.sent and s.ended <= report.ended]
    calm, meanwhile = quantile(before, 0.99), quantile(during, 0.99)
    detail = f"{calm * 1e3:.0f} ms before, {meanwhile * 1e3:.0f} ms while it was away"
    report.expect("p99", meanwhile / calm, "x before", at_most=slower, detail=detail)
    environment.ready_throughout()


async def _back(environment: Environment) -> None:
    """Until every process says that it has Redis again."""
    since = monotonic()
    well = 0
    async with AsyncClient(base_url=f"http://127.0.0.1:{environment.server.port}") as client:
        while well < 5 * WORKERS and monotonic() - since < 3 * BACK_WITHIN:  # whichever answers
            answer = await client.get("/ready", headers={"Connection": "close"})
            well = well + 1 if answer.json().get("redis") == "connected" else 0
            await asyncio.sleep(0.02)
    took = monotonic() - since if well else float("inf")
    environment.report.expect("used again after", took, "s", at_most=BACK_WITHIN)


@asynccontextmanager
async def _without_redis(
    report: Report, gone: Callable[[Redis], None], again: Callable[[Redis], None]
) -> AsyncIterator[Environment]:
    async with production(report) as environment:
        assert environment.redis is not None
        async with environment.busy():
            with report.fault():
                await asyncio.to_thread(gone, environment.redis)
                yield environment
            await asyncio.to_thread(again, environment.redis)
            await _back(environment)
        await environment.judge(failures=0)
        _away(environment, environment.measured_since)


@scenario("Redis killed with -9 under 100 requests/s, and started again", short=True)
async def redis_killed(report: Report) -> None:
    async with _without_redis(report, Redis.kill, Redis.start) as environment:
        async with AsyncClient(base_url=f"http://127.0.0.1:{environment.server.port}") as client:
            await _signed_out_stays_out(environment, client)
            await _sign_ins_are_counted(environment, client)
        environment.measured_since = monotonic()  # a sign-in takes a while, by intent
        await asyncio.sleep(report.lasting(AWAY))


async def _signed_out_stays_out(environment: Environment, client: AsyncClient) -> None:
    """Every process asks the database who is calling."""
    client.headers["X-Forwarded-For"] = "10.0.1.1"
    person = await Kitchen(client).person("Leaver", email="leaver@example.com")
    assert (await person.post("/auth/logout")).status_code == OK
    calls = [person.get("/families", headers={"Connection": "close"}) for _ in range(10 * WORKERS)]
    let_in = sum(answer.status_code != UNAUTHENTICATED for answer in await asyncio.gather(*calls))
    environment.report.expect("revoked tokens let in", let_in, f"of {10 * WORKERS}", at_most=0)


async def _sign_ins_are_counted(environment: Environment, client: AsyncClient) -> None:
    """By each process for itself: never more than so many times what is allowed, twice if a
    minute begins meanwhile."""
    client.headers["X-Forwarded-For"] = "10.0.1.2"
    guess = {"email": "cook0@example.com", "password": f"not {PASSWORD}"}
    calls = [
        client.post("/auth/login", json=guess, headers={"Connection": "close"})
        for _ in range(5 * WORKERS * SIGN_INS)
    ]
    statuses = [answer.status_code for answer in await asyncio.gather(*calls)]
    allowed = sum(status != TOO_MANY for status in statuses)
    most = 2 * WORKERS * SIGN_INS
    environment.report.expect("guesses at a password", allowed, f"of {len(calls)}", at_most=most)


@scenario("Redis stopped (SIGSTOP), so that it is silent, and continued")
async def redis_stopped(report: Report) -> None:
    async with _without_redis(report, Redis.pause, Redis.go_on):
        await asyncio.sleep(report.lasting(SILENT))


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
        async with environment.busy():
            with report.fault():
                await asyncio.sleep(1)
            await asyncio.to_thread(environment.redis.start)
            await _back(environment)
        await environment.judge(failures=0)
        environment.ready_throughout()


@asynccontextmanager
async def _told(environment: Environment) -> AsyncIterator[Client]:
    assert environment.redis is not None
    client = Client.from_url(environment.redis.url)
    try:
        yield client
    finally:
        await client.aclose()


@scenario("Redis full: 2 MB more than it may have, and noeviction; then with room again")
async def redis_full(report: Report) -> None:
    async with production(report) as environment, _told(environment) as redis:
        async with environment.busy():
            with report.fault():
                await redis.config_set("maxmemory-policy", "noeviction")
                await redis.set("somebody else's", b"x" * 2**21)
                await redis.config_set("maxmemory", 2**20)
                await asyncio.sleep(report.lasting(AWAY))
            await redis.config_set("maxmemory", 0)
            await _back(environment)
        await environment.judge(failures=0)
        _away(environment)


@scenario("FLUSHALL twice a second, while everybody reads back what they wrote")
async def redis_flushed(report: Report) -> None:
    async with production(report) as environment, _told(environment) as redis:
        async with environment.busy():
            with report.fault():
                for _ in range(int(2 * AWAY)):
                    await redis.flushall()
                    await asyncio.sleep(0.5)
        await environment.judge(failures=0)
        _away(environment, slower=None)  # it is there, and empty


POISON = (b"garbage", b"\x00\xff" * 50, b"", b"-1", b'{"versions": 1}\nx')


@scenario("garbage, and values of wrong types, under all of Freshly's keys, ten times a second")
async def redis_poisoned(report: Report) -> None:
    async with production(report) as environment, _told(environment) as redis:
        spoilt = 0
        async with environment.busy():
            with report.fault():
                for turn in range(int(10 * AWAY)):
                    keys = [key async for key in redis.scan_iter(match="freshly:*", count=1000)]
                    spoilt += len(keys)
                    for place, key in enumerate(keys):
                        await _spoil(redis, key, turn + place)
                    await asyncio.sleep(0.1)
        report.expect("keys spoilt", spoilt, at_least=100)
        await environment.judge(failures=0)
        _away(environment, slower=None)


async def _spoil(redis: Client, key: bytes, turn: int) -> None:
    """Some as garbage, some as a list: not what versions look like is a version like another,
    so half of the versions are left alone, or nothing would ever be kept."""
    if turn % 3 == 0:
        return
    pipeline = redis.pipeline()
    pipeline.delete(key)
    if turn % 3 == 1:
        pipeline.set(key, POISON[turn % len(POISON)], ex=60)
    else:
        pipeline.rpush(key, "a list")
    await pipeline.execute()
