"""Scenarios in which the language model is silent, fails, or sends invalid responses."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

from bench.load import connect, request
from faults.environment import Environment, production
from faults.fake_llm import SECRET, BadModel, Behaviour, bad_model
from faults.load import LOST_CONNECTION, OK, UNAVAILABLE, Client, Sample
from faults.proxy import Proxy, proxy
from faults.report import Report, longest, quantile
from faults.scenarios import scenario

CHATS = 200
IDLE, MEANWHILE = 10.0, 15.0  # seconds in which the pantry is read
INTERVAL = 0.02  # seconds between two reads
MAX_RATIO = 1.5  # of the p99 of reads during the chats to the p99 before
ABORTED_WITHIN = 1.0  # seconds
ANSWERED_WITHIN = 61.0  # seconds
FAILURES = 5  # that open the circuit breaker of a process
OPEN_FOR = 30.0  # seconds until the circuit breaker tries again
REFUSED_WITHIN = 0.05  # seconds, while the circuit breaker is open
BAD_GATEWAY = 502
QUESTION = json.dumps({"message": "What shall we have for dinner?"}).encode()


@asynccontextmanager
async def _production_with_model(
    report: Report,
) -> AsyncIterator[tuple[Environment, BadModel, Proxy]]:
    """Start production with a model server behind a proxy."""
    async with bad_model() as model:
        port = int(model.url.rsplit(":", 1)[1].split("/")[0])
        async with proxy(port) as model_proxy:
            variables = {
                "OPENAI_BASE_URL": f"http://127.0.0.1:{model_proxy.port}/v1",
                "CHAT_TOKENS_UNCONFIRMED": "0",
            }
            async with production(report, settings=variables, users=10, rate=20) as environment:
                yield environment, model, model_proxy


def _question(environment: Environment, number: int = 0) -> bytes:
    users = environment.load.users
    return request("POST", "/chat", users[number % len(users)].token, QUESTION)


@scenario("200 chats at once with a model that is silent for 60 s; the pantry is read meanwhile")
async def model_silent(report: Report) -> None:
    async with _production_with_model(report) as (environment, model, _):
        async with environment.under_load(calm=1):
            await _read_pantry(environment, 3)
            idle = await _read_pantry(environment, IDLE)
            model.behaviour = "silent"
            with report.fault():
                chats: list[Sample] = []
                leavers = [await connect(environment.server.port) for _ in range(CHATS // 2)]
                waiting = [
                    leaver.send(_question(environment, n)) for n, leaver in enumerate(leavers)
                ]
                stayers = [
                    asyncio.create_task(_chat(environment, number, chats))
                    for number in range(CHATS // 2)
                ]
                await asyncio.sleep(2)
                meanwhile = await _read_pantry(environment, MEANWHILE)
                held = await _open_transactions(environment)
                before = model.waiting
                for leaver in leavers:
                    leaver.close()
                left = monotonic()
                while model.waiting > before - len(leavers):
                    if monotonic() - left > ANSWERED_WITHIN:
                        break
                    await asyncio.sleep(0.02)
                aborted = monotonic() - left
                await asyncio.gather(*waiting, return_exceptions=True)
                await asyncio.gather(*stayers)
            model.behaviour = "well"
            seconds = await _wait_until_answered(environment)
        report.expect("chats with the model at once", before, at_least=1)
        slow, calm = quantile(meanwhile, 0.99), quantile(idle, 0.99)
        detail = f"p99 {calm * 1e3:.1f} ms idle, {slow * 1e3:.1f} ms meanwhile"
        report.expect("/pantry-items/me", slow / calm, "x idle", at_most=MAX_RATIO, detail=detail)
        report.expect("connections held by chats", held, at_most=0)
        report.expect("aborted after the client left", aborted, "s", at_most=ABORTED_WITHIN)
        _check_chats(report, chats, {UNAVAILABLE})
        report.expect("answers again after", seconds, "s", at_most=OPEN_FOR + 5)
        await environment.check_promises(failures=0)


async def _read_pantry(environment: Environment, seconds: float) -> list[Sample]:
    samples: list[Sample] = []
    client = Client(environment.server.port, samples)
    until = monotonic() + seconds
    while monotonic() < until:
        token = environment.load.users[1].token
        await client.send("read", request("GET", "/pantry-items/me", token))
        await asyncio.sleep(INTERVAL)
    client.close()
    return samples


async def _open_transactions(environment: Environment) -> int:
    """Count transactions that are open for a second, which is longer than any other takes."""
    assert environment.database is not None
    async with environment.database.as_operator() as operator:
        return int(
            await operator.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE usename = 'freshly'"
                " AND state <> 'idle' AND now() - state_change > interval '1 second'"
            )
        )


async def _chat(environment: Environment, number: int, samples: list[Sample]) -> bytes:
    """Send one question, wait for the response, and return its body."""
    client = Client(environment.server.port, samples, timeout=2 * ANSWERED_WITHIN)
    _, body = await client.send("chat", _question(environment, number))
    client.close()
    return body


def _check_chats(report: Report, chats: list[Sample], statuses: set[int]) -> None:
    wrong = [chat.status for chat in chats if chat.status not in statuses]
    detail = f"of {len(chats)}: {sorted({chat.status or 'no answer' for chat in chats}, key=str)}"
    report.expect("chats with another status", len(wrong), at_most=0, detail=detail)
    report.expect("the longest chat", longest(chats), "s", at_most=ANSWERED_WITHIN)


async def _wait_until_answered(environment: Environment) -> float:
    """Return the seconds until a chat succeeds; infinity after three times OPEN_FOR."""
    since = monotonic()
    status = LOST_CONNECTION
    while status != OK and monotonic() - since < 3 * OPEN_FOR:
        samples: list[Sample] = []
        await _chat(environment, 0, samples)
        status = samples[0].status
        await asyncio.sleep(0.5)
    return monotonic() - since if status == OK else float("inf")


async def _chat_with_bad_model(
    report: Report, behaviour: Behaviour | None, statuses: set[int]
) -> None:
    """Send chats to a misbehaving model. Without a behaviour, its connections are reset."""
    async with _production_with_model(report) as (environment, model, model_proxy):
        async with environment.under_load(calm=2):
            await _chat(environment, 0, [])
            calm = environment.server.memory
            chats: list[Sample] = []
            with report.fault():
                if behaviour:
                    model.behaviour = behaviour
                else:
                    model_proxy.become("reset")
                bodies = await asyncio.gather(*(_chat(environment, n, chats) for n in range(10)))
            model.behaviour = "well"
            model_proxy.become("pass")
            seconds = await _wait_until_answered(environment)
        _check_chats(report, chats, statuses)
        leaks = sum(SECRET.encode() in body for body in bodies)
        report.expect("answers with the provider's words", leaks, at_most=0)
        grown = environment.monitor.most_memory - calm
        report.expect("more memory", grown, "MB")
        report.expect("answers again after", seconds, "s", at_most=OPEN_FOR + 5)
        await environment.check_promises(failures=0)


@scenario("a model whose connections are reset (a proxy)")
async def model_resets(report: Report) -> None:
    # A response that is cut off in its body is a bad gateway.
    await _chat_with_bad_model(report, None, {BAD_GATEWAY, UNAVAILABLE})


@scenario("a model that answers with 10 MB, ten times at once")
async def model_huge(report: Report) -> None:
    await _chat_with_bad_model(report, "huge", {OK, BAD_GATEWAY, UNAVAILABLE})


@scenario("a model whose JSON is cut off")
async def model_malformed(report: Report) -> None:
    await _chat_with_bad_model(report, "malformed", {BAD_GATEWAY, UNAVAILABLE})


@scenario("a model that is busy (429 with Retry-After)")
async def model_busy(report: Report) -> None:
    await _chat_with_bad_model(report, "busy", {UNAVAILABLE})


@scenario("a model that fails five times: the circuit breaker opens, and closes after a rest")
async def model_breaker(report: Report) -> None:
    async with _production_with_model(report) as (environment, model, model_proxy):
        async with environment.under_load(calm=2):
            with report.fault():
                model_proxy.become("reset")
                for number in range(2 * FAILURES):  # each of two processes counts its own
                    await _chat(environment, number, [])
                refused: list[Sample] = []
                for number in range(50):
                    await _chat(environment, number, refused)
            model_proxy.become("pass")
            calls = model.calls
            seconds = await _wait_until_answered(environment)
        report.expect("p95 of a refusal", quantile(refused, 0.95), "s", at_most=REFUSED_WITHIN)
        _check_chats(report, refused, {UNAVAILABLE})
        report.expect("answers again after", seconds, "s", at_most=OPEN_FOR + 5)
        report.expect("calls after the rest", model.calls - calls, at_least=1)
        await environment.check_promises(failures=0)
