"""Serving through a pooler's URL, and migrating past it."""

from pydantic import SecretStr

from tests.conftest import client_of, running, settings_for


async def test_nothing_is_left_on_a_connection_that_is_a_poolers(database_url, tmp_path):
    settings = settings_for(
        "sqlite:///nowhere.db", tmp_path, database_url_pooler=SecretStr(database_url)
    )
    async with running(settings) as app, client_of(app) as client:
        assert (await client.get("/ready")).json()["status"] == "ready"
        unknown = {"email": "a@example.com", "password": "whatever"}
        assert (await client.post("/auth/login", json=unknown)).status_code == 401
