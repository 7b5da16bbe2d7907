"""One of two servers whose clock is ten minutes off, ahead or behind."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from httpx2 import AsyncClient, Response

from bench.servers import Server
from faults.environment import SETTINGS, WORKERS, Environment, production, started
from faults.load import OK
from faults.proxy import proxy
from faults.report import Report
from faults.scenarios import CannotRun, scenario
from tests.domains.auth.test_codes import code_in
from tests.support.api import PASSWORD, Kitchen, Person
from tests.support.fake_services import SmtpServer, smtp_server

OFF = 600  # seconds
LIMIT = 3  # of forgotten passwords, a minute
TOO_MANY = 429
MINUTE = 60
UNAUTHENTICATED = 401


def _library() -> Path:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        raise CannotRun("libfaketime is not there: apt install libfaketime")
    return found[0]


@asynccontextmanager
async def _two(
    report: Report, off: int, mail_port: int
) -> AsyncIterator[tuple[Environment, Server]]:
    """A server whose clock is right, and one whose clock is that many seconds off."""
    library = _library()
    mail = {
        "MAIL_SERVER": "127.0.0.1",
        "MAIL_PORT": str(mail_port),
        "MAIL_STARTTLS": "false",
        "MAIL_FROM": "kitchen@example.com",
    }
    async with production(report, settings=mail) as environment, AsyncExitStack() as stack:
        assert environment.database is not None
        assert environment.redis is not None
        told = {
            **SETTINGS,
            **mail,
            "DATABASE_URL": environment.database.url(),
            "REDIS_URL": environment.redis.url,
            "LD_PRELOAD": str(library),
            "FAKETIME": f"{off:+d}s",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        other = await started(stack, environment.folder / "data", WORKERS, told)
        yield environment, other


async def _played(report: Report, off: int) -> None:
    with smtp_server() as box:
        async with _two(report, off, box.port) as (environment, other), AsyncExitStack() as stack:
            ports = (environment.server.port, other.port)
            balancer = await stack.enter_async_context(proxy(*ports))
            both = replace(environment, server=replace(environment.server, port=balancer.port))
            right, wrong = [
                await stack.enter_async_context(
                    AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20)
                )
                for port in ports
            ]
            report.expect("seconds off", await _off(wrong, right), at_least=OFF - 30)
            async with both.busy(calm=2):
                with report.fault():
                    refused = await _sign_ins(right, wrong)
                    refused += await _sign_ins(wrong, right)
                    refused += await _new_password(right, wrong, box)
                    refused += await _new_password(wrong, right, box)
                    await _limits(report, right, wrong)
            report.expect("refusals of what is good", len(refused), at_most=0, detail=str(refused))
            await both.judge(unanswered=0, failures=0)


async def _off(one: AsyncClient, another: AsyncClient) -> float:
    """As their answers' dates tell."""
    from email.utils import parsedate_to_datetime  # noqa: PLC0415

    dates = [
        parsedate_to_datetime((await c.get("/health")).headers["Date"]) for c in (one, another)
    ]
    return abs((dates[0] - dates[1]).total_seconds())


async def _sign_ins(here: AsyncClient, there: AsyncClient) -> list[str]:
    """Tokens of one server are good at the other, until they are revoked at either."""
    here.headers["X-Forwarded-For"] = there.headers["X-Forwarded-For"] = (
        f"10.2.0.{os.urandom(1)[0]}"
    )
    email = f"traveller{os.urandom(4).hex()}@example.com"
    person = await Kitchen(here).person("Traveller", email=email)
    abroad = Person(there, person.user, person.tokens)
    refused = _unless(OK, await abroad.get("/families"), "token")
    renewed = await there.post(
        "/auth/refresh", json={"refresh_token": person.tokens["refresh_token"]}
    )
    refused += _unless(OK, renewed, "refresh")
    if renewed.status_code == OK:
        home = Person(here, person.user, renewed.json())
        refused += _unless(OK, await home.get("/families"), "renewed token")
        refused += _unless(OK, await home.post("/auth/logout"), "logout")
        left = Person(there, person.user, renewed.json())
        refused += _unless(UNAUTHENTICATED, await left.get("/families"), "revoked token")
    return refused


async def _new_password(here: AsyncClient, there: AsyncClient, box: SmtpServer) -> list[str]:
    """A code of one server, used at the other; and the token for it, at the first again."""
    address = f"10.3.0.{os.urandom(1)[0]}"
    here.headers["X-Forwarded-For"] = there.headers["X-Forwarded-For"] = address
    email = f"forgetter{os.urandom(4).hex()}@example.com"
    await Kitchen(here).person("Forgetter", email=email)
    asked = await here.post("/auth/forgot-password", json={"email": email})
    code = code_in(await box.letter())
    allowed = await there.post("/auth/forgot-password/verify", json={"email": email, "code": code})
    refused = _unless(OK, asked, "forgotten") + _unless(OK, allowed, "code")
    if allowed.status_code == OK:
        new = {"reset_token": allowed.json()["reset_token"], "new_password": f"{PASSWORD} 2"}
        refused += _unless(OK, await here.post("/auth/reset-password", json=new), "new password")
        await box.letter()  # which says that it was changed
    return refused


def _unless(status: int, answer: Response, what: str) -> list[str]:
    return [] if answer.status_code == status else [f"{what}: {answer.status_code}"]


async def _limits(report: Report, right: AsyncClient, wrong: AsyncClient) -> None:
    """Each clock has windows of its own, so as many calls are let in as there are clocks."""
    right.headers["X-Forwarded-For"] = wrong.headers["X-Forwarded-For"] = "10.4.0.1"
    asked = {"email": "nobody@example.com"}
    answers = [
        await client.post("/auth/forgot-password", json=asked)
        for _ in range(3 * LIMIT)
        for client in (right, wrong)
    ]
    allowed = sum(answer.status_code != TOO_MANY for answer in answers)
    report.expect("calls let in", allowed, f"of {len(answers)}", at_most=4 * LIMIT)
    waits = [int(a.headers["Retry-After"]) for a in answers if a.status_code == TOO_MANY]
    report.expect("longest Retry-After", max(waits, default=0), "s", at_most=MINUTE)


@scenario("one of two servers ten minutes ahead: tokens, codes, limits across both")
async def clock_ahead(report: Report) -> None:
    await _played(report, OFF)


@scenario("one of two servers ten minutes behind: tokens, codes, limits across both")
async def clock_behind(report: Report) -> None:
    await _played(report, -OFF)
