"""A mail server that takes nothing for a while."""

import asyncio
from time import monotonic

from httpx2 import AsyncClient

from faults.environment import production
from faults.load import OK
from faults.proxy import proxy
from faults.report import Report
from faults.scenarios import scenario
from tests.support.fake_services import smtp_server

LETTERS = 10
AWAY = 10.0  # seconds
ARRIVES_WITHIN = 60.0


@scenario("mail refused for 10 s while ten people ask for a code")
async def mail_refused(report: Report) -> None:
    with smtp_server() as box:
        async with proxy(box.port) as between:
            told = {
                "MAIL_SERVER": "127.0.0.1",
                "MAIL_PORT": str(between.port),
                "MAIL_STARTTLS": "false",
                "MAIL_FROM": "kitchen@example.com",
            }
            async with production(report, settings=told, people=LETTERS, rate=50) as environment:
                async with environment.busy(calm=2):
                    with report.fault():
                        between.become("reset")
                        url = f"http://127.0.0.1:{environment.server.port}"
                        async with AsyncClient(base_url=url, timeout=20) as client:
                            asked = [
                                await client.post(
                                    "/auth/send-code", json={"email": f"cook{n}@example.com"}
                                )
                                for n in range(LETTERS)
                            ]
                        await asyncio.sleep(AWAY)
                    between.become("pass")
                    while len(box.emails) < LETTERS:
                        if monotonic() - report.ended > ARRIVES_WITHIN:
                            break
                        await asyncio.sleep(0.1)
                refused = sum(answer.status_code != OK for answer in asked)
                report.expect("requests refused", refused, at_most=0)
                addresses = {letter["To"] for letter in box.emails}
                lost = LETTERS - len(addresses)
                report.expect("letters lost", lost, f"of {LETTERS}", at_most=0)
                report.expect("letters sent twice", len(box.emails) - len(addresses), at_most=0)
                await environment.judge(failures=0)
                if lost:
                    report.lost_writes = f"{lost} of {LETTERS} letters"
