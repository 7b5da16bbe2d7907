"""`python -m bench.scaling`: simulate a day of households, and compute what breaks first.

Simulates the requests of 1,000 households through the rules of the cache, and multiplies them. No
server runs. Capacities are measured by `./run bench` and `python -m bench.scaling_measure`, or
assumed below. The same call always prints the same tables; docs/guides/scaling.md shows them.
"""

import argparse
import json
import math
import random
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "guides" / "scaling.md"
BEGIN, END = "<!-- written by python -m bench.scaling --write -->\n", "\n<!-- end -->"
HOUSEHOLDS = (10**5, 10**6, 10**7)
SIMULATED = 1_000  # households
SEED = 1
DAY = 24 * 3600  # seconds
HOUR = 3600

# Assumptions, which are not measured. Change them to your households, and run the command again.
USERS_PER_HOUSEHOLD = 2
VISITS_PER_DAY = 4.0  # of a user: times that the app is opened
REQUESTS_PER_VISIT = 12  # of which a tenth writes, as in the bench
VISIT_SECONDS = 120
SHARE_OF_WRITES = 0.1
LISTS = ("pantry", "meals", "grocery", "families")
# Visits by hour of the day, in one time zone: breakfast, shopping, dinner.
BY_HOUR = (1, 1, 1, 1, 1, 2, 6, 9, 7, 5, 5, 8, 9, 6, 4, 5, 8, 12, 14, 12, 9, 7, 4, 2)
ROWS_PER_DAY = 8  # new rows of a household in its fullest table: lines of lists
POSTGRES_STATEMENTS = 20_000  # each second, of one server with 16 cores and the indexes in memory
POSTGRES_CONNECTIONS = 500  # direct ones; each costs memory
REDIS_COMMANDS = 100_000  # each second, of one server
REDIS_COMMANDS_PER_REQUEST = 3  # entry with its versions, counts of limits, caller
COLD_READS_PER_WRITE = 3  # of a process's time
UTILIZATION = 0.6  # of a process at the busiest minute, so that waiting stays short
CONNECTIONS_PER_PROCESS = 15  # deploy/kubernetes/settings.yaml
JOINS_PER_DAY = 0.005  # users who join a family by six digits, for each household
MISTYPED = 0.05  # of those

# Rules of Freshly.
CACHE_SECONDS = 300  # CACHE_TTL_SECONDS
LARGEST_ID = 2**31 - 1
SIX_DIGITS = 10**6
GUESSES = 200  # wrong six digits in a day, for all addresses together (invite-code-all)
RISKY_GUESS = 0.01  # chance of a single guess to meet a stranger's family
JOB_LIMIT = 600  # seconds of the job that enqueues digests, and of the one that renews codes
RENEWALS_PER_DAY = DAY // 900  # runs of the latter
DIGEST_WITHIN = HOUR  # a morning digest should arrive


@dataclass(frozen=True)
class Measured:
    """Figures of reports: each process and each worker used a part of two cores."""

    cached_reads: float  # each second, of one process in production
    cold_reads: float
    reads_statements: float  # of an uncached read; a cold read needs one
    writes_statements: float
    process_mb: float
    bytes_per_user: float
    redis_bytes_per_user: float
    codes: float  # renewed each second
    digests_enqueued: float
    digests: float  # each second, by one worker

    @classmethod
    def read(cls) -> "Measured":
        """Return what the results of the bench and of bench.scaling_measure say."""
        bench = json.loads((RESULTS / "bench.json").read_text())["rows"]
        rows = {row["name"]: row for row in bench if row["target"] == "production"}
        own = json.loads((RESULTS / "scaling.json").read_text())
        detail = rows["mixed traffic: fewer SQL"]["detail"]  # "0.36 instead of 2.20 a request"
        uncached = float(detail.split()[3])
        read = rows["SQL of uncached /pantry-items/me"]["value"]
        bare_of_a_process = rows["bare FastAPI route"]["value"] / 2
        return cls(
            cached_reads=bare_of_a_process * rows["cached /pantry-items/me"]["value"],
            cold_reads=bare_of_a_process * rows["cold /pantry-items/me"]["value"],
            reads_statements=rows["SQL of cold /pantry-items/me"]["value"],
            writes_statements=(uncached - read * (1 - SHARE_OF_WRITES)) / SHARE_OF_WRITES,
            process_mb=rows["memory, after all this"]["value"] / 3,
            bytes_per_user=own["bytes_per_user"],
            redis_bytes_per_user=own["redis_bytes_per_user"],
            codes=own["codes_per_second"],
            digests_enqueued=own["digests_enqueued_per_second"],
            digests=own["digests_per_second"],
        )


@dataclass(frozen=True)
class Day:
    """A simulated day of one household, on average."""

    requests: float
    peak_requests: float  # each second, in the busiest minute
    peak_statements: float  # the same
    statements: float  # in the day
    hits: float  # share of the reads
    warm: float  # share of the users with cached lists in the busiest minute


def requests(households: int, seed: int) -> Iterator[tuple[float, int, int, str]]:
    """Yield second, household, user and list of each request in order. "" is a write."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    sent: list[tuple[float, int]] = []
    for user in range(households * USERS_PER_HOUSEHOLD):
        for _ in range(_poisson(chance, VISITS_PER_DAY)):
            (hour,) = chance.choices(range(24), BY_HOUR)
            begin = (hour + chance.random()) * HOUR
            sent += [
                (begin + chance.random() * VISIT_SECONDS, user) for _ in range(REQUESTS_PER_VISIT)
            ]
    for second, user in sorted(sent):
        writes = chance.random() < SHARE_OF_WRITES
        yield second, user // USERS_PER_HOUSEHOLD, user, "" if writes else chance.choice(LISTS)


def _poisson(chance: random.Random, mean: float) -> int:
    """Return a Poisson variable (Knuth)."""
    limit, number, product = math.exp(-mean), 0, chance.random()
    while product > limit:
        number, product = number + 1, product * chance.random()
    return number


def simulate(measured: Measured, households: int = SIMULATED, seed: int = SEED) -> Day:
    """Send a day's requests through the cache: a list is cached until it ends or is changed."""
    cached: dict[tuple[int, str], float] = {}
    by_minute, statements, active = Counter[int](), Counter[int](), Counter[int]()
    seen: set[tuple[int, int]] = set()
    reads = hits = 0
    for second, household, user, name in requests(households, seed):
        minute = int(second // 60)
        by_minute[minute] += 1
        if (user, int(second // CACHE_SECONDS)) not in seen:
            seen.add((user, int(second // CACHE_SECONDS)))
            active[int(second // CACHE_SECONDS)] += 1
        if not name:
            statements[minute] += round(measured.writes_statements * 1000)
            for one in LISTS[:3]:  # a write changes pantry, meals or grocery
                cached.pop((household, one), None)
            continue
        reads += 1
        key = (user if name == "families" else household, name)
        if cached.get(key, -math.inf) > second:
            hits += 1
        else:
            cached[key] = second + CACHE_SECONDS
            statements[minute] += round(measured.reads_statements * 1000)
    return Day(
        requests=sum(by_minute.values()) / households,
        peak_requests=max(by_minute.values()) / 60 / households,
        peak_statements=max(statements.values()) / 60 / 1000 / households,
        statements=sum(statements.values()) / 1000 / households,
        hits=hits / reads,
        warm=max(active.values()) / households / USERS_PER_HOUSEHOLD,
    )


def process_rate(day: Day, measured: Measured) -> float:
    """Return how many of the simulated requests one process serves each second."""
    read = day.hits / measured.cached_reads + (1 - day.hits) / measured.cold_reads
    write = COLD_READS_PER_WRITE / measured.cold_reads
    return 1 / ((1 - SHARE_OF_WRITES) * read + SHARE_OF_WRITES * write)


def needs(day: Day, measured: Measured, households: int) -> Mapping[str, str]:
    """Return what this many households need, as rows of the first table."""
    users = households * USERS_PER_HOUSEHOLD
    rate = process_rate(day, measured) * UTILIZATION
    processes = math.ceil(households * day.peak_requests / rate)
    statements = households * day.peak_statements
    of_server = statements / POSTGRES_STATEMENTS
    commands = households * day.peak_requests * REDIS_COMMANDS_PER_REQUEST
    rows = households * ROWS_PER_DAY
    workers = math.ceil(users / measured.digests / DIGEST_WITHIN)
    return {
        "requests/s in the busiest minute": f"{households * day.peak_requests:,.0f}",
        "server processes (one core each)": f"{processes:,}",
        "their memory": _bytes(processes * measured.process_mb * 1e6),
        "SQL statements/s": f"{statements:,.0f} ({of_server:.0%} of a server)",
        "connections without a pooler": f"{processes * CONNECTIONS_PER_PROCESS:,}",
        "PostgreSQL, rows and indexes": _bytes(users * measured.bytes_per_user),
        "Redis, cached lists": _bytes(users * day.warm * measured.redis_bytes_per_user),
        "Redis commands/s": f"{commands:,.0f} ({commands / REDIS_COMMANDS:.0%} of a server)",
        "workers for the digests in an hour": f"{workers:,}",
        "ids of list lines last for": f"{LARGEST_ID / rows / 365:,.1f} years",
        "a guess of six digits meets a family": f"{min(households / SIX_DIGITS, 1):.0%}",
    }


def _bytes(number: float) -> str:
    units = ("B", "kB", "MB", "GB", "TB", "PB")
    power = int(math.log(max(number, 1), 1000))
    return f"{number / 1000**power:,.1f} {units[power]}"


@dataclass(frozen=True)
class Limit:
    """A limit, the number of households at which it is reached, and what helps."""

    name: str
    households: float
    helps: str


def limits(day: Day, measured: Measured) -> Sequence[Limit]:
    """Return the limits in the order in which a growing installation meets them."""
    users = USERS_PER_HOUSEHOLD
    one_process = process_rate(day, measured) * UTILIZATION / day.peak_requests
    found = (
        Limit(
            f"a guess of six digits meets a family in {RISKY_GUESS:.0%} of tries",
            SIX_DIGITS * RISKY_GUESS,
            "not supported: invite by link or eight letters; the six digits cannot be turned off",
        ),
        Limit("one server process", one_process, "more processes: WORKERS, pods"),
        Limit(
            "PostgreSQL's connections without a pooler",
            one_process * POSTGRES_CONNECTIONS / CONNECTIONS_PER_PROCESS,
            "PgBouncer (DATABASE_URL_POOLER)",
        ),
        Limit(
            f"{GUESSES} mistyped six digits a day, for all users together",
            GUESSES / (JOINS_PER_DAY * MISTYPED),
            "RATE_LIMIT_OVERRIDES (invite-code-all), which makes guessing easier",
        ),
        Limit(
            "digests of one worker in an hour",
            measured.digests * DIGEST_WITHIN / users,
            "more workers",
        ),
        Limit(
            "the job that enqueues all digests ends after ten minutes",
            measured.digests_enqueued * JOB_LIMIT / users,
            "not supported: it is one job; a retry goes on with the users that are left",
        ),
        Limit(
            "renewing each family's six digits each day",
            measured.codes * JOB_LIMIT * RENEWALS_PER_DAY,
            "not supported: it is one job at a time",
        ),
        Limit("all six digits are taken", SIX_DIGITS, "Freshly gives nine digits then"),
        Limit(
            "SQL statements of one PostgreSQL",
            POSTGRES_STATEMENTS / day.peak_statements,
            "a larger server; then several installations",
        ),
        Limit(
            "commands of one Redis",
            REDIS_COMMANDS / day.peak_requests / REDIS_COMMANDS_PER_REQUEST,
            "a larger server; Redis Cluster is not supported",
        ),
        Limit(
            "ids of 31 bits end within three years",
            LARGEST_ID / ROWS_PER_DAY / 365 / 3,
            "not supported: it needs a migration to 64 bits",
        ),
    )
    return sorted(found, key=lambda limit: limit.households)


def tables(day: Day, measured: Measured) -> Sequence[Sequence[Sequence[str]]]:
    """Return the rows of both tables, headings first."""
    columns = [needs(day, measured, number) for number in HOUSEHOLDS]
    first = [("Households", *(f"{number:,}" for number in HOUSEHOLDS))]
    first += [(name, *(column[name] for column in columns)) for name in columns[0]]
    second = [("Households", "Limit", "What helps")]
    second += [
        (f"{_rounded(limit.households):,}", limit.name, limit.helps)
        for limit in limits(day, measured)
    ]
    return first, second


def _rounded(number: float) -> int:
    """Round to two digits: the figures are no better."""
    return int(round(number, 1 - math.floor(math.log10(number))))


def markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join((lines[0], "|---" * len(rows[0]) + "|", *lines[1:]))


def part_of_page(day: Day, measured: Measured) -> str:
    """Return the part of docs/guides/scaling.md that `--write` writes."""
    first, second = tables(day, measured)
    about = (
        f"A household sends {day.requests:.0f} requests a day. The cache serves {day.hits:.0%} of"
        f" the reads; a request takes {day.statements / day.requests:.2f} statements."
    )
    return f"{about}\n\n{markdown(first)}\n\n{markdown(second)}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the tables into the page")
    options = parser.parse_args(arguments)
    measured = Measured.read()
    day = simulate(measured)
    console = Console(width=140)
    if options.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(before + BEGIN + part_of_page(day, measured) + END + after)
    for rows in tables(day, measured):
        table = Table(*rows[0])
        for row in rows[1:]:
            table.add_row(*row)
        console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
