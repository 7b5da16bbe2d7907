"""The log line of a request: its facts, its ids, and its form on a terminal."""

import re
import sys

import pytest
from fastapi import Response

from freshly.chassis.observability.console import ConsoleLines
from freshly.chassis.observability.logging import configure_logging, get_logger
from tests.chassis.observability.test_logging import logged  # noqa: F401 - a fixture
from tests.conftest import client_of, running, settings_for

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


def requests_in(lines):
    return [line for line in lines if line["event"] == "request"]


async def test_a_line_tells_template_user_family_statements_and_cache(kitchen, logged):  # noqa: F811
    alice = await kitchen.person()
    family = (await alice.post("/families", {"display_name": "Us"})).json()["id"]
    other = (await alice.post("/families", {"display_name": "Others"})).json()["id"]
    logged()

    for _ in range(2):
        await alice.get("/pantry-items/me")
    await alice.get(f"/families/{other}/members")
    await alice.get("/meals/4711")

    first, second, in_other, missing = requests_in(logged())
    assert first["sql"] > second["sql"] == 0
    assert (first["cache"], second["cache"]) == ("miss", "hit")
    assert (second["user_id"], second["family_id"]) == (alice.id, family)
    assert in_other["family_id"] == other
    assert (missing["route"], missing["status"], missing["level"]) == ("/meals/{id}", 404, "info")
    assert "cache" not in missing
    assert re.fullmatch("[0-9a-f]{32}", missing["correlation_id"])


async def test_ids_of_proxies_and_traces_are_kept(client, logged):  # noqa: F811
    async def ids(**headers):
        response = await client.get("/", headers=headers)
        (line,) = requests_in(logged())
        assert response.headers["X-Correlation-ID"] == line["correlation_id"]
        return line["correlation_id"], response.headers.get("X-Request-ID"), line.get("trace_id")

    logged()
    own, request, trace = (
        {"X-Correlation-ID": "of-the-app-1"},
        {"X-Request-ID": "of-nginx-1"},
        {"traceparent": TRACEPARENT},
    )
    assert await ids(**own, **request, **trace) == ("of-the-app-1", "of-nginx-1", TRACE_ID)
    assert await ids(**request, **trace) == ("of-nginx-1", "of-nginx-1", TRACE_ID)
    assert await ids(**trace) == (TRACE_ID, None, TRACE_ID)
    for invalid in ("00-" + "0" * 32 + "-00f067aa0ba902b7-01", "garbage", TRACEPARENT[:-1]):
        correlation, request_id, trace_id = await ids(traceparent=invalid, **{"X-Request-ID": "x"})
        assert re.fullmatch("[0-9a-f]{32}", correlation)
        assert (request_id, trace_id) == (None, None)


async def test_an_error_of_the_server_is_logged_as_one_and_probes_are_not_logged(
    app,
    client,
    logged,  # noqa: F811
):
    @app.app.get("/broken")
    async def broken() -> Response:
        raise RuntimeError

    logged()
    for path in ("/health", "/ready", "/metrics"):
        assert (await client.get(path)).status_code == 200
    assert (await client.get("/broken")).status_code == 500

    (line,) = requests_in(logged())
    assert (line["path"], line["level"]) == ("/broken", "error")


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_refused_call_is_logged_and_counted_by_the_template_of_its_route(
    database_url,
    tmp_path,
    logged,  # noqa: F811
):
    settings = settings_for(
        database_url,
        tmp_path,
        rate_limit_enabled=True,
        rate_limit_overrides={"anonymous": {"default": "1/day"}},
    )
    async with running(settings) as app, client_of(app) as client:
        await client.get("/meals/1")
        logged()
        assert (await client.get("/meals/2")).status_code == 429
        (line,) = requests_in(logged())
        metrics = (await client.get("/metrics")).text

    assert line["route"] == "/meals/{id}"
    assert (
        'freshly_http_request_seconds_count{method="GET",route="/meals/{id}",status="429"}'
        in metrics
    )
    assert 'freshly_rate_limited_total{group="anonymous"} ' in metrics


async def test_on_a_terminal_the_log_is_made_for_people(client, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    configure_logging("INFO")
    capsys.readouterr()
    try:
        await client.get("/units")
        await client.get("/nothing%1b[2J")
        get_logger("freshly.test").warning("two\nlines", path="\x1b[2J", correlation_id="c-1")
        units, nothing, warning = capsys.readouterr().err.splitlines()
    finally:
        configure_logging("WARNING", "json")

    assert re.sub(r"\x1b\[\d+m", "", units)[9:].startswith("401 GET /units ")
    assert len(re.sub(r"\x1b\[\d+m", "", units)) <= 80
    assert "\x1b[33m" in units  # yellow
    assert "two\\nlines" in warning
    assert "c-1" in warning
    assert "\x1b[2J" not in nothing + warning


def test_a_traceback_on_a_terminal_has_its_lines():
    lines = ConsoleLines()(
        None, "error", {"event": "broken", "level": "error", "exception": "a\nb"}
    )

    assert "a\nb" in lines
