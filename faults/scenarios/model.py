"""A language model that is slow, breaks off, or talks nonsense; and the kitchen beside it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

from bench.load import connect, request
from faults.environment import Environment, production
from faults.fake_llm import SECRET, BadModel, GenerationOptions, bad_model
from faults.load import LOST_CONNECTION, OK, UNAVAILABLE, Client, Sample
from faults.proxy import Proxy, proxy
from faults.report import Report, longest, quantile
from faults.scenarios import scenario

CHATS = 200
IDLE, MEANWHILE = 10.0, 15.0  # seconds in which the pantry is looked at
EVERY = 0.02
SLOWER = 1.5
ABORTED_WITHIN = 1.0
ANSWERED_WITHIN = 61.0
FAILURES = 5
OPEN_FOR = 30.0
REFUSED_WITHIN = 0.05
BAD_GATEWAY = 502
QUESTION = json.dumps({"message": "What shall we have for dinner?"}).encode()


@asynccontextmanager
async def _kitchen(report: Report) -> AsyncIterator[tuple[Environment, BadModel, Proxy]]:
    async with bad_model() as model:
        port = int(model.url.rsplit(":", 1)[1].split("/")[0])
        async with proxy(port) as between:
            told = {"OPENAI_BASE_URL": f"http://127.0.0.1:{between.port}/v1"}
            async with production(report, settings=told, people=10, rate=20) as environment:
                yield environment, model, between


def _question(environment: Environment, number: int = 0) -> bytes:
    users = environment.load.users
    return request("POST", "/chat", users[number % len(users)].token, QUESTION)


@scenario("200 chats at once with a model that is silent for 60 s, and the pantry meanwhile")
async def model_silent(report: Report) -> None:
    async with _kitchen(report) as (environment, model, _):
        async with environment.busy(calm=1):
            await _looks(environment, 3)
            idle = await _looks(environment, IDLE)
            model.manner = "silent"
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
                meanwhile = await _looks(environment, MEANWHILE)
                held = await _held(environment)
                before = model.inside
                for leaver in leavers:
                    leaver.close()
                left = monotonic()
                while model.inside > before - len(leavers) and monotonic() - left < ANSWERED_WITHIN:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                aborted = monotonic() - left
                await asyncio.gather(*waiting, return_exceptions=True)
                await asyncio.gather(*stayers)
            model.manner = "well"
            again = await _until_well(environment)
        report.expect("chats with the model at once", before, at_least=1)
        slow, calm = quantile(meanwhile, 0.99), quantile(idle, 0.99)
        detail = f"p99 {calm * 1e3:.1f} ms idle, {slow * 1e3:.1f} ms meanwhile"
        report.expect("/pantry-items/me", slow / calm, "x idle", at_most=SLOWER, detail=detail)
        report.expect("connections held by chats", held, at_most=0)
        report.expect("aborted after the client left", aborted, "s", at_most=ABORTED_WITHIN)
        _answered(report, chats, {UNAVAILABLE})
        report.expect("answers again after", again, "s", at_most=OPEN_FOR + 5)
        await environment.judge(failures=0)


async def _looks(environment: Environment, seconds: float) -> list[Sample]:
    samples: list[Sample] = []
    client = Client(environment.server.port, samples)
    until = monotonic() + seconds
    while monotonic() < until:
        token = environment.load.users[1].token
        await client.ask("look", request("GET", "/pantry-items/me", token))
        await asyncio.sleep(EVERY)
    client.hang_up()
    return samples


async def _held(environment: Environment) -> int:
    """Transactions that have been open for a second: longer than any of the others takes."""
    assert environment.database is not None
    async with environment.database.as_operator() as operator:
        return int(
            await operator.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE usename = 'freshly'"
                " AND state <> 'idle' AND now() - state_change > interval '1 second'"
            )
        )


async def _chat(environment: Environment, number: int, samples: list[Sample]) -> bytes:
    """One question, however long its answer takes."""
    client = Client(environment.server.port, samples, patience=2 * ANSWERED_WITHIN)
    _, body = await client.ask("chat", _question(environment, number))
    client.hang_up()
    return body


def _answered(report: Report, chats: list[Sample], statuses: set[int]) -> None:
    wrong = [chat.status for chat in chats if chat.status not in statuses]
    detail = f"of {len(chats)}: {sorted({chat.status or 'no answer' for chat in chats}, key=str)}"
    report.expect("chats answered otherwise", len(wrong), at_most=0, detail=detail)
    report.expect("the longest chat", longest(chats), "s", at_most=ANSWERED_WITHIN)


async def _until_well(environment: Environment) -> float:
    since = monotonic()
    status = LOST_CONNECTION
    while status != OK and monotonic() - since < 3 * OPEN_FOR:
        found: list[Sample] = []
        await _chat(environment, 0, found)
        status = found[0].status
        await asyncio.sleep(0.5)
    return monotonic() - since if status == OK else float("inf")


async def _misbehaving(
    report: Report, manner: GenerationOptions | None, statuses: set[int]
) -> None:
    """None: the connection is reset."""
    async with _kitchen(report) as (environment, model, between):
        async with environment.busy(calm=2):
            await _chat(environment, 0, [])
            calm = environment.server.memory
            chats: list[Sample] = []
            with report.fault():
                if manner:
                    model.manner = manner
                else:
                    between.become("reset")
                bodies = await asyncio.gather(*(_chat(environment, n, chats) for n in range(10)))
            model.manner = "well"
            between.become("pass")
            again = await _until_well(environment)
        _answered(report, chats, statuses)
        told = sum(SECRET.encode() in body for body in bodies)
        report.expect("answers with the provider's words", told, at_most=0)
        grown = environment.watch.most_memory - calm
        report.expect("more memory", grown, "MB")
        report.expect("answers again after", again, "s", at_most=OPEN_FOR + 5)
        await environment.judge(failures=0)


@scenario("a model whose connections are reset (a proxy)")
async def model_resets(report: Report) -> None:
    # One that is cut in the middle of its body is a bad answer.
    await _misbehaving(report, None, {BAD_GATEWAY, UNAVAILABLE})


@scenario("a model that answers with 10 MB, ten times at once")
async def model_huge(report: Report) -> None:
    await _misbehaving(report, "huge", {OK, BAD_GATEWAY, UNAVAILABLE})


@scenario("a model whose JSON breaks off")
async def model_malformed(report: Report) -> None:
    await _misbehaving(report, "malformed", {BAD_GATEWAY, UNAVAILABLE})


@scenario("a model that is busy (429 with Retry-After)")
async def model_busy(report: Report) -> None:
    await _misbehaving(report, "busy", {UNAVAILABLE})


@scenario("a model that fails five times: then nobody waits for it, until it has had a rest")
async def model_breaker(report: Report) -> None:
    async with _kitchen(report) as (environment, model, between):
        async with environment.busy(calm=2):
            with report.fault():
                between.become("reset")
                for number in range(2 * FAILURES):  # two processes
                    await _chat(environment, number, [])
                refused: list[Sample] = []
                for number in range(50):
                    await _chat(environment, number, refused)
            between.become("pass")
            asked = model.asked
            again = await _until_well(environment)
        report.expect("p95 of a refusal", quantile(refused, 0.95), "s", at_most=REFUSED_WITHIN)
        _answered(report, refused, {UNAVAILABLE})
        report.expect("answers again after", again, "s", at_most=OPEN_FOR + 5)
        report.expect("asked again", model.asked - asked, at_least=1)
        await environment.judge(failures=0)
