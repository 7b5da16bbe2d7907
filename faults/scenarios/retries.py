"""A server that dies after it has committed and before it has answered."""

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
AT_ONCE = 50
BACK_WITHIN = 60.0
HEADER = "Idempotency-Key"


class Executioner:
    """Kills Freshly's workers when the database has done what a COMMIT told it, and says so."""

    def __init__(self, environment: Environment) -> None:
        self._stage = environment
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
            for worker in workers_of(self._stage.server):
                os.kill(worker, signal.SIGKILL)
            self.killed += 1


@scenario("kill -9 between commit and answer, then the same Idempotency-Key, 5 times")
async def killed_before_the_answer(report: Report) -> None:
    async with production(report, through_a_proxy=True, people=2, rate=1) as environment:
        if HEADER.lower() not in environment.server.get("/openapi.json").lower():
            raise CannotRun(f"there is no {HEADER} in this release")
        assert isinstance(environment.between, Proxy)
        executioner = Executioner(environment)
        environment.between.listener = executioner.listen
        user = environment.load.users[0]
        unequal = 0
        slowest = 0.0
        for turn in range(TIMES):
            name = f"the meal of try {turn}"
            body = json.dumps({**MEAL, "name": name}).encode()
            key = (f"{HEADER}: {uuid4()}",)
            wanted = request("POST", "/meals/me", user.token, body, key)
            executioner.is_armed = True
            first: list[Sample] = []
            client = Client(environment.server.port, first)
            with report.fault():
                await client.ask("first", wanted)
                slowest = max(slowest, await _until_kept(environment, wanted))
            answers = await asyncio.gather(*(_again(environment, wanted) for _ in range(AT_ONCE)))
            unequal += len(set(answers)) - 1
            user.kept.add(name)
        report.expect("killed", executioner.killed, at_least=TIMES)
        report.expect("kept after", slowest, "s", at_most=BACK_WITHIN)
        report.expect("unequal answers", unequal, f"of {TIMES * AT_ONCE}", at_most=0)
        lost, twice = await environment.load.losses(environment.server.port)
        report.expect("lost", lost, at_most=0)
        report.expect("done twice", twice, at_most=0)
        if lost or twice:
            report.lost_writes = f"{lost} lost, {twice} twice"


async def _until_kept(environment: Environment, wanted: bytes) -> float:
    """As a good client: the same again, until there is an answer."""
    began = monotonic()
    client = Client(environment.server.port, [])
    while monotonic() - began < BACK_WITHIN:
        status, _ = await client.ask("again", wanted)
        if status // 100 == OK // 100:
            return monotonic() - began
        await asyncio.sleep(0.2)
    return float("inf")


async def _again(environment: Environment, wanted: bytes) -> tuple[int, bytes]:
    client = Client(environment.server.port, [])
    answer = await client.ask("again", wanted)
    client.hang_up()
    return answer
