"""`./run bench`: measure speed, memory and consistency, beside a bare FastAPI route.

It brings PostgreSQL and Redis, and starts Freshly embedded (one process, SQLite) and in production
(two workers, PostgreSQL, Redis), each with its cache on and off, beside a bare FastAPI route on the
same server. It seeds households and measures all servers in turns, in several rounds, of which the
medians count. Speed is shown as a ratio to the bare route of the same run.
"""

import argparse
import asyncio
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise, repeat
from pathlib import Path
from typing import Any

import uvloop
from httpx2 import AsyncClient
from rich.console import Console
from rich.progress import Progress

from bench.consistency import ConsistencyResult, check_consistency, create_families
from bench.household import HOT, PAGED, tokens_for, traffic
from bench.load import Outcome, many_users, request, run_load, run_sequence
from bench.page import write_page
from bench.profiling import profile
from bench.report import Row, draw, show
from bench.servers import Server, freshly
from bench.targets import Target, embedded, production
from tests.support.api import Kitchen
from tests.support.servers import postgres, redis

RESULTS = Path(__file__).parent / "results"
CONNECTIONS = 32
PAUSE = 0.3  # seconds between two measurements
STATEMENTS = "freshly_sql_statements_total"
PROCESSES = 4
MIXED_ROUNDS = 4
FAMILIES = 16  # of the consistency check
SAMPLES = 5  # measurements of the statements per request
LONGEST_JOB = 15.0  # seconds in which a background job may disturb these measurements


@dataclass(frozen=True)
class Size:
    """The amount of work in a run."""

    households: int
    rounds: int
    seconds: float  # for each path and round
    cold: int  # requests for each path and round
    mixed: int  # requests of the mixed traffic
    users: int
    held: int  # idle connections beside the users'
    users_seconds: float
    operations: int  # of the consistency check, over all processes


FULL = Size(
    households=10,
    rounds=5,
    seconds=2,
    cold=1500,
    mixed=4000,
    users=1000,
    held=10_000,
    users_seconds=30,
    operations=100_000,
)
QUICK = Size(
    households=3,
    rounds=3,
    seconds=1,
    cold=500,
    mixed=1000,
    users=200,
    held=1000,
    users_seconds=8,
    operations=4000,
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the work, for a first look"
    )
    parser.add_argument(
        "--only", choices=("embedded", "production"), help="measure one target only"
    )
    parser.add_argument("--profile", metavar="PATH", help="print a profile of one read instead")
    parser.add_argument("--cache", choices=("auto", "off"), default="auto", help="for the profile")
    options = parser.parse_args()
    if options.profile:
        profile(options.profile, options.cache, rows=25)
        return 0
    size = QUICK if options.quick else FULL
    targets = {"embedded": embedded, "production": production}
    if options.only:
        targets = {options.only: targets[options.only]}
    console = Console()
    rows: list[Row] = []
    with Progress(console=console) as progress:
        steps = progress.add_task("measuring", total=1 + len(targets) * (3 + size.rounds))
        advance = lambda text: progress.update(steps, advance=1, description=text)  # noqa: E731
        for start in targets.values():
            with ExitStack() as stack:
                rows += _measure(start(stack, size.households), size, advance)
        if "production" in targets:
            rows.append(_consistency_row(size))
            advance("four processes: consistency")
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


def _measure(target: Target, size: Size, advance: Any) -> list[Row]:
    rows = []
    for number in range(size.rounds):
        uvloop.run(_measure_round(target, size))
        advance(f"{target.name}: round {number + 1}")
    base = statistics.median(target.rates["bare"])
    for path in HOT:
        rows += _hot_rows(target, path, base)
    rows += uvloop.run(_mixed_rows(target, size))
    advance(f"{target.name}: mixed traffic")
    rows.append(uvloop.run(_many_users_row(target, size)))
    advance(f"{target.name}: {size.users} users")
    promised = 150 if target.workers == 1 else None
    rows.append(Row(target.name, "memory, idle", target.idle, "MB", at_most=promised))
    loaded = Row(target.name, "memory, after all this", target.cached.memory, "MB")
    advance(f"{target.name}: done")
    return [Row(target.name, "bare FastAPI route", base, "requests/s"), *rows, loaded]


async def _measure_round(target: Target, size: Size) -> None:
    """Measure all servers in turn, so that other work on the machine affects them equally."""
    loads = {"bare": (target.reference, [request("GET", "/bare")])}
    for path in HOT:
        requests = [request("GET", path, token) for token in tokens_for(path, target.households)]
        loads[f"cached {path}"] = (target.cached, requests)
        loads[f"uncached {path}"] = (target.uncached, requests)
        loads[f"floor {path}"] = (target.floor, [request("GET", path)])
    for name, (server, requests) in loads.items():
        await run_load(server.port, requests, seconds=size.seconds / 4, connections=CONNECTIONS)
        outcome = await run_load(
            server.port, requests, seconds=size.seconds, connections=CONNECTIONS
        )
        _record(target, name, outcome)
        await asyncio.sleep(PAUSE)
    for path in PAGED:
        outcome = await run_sequence(
            target.cached.port, target.cold[path], number=size.cold, connections=CONNECTIONS
        )
        _record(target, f"cold {path}", outcome)
        await asyncio.sleep(PAUSE)


def _record(target: Target, name: str, outcome: Outcome) -> None:
    assert not outcome.errors, (name, outcome.statuses)
    target.rates.setdefault(name, []).append(outcome.rate)
    target.outcomes.setdefault(name, Outcome()).add(outcome)


def _hot_rows(target: Target, path: str, base: float) -> list[Row]:
    rows: list[Row] = []
    floor_share = statistics.median(target.rates[f"floor {path}"]) / base
    for kind, server, least, most in (
        ("cached", target.cached, target.least_cached, 0),
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
            detail += f", {ratio / floor_share:.0%} of the floor"
        rows.append(Row(target.name, name, ratio, "of bare", at_least=least, detail=detail))
        same = repeat(request("GET", path, tokens_for(path, target.households)[0]))
        requests = target.cold[path] if kind == "cold" else same
        statements = _statements_per_request(server, requests, expected=most)
        rows.append(Row(target.name, f"SQL of {name}", statements, "statements", at_most=most))
    detail = "the same statements and rows, and nothing else"
    rows.append(Row(target.name, f"floor of {path}", floor_share, "of bare", detail=detail))
    return rows


def _statements_per_request(server: Server, requests: Iterator[bytes], expected: int) -> float:
    """Return the mean over a hundred requests, and the lowest of several such means.

    Background jobs run statements too: each second the worker looks for jobs, and every five
    minutes a job loads, for some seconds, what users will probably read next.
    """

    async def send_requests() -> None:
        await run_sequence(server.port, requests, number=100, connections=1)

    uvloop.run(send_requests())
    own, means = _statements_of_one_scrape(server), list[float]()
    until = time.monotonic() + LONGEST_JOB
    while len(means) < SAMPLES or (min(means) > expected and time.monotonic() < until):
        before = server.number(STATEMENTS)
        uvloop.run(send_requests())
        means.append((server.number(STATEMENTS) - before - own) / 100)
    return max(0.0, min(means))


def _statements_of_one_scrape(server: Server) -> float:
    """Return the statements that reading the metrics takes, because they count waiting jobs."""
    counts = [server.number(STATEMENTS) for _ in range(5)]
    return min(after - before for before, after in pairwise(counts))


async def _mixed_rows(target: Target, size: Size) -> list[Row]:
    """Send the same traffic with the cache on and off, in turns."""
    measured: dict[str, list[tuple[float, float]]] = {"on": [], "off": []}
    for seed in range(MIXED_ROUNDS + 1):
        for name, server in (("on", target.cached), ("off", target.uncached)):
            own, before = _statements_of_one_scrape(server), server.number(STATEMENTS)
            number = size.mixed // MIXED_ROUNDS
            outcome = await run_sequence(
                server.port, traffic(target.households, seed), number=number, connections=8
            )
            assert not outcome.errors, outcome.statuses
            if seed:  # the first round only fills the cache
                sent = server.number(STATEMENTS) - before - own
                measured[name].append((sent / number, outcome.rate))
    statements = {name: statistics.mean(s for s, _ in rounds) for name, rounds in measured.items()}
    rates = {name: statistics.median(r for _, r in rounds) for name, rounds in measured.items()}
    saved = 100 * (1 - statements["on"] / statements["off"])
    detail = f"{statements['on']:.2f} instead of {statements['off']:.2f} a request"
    faster = rates["on"] / rates["off"]
    return [
        Row(target.name, "mixed traffic: fewer SQL", saved, "%", at_least=80, detail=detail),
        Row(target.name, "mixed traffic: cache on", faster, "times as fast as off"),
    ]


async def _many_users_row(target: Target, size: Size) -> Row:
    tokens = [token for home in target.households for token in home.tokens]
    requests = [request("GET", path, token) for token in tokens for path in HOT]
    outcome = await many_users(
        target.cached.port,
        requests,
        users=size.users,
        held=size.held,
        seconds=size.users_seconds,
        think=1.0,
    )
    detail = f"{outcome.rate:.0f} requests/s, {outcome.errors} errors, {size.held} connections held"
    p99 = outcome.quantile(0.99) * 1e3
    name = f"p99 of cached reads, {size.users} users"
    most = 100 if not outcome.errors else 0  # an error makes the row miss its promise
    return Row(target.name, name, p99, "ms", at_most=most, detail=detail)


def _consistency_row(size: Size) -> Row:
    """Check consistency over four servers of one process each, with one database and one Redis."""
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
        ports = [server.port for server in servers]
        result = uvloop.run(_check_consistency(ports, size.operations))
    wrong = sum(result.wrong.values())
    detail = f"{result.operations / result.seconds:.0f} operations/s; {result.examples or ''}"
    name = f"wrong answers of {result.operations:,}, {PROCESSES} processes"
    return Row("production", name, wrong, "answers", at_most=0, detail=detail)


async def _check_consistency(ports: list[int], operations: int) -> ConsistencyResult:
    async with AsyncClient(base_url=f"http://127.0.0.1:{ports[0]}", timeout=60) as client:
        households = await create_families(Kitchen(client), FAMILIES)
    return await check_consistency(ports, households, operations=operations)


if __name__ == "__main__":
    sys.exit(main())
