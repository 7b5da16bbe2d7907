import re

import pytest
from fastapi import Response

from tests.conftest import client_of, running, settings_for
from tests.support.sql_statements import Statements

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


async def test_every_error_response_has_the_same_shape(app, client):
    @app.app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("postgresql://user:secret@host")

    assert "errors" not in check_problem(await client.get("/nowhere"), 404)
    check_problem(await client.delete("/health"), 405)
    check_problem(await client.get("/users/me"), 401)
    check_problem(await client.post("/auth/login", content=b"x" * 1_000_001), 413)
    body = check_problem(await client.get("/broken"), 500)
    assert body["detail"] == "Internal server error"
    invalid = check_problem(await client.post("/auth/login", json={"email": "nobody"}), 422)
    assert {"loc", "msg", "type"} == invalid["errors"][0].keys()
    assert "email" in invalid["detail"]


async def test_a_too_large_body_of_unknown_length_is_413(client):
    async def endless():
        for _ in range(200):
            yield b"x" * 10_000

    check_problem(await client.post("/auth/login", content=endless()), 413)


async def test_an_error_response_does_not_repeat_submitted_values(client):
    body = {"email": "nobody", "password": "my secret password"}

    refused = await client.post("/auth/register", json=body)

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
async def test_an_unreadable_body_is_a_clear_error(client, body):
    headers = {"Content-Type": "application/json"}

    response = await client.post("/auth/login", content=body, headers=headers)

    assert response.status_code in (400, 422)
    check_problem(response, response.status_code)


async def test_routes_are_the_same_with_and_without_the_prefix(kitchen):
    alice = await kitchen.person()

    plain, prefixed = await alice.get("/users/me"), await alice.get("/api/v1/users/me")

    assert plain.json() == prefixed.json()
    assert (await alice.get("/api/v1/users/me/")).status_code == 200
    assert (await alice.get("/api/v1/health")).status_code == 404
    assert (await alice.get("/api/v2/users/me")).status_code == 404


async def test_a_valid_correlation_id_is_kept_and_an_invalid_one_is_replaced(client):
    async def returned_id(sent):
        response = await client.get("/health", headers={"X-Correlation-ID": sent})
        return response.headers["x-correlation-id"]

    assert await returned_id("abcDEF-1234") == "abcDEF-1234"
    for invalid in ("short", "x" * 65, "evil\tid 12345678", "emoji-\xe9\xe9\xe9\xe9"):
        assert re.fullmatch("[0-9a-f]{32}", await returned_id(invalid.encode("latin-1")))


async def test_only_the_apps_origin_may_send_requests_from_a_browser(client):
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


async def test_only_configured_hosts_are_served_outside_the_local_environment(
    database_url, tmp_path
):
    settings = settings_for(
        database_url, tmp_path, app_env="production", allowed_hosts=("api.example.com", "*.org")
    )
    async with running(settings) as app, client_of(app) as client:

        async def status(host):
            return (await client.get("/", headers={"Host": host})).status_code

        assert await status("api.example.com:8000") == 200
        assert await status("kitchen.org") == 200
        assert await status("evil.example") == 400
        known = await client.get("/health", headers={"Host": "api.example.com"})
        assert "max-age" in known.headers["strict-transport-security"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("api.localhost", 200),
        ("127.0.0.1:8000", 200),
        ("192.168.1.5:8000", 200),
        ("[::1]:8000", 200),
        ("LOCALHOST", 200),
        ("localhost:65535", 200),
        ("localhost:65536", 400),
        ("evil.example", 400),  # DNS rebinding
        ("192.168.1.5.evil.example", 400),
        ("localhost.evil.example:8000", 400),
        ("localhost:8000:8000", 400),
        ("local host", 400),
        ("user@localhost", 400),
        ("[::1", 400),
        ("", 400),
    ],
)
async def test_local_serves_names_and_addresses_of_this_machine_only(client, host, status):
    for _ in range(2):  # the second time it is known
        assert (await client.get("/", headers={"Host": host})).status_code == status


async def test_a_request_needs_exactly_one_host(client):
    two = [("Host", "localhost"), ("Host", "localhost")]
    none = client.build_request("GET", "/")
    del none.headers["Host"]

    for refused in (await client.get("/", headers=two), await client.send(none)):
        body = check_problem(refused, 400)
        assert body["code"] == "invalid_host"


async def test_every_response_says_that_no_page_may_use_it(kitchen, client):
    alice = await kitchen.person("Alice")
    responses = [
        await client.get("/health"),
        await client.get("/nowhere"),
        await client.post("/auth/login", json={}),
        await alice.get("/users/me"),
        await alice.get("/meals/me"),
        await alice.delete("/meals/4711"),
    ]

    for response in responses:
        headers = response.headers
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["cross-origin-resource-policy"] == "same-site"
        assert headers["x-xss-protection"] == "0"
        assert len(headers.get_list("cache-control")) == 1
    assert responses[0].headers["cache-control"] == "no-store"
    assert responses[3].headers["cache-control"] != ""


async def test_long_responses_are_compressed(app, client):
    @app.app.get("/long")
    async def long() -> Response:
        return Response("x" * 2000, media_type="text/plain")

    response = await client.get("/long", headers={"Accept-Encoding": "gzip"})

    assert response.headers["content-encoding"] == "gzip"
    assert response.text == "x" * 2000


async def test_the_root_describes_the_app_and_health_and_readiness_are_good(client):
    welcome, health = await client.get("/"), await client.get("/health")
    ready = await client.get("/ready")

    assert welcome.json().keys() == {"message", "version", "docs", "health", "environment"}
    assert health.json() == {"status": "healthy", "app": "Freshly API", "env": "local"}
    assert ready.json() == {
        "status": "ready",
        "database": "connected",
        "schema": "current",
        "redis": "unused",
        "disk": "ok",
        "workers": 0,
        "pool": {"taken": 0, "waiting": 0, "capacity": 25},
    }


async def test_many_calls_of_ready_ask_the_database_once(client):
    with Statements() as asked:
        for _ in range(20):
            assert (await client.get("/ready")).status_code == 200

    assert asked.number <= 3  # once each half second


async def test_without_its_database_the_app_is_healthy_but_not_ready(tmp_path):
    unreachable = "postgresql://nobody@127.0.0.1:9/none"
    async with running(settings_for(unreachable, tmp_path)) as app, client_of(app) as client:
        assert (await client.get("/health")).status_code == 200

        ready = await client.get("/ready")
        login = await client.post(
            "/auth/login", json={"email": "a@example.com", "password": "whatever"}
        )

    assert ready.status_code == login.status_code == 503
    assert ready.json()["status"] == "not_ready"
    assert "127.0.0.1" not in ready.text + login.text
    assert login.headers["retry-after"]


async def test_a_wrong_method_is_405_and_the_response_names_the_right_methods(kitchen):
    alice = await kitchen.person("Alice")

    for method, path, allowed in (
        ("DELETE", "/meals/me", "GET, POST"),
        ("POST", "/meals/1", "DELETE, GET, PUT"),
        ("PUT", "/families", "GET, POST"),
    ):
        response = await alice.request(method, path)
        assert (response.status_code, response.headers["Allow"]) == (405, allowed)


async def test_a_server_that_shuts_down_closes_the_connection_after_its_response(app, client):
    before = await client.get("/health")
    app.resources.shutdown.requested.set()
    after = await client.get("/health")

    assert "connection" not in before.headers
    assert (after.status_code, after.headers["connection"]) == (200, "close")
