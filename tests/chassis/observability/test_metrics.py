"""Metrics for Prometheus."""

import pytest
from pydantic import SecretStr

from tests.conftest import client_of, running, settings_for


def value(text, start):
    """Return the number in the line that begins so."""
    [line] = [line for line in text.splitlines() if line.startswith(start)]
    return float(line.rsplit(" ", 1)[1])


async def test_metrics_count_requests_by_route_statements_and_cache_reads(client, kitchen):
    alice = await kitchen.person()
    count = 'freshly_http_request_seconds_count{method="GET",route="/meals/{id}",status="404"}'
    await alice.get("/meals/1")
    before = (await client.get("/metrics")).text
    for number in (2, 3):
        await alice.get(f"/meals/{number}")
    await alice.get("/families")
    await alice.get("/families")
    after = (await client.get("/metrics")).text

    assert value(after, count) - value(before, count) == 2
    for name in ("freshly_sql_statements_total", 'freshly_cache_reads_total{outcome="hit"}'):
        assert value(after, name) > value(before, name)
    assert value(after, 'freshly_database_units{state="capacity"}') == 25
    assert value(after, "freshly_cache_bytes") > 0
    assert "/meals/2" not in after


async def test_unknown_paths_create_no_time_series_and_all_routes_have_one(client):
    for n in range(3):
        await client.get(f"/nothing/{n}")
    await client.get("/openapi.json")
    metrics = (await client.get("/metrics")).text

    assert "nothing" not in metrics
    assert 'seconds_count{method="GET",route="/openapi.json",status="200"} ' in metrics


@pytest.mark.parametrize("address", ["8.8.8.8", "10.0.0.7", "203.0.113.9", "fd00::7", "unknown"])
async def test_metrics_are_hidden_from_other_machines(app, address):
    async def from_outside(scope, receive, send):
        await app({**scope, "client": (address, 1)}, receive, send)

    async with client_of(from_outside) as client:
        assert (await client.get("/metrics")).status_code == 404


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded"])
async def test_metrics_are_hidden_from_clients_of_a_proxy_on_this_machine(client, header):
    assert (await client.get("/metrics")).status_code == 200
    assert (await client.get("/metrics", headers={header: "127.0.0.1"})).status_code == 404


async def test_with_a_token_metrics_are_for_its_holder_from_anywhere(database_url, tmp_path):
    settings = settings_for(database_url, tmp_path, metrics_token=SecretStr("a token"))

    async with running(settings) as app:

        async def from_outside(scope, receive, send):
            await app({**scope, "client": ("8.8.8.8", 1)}, receive, send)

        async with client_of(from_outside) as outside, client_of(app) as inside:
            statuses = [
                (await client.get("/metrics", headers=headers)).status_code
                for client, headers in (
                    (outside, {"Authorization": "Bearer a token"}),
                    (outside, {"Authorization": b"Bearer a tok\xebn"}),
                    (outside, {"Authorization": "a token"}),
                    (inside, {}),
                )
            ]
    assert statuses == [200, 404, 404, 404]
