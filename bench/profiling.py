"""Profile one read by function, with the app in this process and without a server."""

import asyncio
import cProfile
import io
import pstats
import tempfile
import time
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any, Literal

import uvloop
from pydantic import SecretStr

from bench.household import seed_user
from freshly.chassis.observability.logging import configure_logging
from freshly.commands.migrate import migrate
from freshly.settings import Settings
from tests.conftest import client_of, running
from tests.support.api import Kitchen

REQUESTS = 1000


def profile(path: str, cache: Literal["auto", "off"], rows: int) -> None:
    """Print the microseconds per request, then the functions that take most of them."""
    with tempfile.TemporaryDirectory(prefix="freshly-profile-") as folder:
        secret = SecretStr("a secret for profiles, used nowhere else")
        settings = Settings(
            data_dir=Path(folder),
            cache=cache,
            rate_limit_enabled=False,
            secret_key=secret,
            jwt_secret=secret,
            allowed_hosts=("test",),  # of client_of
        )
        configure_logging("ERROR")
        asyncio.run(migrate(settings))
        uvloop.run(_profile(settings, path, rows))


async def _profile(settings: Settings, path: str, rows: int) -> None:
    async with running(settings) as served:
        async with client_of(served) as client:
            token = await seed_user(Kitchen(client), many_families=path == "/families")
        configure_logging("INFO")  # writing the access log is part of a request's cost
        with redirect_stderr(io.StringIO()):
            seconds, profiler = await _measure(served, path, token)
    print(f"{path}, cache {settings.cache}: {seconds * 1e6:.0f} microseconds")  # noqa: T201
    pstats.Stats(profiler).sort_stats("tottime").print_stats(rows)


async def _measure(served: Any, path: str, token: str) -> tuple[float, cProfile.Profile]:
    """Return the seconds per request without the profiler, and a profile of as many requests."""
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

    async def send_requests() -> None:
        for _ in range(REQUESTS):
            await served(scope, receive, send)

    await send_requests()
    started = time.perf_counter()
    await send_requests()
    seconds = (time.perf_counter() - started) / REQUESTS
    profiler = cProfile.Profile()
    profiler.enable()
    await send_requests()
    profiler.disable()
    return seconds, profiler
