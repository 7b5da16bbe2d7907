"""PostgreSQL and Redis with the settings of production, to be stopped, broken and restarted."""

import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg

from tests.support import servers

POLL_INTERVAL = 0.02  # seconds
STOP_TIMEOUT = 20  # seconds
# Unlike the settings of the tests, these keep commits through a crash of the server.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": 150,
    "fsync": "off",  # no scenario crashes the machine, only the server
}


class Database:
    """A PostgreSQL server with a role and a database for Freshly. The operator is `postgres`."""

    def __init__(self, folder: Path) -> None:
        self._home = servers.home_in(folder, "postgres")
        self._programs = servers.make_cluster(self._home)
        self.port = servers._free_port()  # noqa: SLF001
        self.operator = ""

    def start(self) -> None:
        _delete(self._pid_file)
        self.operator = servers.run_postgres(self._home, self._programs, self.port, SETTINGS)

    @property
    def _pid_file(self) -> Path:
        return self._home / "data" / "postmaster.pid"

    def stop_immediately(self) -> None:
        """Shut down in PostgreSQL's immediate mode, which needs recovery at the next start."""
        os.kill(_pid(self._pid_file), signal.SIGQUIT)
        _wait_until(lambda: not self._pid_file.exists())

    def url(self, port: int | None = None) -> str:
        return f"postgresql://freshly@127.0.0.1:{port or self.port}/kitchen"

    async def create_role_and_database(self) -> None:
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
        """Return the number of Freshly's connections. Reserved connections keep this possible."""
        count = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'freshly'"
        async with self.as_operator("postgres") as connection:
            return int(await connection.fetchval(count))


class Redis:
    """A Redis server of its own."""

    def __init__(self, folder: Path) -> None:
        self._home = servers.home_in(folder, "redis")
        self.port = servers._free_port()  # noqa: SLF001
        self.url = f"redis://127.0.0.1:{self.port}/0"

    @property
    def _pid_file(self) -> Path:
        return self._home / "pid"

    def start(self, *options: object) -> None:
        _delete(self._pid_file)
        servers.run_redis(self._home, self.port, *options)

    def kill(self) -> None:
        os.kill(_pid(self._pid_file), signal.SIGKILL)
        _wait_until(lambda: not servers._answers(self.port))  # noqa: SLF001
        _delete(self._pid_file)

    def pause(self) -> None:
        os.kill(_pid(self._pid_file), signal.SIGSTOP)

    def resume(self) -> None:
        with suppress(FileNotFoundError):
            os.kill(_pid(self._pid_file), signal.SIGCONT)


def _pid(file: Path) -> int:
    return int(file.read_text().split()[0])


def _delete(file: Path) -> None:
    """Delete the pid file of a killed server, else the next start would look finished at once."""
    file.unlink(missing_ok=True)


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + STOP_TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("a server did not stop")
        time.sleep(POLL_INTERVAL)
