"""The floor: the same SQL statements, their rows as JSON, and nothing else.

It shows how fast the service could be at most: no authentication, rate limits, log, headers, cache
or layers, only PostgreSQL or SQLite, its driver, the framework and the network. The statements are
recorded from Freshly itself.
"""

import os
import pickle
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
from fastapi import FastAPI, Response

from bench.household import HOT
from bench.servers import Server, server
from freshly.chassis.data.queries import CompiledQuery
from freshly.settings import Settings
from tests.conftest import client_of, running
from tests.support.fake_services import free_port

Statement = tuple[str, Sequence[Any]]
CONNECTIONS = 16


class RecordingDriver:
    """A driver's connection that also records each statement that it fetches."""

    def __init__(self, driver: Any, recorded: list[Statement]) -> None:
        self._driver = driver
        self._recorded = recorded

    async def fetch(self, sql: str, *values: Any) -> Any:
        self._recorded.append((sql, values))
        return await self._driver.fetch(sql, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)


async def record_statements(
    settings: Settings, tokens: Mapping[str, str]
) -> dict[str, list[Statement]]:
    """Return the statements that Freshly runs for each hot path, in order."""
    run, recorded = CompiledQuery.run, list[Statement]()

    async def run_recorded(query: CompiledQuery, driver: Any, dialect: Any, parameters: Any) -> Any:
        return await run(query, RecordingDriver(driver, recorded), dialect, parameters)

    statements: dict[str, list[Statement]] = {}
    CompiledQuery.run = run_recorded  # type: ignore[method-assign]
    try:
        async with running(settings) as app, client_of(app) as client:
            for path in HOT:
                recorded.clear()
                headers = {"Authorization": f"Bearer {tokens[path]}"}
                response = await client.get(path, headers=headers)
                response.raise_for_status()
                statements[path] = list(recorded)
    finally:
        CompiledQuery.run = run  # type: ignore[method-assign]
    return statements


@contextmanager
def floor(
    folder: Path, statements: Mapping[str, list[Statement]], database: str, workers: int
) -> Iterator[Server]:
    """Serve these statements, by path, on this database."""
    file, port = folder / "statements", free_port()
    file.write_bytes(pickle.dumps(statements))
    settings = {"FLOOR_STATEMENTS": str(file), "FLOOR_DATABASE": database}
    with server("bench.floor:app", port, workers, settings, "/ready") as running_floor:
        yield running_floor


def _load_statements() -> dict[str, list[Statement]]:
    statements: dict[str, list[Statement]] = pickle.loads(  # noqa: S301 - our own file
        Path(os.environ["FLOOR_STATEMENTS"]).read_bytes()
    )
    return statements


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.statements = _load_statements()
    database = os.environ["FLOOR_DATABASE"]
    if database.startswith("postgresql"):
        async with asyncpg.create_pool(
            database, min_size=CONNECTIONS, max_size=CONNECTIONS
        ) as pool:

            async def fetch_from_pool(statements: Sequence[Statement]) -> Any:
                async with pool.acquire() as connection:
                    for sql, values in statements:
                        rows = await connection.fetch(sql, *values)
                return rows

            app.state.fetch = fetch_from_pool
            yield
        return
    connection = sqlite3.connect(database)

    async def fetch_from_file(statements: Sequence[Statement]) -> Any:
        for sql, values in statements:
            rows = connection.execute(sql, values).fetchall()
        return rows

    app.state.fetch = fetch_from_file
    yield
    connection.close()


app = FastAPI(lifespan=_lifespan)


@app.get("/ready")
async def ready() -> dict[str, str]:
    return {"status": "ready"}


@app.get("/{path:path}")
async def read(path: str) -> Response:
    rows = await app.state.fetch(app.state.statements[f"/{path}"])
    body = msgspec.json.encode([tuple(row) for row in rows])
    return Response(body, media_type="application/json")
