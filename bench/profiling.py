"""Where the time of a read goes, by function: the app in this process, without a server."""

import asyncio
import cProfile
import io
import pstats
import tempfile
import time
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import uvloop
from pydantic import SecretStr

from bench.household import seed_person
from freshly.chassis.observability.logging import configure_logging
from freshly.commands.migrate import migrate
from freshly.settings import Settings
from tests.conftest import client_of, running
from tests.support.api import Kitchen

TIMES = 1000


def profile(path: str, cache: str, rows: int) -> None:
    """Prints microseconds a request, then the functions that take most of it."""
    with tempfile.TemporaryDirectory(prefix="freshly-profile-") as folder:
        secret = SecretStr("only for a profile, and only here: nobody")
        settings = Settings(
            data_dir=Path(folder),
            cache=cache,
            rate_limit_enabled=False,
            secret_key=secret,
            jwt_secret=secret,
        )
        configure_logging("ERROR")
        asyncio.run(migrate(settings))
        uvloop.run(_profile(settings, path, rows))


async def _profile(settings: Settings, path: str, rows: int) -> None:
    async with running(settings) as served:
        async with client_of(served) as client:
            token = await seed_person(Kitchen(client), families=path == "/families")
        configure_logging("INFO")  # lines are written, though to nowhere
        with redirect_stderr(io.StringIO()):
            seconds, found = await _measure(served, path, token)
    print(f"{path}, cache {settings.cache}: {seconds * 1e6:.0f} microseconds")  # noqa: T201
    pstats.Stats(found).sort_stats("tottime").print_stats(rows)


async def _measure(served: Any, path: str, token: str) -> tuple[float, cProfile.Profile]:
    headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {token}".encode())]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET",
        "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"",
        "root_path": "", "headers": headers, "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 200, message  # noqa: PLR2004

    async def ask() -> None:
        for _ in range(TIMES):
            await served(scope, receive, send)

    await ask()
    started = time.perf_counter()
    await ask()
    seconds = (time.perf_counter() - started) / TIMES
    found = cProfile.Profile()
    found.enable()
    await ask()
    found.disable()
    return seconds, found
