"""Health, readiness, and who sees their details."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.engine import make_url

from faults.proxy import proxy
from freshly.chassis.data.schema_state import Revisions
from freshly.chassis.jobs.models import WorkerRow
from freshly.chassis.web import readiness
from freshly.commands.migrate import newest_revision
from tests.conftest import client_of, running, settings_for, until

STRANGERS = {"status": "ready", "database": "connected"}


async def test_probes_answer_by_any_host_name_and_with_head(database_url, tmp_path):
    """Kubelets and balancers ask by address, HAProxy without a host, uptime monitors with HEAD."""
    settings = settings_for(database_url, tmp_path, app_env="production", allowed_hosts=("a.org",))
    async with running(settings) as app, client_of(app) as client:
        for host in ("10.0.0.7:8000", "[::1]", "freshly.internal", "localhost", "no such host"):
            for path in ("/health", "/ready"):
                for method in ("GET", "HEAD"):
                    response = await client.request(method, path, headers={"Host": host})
                    assert response.status_code == 200, (host, path, method)
        without_host = client.build_request("GET", "/health")
        del without_host.headers["Host"]
        assert (await client.send(without_host)).status_code == 200

        assert (await client.get("/", headers={"Host": "10.0.0.7"})).status_code == 400
        by_address = await client.get("/metrics", headers={"Host": "10.0.0.7:8000"})
        rebound = await client.get("/metrics", headers={"Host": "evil.example"})
        assert (by_address.status_code, rebound.status_code) == (200, 404)
        rebound = await client.get("/ready", headers={"Host": "evil.example"})
        assert rebound.json() == STRANGERS


async def test_strangers_see_only_what_the_contract_names(database_url, tmp_path):
    settings = settings_for(database_url, tmp_path, metrics_token=SecretStr("a token"))
    async with running(settings) as app, client_of(app) as client:
        stranger = await client.get("/ready")
        operator = await client.get("/ready", headers={"Authorization": "Bearer a token"})
        health = await client.get("/health")

    assert stranger.json() == STRANGERS
    assert operator.json().keys() > STRANGERS.keys() | {"schema", "disk", "workers", "pool"}
    assert health.json().keys() == {"status", "app", "env"}


async def test_a_server_on_an_older_or_missing_schema_is_not_ready(client, db):
    async def set_revision(value):
        async with db.write() as session:
            await session.execute(
                text("UPDATE alembic_version SET version_num = :to").bindparams(to=value)
            )

    await set_revision("jobs")
    older = await client.get("/ready")
    await set_revision("of_the_next_release")
    newer = await client.get("/ready")
    async with db.write() as session:
        await session.execute(text("DROP TABLE alembic_version"))
    await until(lambda: gone(client), within=5)
    missing = await client.get("/ready")

    assert (older.status_code, older.json()["schema"]) == (503, "outdated")
    assert (older.json()["status"], older.json()["database"]) == ("not_ready", "connected")
    # The previous release serves on the next release's schema.
    assert (newer.status_code, newer.json()["schema"]) == (200, "newer")
    assert (missing.status_code, missing.json()["schema"]) == (503, "missing")


async def gone(client):
    return (await client.get("/ready")).status_code == 503


def test_the_newest_revision_is_the_one_that_alembic_finds():
    folder = Path(__file__).parents[3] / "migrations" / "versions"
    revisions = Revisions.in_folder(folder)

    assert revisions.newest == newest_revision()
    assert len(revisions.known) == len(list(folder.glob("*.py")))


async def test_a_dead_worker_does_not_count_as_working(client, db):
    async with db.write() as session:
        for name in ("alive", "dead"):
            session.add(WorkerRow(id=name, name=f"{name}:1", dedicated=True))
            await session.flush()
        dead = await session.get(WorkerRow, "dead")
        dead.beat_at -= timedelta(seconds=45)

    metrics = (await client.get("/metrics")).text

    assert re.search(r"^freshly_job_workers 1\.0$", metrics, re.MULTILINE)
    assert (await client.get("/ready")).json()["workers"] == 1


async def test_a_full_disk_is_told_and_does_not_stop_reads(client, monkeypatch):
    monkeypatch.setattr(readiness, "FULL_DISK_BYTES", 2**70)

    ready = await client.get("/ready")

    assert (ready.status_code, ready.json()["disk"]) == (200, "full")


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_readiness_and_metrics_know_redis_although_no_request_uses_it(
    database_url, redis_url, tmp_path
):
    async with proxy(make_url(redis_url).port) as network:
        redis = SecretStr(f"redis://127.0.0.1:{network.port}")
        settings = settings_for(database_url, tmp_path, cache="auto", redis_url=redis)
        async with running(settings) as app, client_of(app) as client:

            async def told():
                state = (await client.get("/ready")).json()["redis"]
                metrics = (await client.get("/metrics")).text
                return state, 'freshly_redis_up{use="cache"} 1.0' in metrics

            async def connected():
                return await told() == ("connected", True)

            async def away():
                return await told() == ("away", False)

            assert await connected()
            network.become("reset")
            await until(away)
            network.become("pass")
            await until(connected)
