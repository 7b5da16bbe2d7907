"""Scenarios in which the clock of one of two servers is ten minutes ahead or behind."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from httpx2 import AsyncClient, Response

from bench.servers import Server
from faults.environment import SETTINGS, WORKERS, Environment, production, start_server
from faults.load import OK
from faults.proxy import proxy
from faults.report import Report
from faults.scenarios import CannotRun, scenario
from tests.domains.auth.test_codes import code_in
from tests.support.api import PASSWORD, Kitchen, Person
from tests.support.fake_services import SmtpServer, smtp_server

OFFSET = 600  # seconds
LIMIT = 3  # calls of /auth/forgot-password per minute
TOO_MANY = 429
MINUTE = 60  # seconds
UNAUTHENTICATED = 401


def _find_library() -> Path:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        raise CannotRun("libfaketime is not installed: apt install libfaketime")
    return found[0]


@asynccontextmanager
async def _two_servers(
    report: Report, offset: int, mail_port: int
) -> AsyncIterator[tuple[Environment, Server]]:
    """Start a server whose clock is right, and one whose clock is `offset` seconds off."""
    library = _find_library()
    mail = {
        "MAIL_SERVER": "127.0.0.1",
        "MAIL_PORT": str(mail_port),
        "MAIL_STARTTLS": "false",
        "MAIL_FROM": "kitchen@example.com",
    }
    async with production(report, settings=mail) as environment, AsyncExitStack() as stack:
        assert environment.database is not None
        assert environment.redis is not None
        variables = {
            **SETTINGS,
            **mail,
            "DATABASE_URL": environment.database.url(),
            "REDIS_URL": environment.redis.url,
            "LD_PRELOAD": str(library),
            "FAKETIME": f"{offset:+d}s",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        other = await start_server(stack, environment.folder / "data", WORKERS, variables)
        yield environment, other


async def _run(report: Report, offset: int) -> None:
    with smtp_server() as box:
        async with (
            _two_servers(report, offset, box.port) as (environment, other),
            AsyncExitStack() as stack,
        ):
            ports = (environment.server.port, other.port)
            balancer = await stack.enter_async_context(proxy(*ports))
            both = replace(environment, server=replace(environment.server, port=balancer.port))
            right, wrong = [
                await stack.enter_async_context(
                    AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20)
                )
                for port in ports
            ]
            report.expect("seconds off", await _seconds_between(wrong, right), at_least=OFFSET - 30)
            async with both.under_load(calm=2):
                with report.fault():
                    errors = await _sign_in_errors(right, wrong)
                    errors += await _sign_in_errors(wrong, right)
                    errors += await _password_errors(right, wrong, box)
                    errors += await _password_errors(wrong, right, box)
                    await _check_limits(report, right, wrong)
            report.expect("wrong refusals", len(errors), at_most=0, detail=str(errors))
            await both.check_promises(unanswered=0, failures=0)


async def _seconds_between(first: AsyncClient, second: AsyncClient) -> float:
    """Return the difference between the clocks, read from the Date headers."""
    from email.utils import parsedate_to_datetime  # noqa: PLC0415

    dates = [
        parsedate_to_datetime((await client.get("/health")).headers["Date"])
        for client in (first, second)
    ]
    return abs((dates[0] - dates[1]).total_seconds())


async def _sign_in_errors(here: AsyncClient, there: AsyncClient) -> list[str]:
    """Check that tokens of one server are valid on the other, until either server revokes them."""
    here.headers["X-Forwarded-For"] = there.headers["X-Forwarded-For"] = (
        f"10.2.0.{os.urandom(1)[0]}"
    )
    email = f"traveller{os.urandom(4).hex()}@example.com"
    person = await Kitchen(here).person("Traveller", email=email)
    elsewhere = Person(there, person.user, person.tokens)
    errors = _unless(OK, await elsewhere.get("/families"), "token")
    renewed = await there.post(
        "/auth/refresh", json={"refresh_token": person.tokens["refresh_token"]}
    )
    errors += _unless(OK, renewed, "refresh")
    if renewed.status_code == OK:
        home = Person(here, person.user, renewed.json())
        errors += _unless(OK, await home.get("/families"), "renewed token")
        errors += _unless(OK, await home.post("/auth/logout"), "logout")
        signed_out = Person(there, person.user, renewed.json())
        refused = await signed_out.get("/families")
        errors += _unless(UNAUTHENTICATED, refused, "revoked token")
    return errors


async def _password_errors(here: AsyncClient, there: AsyncClient, box: SmtpServer) -> list[str]:
    """Check that the other server accepts an emailed code, and the first the token for it."""
    address = f"10.3.0.{os.urandom(1)[0]}"
    here.headers["X-Forwarded-For"] = there.headers["X-Forwarded-For"] = address
    email = f"forgetter{os.urandom(4).hex()}@example.com"
    await Kitchen(here).person("Forgetter", email=email)
    requested = await here.post("/auth/forgot-password", json={"email": email})
    code = code_in(await box.next_email())
    allowed = await there.post("/auth/forgot-password/verify", json={"email": email, "code": code})
    errors = _unless(OK, requested, "forgotten") + _unless(OK, allowed, "code")
    if allowed.status_code == OK:
        new = {"reset_token": allowed.json()["reset_token"], "new_password": f"{PASSWORD} 2"}
        errors += _unless(OK, await here.post("/auth/reset-password", json=new), "new password")
        await box.next_email()  # the confirmation of the change
    return errors


def _unless(status: int, response: Response, text: str) -> list[str]:
    return [] if response.status_code == status else [f"{text}: {response.status_code}"]


async def _check_limits(report: Report, right: AsyncClient, wrong: AsyncClient) -> None:
    """Check the rate limit. Each clock has windows of its own, so each allows its own calls."""
    right.headers["X-Forwarded-For"] = wrong.headers["X-Forwarded-For"] = "10.4.0.1"
    body = {"email": "unknown@example.com"}
    responses = [
        await client.post("/auth/forgot-password", json=body)
        for _ in range(3 * LIMIT)
        for client in (right, wrong)
    ]
    allowed = sum(response.status_code != TOO_MANY for response in responses)
    report.expect("calls let in", allowed, f"of {len(responses)}", at_most=4 * LIMIT)
    waits = [int(r.headers["Retry-After"]) for r in responses if r.status_code == TOO_MANY]
    report.expect("longest Retry-After", max(waits, default=0), "s", at_most=MINUTE)


@scenario("one of two servers ten minutes ahead: tokens, codes, limits across both")
async def clock_ahead(report: Report) -> None:
    await _run(report, OFFSET)


@scenario("one of two servers ten minutes behind: tokens, codes, limits across both")
async def clock_behind(report: Report) -> None:
    await _run(report, -OFFSET)
