"""A scenario in which the mail server resets every connection for a while."""

import asyncio
from time import monotonic

from httpx2 import AsyncClient

from faults.environment import production
from faults.load import OK
from faults.proxy import proxy
from faults.report import Report
from faults.scenarios import scenario
from tests.support.fake_services import smtp_server

EMAILS = 10
FAULT = 10.0  # seconds
ARRIVES_WITHIN = 60.0  # seconds


@scenario("mail refused for 10 s while ten people ask for a code")
async def mail_refused(report: Report) -> None:
    with smtp_server() as box:
        async with proxy(box.port) as mail_proxy:
            variables = {
                "MAIL_SERVER": "127.0.0.1",
                "MAIL_PORT": str(mail_proxy.port),
                "MAIL_STARTTLS": "false",
                "MAIL_FROM": "kitchen@example.com",
            }
            async with production(report, settings=variables, users=EMAILS, rate=50) as environment:
                async with environment.under_load(calm=2):
                    with report.fault():
                        mail_proxy.become("reset")
                        url = f"http://127.0.0.1:{environment.server.port}"
                        async with AsyncClient(base_url=url, timeout=20) as client:
                            responses = [
                                await client.post(
                                    "/auth/send-code", json={"email": f"cook{n}@example.com"}
                                )
                                for n in range(EMAILS)
                            ]
                        await asyncio.sleep(FAULT)
                    mail_proxy.become("pass")
                    while len(box.emails) < EMAILS:
                        if monotonic() - report.ended > ARRIVES_WITHIN:
                            break
                        await asyncio.sleep(0.1)
                refused = sum(response.status_code != OK for response in responses)
                report.expect("requests refused", refused, at_most=0)
                addresses = {email["To"] for email in box.emails}
                lost = EMAILS - len(addresses)
                report.expect("emails lost", lost, f"of {EMAILS}", at_most=0)
                report.expect("emails sent twice", len(box.emails) - len(addresses), at_most=0)
                await environment.check_promises(failures=0)
                if lost:
                    report.lost_writes = f"{lost} of {EMAILS} emails"
