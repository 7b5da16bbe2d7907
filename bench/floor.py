"""How fast could it be at most? The same statements, the rows as JSON, and nothing else.

No sign-in, limits, log, headers, cache or layers: what PostgreSQL or SQLite, its driver, the
framework and the wire take by themselves. What Freshly asks is captured from Freshly.
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
from freshly.chassis.data.queries import CompiledQuery, Found
from freshly.settings import Settings
from tests.conftest import client_of, running
from tests.support.fake_services import free_port

Statement = tuple[str, Sequence[Any]]
CONNECTIONS = 16


async def captured(settings: Settings, tokens: Mapping[str, str]) -> dict[str, list[Statement]]:
    """What is put to the database for each hot path, in order."""
    put, sent = CompiledQuery.put, list[Statement]()

    async def noting(question: CompiledQuery, driver: Any, dialect: Any, asked: Any) -> Found:
        found = await put(question, driver, dialect, asked)
        form = question._forms[dialect.name]  # noqa: SLF001 - there is no other way to see it
        sent.append((form.sql, form.values(asked)))
        return found

    statements: dict[str, list[Statement]] = {}
    CompiledQuery.put = noting  # type: ignore[method-assign]
    try:
        async with running(settings) as app, client_of(app) as client:
            for path in HOT:
                sent.clear()
                answer = await client.get(path, headers={"Authorization": f"Bearer {tokens[path]}"})
                answer.raise_for_status()
                statements[path] = list(sent)
    finally:
        CompiledQuery.put = put  # type: ignore[method-assign]
    return statements


@contextmanager
def floor(
    folder: Path, statements: Mapping[str, list[Statement]], database: str, workers: int
) -> Iterator[Server]:
    asked, port = folder / "asked", free_port()
    asked.write_bytes(pickle.dumps(statements))
    settings = {"FLOOR_ASKED": str(asked), "FLOOR_DATABASE": database}
    with server("bench.floor:app", port, workers, settings, "/ready") as running_floor:
        yield running_floor


def _asked() -> dict[str, list[Statement]]:
    asked: dict[str, list[Statement]] = pickle.loads(  # noqa: S301 - our own
        Path(os.environ["FLOOR_ASKED"]).read_bytes()
    )
    return asked


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    asked = _asked()
    database = os.environ["FLOOR_DATABASE"]
    if database.startswith("postgresql"):
        async with asyncpg.create_pool(
            database, min_size=CONNECTIONS, max_size=CONNECTIONS
        ) as pool:

            async def ask(statements: Sequence[Statement]) -> Any:
                async with pool.acquire() as connection:
                    for sql, values in statements:
                        rows = await connection.fetch(sql, *values)
                return rows

            app.state.ask, app.state.asked = ask, asked
            yield
        return
    connection = sqlite3.connect(database)

    async def ask_here(statements: Sequence[Statement]) -> Any:
        for sql, values in statements:
            rows = connection.execute(sql, values).fetchall()
        return rows

    app.state.ask, app.state.asked = ask_here, asked
    yield
    connection.close()


app = FastAPI(lifespan=_lifespan)


@app.get("/ready")
async def ready() -> dict[str, str]:
    return {"status": "ready"}


@app.get("/{path:path}")
async def read(path: str) -> Response:
    rows = await app.state.ask(app.state.asked[f"/{path}"])
    body = msgspec.json.encode([tuple(row) for row in rows])
    return Response(body, media_type="application/json")
