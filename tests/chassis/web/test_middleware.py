import re

import pytest
from fastapi import Response

from tests.conftest import client_of, running, settings_for

PROBLEM_MEMBERS = {
    "type",
    "title",
    "status",
    "detail",
    "message",
    "code",
    "correlation_id",
    "error",
    "status_code",
}


def check_problem(response, status):
    body = response.json()
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert body.keys() - {"errors"} == PROBLEM_MEMBERS
    assert isinstance(body["detail"], str)
    assert body["detail"] == body["message"]
    assert body["status"] == body["status_code"] == status
    assert body["correlation_id"] == response.headers["x-correlation-id"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert float(response.headers["x-process-time"]) >= 0
    return body


async def test_every_error_has_one_shape(app, client):
    @app.app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("postgresql://user:secret@host")

    assert "errors" not in check_problem(await client.get("/nowhere"), 404)
    check_problem(await client.delete("/health"), 405)
    check_problem(await client.get("/users/me"), 401)
    check_problem(await client.post("/auth/login", content=b"x" * 1_000_001), 413)
    body = check_problem(await client.get("/broken"), 500)
    assert body["detail"] == "Internal server error"
    bad = check_problem(await client.post("/auth/login", json={"email": "nobody"}), 422)
    assert {"loc", "msg", "type"} == bad["errors"][0].keys()
    assert "email" in bad["detail"]


async def test_a_body_of_unknown_length_is_cut_off_too(client):
    async def endless():
        for _ in range(200):
            yield b"x" * 10_000

    check_problem(await client.post("/auth/login", content=endless()), 413)


async def test_what_was_submitted_is_not_echoed(client):
    secret = {"email": "nobody", "password": "my secret password"}

    refused = await client.post("/auth/register", json=secret)

    assert refused.status_code == 422
    assert "my secret" not in refused.text


@pytest.mark.parametrize(
    "body",
    [
        b'{"email": "\\ud800@example.com"',
        b'{"email": "a@example.com", "password": "\\ud800"}',
        b"{",
        b"[" * 5000,
        b'{"password": NaN}',
        b"\xff\xfe",
    ],
)
async def test_garbage_is_a_clear_error(client, body):
    headers = {"Content-Type": "application/json"}

    answer = await client.post("/auth/login", content=body, headers=headers)

    assert answer.status_code in (400, 422)
    check_problem(answer, answer.status_code)


async def test_routes_are_the_same_with_and_without_the_prefix(kitchen):
    alice = await kitchen.person()

    plain, prefixed = await alice.get("/users/me"), await alice.get("/api/v1/users/me")

    assert plain.json() == prefixed.json()
    assert (await alice.get("/api/v1/users/me/")).status_code == 200
    assert (await alice.get("/api/v1/health")).status_code == 404
    assert (await alice.get("/api/v2/users/me")).status_code == 404


async def test_a_good_correlation_id_is_kept_and_a_bad_one_replaced(client):
    async def answered(sent):
        response = await client.get("/health", headers={"X-Correlation-ID": sent})
        return response.headers["x-correlation-id"]

    assert await answered("abcDEF-1234") == "abcDEF-1234"
    for bad in ("short", "x" * 65, "evil\tid 12345678", "emoji-\xe9\xe9\xe9\xe9"):
        assert re.fullmatch("[0-9a-f]{8}", await answered(bad.encode("latin-1")))


async def test_the_apps_origin_may_send_its_headers(client):
    preflight = await client.options(
        "/grocery-lists/me",
        headers={
            "Origin": "http://localhost:19006",
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "cache-control,pragma,authorization,if-match",
        },
    )

    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "http://localhost:19006"
    elsewhere = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    assert (await client.options("/meals/me", headers=elsewhere)).status_code == 400


async def test_only_known_hosts_are_served_outside_of_local(database_url, tmp_path):
    settings = settings_for(
        database_url, tmp_path, app_env="production", allowed_hosts=("api.example.com", "*.org")
    )
    async with running(settings) as app, client_of(app) as client:

        async def status(host):
            return (await client.get("/health", headers={"Host": host})).status_code

        assert await status("api.example.com:8000") == 200
        assert await status("kitchen.org") == 200
        assert await status("evil.example") == 400
        known = await client.get("/health", headers={"Host": "api.example.com"})
        assert "max-age" in known.headers["strict-transport-security"]


async def test_long_answers_are_compressed(app, client):
    @app.app.get("/long")
    async def long() -> Response:
        return Response("x" * 2000, media_type="text/plain")

    answer = await client.get("/long", headers={"Accept-Encoding": "gzip"})

    assert answer.headers["content-encoding"] == "gzip"
    assert answer.text == "x" * 2000


async def test_says_what_it_is_and_that_it_is_well(client):
    welcome, health = await client.get("/"), await client.get("/health")
    ready = await client.get("/ready")

    assert welcome.json().keys() == {"message", "version", "docs", "health", "environment"}
    assert health.json() == {"status": "healthy", "app": "Freshly API", "env": "local"}
    assert ready.json() == {
        "status": "ready",
        "database": "connected",
        "redis": "unused",
        "pool": {"taken": 0, "waiting": 0, "capacity": 25},
    }


async def test_without_its_database_it_lives_but_is_not_ready(tmp_path):
    gone = "postgresql://nobody@127.0.0.1:9/none"
    async with running(settings_for(gone, tmp_path)) as app, client_of(app) as client:
        assert (await client.get("/health")).status_code == 200

        ready = await client.get("/ready")
        login = await client.post(
            "/auth/login", json={"email": "a@example.com", "password": "whatever"}
        )

    assert ready.status_code == login.status_code == 503
    assert ready.json()["status"] == "not_ready"
    assert "127.0.0.1" not in ready.text + login.text
    assert login.headers["retry-after"]


async def test_a_wrong_method_is_405_and_says_which_are_right(kitchen):
    alice = await kitchen.person("Alice")

    for method, path, right in (
        ("DELETE", "/meals/me", "GET, POST"),
        ("POST", "/meals/1", "DELETE, GET, PUT"),
        ("PUT", "/families", "GET, POST"),
    ):
        answer = await alice.request(method, path)
        assert (answer.status_code, answer.headers["Allow"]) == (405, right)


async def test_a_server_that_has_to_stop_says_that_the_connection_ends(app, client):
    before = await client.get("/health")
    app.resources.shutdown.requested.set()
    after = await client.get("/health")

    assert "connection" not in before.headers
    assert (after.status_code, after.headers["connection"]) == (200, "close")
