"""PostgreSQL and Redis as they are in production, to be stopped, broken and started again."""

import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg

from tests.support import servers

PAUSE = 0.02
ENDS_WITHIN = 20  # seconds
# What a crash may not cost: these differ from the tests'.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": 150,
    "fsync": "off",  # no crash of the machine is tried, only of the server
}


class Database:
    """A PostgreSQL with a role and a database of Freshly's own; `postgres` is the operator."""

    def __init__(self, folder: Path) -> None:
        self._home = servers.home_in(folder, "postgres")
        self._programs = servers.make_cluster(self._home)
        self.port = servers._free_port()  # noqa: SLF001
        self.operator = ""

    def start(self) -> None:
        _forget(self._pid_file)
        self.operator = servers.run_postgres(self._home, self._programs, self.port, SETTINGS)

    @property
    def _pid_file(self) -> Path:
        return self._home / "data" / "postmaster.pid"

    def stop_at_once(self) -> None:
        """Its immediate shutdown: no goodbye to anybody, recovery at the next start."""
        os.kill(_pid(self._pid_file), signal.SIGQUIT)
        _until(lambda: not self._pid_file.exists())

    def url(self, port: int | None = None) -> str:
        return f"postgresql://freshly@127.0.0.1:{port or self.port}/kitchen"

    async def furnish(self) -> None:
        async with self.as_operator("postgres") as connection:
            await connection.execute("CREATE ROLE freshly LOGIN")
            await connection.execute("CREATE DATABASE kitchen OWNER freshly")

    @asynccontextmanager
    async def as_operator(self, database: str = "kitchen") -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self.operator, database=database)
        try:
            yield connection
        finally:
            await connection.close()

    async def connections(self) -> int:
        """How many Freshly has; as the operator's are set apart, this can always be asked."""
        count = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'freshly'"
        async with self.as_operator("postgres") as connection:
            return int(await connection.fetchval(count))


class Redis:
    def __init__(self, folder: Path) -> None:
        self._home = servers.home_in(folder, "redis")
        self.port = servers._free_port()  # noqa: SLF001
        self.url = f"redis://127.0.0.1:{self.port}/0"

    @property
    def _pid_file(self) -> Path:
        return self._home / "pid"

    def start(self, *options: object) -> None:
        _forget(self._pid_file)
        servers.run_redis(self._home, self.port, *options)

    def kill(self) -> None:
        os.kill(_pid(self._pid_file), signal.SIGKILL)
        _until(lambda: not servers._answers(self.port))  # noqa: SLF001
        _forget(self._pid_file)

    def pause(self) -> None:
        os.kill(_pid(self._pid_file), signal.SIGSTOP)

    def go_on(self) -> None:
        with suppress(FileNotFoundError):
            os.kill(_pid(self._pid_file), signal.SIGCONT)


def _pid(file: Path) -> int:
    return int(file.read_text().split()[0])


def _forget(file: Path) -> None:
    """A server that was killed leaves its file, and the next start would be taken for done."""
    file.unlink(missing_ok=True)


def _until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + ENDS_WITHIN
    while not is_so():
        if time.monotonic() > until:
            raise TimeoutError("a server did not end")
        time.sleep(PAUSE)
