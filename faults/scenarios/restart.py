"""New releases, and machines that are told to stop, while everybody cooks."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic

from httpx2 import AsyncClient

from bench.servers import Server
from faults.environment import SETTINGS, WORKERS, Environment, production, started
from faults.proxy import proxy
from faults.report import Report, quantile
from faults.scenarios import scenario
from tests.support.fake_services import FakeModel, model_server

TIMES = 3
SLOWEST = 1.0  # seconds, of 99 in 100
ENDS_WITHIN = 30.0
WORDS = 8  # of a streamed answer, one a second
ENDLESS = 90


async def _judge(environment: Environment) -> None:
    await environment.judge(unanswered=0, failures=0)
    slow = quantile(environment.load.samples, 0.99)
    environment.report.expect("p99", slow, "s", at_most=SLOWEST)


@scenario("SIGHUP of the server under 100 requests/s on 20 kept connections, three times")
async def restart_by_sighup(report: Report) -> None:
    async with production(report) as environment:
        async with environment.busy(calm=3):
            with report.fault():
                for _ in range(TIMES):
                    before = workers_of(environment.server)
                    os.kill(environment.server.pid, signal.SIGHUP)
                    await _replaced(environment.server, before)
        await _judge(environment)


@scenario("SIGTERM of each worker in turn under 100 requests/s on 20 kept connections")
async def restart_of_workers(report: Report) -> None:
    async with production(report) as environment:
        async with environment.busy(calm=3):
            with report.fault():
                for turn in range(TIMES):
                    before = workers_of(environment.server)
                    gone = sorted(before)[turn % WORKERS]
                    os.kill(gone, signal.SIGTERM)
                    await _replaced(environment.server, {gone})
        await _judge(environment)


@scenario("SIGTERM of one of two servers behind a balancer, three times, under 100 requests/s")
async def restart_by_sigterm(report: Report) -> None:
    async with production(report) as environment, AsyncExitStack() as stack:
        assert environment.database is not None
        assert environment.redis is not None
        given = {
            **SETTINGS,
            "DATABASE_URL": environment.database.url(),
            "REDIS_URL": environment.redis.url,
        }
        folder = environment.folder / "data"
        others = [await stack.enter_async_context(_one_more(folder, given)) for _ in range(1)]
        balancer = await stack.enter_async_context(proxy(environment.server.port, others[0].port))
        both = replace(environment, server=replace(environment.server, port=balancer.port))
        both.watch.server = both.server
        slowest_end = 0.0
        async with both.busy(calm=3):
            with report.fault():
                for _ in range(TIMES):
                    async with AsyncExitStack() as once:
                        third = await once.enter_async_context(_one_more(folder, given))
                        balancer.targets = (environment.server.port, third.port)
                        await asyncio.sleep(3)
                        told = monotonic()
                    slowest_end = max(slowest_end, monotonic() - told)
                    balancer.targets = (environment.server.port, others[0].port)
                    await asyncio.sleep(1)
        await _judge(both)
        report.expect("ended within", slowest_end, "s", at_most=ENDS_WITHIN)


@asynccontextmanager
async def _one_more(folder: Path, settings: dict[str, str]) -> AsyncIterator[Server]:
    """Leaving it is SIGTERM, and waits for its end."""
    async with AsyncExitStack() as stack:
        yield await started(stack, folder, WORKERS, settings)


@scenario("SIGTERM while the assistant speaks: for 8 s, and for longer than a server waits")
async def restart_while_streaming(report: Report) -> None:
    async with model_server() as model:
        told = {"OPENAI_BASE_URL": model.url, "MAIL_FROM": "kitchen@example.com"}
        for name, pieces in (("short", WORDS), ("endless", ENDLESS)):
            async with production(report, people=2, rate=10, settings=told) as environment:
                await _stream(environment, model, name, pieces)


async def _stream(environment: Environment, model: FakeModel, name: str, pieces: int) -> None:
    model.request_received.clear()
    model.says([part for n in range(pieces) for part in (f"word{n} ", 1)])
    url = f"http://127.0.0.1:{environment.server.port}"
    token = environment.load.users[0].token
    async with AsyncClient(base_url=url, timeout=ENDLESS) as client:
        headers = {"Authorization": f"Bearer {token}"}
        asking = asyncio.create_task(
            client.post("/chat/stream", json={"message": "Dinner?"}, headers=headers)
        )
        await model.request_received.wait()
        await asyncio.sleep(2)
        with environment.report.fault():
            os.kill(environment.server.pid, signal.SIGTERM)
            (answer,) = await asyncio.gather(asking, return_exceptions=True)
            await _until(lambda: _gone(environment.server.pid))
    text = str(answer) if isinstance(answer, BaseException) else answer.text
    final = ("event: done", "event: error")
    ended = sum(event in text for event in final)
    environment.report.expect(
        f"final events of the {name} answer", ended, at_least=1, detail=text[-90:]
    )
    took = environment.report.ended - environment.report.began
    environment.report.expect(f"ended within ({name})", took, "s", at_most=ENDS_WITHIN)


def workers_of(server: Server) -> set[int]:
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return {int(child) for child in children if b"resource_tracker" not in _command(child)}


def _command(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b"resource_tracker"  # it is none any more


async def _replaced(server: Server, before: set[int]) -> None:
    """Until all of those are gone and as many others serve."""
    await _until(lambda: _are_others(workers_of(server), before))
    await asyncio.sleep(1)


def _are_others(now: set[int], before: set[int]) -> bool:
    return len(now) >= WORKERS and not now & before


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(2 * ENDS_WITHIN):
        while not is_so():  # noqa: ASYNC110 - processes have no event for it
            await asyncio.sleep(0.1)


def _gone(pid: int) -> bool:
    """Ended, though nobody has asked for its status yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True
