"""Each operation, called by everybody; what is expected stands in table.txt, one row each.

A refused call must have changed nothing; that is compared too.
"""

import asyncio
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from freshly.app import create_app
from freshly.chassis.data.engine import create_engine
from freshly.chassis.data.transactions import Database
from freshly.chassis.jobs import JobQueue
from freshly.chassis.jobs.retention import PurgeJobs
from tests.conftest import client_of, running, settings_for
from tests.contracts.test_guards import routes_of
from tests.support.fake_services import model_server
from tests.support.role_world import ROLES, World, build

TABLE = Path(__file__).with_name("table.txt")
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}


def table():
    rows = {}
    for line in TABLE.read_text().splitlines():
        if line and not line.startswith("#"):
            method, path, *statuses = line.split()
            rows[f"{method} {path}"] = dict(zip(ROLES, map(int, statuses), strict=True))
    return rows


def operations(folder):
    app = create_app(settings_for("sqlite://", folder))
    return {
        f"{method} {route.path}"
        for route in routes_of(app)
        for method in route.methods & METHODS
        if not route.path.startswith("/docs")
    }


def test_every_operation_has_a_row_and_every_row_an_operation(tmp_path):
    assert operations(tmp_path) == set(table())


@pytest.fixture(scope="module")
def built(sqlite_template, tmp_path_factory):
    """The world in a database, to be copied for each call."""
    folder = tmp_path_factory.mktemp("world")
    path = folder / "freshly.db"
    path.write_bytes(sqlite_template.read_bytes())

    async def make():
        settings = settings_for(f"sqlite:///{path}", folder)
        async with running(settings) as app, client_of(app) as client:
            world = await build(client)
            async with app.resources.db.write() as session:
                owners = {"user_id": world.ids["owner"]}
                world.ids["jobs"] = (await JobQueue(session).enqueue(PurgeJobs(), **owners)).id
            world.save(folder / "world.json")

    asyncio.run(make())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder


def contents(path):
    """Every row; that somebody's address was looked up for a code is no change."""
    with closing(sqlite3.connect(path)) as connection:
        dump = connection.iterdump()
        return [line for line in dump if not re.search('"email_codes"|auth.send_code', line)]


@pytest.fixture
async def played(built, tmp_path):
    """Calls an operation as somebody, each time in a fresh copy of the world."""
    world = World.load(built / "world.json")
    template = built / "freshly.db"
    before = contents(template)
    async with model_server() as model:
        url = f"sqlite:///{tmp_path / 'unused.db'}"
        settings = settings_for(url, tmp_path, openai_base_url=model.url)
        async with running(settings) as app, client_of(app) as client:

            async def play(operation, role):
                path = tmp_path / f"{role}.db"
                path.write_bytes(template.read_bytes())
                engine = create_engine(make_url(f"sqlite+aiosqlite:///{path}"))
                app.replace(db=Database(engine))
                method, target = operation.split(" ")
                options = world.request(method, target)
                answer = await client.request(
                    method, world.path(target), headers=world.headers[role], **options
                )
                await engine.dispose()
                if answer.status_code >= 400:
                    assert contents(path) == before, (operation, role)
                return answer.status_code

            yield play


@pytest.mark.parametrize("operation", sorted(table()))
async def test_everybody_gets_what_the_table_says(played, operation):
    seen = {role: await played(operation, role) for role in ROLES}

    assert seen == table()[operation]
