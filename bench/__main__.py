"""`./run bench`: how fast, how much, side by side, in one run.

It brings PostgreSQL and Redis, starts Freshly as it is started embedded (one process, SQLite) and
in production (two workers, PostgreSQL, Redis), each with its cache on and off, beside a bare
FastAPI route on the same server; seeds households; and measures all of them in turns, several
rounds, of which the medians count. Timings are told as ratios to the bare route of the same run.
"""

import argparse
import asyncio
import json
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from itertools import pairwise, repeat
from pathlib import Path
from typing import Any

import asyncpg
import uvloop
from httpx2 import AsyncClient
from pydantic import SecretStr
from rich.console import Console
from rich.progress import Progress

from bench.consistency import Verdict, check_consistency, neighbours
from bench.floor import captured, floor
from bench.household import HOT, PAGED, Household, asking, cold_paths, seeded, traffic
from bench.load import Outcome, many_users, play, request, run_load
from bench.page import write_page
from bench.profiling import profile
from bench.report import Row, draw, show
from bench.servers import SECRET, Server, bare, freshly
from freshly.settings import Settings
from tests.support.api import Kitchen
from tests.support.servers import postgres, redis

RESULTS = Path(__file__).parent / "results"
CONNECTIONS = 32
SETTLE = 0.3  # seconds between two measurements


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    households: int
    rounds: int
    seconds: float
    cold: int  # requests
    mixed: int
    users: int
    held: int
    crowd_seconds: float
    watched: int  # operations, over four processes


FULL = Size(
    10, 5, 2, cold=1500, mixed=4000, users=1000, held=10_000, crowd_seconds=30, watched=100_000
)
QUICK = Size(3, 3, 1, cold=500, mixed=1000, users=200, held=1000, crowd_seconds=8, watched=4000)
SENT = "freshly_sql_statements_total"
PROCESSES = 4
MIXED_ROUNDS = 4
NEIGHBOURS = 16
LOOKS = 5  # at how many statements a request takes
LONGEST_JOB = 15.0  # seconds that they are in the way of that


@dataclass
class Target:
    """Freshly in one of its two forms, and what is measured of it."""

    name: str
    workers: int
    bar_cached: float
    cached: Server
    uncached: Server
    reference: Server
    floor: Server
    households: list[Household]
    idle: float
    cold: dict[str, Iterator[bytes]] = field(init=False)  # by path
    rates: dict[str, list[float]] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cold = {path: cold_paths(path, self.households) for path in PAGED}


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of it, for a first look")
    parser.add_argument("--only", choices=("embedded", "production"), help="one of the two")
    parser.add_argument("--profile", metavar="PATH", help="a profile of one read instead")
    parser.add_argument("--cache", choices=("auto", "off"), default="auto", help="in the profile")
    options = parser.parse_args()
    if options.profile:
        profile(options.profile, options.cache, rows=25)
        return 0
    size = QUICK if options.quick else FULL
    targets = {"embedded": _embedded, "production": _production}
    if options.only:
        targets = {options.only: targets[options.only]}
    console = Console()
    rows: list[Row] = []
    with Progress(console=console) as progress:
        steps = progress.add_task("measuring", total=1 + len(targets) * (3 + size.rounds))
        advance = lambda what: progress.update(steps, advance=1, description=what)  # noqa: E731
        for begin in targets.values():
            with ExitStack() as stack:
                rows += _measured(begin(stack, size), size, advance)
        if "production" in targets:
            rows.append(_consistency(size))
            advance("four processes: watched")
    show(rows, console)
    RESULTS.mkdir(exist_ok=True)
    result = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "size": vars(size),
        "rows": [vars(row) for row in rows],
    }
    (RESULTS / "bench.json").write_text(json.dumps(result, indent=1) + "\n")
    draw(rows, RESULTS / "bench.png")
    if not options.quick and not options.only:
        write_page(result)
    console.print(f"written: {RESULTS / 'bench.json'}, {RESULTS / 'bench.png'}")
    return 0 if all(row.is_met for row in rows) else 1


def _embedded(stack: ExitStack, size: Size) -> Target:
    home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="freshly-bench-")))
    first, second = home / "on", home / "off"
    with freshly(first, 1, {}) as server:
        idle = server.memory
        households = asyncio.run(seeded(server.port, size.households, lambda _: None))
    shutil.copytree(first, second)
    return Target(
        name="embedded",
        workers=1,
        bar_cached=0.4,
        cached=stack.enter_context(freshly(first, 1, {})),
        uncached=stack.enter_context(freshly(second, 1, {"CACHE": "off"})),
        reference=stack.enter_context(bare(1)),
        floor=stack.enter_context(_floor(home, {"DATA_DIR": str(second)}, households, 1)),
        households=households,
        idle=idle,
    )


def _production(stack: ExitStack, size: Size) -> Target:
    home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="freshly-bench-")))
    server_url, redis_url = stack.enter_context(postgres()), stack.enter_context(redis())
    base = server_url.rsplit("/", 1)[0]
    folders = {name: home / name for name in ("kitchen", "uncached")}
    asyncio.run(_sql(server_url, "CREATE DATABASE kitchen"))
    common = {"DATABASE_URL": f"{base}/kitchen", "REDIS_URL": redis_url}
    with freshly(folders["kitchen"], 2, common) as server:
        idle = server.memory
        households = asyncio.run(seeded(server.port, size.households, lambda _: None))
    asyncio.run(_sql(server_url, "CREATE DATABASE uncached TEMPLATE kitchen"))
    other = {"DATABASE_URL": f"{base}/uncached", "REDIS_URL": redis_url, "CACHE": "off"}
    return Target(
        name="production",
        workers=2,
        bar_cached=0.25,
        cached=stack.enter_context(freshly(folders["kitchen"], 2, common)),
        uncached=stack.enter_context(freshly(folders["uncached"], 2, other)),
        reference=stack.enter_context(bare(2)),
        floor=stack.enter_context(_floor(home, other, households, 2)),
        households=households,
        idle=idle,
    )


def _floor(
    home: Path, given: Mapping[str, str], households: list[Household], workers: int
) -> AbstractContextManager[Server]:
    settings = Settings(
        data_dir=Path(given.get("DATA_DIR", home / "floor")),
        database_url=SecretStr(given.get("DATABASE_URL", "")),
        cache="off",
        rate_limit_enabled=False,
        secret_key=SecretStr(SECRET),
        jwt_secret=SecretStr(SECRET),
    )
    tokens = {path: asking(path, households)[0] for path in HOT}
    statements = asyncio.run(captured(settings, tokens))
    url = given.get("DATABASE_URL") or str(settings.data_dir / "freshly.db")
    return floor(home, statements, url, workers)


async def _sql(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _measured(target: Target, size: Size, advance: Any) -> list[Row]:
    rows = []
    for number in range(size.rounds):
        uvloop.run(_round(target, size))
        advance(f"{target.name}: round {number + 1}")
    base = statistics.median(target.rates["bare"])
    for path in HOT:
        rows += _hot_rows(target, path, base)
    rows += uvloop.run(_mixed(target, size))
    advance(f"{target.name}: mixed traffic")
    rows.append(uvloop.run(_crowd(target, size)))
    advance(f"{target.name}: {size.users} users")
    most = 150 if target.workers == 1 else None
    rows.append(Row(target.name, "memory, idle", target.idle, "MB", at_most=most))
    loaded = Row(target.name, "memory, after all this", target.cached.memory, "MB")
    advance(f"{target.name}: done")
    return [Row(target.name, "bare FastAPI route", base, "requests/s"), *rows, loaded]


async def _round(target: Target, size: Size) -> None:
    """Each in turn, so that what the machine does meanwhile hits all alike."""
    asked = {"bare": (target.reference, [request("GET", "/bare")])}
    for path in HOT:
        requests = [request("GET", path, token) for token in asking(path, target.households)]
        asked[f"cached {path}"] = (target.cached, requests)
        asked[f"uncached {path}"] = (target.uncached, requests)
        asked[f"floor {path}"] = (target.floor, [request("GET", path)])
    for name, (server, requests) in asked.items():
        await run_load(server.port, requests, seconds=size.seconds / 4, connections=CONNECTIONS)
        outcome = await run_load(
            server.port, requests, seconds=size.seconds, connections=CONNECTIONS
        )
        _note(target, name, outcome)
        await asyncio.sleep(SETTLE)
    for path in PAGED:
        outcome = await play(
            target.cached.port, target.cold[path], number=size.cold, connections=CONNECTIONS
        )
        _note(target, f"cold {path}", outcome)
        await asyncio.sleep(SETTLE)


def _note(target: Target, name: str, outcome: Outcome) -> None:
    assert not outcome.errors, (name, outcome.statuses)
    target.rates.setdefault(name, []).append(outcome.rate)
    target.outcomes.setdefault(name, Outcome()).add(outcome)


def _hot_rows(target: Target, path: str, base: float) -> list[Row]:
    rows: list[Row] = []
    most_possible = statistics.median(target.rates[f"floor {path}"]) / base
    for kind, server, bar, most in (
        ("cached", target.cached, target.bar_cached, 0),
        ("cold", target.cached, None, 3),
        ("uncached", target.uncached, 0.15, 3),
    ):
        name = f"{kind} {path}"
        if name not in target.outcomes:
            continue
        outcome = target.outcomes[name]
        ratio = statistics.median(target.rates[name]) / base
        detail = (
            f"p50 {outcome.quantile(0.5) * 1e3:.1f} ms, p99 {outcome.quantile(0.99) * 1e3:.1f} ms"
        )
        if kind == "uncached":
            detail += f", {ratio / most_possible:.0%} of the floor"
        rows.append(Row(target.name, name, ratio, "of bare", at_least=bar, detail=detail))
        same = repeat(request("GET", path, asking(path, target.households)[0]))
        sent = _statements(server, target.cold[path] if kind == "cold" else same, expected=most)
        rows.append(Row(target.name, f"SQL of {name}", sent, "statements", at_most=most))
    detail = "the same statements and rows, and nothing else"
    rows.append(Row(target.name, f"floor of {path}", most_possible, "of bare", detail=detail))
    return rows


def _statements(server: Server, requests: Iterator[bytes], expected: int) -> float:
    """For one request, of a hundred; by the quietest of several looks.

    Jobs ask, too: each second whether there is one, and every five minutes, for some seconds, for
    what people will want to see next.
    """

    async def ask() -> None:
        await play(server.port, requests, number=100, connections=1)

    uvloop.run(ask())
    own, sent = _sent_by_looking(server), []
    until = time.monotonic() + LONGEST_JOB
    while len(sent) < LOOKS or (min(sent) > expected and time.monotonic() < until):
        before = server.number(SENT)
        uvloop.run(ask())
        sent.append((server.number(SENT) - before - own) / 100)
    return max(0.0, min(sent))


def _sent_by_looking(server: Server) -> float:
    """The metrics tell how many jobs wait, too, and ask for that."""
    looks = [server.number(SENT) for _ in range(5)]
    return min(after - before for before, after in pairwise(looks))


async def _mixed(target: Target, size: Size) -> list[Row]:
    """The same traffic with the cache on and off, in turns."""
    every: dict[str, list[tuple[float, float]]] = {"on": [], "off": []}
    for part in range(MIXED_ROUNDS + 1):
        for name, server in (("on", target.cached), ("off", target.uncached)):
            own, before = _sent_by_looking(server), server.number(SENT)
            number = size.mixed // MIXED_ROUNDS
            outcome = await play(
                server.port, traffic(target.households, part), number=number, connections=8
            )
            assert not outcome.errors, outcome.statuses
            if part:  # the first is to warm up
                sent = server.number(SENT) - before - own
                every[name].append((sent / number, outcome.rate))
    statements = {name: statistics.mean(sent for sent, _ in found) for name, found in every.items()}
    rates = {name: statistics.median(rate for _, rate in found) for name, found in every.items()}
    saved = 100 * (1 - statements["on"] / statements["off"])
    detail = f"{statements['on']:.2f} instead of {statements['off']:.2f} a request"
    faster = rates["on"] / rates["off"]
    return [
        Row(target.name, "mixed traffic: fewer SQL", saved, "%", at_least=80, detail=detail),
        Row(target.name, "mixed traffic: cache on", faster, "times as fast as off"),
    ]


async def _crowd(target: Target, size: Size) -> Row:
    tokens = [token for home in target.households for token in home.tokens]
    requests = [request("GET", path, token) for token in tokens for path in HOT]
    outcome = await many_users(
        target.cached.port,
        requests,
        users=size.users,
        held=size.held,
        seconds=size.crowd_seconds,
        think=1.0,
    )
    detail = f"{outcome.rate:.0f} requests/s, {outcome.errors} errors, {size.held} connections held"
    slow = outcome.quantile(0.99) * 1e3
    name = f"p99 of cached reads, {size.users} users"
    most = 100 if not outcome.errors else 0
    return Row(target.name, name, slow, "ms", at_most=most, detail=detail)


def _consistency(size: Size) -> Row:
    """Four processes, each a server of its own, with one database and one Redis."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="freshly-bench-")))
        shared = {
            "DATABASE_URL": stack.enter_context(postgres()),
            "REDIS_URL": stack.enter_context(redis()),
        }
        servers = [
            stack.enter_context(freshly(home / str(number), 1, shared))
            for number in range(PROCESSES)
        ]
        verdict = uvloop.run(_watched([server.port for server in servers], size.watched))
    wrong = sum(verdict.wrong.values())
    detail = f"{verdict.operations / verdict.seconds:.0f} operations/s; {verdict.examples or ''}"
    name = f"wrong answers of {verdict.operations:,}, {PROCESSES} processes"
    return Row("production", name, wrong, "answers", at_most=0, detail=detail)


async def _watched(ports: list[int], operations: int) -> Verdict:
    async with AsyncClient(base_url=f"http://127.0.0.1:{ports[0]}", timeout=60) as client:
        households = await neighbours(Kitchen(client), NEIGHBOURS)
    return await check_consistency(ports, households, operations=operations)


if __name__ == "__main__":
    sys.exit(main())
