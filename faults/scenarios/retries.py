"""A scenario in which the server is killed between commit and response."""

import asyncio
import json
import os
import signal
from time import monotonic
from uuid import uuid4

from bench.load import request
from faults.environment import Environment, production
from faults.load import OK, Client, Sample
from faults.proxy import Proxy
from faults.report import Report
from faults.scenarios import CannotRun, scenario
from faults.scenarios.restart import workers_of
from tests.support.api import MEAL

TIMES = 5
RETRIES = 50  # at once
BACK_WITHIN = 60.0  # seconds
HEADER = "Idempotency-Key"


class KillAfterCommit:
    """Kills Freshly's workers when PostgreSQL responds to a COMMIT, if it is armed."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._committing = False
        self.is_armed = False
        self.killed = 0

    def listen(self, up: bool, data: bytes) -> None:
        if not self.is_armed:
            return
        if up:
            self._committing = self._committing or b"COMMIT" in data
        elif self._committing:
            self.is_armed = self._committing = False
            for worker in workers_of(self._environment.server):
                os.kill(worker, signal.SIGKILL)
            self.killed += 1


@scenario("kill -9 between commit and response, then the same Idempotency-Key, 5 times")
async def killed_before_the_answer(report: Report) -> None:
    async with production(report, through_a_proxy=True, users=2, rate=1) as environment:
        if HEADER.lower() not in environment.server.get("/openapi.json").lower():
            raise CannotRun(f"this release has no {HEADER}")
        assert isinstance(environment.database_proxy, Proxy)
        killer = KillAfterCommit(environment)
        environment.database_proxy.listener = killer.listen
        user = environment.load.users[0]
        unequal = 0
        slowest = 0.0
        for turn in range(TIMES):
            name = f"the meal of attempt {turn}"
            body = json.dumps({**MEAL, "name": name}).encode()
            key = (f"{HEADER}: {uuid4()}",)
            content = request("POST", "/meals/me", user.token, body, key)
            killer.is_armed = True
            first: list[Sample] = []
            client = Client(environment.server.port, first)
            with report.fault():
                await client.send("first", content)
                slowest = max(slowest, await _retry_until_stored(environment, content))
            retries = (_retry(environment, content) for _ in range(RETRIES))
            unequal += len(set(await asyncio.gather(*retries))) - 1
            user.meals.add(name)
        report.expect("killed", killer.killed, at_least=TIMES)
        report.expect("stored after", slowest, "s", at_most=BACK_WITHIN)
        report.expect("unequal answers", unequal, f"of {TIMES * RETRIES}", at_most=0)
        lost, twice = await environment.load.count_lost_writes(environment.server.port)
        report.expect("lost", lost, at_most=0)
        report.expect("done twice", twice, at_most=0)
        if lost or twice:
            report.lost_writes = f"{lost} lost, {twice} twice"


async def _retry_until_stored(environment: Environment, content: bytes) -> float:
    """Retry as a good client does, and return the seconds until a response confirms the write."""
    began = monotonic()
    client = Client(environment.server.port, [])
    while monotonic() - began < BACK_WITHIN:
        status, _ = await client.send("retry", content)
        if status // 100 == OK // 100:
            return monotonic() - began
        await asyncio.sleep(0.2)
    return float("inf")


async def _retry(environment: Environment, content: bytes) -> tuple[int, bytes]:
    client = Client(environment.server.port, [])
    response = await client.send("retry", content)
    client.close()
    return response
