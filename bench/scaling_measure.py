"""`python -m bench.scaling_measure`: measure the figures of bench/scaling.py that the bench lacks.

Starts PostgreSQL, Redis and Freshly, creates users through the API, and takes some minutes. It
writes bench/results/scaling.json.
"""

import asyncio
import json
import os
import platform
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
from httpx2 import AsyncClient
from redis.asyncio import Redis

from bench.household import HOT, seed_user
from bench.servers import SECRET, freshly, process_tree
from freshly.chassis.jobs import Job, JobQueue
from freshly.domains.families.jobs import RenewInviteCodes
from freshly.domains.notifications.jobs import DigestForAll
from freshly.settings import load
from freshly.wiring.resources import open_resources
from tests.support.api import Kitchen
from tests.support.servers import postgres, redis

RESULTS = Path(__file__).parent / "results" / "scaling.json"
USERS = 10  # whose rows are measured
MORE_USERS = 1_000  # with a digest and a family each
UNFINISHED = "SELECT count(*) FROM jobs WHERE state IN ('queued', 'running') AND kind LIKE $1"
SIZE = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r'"

MORE_ROWS = (
    """
    INSERT INTO users (email, hashed_password, password_reset_attempts)
    SELECT 'more' || n || '@example.com', '-', 0 FROM generate_series(1, $1::int) n
    """,
    """
    INSERT INTO pantry_items (owner_user_id, ingredient_id, quantity, unit, expires_at)
    SELECT id, (SELECT min(id) FROM ingredients), 1, 'pcs', CURRENT_DATE + 1
    FROM users WHERE email LIKE 'more%' ORDER BY id LIMIT $1::int
    """,
    """
    INSERT INTO families (display_name, invite_code)
    SELECT 'Family', 'x' || n FROM generate_series(1, $1::int) n
    """,
)


def main() -> int:
    figures = asyncio.run(_measure())
    stored = {"at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "machine": _machine()}
    RESULTS.write_text(json.dumps({**stored, **figures}, indent=1) + "\n")
    print(RESULTS.read_text())  # noqa: T201
    return 0


def _machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


async def _measure() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, postgres() as server_url, redis() as redis_url:
        base = server_url.rsplit("/", 1)[0]
        await _execute(server_url, "CREATE DATABASE kitchen")
        url = f"{base}/kitchen"
        settings = {"DATABASE_URL": url, "REDIS_URL": redis_url, "JOBS": "worker"}
        settings["DATABASE_POOL_TIMEOUT"] = "60"  # creating the rows is not measured
        # The jobs are enqueued by this process, which reads the same settings.
        os.environ |= {**settings, "DATA_DIR": folder, "JWT_SECRET": SECRET, "SECRET_KEY": SECRET}
        with freshly(Path(folder), 1, settings) as server:
            sizes = await _sizes(server.port, url, redis_url)
        return {**sizes, **await _rates(url)}


async def _execute(url: str, statement: str, *values: object) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement, *values)
    finally:
        await connection.close()


async def _sizes(port: int, url: str, redis_url: str) -> dict[str, float]:
    """Return the bytes of a user's rows, and of a user's cached lists in Redis."""
    cache = Redis.from_url(redis_url)
    async with AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        kitchen = Kitchen(client)
        await seed_user(kitchen, many_families=False)  # fills the pages of empty tables
        before = await _execute(url, SIZE)
        tokens = [await seed_user(kitchen, many_families=False) for _ in range(USERS)]
        rows = (await _execute(url, SIZE) - before) / USERS
        unused = (await cache.info("memory"))["used_memory"]
        for token in tokens:
            for path in HOT:
                response = await client.get(path, headers={"Authorization": f"Bearer {token}"})
                response.raise_for_status()
        used = (await cache.info("memory"))["used_memory"]
    await cache.aclose()
    return {"bytes_per_user": round(rows), "redis_bytes_per_user": round((used - unused) / USERS)}


async def _rates(url: str) -> dict[str, float]:
    """Return how many digests and invite codes a worker finishes in a second.

    Processor time is measured, so that other work of the machine changes little. Jobs that take one
    row after the other wait for PostgreSQL, so its time counts too. A worker otherwise runs four
    digests at once, so for them only its own time counts.
    """
    connection = await asyncpg.connect(url)
    data = await connection.fetchval("SHOW data_directory")
    database = int((Path(data) / "postmaster.pid").read_text().split()[0])
    for statement in MORE_ROWS:
        await connection.execute(statement, MORE_USERS)
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "freshly", "worker"),
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "JOBS_AT_ONCE": "1"},  # else digests run while others are enqueued
    )
    try:
        renewal = await _timed(connection, RenewInviteCodes(), worker.pid, database)
        enqueuing = await _timed(connection, DigestForAll(), worker.pid, database)
        before = _processor_time(worker.pid)
        await _until_done(connection, "notifications.%")
        digests = _processor_time(worker.pid) - before
    finally:
        worker.terminate()
        await worker.wait()
        await connection.close()
    return {
        "codes_per_second": round(MORE_USERS / renewal),
        "digests_enqueued_per_second": round(MORE_USERS / enqueuing),
        "digests_per_second": round(MORE_USERS / digests),
    }


async def _timed(
    connection: "asyncpg.Connection[asyncpg.Record]", job: Job, *processes: int
) -> float:
    """Run the job, and return the processor time in seconds that the processes took for it."""
    before = sum(map(_processor_time, processes))
    async with open_resources(load()) as resources, resources.db.write() as session:
        await JobQueue(session).enqueue(job)
    await _until_done(connection, job.kind)
    return sum(map(_processor_time, processes)) - before


def _processor_time(pid: int) -> float:
    """Return the seconds of a process and of all its children, also of those that have ended."""
    ticks = 0
    for one in process_tree(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime
    return ticks / os.sysconf("SC_CLK_TCK")


async def _until_done(connection: "asyncpg.Connection[asyncpg.Record]", kind: str) -> None:
    while await connection.fetchval(UNFINISHED, kind):  # noqa: ASYNC110 - in another process
        await asyncio.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
