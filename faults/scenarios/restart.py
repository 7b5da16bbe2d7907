"""Scenarios in which servers are restarted or stopped under load."""

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
from faults.environment import SETTINGS, WORKERS, Environment, production, start_server
from faults.proxy import proxy
from faults.report import Report, quantile
from faults.scenarios import scenario
from tests.support.fake_services import FakeModel, model_server

TIMES = 3
MAX_P99 = 1.0  # seconds
STOPS_WITHIN = 30.0  # seconds
WORDS = 8  # of a streamed response, one per second
ENDLESS = 90  # words, and also seconds


async def _check_promises(environment: Environment) -> None:
    await environment.check_promises(unanswered=0, failures=0)
    slow = quantile(environment.load.samples, 0.99)
    environment.report.expect("p99", slow, "s", at_most=MAX_P99)


@scenario("SIGHUP of the server under 100 requests/s on 20 kept connections, three times")
async def restart_by_sighup(report: Report) -> None:
    async with production(report) as environment:
        async with environment.under_load(calm=3):
            with report.fault():
                for _ in range(TIMES):
                    before = workers_of(environment.server)
                    os.kill(environment.server.pid, signal.SIGHUP)
                    await _wait_until_replaced(environment.server, before)
        await _check_promises(environment)


@scenario("SIGTERM of each worker in turn under 100 requests/s on 20 kept connections")
async def restart_of_workers(report: Report) -> None:
    async with production(report) as environment:
        async with environment.under_load(calm=3):
            with report.fault():
                for turn in range(TIMES):
                    before = workers_of(environment.server)
                    worker = sorted(before)[turn % WORKERS]
                    os.kill(worker, signal.SIGTERM)
                    await _wait_until_replaced(environment.server, {worker})
        await _check_promises(environment)


@scenario("SIGTERM of one of two servers behind a balancer, three times, under 100 requests/s")
async def restart_by_sigterm(report: Report) -> None:
    async with production(report) as environment, AsyncExitStack() as stack:
        assert environment.database is not None
        assert environment.redis is not None
        variables = {
            **SETTINGS,
            "DATABASE_URL": environment.database.url(),
            "REDIS_URL": environment.redis.url,
        }
        folder = environment.folder / "data"
        other = await stack.enter_async_context(_another_server(folder, variables))
        balancer = await stack.enter_async_context(proxy(environment.server.port, other.port))
        both = replace(environment, server=replace(environment.server, port=balancer.port))
        both.monitor.server = both.server
        slowest_stop = 0.0
        async with both.under_load(calm=3):
            with report.fault():
                for _ in range(TIMES):
                    async with AsyncExitStack() as once:
                        third = await once.enter_async_context(_another_server(folder, variables))
                        balancer.targets = (environment.server.port, third.port)
                        await asyncio.sleep(3)
                        stopping = monotonic()
                    slowest_stop = max(slowest_stop, monotonic() - stopping)
                    balancer.targets = (environment.server.port, other.port)
                    await asyncio.sleep(1)
        await _check_promises(both)
        report.expect("ended within", slowest_stop, "s", at_most=STOPS_WITHIN)


@asynccontextmanager
async def _another_server(folder: Path, settings: dict[str, str]) -> AsyncIterator[Server]:
    """Start a server. Leaving sends SIGTERM and waits until it has stopped."""
    async with AsyncExitStack() as stack:
        yield await start_server(stack, folder, WORKERS, settings)


@scenario(
    "SIGTERM during a stream of the assistant: one of 8 s, and one longer than the server waits"
)
async def restart_while_streaming(report: Report) -> None:
    async with model_server() as model:
        variables = {
            "OPENAI_BASE_URL": model.url,
            "CHAT_TOKENS_UNCONFIRMED": "0",
            "MAIL_FROM": "kitchen@example.com",
        }
        for name, pieces in (("short", WORDS), ("endless", ENDLESS)):
            async with production(report, users=2, rate=10, settings=variables) as environment:
                await _stream(environment, model, name, pieces)


async def _stream(environment: Environment, model: FakeModel, name: str, pieces: int) -> None:
    model.request_received.clear()
    model.says([part for n in range(pieces) for part in (f"word{n} ", 1)])
    url = f"http://127.0.0.1:{environment.server.port}"
    token = environment.load.users[0].token
    async with AsyncClient(base_url=url, timeout=ENDLESS) as client:
        headers = {"Authorization": f"Bearer {token}"}
        streaming = asyncio.create_task(
            client.post("/chat/stream", json={"message": "Dinner?"}, headers=headers)
        )
        await model.request_received.wait()
        await asyncio.sleep(2)
        with environment.report.fault():
            os.kill(environment.server.pid, signal.SIGTERM)
            (response,) = await asyncio.gather(streaming, return_exceptions=True)
            await _wait_until(lambda: _has_ended(environment.server.pid))
    text = str(response) if isinstance(response, BaseException) else response.text
    final = ("event: done", "event: error")
    ended = sum(event in text for event in final)
    environment.report.expect(
        f"final events of the {name} answer", ended, at_least=1, detail=text[-90:]
    )
    took = environment.report.ended - environment.report.began
    environment.report.expect(f"ended within ({name})", took, "s", at_most=STOPS_WITHIN)


def workers_of(server: Server) -> set[int]:
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return {int(child) for child in children if b"resource_tracker" not in _command(child)}


def _command(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b"resource_tracker"  # it has ended, so it is no worker


async def _wait_until_replaced(server: Server, before: set[int]) -> None:
    """Wait until other workers serve in place of these."""
    await _wait_until(lambda: _are_replaced(workers_of(server), before))
    await asyncio.sleep(1)


def _are_replaced(now: set[int], before: set[int]) -> bool:
    return len(now) >= WORKERS and not now & before


async def _wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(2 * STOPS_WITHIN):
        while not condition():  # noqa: ASYNC110 - processes have no event for it
            await asyncio.sleep(0.1)


def _has_ended(pid: int) -> bool:
    """Return True also for a zombie, whose parent has not read its exit status yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True
