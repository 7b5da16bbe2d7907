"""Databases for the tools, empty at first and removed afterwards."""

import asyncio
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from tests.support.servers import postgres


@contextmanager
def sqlite_database() -> Iterator[str]:
    """Give the URL of a new SQLite file."""
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{folder}/freshly.db"


@contextmanager
def postgres_database() -> Iterator[str]:
    """Give the URL of a new database in PostgreSQL, whose server may be shared with others."""
    name = f"tool_{uuid.uuid4().hex}"
    with postgres() as server:
        asyncio.run(execute(server, f"CREATE DATABASE {name}"))
        try:
            address, mark, options = server.partition("?")
            yield f"{address.rpartition('/')[0]}/{name}{mark}{options}"
        finally:
            asyncio.run(execute(server, f"DROP DATABASE {name} WITH (FORCE)"))


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
