"""Fixtures for all tests: the real app, on a real database for each test.

Each database is copied from a template that was migrated and seeded once. So a test starts with the
rows of a new installation, sees no rows of other tests, and may commit.
"""

import asyncio
import dataclasses
import gc
import inspect
import os
import shutil
import sqlite3
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import asyncpg
import hypothesis
import pytest
from httpx2 import ASGITransport, AsyncClient
from pydantic import SecretStr
from sqlalchemy import select, update
from sqlalchemy.engine.default import DefaultDialect

from freshly.app import create_app
from freshly.chassis.data.functions import now
from freshly.chassis.jobs import JobQueue
from freshly.chassis.jobs.models import JobRow
from freshly.chassis.jobs.worker import Worker
from freshly.chassis.observability.logging import configure_logging
from freshly.chassis.security import passwords
from freshly.commands.migrate import migrate
from freshly.domains.auth import service as sign_in
from freshly.domains.auth.models import AuthSession
from freshly.settings import Settings
from freshly.wiring.jobs import HANDLERS, SCHEDULES
from tests.support.api import Kitchen

pytest_plugins = ["tests.support.servers", "tests.support.backups"]

# Hypothesis tries the same examples in every run, however slow the machine is, and keeps no files.
hypothesis.settings.register_profile("freshly", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("freshly")

os.environ["ENV_FILE"] = ""  # no settings of the developer's own .env

SECRET = SecretStr("a secret for tests that is long enough to be one")
DATABASES = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def anyio_backend():
    """Run tests in uvloop, in which uvicorn runs the app, too."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module", autouse=True)
def _logging():
    """Log as before, after a module whose tests ran commands in their own process."""
    configure_logging("WARNING")


@pytest.fixture(scope="session", autouse=True)
def _quick_passwords():
    """Make password hashes and refused sign-ins quick, which took a quarter of a run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "MEMORY_KIB", 8)
        patch.setattr(passwords, "ITERATIONS", 1)
        patch.setattr(sign_in, "REFUSAL_STEP", timedelta(milliseconds=1))
        yield


@pytest.fixture(scope="session", autouse=True)
def _statements_compiled_once():
    """Share compiled statements between the engines of a dialect.

    Each test has an engine. Compiling its statements in each test took a quarter of a run.
    """
    compiled = defaultdict(dict)

    def share(kind, engine):
        engine.update_execution_options(compiled_cache=compiled[kind])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DefaultDialect, "engine_created", classmethod(share))
        patch.setattr(DefaultDialect, "__eq__", lambda one, other: type(one) is type(other))
        patch.setattr(DefaultDialect, "__hash__", lambda one: hash(type(one)))
        yield


@pytest.fixture(scope="session", autouse=True)
def _rare_garbage_collection():
    """Look for garbage after 50,000 new objects instead of 700.

    With uvloop this saves a tenth of the processor time of a run.
    """
    gc.set_threshold(50_000, 20, 100)


@pytest.fixture(scope="module", autouse=True)
def _no_long_pauses():
    """Keep what earlier modules left out of garbage collection.

    To search all of it takes up to a second, in which tests of timeouts fail.
    """
    gc.collect()
    gc.freeze()


FOR_TESTS = {
    "rate_limit_enabled": False,
    # Tests of simultaneous requests need each response, however slow the machine is.
    "database_pool_timeout": 30,
    "cache": "memory",
    # Jobs run when a test calls `jobs.run_due()`, or in the app if it asks for jobs="inside".
    "jobs": "worker",
    "allowed_hosts": ("test",),
    "chat_tokens_unconfirmed": 0,  # users of tests confirm no address
}


def settings_for(database_url, data_dir, **changes):
    return Settings(
        database_url=SecretStr(database_url),
        data_dir=data_dir,
        secret_key=SECRET,
        jwt_secret=SECRET,
        **{**FOR_TESTS, **changes},
    )


# These are not async: `database_url` gets one of them by its name, which works for sync fixtures.
@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("template")
    path = folder / "template.db"
    asyncio.run(migrate(settings_for(f"sqlite:///{path}", folder)))
    with sqlite3.connect(path) as connection:  # moves the write-ahead log into the file
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


@pytest.fixture(scope="session")
def copy_template(postgres_url, postgres_template):
    """The end of CREATE DATABASE. To copy files takes half the time of writing pages to the log."""
    strategy = " STRATEGY file_copy" if asyncio.run(_version(postgres_url)) >= 15 else ""
    return f"TEMPLATE {postgres_template}{strategy}"


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


async def _version(server_url):
    connection = await asyncpg.connect(server_url)
    try:
        return connection.get_server_version().major
    finally:
        await connection.close()


@pytest.fixture(params=DATABASES)
def database_kind(request):
    """Run each test that uses a database on both kinds."""
    return request.param


@pytest.fixture
def database_url(database_kind, request, tmp_path):
    if database_kind == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        shutil.copy(template, tmp_path / "freshly.db")
        yield f"sqlite:///{tmp_path / 'freshly.db'}"
        return
    server = request.getfixturevalue("postgres_url")
    copy = request.getfixturevalue("copy_template")
    name = f"test_{uuid.uuid4().hex}"
    asyncio.run(_on_server(server, f"CREATE DATABASE {name} {copy}"))
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
    """A client that is not signed in."""
    async with client_of(app) as anonymous:
        yield anonymous


def client_of(app, **options):
    transport = ASGITransport(app, raise_app_exceptions=False)
    return AsyncClient(transport=transport, base_url="http://test", **options)


@pytest.fixture
def kitchen(client):
    """Create users, families, meals and other data through the API."""
    return Kitchen(client)


@pytest.fixture
def age_sign_ins(db):
    """Return a function that makes all sign-ins 16 minutes old, which proves nothing."""

    async def age():
        async with db.write() as session:
            at = (await session.execute(select(now()))).scalar_one()
            await session.execute(update(AuthSession).values(created_at=at - timedelta(minutes=16)))

    return age


@pytest.fixture
def db(app):
    """The app's database, for rows that the API does not show."""
    return app.resources.db


async def until(condition, within=60):
    """Wait until the condition holds. Raise TimeoutError after `within` seconds."""
    async with asyncio.timeout(within):
        while True:
            met = condition()
            if await met if inspect.isawaitable(met) else met:
                return
            await asyncio.sleep(0.02)


@dataclass
class Jobs:
    """A worker that runs jobs when a test says so."""

    app: object
    extra: dict = field(default_factory=dict)  # handlers of kinds of jobs that only the test has

    def worker(self, **options):
        handlers = {**HANDLERS, **self.extra}
        return Worker(self.app.resources, handlers, **{"schedules": SCHEDULES, **options})

    async def run_due(self, **options):
        """Run the jobs that are due, and those that they enqueue. Retries stay for later."""
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
        """Make all waiting jobs due now."""
        async with self.app.resources.db.write() as session:
            await session.execute(update(JobRow).values(run_after=JobRow.created_at))


@pytest.fixture
def jobs(app):
    return Jobs(app)


class SentEmails:
    def __init__(self):
        self.sent = []

    async def send(self, email):
        self.sent.append(email)


@pytest.fixture
def emails(app):
    """The emails that the app sent, in order."""
    app.replace(mailer=SentEmails())
    return app.resources.mailer.sent


# Most seconds first, so that no process runs the last of them alone.
LONGEST = ("test_fuzz", "test_consistency", "test_faults", "test_workers", "test_commands")


def pytest_collection_modifyitems(items):
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def pytest_xdist_auto_num_workers():
    """Run two processes for each core, because a fifth of their time is waiting."""
    return 2 * (os.cpu_count() or 1)
