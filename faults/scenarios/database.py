"""The database gone, silent, read-only, full, or with a table that somebody locked."""

import asyncio

from bench.load import request
from faults.environment import Environment, production
from faults.load import OK, SERVER_ERRORS, UNAVAILABLE, Client, Sample, User
from faults.proxy import Mode
from faults.report import Report, first_success, longest
from faults.scenarios import scenario

AWAY = 6.0  # seconds
ANSWERED_WITHIN = 2.0
BACK_WITHIN = 3.0
NOTICED_WITHIN = 2.5  # until /ready says so
LOCKED_WITHIN = 5.0
HEALTHY_WITHIN = 0.1
SLACK = 0.1  # seconds that the client's own part of a busy machine may take


@scenario("PostgreSQL stopped at once under 100 requests/s, and started again", short=True)
async def database_stopped(report: Report) -> None:
    async with production(report) as environment:
        assert environment.database is not None
        async with environment.busy():
            with report.fault():
                await asyncio.to_thread(environment.database.stop_at_once)
                await asyncio.sleep(report.lasting(AWAY))
                await asyncio.to_thread(environment.database.start)
        await _judge(environment)


async def _through(report: Report, mode: Mode) -> None:
    async with production(report, through_a_proxy=True) as environment:
        assert environment.between is not None
        async with environment.busy():
            with report.fault():
                environment.between.become(mode)
                await asyncio.sleep(report.lasting(AWAY))
            environment.between.become("pass")
        await _judge(environment)


@scenario("the network to PostgreSQL swallows everything for a while (a proxy)")
async def database_black_holed(report: Report) -> None:
    await _through(report, "swallow")


@scenario("the network to PostgreSQL resets every connection, old and new (a proxy)")
async def database_reset(report: Report) -> None:
    await _through(report, "reset")


async def _judge(environment: Environment) -> None:
    await environment.judge(slowest=ANSWERED_WITHIN + SLACK, back=BACK_WITHIN)
    environment.not_ready(NOTICED_WITHIN)


@scenario("PostgreSQL becomes read-only, as a standby is, and writable again")
async def database_read_only(report: Report) -> None:
    async with production(report) as environment:
        assert environment.database is not None
        async with environment.busy(), environment.database.as_operator() as operator:
            with report.fault():
                await operator.execute("ALTER SYSTEM SET default_transaction_read_only = on")
                await operator.execute("SELECT pg_reload_conf()")
                await asyncio.sleep(report.lasting(AWAY))
            await operator.execute("SET default_transaction_read_only = off")
            await operator.execute("ALTER SYSTEM RESET default_transaction_read_only")
            await operator.execute("SELECT pg_reload_conf()")
        await environment.judge(slowest=ANSWERED_WITHIN + SLACK)
        _reads_go_on(environment)
        again = first_success(environment.load.samples, report.ended)
        report.expect("writes again after", again, "s", at_most=BACK_WITHIN)


def _reads_go_on(environment: Environment) -> None:
    failed = sum(s.failed for s in environment.load.samples if s.what == "read")
    environment.report.expect("reads that failed", failed, at_most=0)


@scenario("PostgreSQL out of connections: others hold all of them, and Freshly's are cut")
async def database_out_of_connections(report: Report) -> None:
    async with production(report) as environment:
        assert environment.database is not None
        async with environment.busy(), environment.database.as_operator() as operator:
            with report.fault():
                await operator.execute("ALTER ROLE freshly CONNECTION LIMIT 0")
                await operator.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE usename = 'freshly'"
                )
                await asyncio.sleep(report.lasting(AWAY))
            await operator.execute("ALTER ROLE freshly CONNECTION LIMIT -1")
        await _judge(environment)


@scenario("a table locked for 12 s, while everybody goes on")
async def table_locked(report: Report) -> None:
    async with production(report) as environment:
        assert environment.database is not None
        others: list[Sample] = []
        async with environment.busy(), environment.database.as_operator() as operator:
            with report.fault():
                async with operator.transaction():
                    await operator.execute("LOCK TABLE pantry_items IN ACCESS EXCLUSIVE MODE")
                    async with asyncio.timeout(2 * AWAY + 20):
                        await _others(environment, environment.load.users[0], others)
        await environment.judge(slowest=LOCKED_WITHIN + SLACK)
        failed = sum(sample.failed for sample in others)
        detail = f"of {len(others)}, the longest {longest(others):.2f} s"
        report.expect("failed elsewhere", failed, at_most=0, detail=detail)
        looks = [
            s for s in environment.watch.of("/health") if report.began <= s.sent <= report.ended
        ]
        report.expect("/health within", longest(looks), "s", at_most=HEALTHY_WITHIN)
        environment.ready_throughout()


async def _others(environment: Environment, user: User, samples: list[Sample]) -> None:
    """Somebody who needs none of the locked table."""
    client = Client(environment.server.port, samples)
    loop = asyncio.get_running_loop()
    until = loop.time() + 2 * AWAY
    while loop.time() < until:
        for path in ("/families", "/meals/me", "/grocery-lists/me", "/notifications", "/units"):
            status, body = await client.ask("other", request("GET", path, user.token))
            assert status in (OK, UNAVAILABLE) or status < SERVER_ERRORS, (status, body)
            await asyncio.sleep(0.05)
    client.hang_up()
