"""Scenarios in which PostgreSQL is down, silent, read-only, full, or has a locked table."""

import asyncio

from bench.load import request
from faults.environment import Environment, production
from faults.load import OK, SERVER_ERRORS, UNAVAILABLE, Client, Sample, User
from faults.proxy import Mode
from faults.report import Report, first_success, longest
from faults.scenarios import scenario

# All of these are seconds.
FAULT = 6.0
ANSWERED_WITHIN = 2.0
BACK_WITHIN = 3.0
NOTICED_WITHIN = 2.5  # until /ready fails
LOCKED_WITHIN = 5.0
HEALTHY_WITHIN = 0.1
SLACK = 0.1  # the client's own share on a busy machine


@scenario("PostgreSQL stopped at once under 100 requests/s, and started again", short=True)
async def database_stopped(report: Report) -> None:
    async with production(report) as environment:
        assert environment.database is not None
        async with environment.under_load():
            with report.fault():
                await asyncio.to_thread(environment.database.stop_immediately)
                await asyncio.sleep(report.scaled(FAULT))
                await asyncio.to_thread(environment.database.start)
        await _check_promises(environment)


async def _with_proxy(report: Report, mode: Mode) -> None:
    async with production(report, through_a_proxy=True) as environment:
        assert environment.database_proxy is not None
        async with environment.under_load():
            with report.fault():
                environment.database_proxy.become(mode)
                await asyncio.sleep(report.scaled(FAULT))
            environment.database_proxy.become("pass")
        await _check_promises(environment)


@scenario("the network to PostgreSQL drops everything for a while (a proxy)")
async def database_black_holed(report: Report) -> None:
    await _with_proxy(report, "swallow")


@scenario("the network to PostgreSQL resets every connection, old and new (a proxy)")
async def database_reset(report: Report) -> None:
    await _with_proxy(report, "reset")


async def _check_promises(environment: Environment) -> None:
    await environment.check_promises(slowest=ANSWERED_WITHIN + SLACK, back=BACK_WITHIN)
    environment.expect_not_ready(NOTICED_WITHIN)


@scenario("PostgreSQL becomes read-only, as a standby is, and writable again")
async def database_read_only(report: Report) -> None:
    async with production(report) as environment:
        assert environment.database is not None
        async with environment.under_load(), environment.database.as_operator() as operator:
            with report.fault():
                await operator.execute("ALTER SYSTEM SET default_transaction_read_only = on")
                await operator.execute("SELECT pg_reload_conf()")
                await asyncio.sleep(report.scaled(FAULT))
            await operator.execute("SET default_transaction_read_only = off")
            await operator.execute("ALTER SYSTEM RESET default_transaction_read_only")
            await operator.execute("SELECT pg_reload_conf()")
        await environment.check_promises(slowest=ANSWERED_WITHIN + SLACK)
        _expect_no_failed_reads(environment)
        seconds = first_success(environment.load.samples, report.ended)
        report.expect("writes again after", seconds, "s", at_most=BACK_WITHIN)


def _expect_no_failed_reads(environment: Environment) -> None:
    failed = sum(s.failed for s in environment.load.samples if s.kind == "read")
    environment.report.expect("reads that failed", failed, at_most=0)


@scenario("PostgreSQL out of connections: other clients hold all of them, and Freshly's are cut")
async def database_out_of_connections(report: Report) -> None:
    async with production(report) as environment:
        assert environment.database is not None
        async with environment.under_load(), environment.database.as_operator() as operator:
            with report.fault():
                await operator.execute("ALTER ROLE freshly CONNECTION LIMIT 0")
                await operator.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE usename = 'freshly'"
                )
                await asyncio.sleep(report.scaled(FAULT))
            await operator.execute("ALTER ROLE freshly CONNECTION LIMIT -1")
        await _check_promises(environment)


@scenario("a table locked for 12 s, under load")
async def table_locked(report: Report) -> None:
    async with production(report) as environment:
        assert environment.database is not None
        others: list[Sample] = []
        async with environment.under_load(), environment.database.as_operator() as operator:
            with report.fault():
                async with operator.transaction():
                    await operator.execute("LOCK TABLE pantry_items IN ACCESS EXCLUSIVE MODE")
                    async with asyncio.timeout(2 * FAULT + 20):
                        await _use_other_tables(environment, environment.load.users[0], others)
        await environment.check_promises(slowest=LOCKED_WITHIN + SLACK)
        failed = sum(sample.failed for sample in others)
        detail = f"of {len(others)}, the longest {longest(others):.2f} s"
        report.expect("failed elsewhere", failed, at_most=0, detail=detail)
        health = [
            sample
            for sample in environment.monitor.samples_of("/health")
            if report.began <= sample.sent <= report.ended
        ]
        report.expect("/health within", longest(health), "s", at_most=HEALTHY_WITHIN)
        environment.expect_always_ready()


async def _use_other_tables(environment: Environment, user: User, samples: list[Sample]) -> None:
    """Send requests of a user that do not need the locked table."""
    client = Client(environment.server.port, samples)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 2 * FAULT
    while loop.time() < deadline:
        for path in ("/families", "/meals/me", "/grocery-lists/me", "/notifications", "/units"):
            status, body = await client.send("other", request("GET", path, user.token))
            assert status in (OK, UNAVAILABLE) or status < SERVER_ERRORS, (status, body)
            await asyncio.sleep(0.05)
    client.close()
