"""What every test stands on: the real app on a real database of its own.

Each database is copied from a template that was migrated and seeded once, so a test starts from
what a new installation has, sees nobody else's rows, and may commit as it likes.
"""

import asyncio
import dataclasses
import gc
import inspect
import shutil
import sqlite3
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import hypothesis
import pytest
from httpx2 import ASGITransport, AsyncClient
from pydantic import SecretStr
from sqlalchemy import select, update
from sqlalchemy.engine.default import DefaultDialect

from freshly.app import create_app
from freshly.chassis.jobs import JobQueue
from freshly.chassis.jobs.models import JobRow
from freshly.chassis.jobs.worker import Worker
from freshly.chassis.observability.logging import configure_logging
from freshly.chassis.security import passwords
from freshly.commands.migrate import migrate
from freshly.settings import Settings
from freshly.wiring.jobs import HANDLERS, SCHEDULES
from tests.support.api import Kitchen

pytest_plugins = ["tests.support.servers"]

# The same examples in every run, as slow as the machine may be; nothing is left behind.
hypothesis.settings.register_profile("freshly", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("freshly")

SECRET = SecretStr("a secret for tests that is long enough to be one")
DATABASES = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def _logging():
    configure_logging("WARNING")


@pytest.fixture(scope="session", autouse=True)
def _quick_passwords():
    """Two hashes for each person of each test would be a quarter of the time of a run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "MEMORY_KIB", 8)
        patch.setattr(passwords, "ITERATIONS", 1)
        yield


@pytest.fixture(scope="session", autouse=True)
def _statements_compiled_once():
    """For all engines of a kind, which are alike; each test anew it is a quarter of a run."""
    compiled = defaultdict(dict)

    def share(kind, engine):
        engine.update_execution_options(compiled_cache=compiled[kind])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DefaultDialect, "engine_created", classmethod(share))
        patch.setattr(DefaultDialect, "__eq__", lambda one, other: type(one) is type(other))
        patch.setattr(DefaultDialect, "__hash__", lambda one: hash(type(one)))
        yield


@pytest.fixture(scope="module", autouse=True)
def _no_long_pauses():
    """To look through all that many tests have left for garbage takes up to a second, in which
    whoever is waited for is late.
    """
    gc.collect()
    gc.freeze()


def settings_for(database_url, data_dir, **changes):
    return Settings(
        database_url=SecretStr(database_url),
        data_dir=data_dir,
        secret_key=SECRET,
        jwt_secret=SECRET,
        # Jobs run when a test says so (`jobs.run_due()`), or inside, where it asks for that.
        **{"rate_limit_enabled": False, "cache": "memory", "jobs": "worker", **changes},
    )


# Not async: only one of them is wanted, by name, which an async fixture cannot ask for.
@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("template")
    path = folder / "template.db"
    asyncio.run(migrate(settings_for(f"sqlite:///{path}", folder)))
    with sqlite3.connect(path) as connection:  # everything into the one file
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_url, tmp_path_factory):
    name = f"template_{uuid.uuid4().hex}"
    asyncio.run(_on_server(postgres_url, f"CREATE DATABASE {name}"))
    folder = tmp_path_factory.mktemp("template")
    asyncio.run(migrate(settings_for(_named(postgres_url, name), folder)))
    yield name
    asyncio.run(_on_server(postgres_url, f"DROP DATABASE {name}"))


def _named(server_url, database):
    head, _, query = server_url.partition("?")
    base = head.rsplit("/", 1)[0]
    return f"{base}/{database}" + (f"?{query}" if query else "")


async def _on_server(server_url, statement):
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(params=DATABASES)
def database_kind(request):
    """Every test through HTTP runs on both."""
    return request.param


@pytest.fixture
def database_url(database_kind, request, tmp_path):
    if database_kind == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        shutil.copy(template, tmp_path / "freshly.db")
        yield f"sqlite:///{tmp_path / 'freshly.db'}"
        return
    server = request.getfixturevalue("postgres_url")
    template_name = request.getfixturevalue("postgres_template")
    name = f"test_{uuid.uuid4().hex}"
    asyncio.run(_on_server(server, f"CREATE DATABASE {name} TEMPLATE {template_name}"))
    yield _named(server, name)
    asyncio.run(_on_server(server, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def settings(database_url, tmp_path):
    return settings_for(database_url, tmp_path, database_pool_size=5, database_max_overflow=20)


@pytest.fixture
async def app(settings):
    async with running(settings) as served:
        yield served


class ServedApp:
    """The app with its lifespan open, as an ASGI app."""

    def __init__(self, app, state):
        self.app, self._state = app, state

    async def __call__(self, scope, receive, send):
        await self.app({**scope, "state": dict(self._state)}, receive, send)

    @property
    def resources(self):
        return self._state["resources"]

    def replace(self, **changes):
        """Put other resources in place of the app's own."""
        self._state["resources"] = dataclasses.replace(self.resources, **changes)


@asynccontextmanager
async def running(settings) -> AsyncIterator[ServedApp]:
    """Open the app's lifespan, as a server would."""
    app = create_app(settings)
    async with app.router.lifespan_context(app) as state:
        yield ServedApp(app, state)


@pytest.fixture
async def client(app):
    """Somebody who is not signed in."""
    async with client_of(app) as anonymous:
        yield anonymous


def client_of(app, **options):
    transport = ASGITransport(app, raise_app_exceptions=False)
    return AsyncClient(transport=transport, base_url="http://test", **options)


@pytest.fixture
def kitchen(client):
    """Makes people, families, meals and what else a test begins with, through the API."""
    return Kitchen(client)


@pytest.fixture
def db(app):
    """For looking into the database, where the API does not show a row."""
    return app.resources.db


async def until(condition, within=60):
    """Waits for what another task or process does; a bound against hanging, no measurement."""
    async with asyncio.timeout(within):
        while True:
            met = condition()
            if await met if inspect.isawaitable(met) else met:
                return
            await asyncio.sleep(0.02)


@dataclass
class Jobs:
    """The worker of a test: works when it is told to."""

    app: object
    extra: dict = field(default_factory=dict)  # handlers of kinds that only the test has

    def worker(self, **options):
        handlers = {**HANDLERS, **self.extra}
        return Worker(self.app.resources, handlers, **{"schedules": SCHEDULES, **options})

    async def run_due(self, **options):
        """All that is due now, and what comes of it; not what waits for its next try."""
        await self.worker(**options).run_until_idle()

    async def enqueue(self, job, **options):
        async with self.app.resources.db.write() as session:
            return (await JobQueue(session).enqueue(job, **options)).id

    async def row(self, id):
        async with self.app.resources.db.read() as session:
            return await session.get(JobRow, id)

    async def rows(self, *kinds):
        async with self.app.resources.db.read() as session:
            rows = await session.scalars(select(JobRow).order_by(JobRow.id))
            return [row for row in rows if not kinds or row.kind in kinds]

    async def hasten(self):
        """As if every pause were over."""
        async with self.app.resources.db.write() as session:
            await session.execute(update(JobRow).values(run_after=JobRow.created_at))


@pytest.fixture
def jobs(app):
    return Jobs(app)


class SentEmails:
    def __init__(self):
        self.sent = []

    async def send(self, letter):
        self.sent.append(letter)


@pytest.fixture
def emails(app):
    """What is sent by mail, in order."""
    app.replace(mailer=SentEmails())
    return app.resources.mailer.sent


# What takes longest goes first, so that no process is left alone with it at the end.
LONGEST = ("test_consistency", "test_faults", "test_fuzz", "test_workers", "test_retries")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.stem not in LONGEST)
