"""Each operation, called in nine roles. table.toml has the request and the expected statuses.

A refused call must leave the database as it was.
"""

import asyncio
import re
import sqlite3
from contextlib import closing

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
from tests.support.role_table import ADMINISTRATOR, ROLES, ROWS
from tests.support.role_world import World, build, make_administrator

METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}


def operations(folder):
    app = create_app(settings_for("sqlite://", folder))
    return {
        f"{method} {route.path}"
        for route in routes_of(app)
        for method in route.methods & METHODS
        if not route.path.startswith(("/docs", "/favicon.ico"))
    }


def test_every_operation_has_a_row_and_every_row_an_operation(tmp_path):
    assert operations(tmp_path) == ROWS.keys()


@pytest.mark.parametrize("operation", sorted(ROWS))
def test_each_row_tells_who_may_call(operation):
    assert ROWS[operation].callers


@pytest.fixture(scope="module")
def built(sqlite_template, tmp_path_factory):
    """Build the world in a database; each call gets a copy."""
    folder = tmp_path_factory.mktemp("world")
    path = folder / "freshly.db"
    path.write_bytes(sqlite_template.read_bytes())

    async def make():
        settings = settings_for(f"sqlite:///{path}", folder)
        async with running(settings) as app, client_of(app) as client:
            world = await build(client)
            await make_administrator(app.resources.db, world.ids["administrator"])
            headers = world.headers[ADMINISTRATOR]
            invited = await client.post("/admin/invitations", json={}, headers=headers)
            world.ids["admin/invitations"] = invited.json()["id"]
            world.ids["sign_up_token"] = invited.json()["token"]
            async with app.resources.db.write() as session:
                owners = {"user_id": world.ids["owner"]}
                world.ids["jobs"] = (await JobQueue(session).enqueue(PurgeJobs(), **owners)).id
            world.save(folder / "world.json")

    asyncio.run(make())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder


def contents(path):
    """Return all rows but those of email codes, which a refused request may write too."""
    with closing(sqlite3.connect(path)) as connection:
        dump = connection.iterdump()
        return [
            line for line in dump if not re.search('"(?:email|account)_codes"|auth.send_code', line)
        ]


@pytest.fixture
async def played(built, tmp_path):
    """Return a function that calls an operation in a role, in a fresh copy of the world."""
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
                options = world.request(method, target, role)
                answer = await client.request(
                    method, world.path(target), headers=world.headers[role], **options
                )
                await engine.dispose()
                if answer.status_code >= 400:
                    assert contents(path) == before, (operation, role)
                return answer.status_code

            yield play


@pytest.mark.parametrize("operation", sorted(ROWS))
async def test_each_role_gets_the_status_of_the_table(played, operation):
    seen = {role: await played(operation, role) for role in ROLES}

    assert seen == ROWS[operation].expected
