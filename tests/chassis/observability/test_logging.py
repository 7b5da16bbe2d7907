"""Log lines: a line of JSON each, without secrets."""

import json
import logging
import sqlite3
import sys
from contextlib import suppress
from time import perf_counter

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from freshly.chassis.observability.logging import (
    access_line,
    configure_logging,
    get_logger,
    mask_secrets,
)
from freshly.domains.pantry.models import PantryItem
from tests.support.api import MEAL


@pytest.fixture
def logged(capsys):
    """Return a function that returns the new log lines, parsed."""
    configure_logging("INFO")
    capsys.readouterr()

    def lines():
        return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    yield lines
    configure_logging("WARNING")


def test_secrets_are_masked_at_any_depth():
    event = {
        "password": "hunter2",
        "nested": [{"Authorization": "Bearer abc.def", "deep": {"refresh_token": "xyz"}}],
        "text": "POST /x?token=abc123&code=999999 by alice@example.com with Bearer abc.def.ghi",
        "url": "postgresql://user:hunter2@host/db",
        "jwt": "eyJhbGciOi.eyJzdWIi.c2lnbmF0dXJl",
        "hash": "$argon2id$v=19$m=19456,t=2,p=1$abc$def",
        "key": "sk-abcdefghijklmnop",
        "n": 5,
        "none": None,
        "yes": True,
    }

    line = json.dumps(mask_secrets(event))

    secrets = ("hunter2", "abc.def", "xyz", "abc123", "999999", "alice@", "eyJhb", "argon2", "sk-a")
    assert [secret for secret in secrets if secret in line] == []
    assert '"n": 5' in line


def test_secrets_in_a_traceback_are_masked(logged):
    try:
        raise RuntimeError("no login with password='hunter2' for alice@example.com")
    except RuntimeError:
        get_logger("freshly.test").exception("it broke", api_key="sk-123")

    (line,) = logged()
    assert "RuntimeError" in line["exception"]
    assert "hunter2" not in json.dumps(line)
    assert "alice" not in json.dumps(line)
    assert line["api_key"] == "***"


def test_line_breaks_in_a_message_do_not_break_the_log_line(logged):
    get_logger("freshly.test").info("two\r\nlines\x1b[31m", path="/a\nb")
    logging.getLogger("another.library").warning("three\nlines %s", "\x1b[0m")

    assert [line["event"] for line in logged()] == ["two\r\nlines\x1b[31m", "three\nlines \x1b[0m"]


async def test_each_request_is_one_line_with_its_correlation_id(kitchen, logged):
    alice = await kitchen.person("Alice")
    logged()

    response = await alice.get(
        "/users/me?token=secret", headers={"X-Correlation-ID": "my-own-id-1"}
    )

    (line,) = [line for line in logged() if line["logger"] == "freshly.access"]
    assert response.status_code == 200
    assert (line["correlation_id"], line["status"], line["path"]) == (
        "my-own-id-1",
        200,
        "/users/me",
    )
    assert line["user_id"] == alice.id
    assert line["ms"] > 0
    assert "secret" not in json.dumps(line)


async def test_a_long_path_costs_no_time_and_little_space_in_the_log(client, logged):
    logged()

    started = perf_counter()
    response = await client.get("/" + "a" * 64_000)
    seconds = perf_counter() - started

    (line,) = [line for line in logged() if line["logger"] == "freshly.access"]
    assert response.status_code == 404
    assert len(line["path"]) == 200
    assert seconds < 0.5


async def test_a_secret_in_a_path_is_masked_even_where_the_path_is_cut(client, logged):
    logged()

    for path in ("/files/alice@example.com", "/" + "x/" * 94 + "alice@example.com/y"):
        await client.get(path)

    paths = [line["path"] for line in logged() if line["logger"] == "freshly.access"]
    assert len(paths) == 2
    assert [path for path in paths if "alice" in path or "***" not in path] == []


async def test_requests_succeed_although_the_disk_of_the_log_is_full(client, monkeypatch):
    configure_logging("INFO")
    full = open("/dev/full", "w", buffering=1)  # noqa: ASYNC230, PTH123, SIM115 - like a full disk
    monkeypatch.setattr(sys, "stderr", full)
    try:
        access_line({"path": "/", "status": 200})
        assert (await client.get("/")).status_code == 200
    finally:
        configure_logging("WARNING")
        with suppress(OSError):
            full.close()


CANARY = "canary-7391"


async def add_a_lot(session, **owner):
    item = PantryItem(ingredient_id=1, category=CANARY, **owner)
    session.add(item)
    await session.flush()


async def test_a_refused_row_is_logged_without_its_values(db, logged):
    """PostgreSQL's DETAIL has the whole row: "Failing row contains (1, ..., canary)"."""
    with suppress(IntegrityError):
        async with db.write() as session:
            try:
                await add_a_lot(session, family_id=None, owner_user_id=None)
            except IntegrityError:
                get_logger("freshly.test").exception("refused")
                raise

    (line,) = logged()
    assert "IntegrityError" in line["exception"]
    assert "pantry_scope_xor" in line["exception"]
    assert "INSERT INTO pantry_items" in line["exception"]
    assert CANARY not in json.dumps(line)


@pytest.mark.parametrize("value", [CANARY, 10**30])
async def test_a_value_of_the_wrong_type_is_not_logged(db, logged, value):
    with suppress(DBAPIError, OverflowError):
        async with db.read() as session:
            try:
                await session.execute(
                    text("SELECT 1 WHERE 1 = CAST(:value AS INTEGER)"), {"value": value}
                )
            except (DBAPIError, OverflowError):
                get_logger("freshly.test").exception("refused")
                raise

    assert str(value) not in json.dumps(logged())


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_a_request_that_waits_for_a_locked_table_logs_no_value(db, kitchen, logged):
    alice = await kitchen.person()
    logged()
    async with db.engine.begin() as connection:
        await connection.execute(text("LOCK TABLE meals IN SHARE ROW EXCLUSIVE MODE"))
        refused = await alice.post("/meals/me", {**MEAL, "name": CANARY, "notes": CANARY})

    lines = logged()
    assert refused.status_code == 503
    assert any(line.get("event") == "database error" for line in lines)
    assert CANARY not in json.dumps(lines)


def test_errors_within_errors_are_logged_without_values(logged):
    cause = sqlite3.IntegrityError(f"no such value: '{CANARY}' here\nDETAIL: {CANARY}")
    group = ExceptionGroup("several", [cause, ValueError("an ordinary text")])
    try:
        raise RuntimeError("it broke") from group
    except RuntimeError:
        get_logger("freshly.test").exception("broken")

    (line,) = logged()
    assert "an ordinary text" in line["exception"]
    assert "no such value" in line["exception"]
    assert CANARY not in json.dumps(line)
