"""Serving through a pooler's URL, and migrating past it."""

import pytest
from pydantic import SecretStr
from sqlalchemy import Text, func, select, table

from freshly.chassis.data.queries import CompiledQuery
from tests.conftest import running, settings_for
from tests.support.api import Kitchen

PREPARED = CompiledQuery(
    select(func.count().label("number")).select_from(table("pg_prepared_statements"))
)
SETTINGS = CompiledQuery(
    select(
        *(
            func.current_setting(name, type_=Text).label(name)
            for name in ("application_name", "lock_timeout", "statement_timeout")
        )
    )
)


@pytest.fixture
async def app(database_url, tmp_path):
    settings = settings_for(
        "sqlite:///nowhere.db", tmp_path, database_url_pooler=SecretStr(database_url), cache="off"
    )
    async with running(settings) as app:
        yield app


async def test_app_serves_through_a_pooler(client):
    assert (await client.get("/ready")).json()["status"] == "ready"
    alice = await Kitchen(client).person()
    assert (await alice.get("/families")).status_code == 200
    unknown = {"email": "a@example.com", "password": "whatever"}
    assert (await client.post("/auth/login", json=unknown)).status_code == 401


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_nothing_is_prepared_or_set_on_a_connection_of_a_pooler(db):
    for _ in range(2):
        settings = (await db.fetch(SETTINGS)).columns
        assert settings == {
            "application_name": ("",),
            "lock_timeout": ("0",),
            "statement_timeout": ("0",),
        }
        assert (await db.fetch(PREPARED)).columns == {"number": (0,)}
