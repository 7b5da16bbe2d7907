"""Do the migrations make what the models say, on both databases?

From empty to the newest, `alembic check`, down again to nothing, and up once more.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import asyncpg

from tests.support.servers import postgres

ROOT = Path(__file__).resolve().parents[1]  # where alembic finds its settings
FRESHLY = (sys.executable, "-m", "freshly")
ALEMBIC = (sys.executable, "-m", "alembic")
STEPS = (
    (*FRESHLY, "migrate"),
    (*ALEMBIC, "check"),
    (*ALEMBIC, "downgrade", "base"),
    (*FRESHLY, "migrate"),
    (*ALEMBIC, "check"),
)


@contextmanager
def sqlite_database() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{folder}/check.db"


@contextmanager
def postgres_database() -> Iterator[str]:
    """One of its own: the server may be a given one, with other databases in it."""
    name = f"alembic_check_{uuid.uuid4().hex}"
    with postgres() as server:
        asyncio.run(execute(server, f"CREATE DATABASE {name}"))
        try:
            head, mark, options = server.partition("?")
            yield f"{head.rpartition('/')[0]}/{name}{mark}{options}"
        finally:
            asyncio.run(execute(server, f"DROP DATABASE {name} WITH (FORCE)"))


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def agree(name: str, url: str) -> bool:
    with tempfile.TemporaryDirectory() as data:
        environment = {**os.environ, "DATABASE_URL": url, "DATA_DIR": data, "LOG_LEVEL": "WARNING"}
        for step in STEPS:
            done = subprocess.run(  # noqa: S603 - our own commands
                step, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
            )
            if done.returncode:
                said = f"{done.stdout}{done.stderr}".strip()
                print(f"{name}: `{' '.join(step[2:])}` failed:\n{said}")
                return False
    print(f"{name}: the migrations make what the models say")
    return True


def main() -> int:
    with ExitStack() as held, ThreadPoolExecutor() as pool:
        urls = {
            "SQLite": held.enter_context(sqlite_database()),
            "PostgreSQL": held.enter_context(postgres_database()),
        }
        return 0 if all(list(pool.map(agree, urls.keys(), urls.values()))) else 1


if __name__ == "__main__":
    raise SystemExit(main())
