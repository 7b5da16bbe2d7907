"""What a person is told of what happened to their account, and that it stays as it was."""

import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, event, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from freshly.domains.auth.models import RefreshToken
from freshly.domains.users.activity import KEPT_FOR, purge
from freshly.domains.users.models import Activity
from tests.support.api import PASSWORD

WRONG = "not the password"


@pytest.fixture
async def alice(kitchen):
    return await kitchen.person("Alice")


async def activity_of(person, **query):
    return (await person.read("/users/me/activity", **query))["items"]


async def kinds_of(person):
    """Kind and outcome, the oldest first, after the first sign-in."""
    found = [(one["kind"], one["outcome"]) for one in await activity_of(person)]
    assert found.pop() == ("sign_in", "done")
    return found[::-1]


async def rows(db):
    async with db.read() as session:
        return await session.scalar(select(func.count()).select_from(Activity))


async def test_a_sign_in_says_when_and_from_where(alice, client):
    headers = {"User-Agent": "Freshly/2.0\t(phone)", "X-Correlation-ID": "of-this-call"}
    given = {"email": alice.user["email"], "password": PASSWORD}
    await client.post("/auth/login", json=given, headers=headers)

    latest = (await activity_of(alice))[0]

    assert latest.pop("created_at") > alice.user["created_at"]
    assert latest.pop("id") > 0
    sessions = (await alice.read("/auth/sessions"))["items"]
    assert latest == {
        "kind": "sign_in",
        "outcome": "done",
        "detail": "password",
        "other_user_id": None,
        "family_id": None,
        "address": "127.0.0.1",
        "user_agent": "Freshly/2.0(phone)",
        "session_id": sessions[0]["id"],
        "correlation_id": "of-this-call",
    }


async def test_a_refused_sign_in_is_kept_although_the_call_failed(alice, client):
    given = {"email": alice.user["email"], "password": WRONG}
    refused = await client.post("/auth/login", json=given)

    assert refused.status_code == 401
    told = (await activity_of(alice))[0]
    assert (told["kind"], told["outcome"]) == ("sign_in", "refused")
    assert told["correlation_id"] == refused.headers["X-Correlation-ID"]
    assert told["session_id"] is None


async def test_nothing_is_kept_of_addresses_that_nobody_has(alice, client, db):
    before = await rows(db)

    for number in range(5):
        given = {"email": f"nobody{number}@example.com", "password": WRONG}
        assert (await client.post("/auth/login", json=given)).status_code == 401

    assert await rows(db) == before
    assert await kinds_of(alice) == []


async def test_a_known_and_an_unknown_address_take_the_same_statements(alice, client, app):
    seen = []

    @event.listens_for(app.resources.db.engine.sync_engine, "before_cursor_execute")
    def _note(_connection, _cursor, statement, *_rest):
        seen.append(statement.partition(" ")[0])

    said = []
    for address in (alice.user["email"], "nobody@example.com"):
        seen.clear()
        await client.post("/auth/login", json={"email": address, "password": WRONG})
        said.append(list(seen))

    known, unknown = said
    assert known == [*known[: known.index("SAVEPOINT")], "SAVEPOINT", "INSERT", "RELEASE"]
    assert unknown == [*known[:-1], "ROLLBACK"]


async def test_a_replayed_token_is_told(alice, client, db):
    token = {"refresh_token": alice.tokens["refresh_token"]}
    assert (await client.post("/auth/refresh", json=token)).status_code == 200
    async with db.write() as session:
        for row in await session.scalars(select(RefreshToken)):
            if row.used_at:
                row.used_at -= timedelta(seconds=11)

    assert (await client.post("/auth/refresh", json=token)).status_code == 401

    given = {"email": alice.user["email"], "password": PASSWORD}
    again = (await client.post("/auth/login", json=given)).json()
    alice.headers = {"Authorization": f"Bearer {again['access_token']}"}
    assert await kinds_of(alice) == [("refresh", "refused"), ("sign_in", "done")]


async def test_signing_out_a_new_password_and_a_new_address_are_told(alice, client, kitchen):
    elsewhere = (await kitchen.sign_in(alice.user["email"]))["access_token"]
    await client.post("/auth/logout", headers={"Authorization": f"Bearer {elsewhere}"})
    await kitchen.sign_in(alice.user["email"])
    there = next(one for one in (await alice.read("/auth/sessions"))["items"] if not one["current"])
    await alice.delete(f"/auth/sessions/{there['id']}")
    revoked = (await activity_of(alice))[0]
    await alice.patch("/users/me", {"email": "new@example.com"})
    await alice.patch("/users/me", {"email": "new@example.com", "name": "Al"})  # no change

    assert revoked["detail"] == there["id"]
    assert await kinds_of(alice) == [
        ("sign_in", "done"),
        ("sign_out", "done"),
        ("sign_in", "done"),
        ("session_revoked", "done"),
        ("email_change", "done"),
    ]


async def test_changes_of_a_family_are_told_to_both_sides(alice, kitchen):
    bob, carol = await kitchen.person("Bob"), await kitchen.person("Carol")
    family = await kitchen.family(alice, bob, carol)
    path = f"/families/{family['id']}"
    await alice.patch(f"{path}/members/{bob.id}/role", {"role": "admin"})
    await alice.patch(f"{path}/members/{bob.id}/role", {"role": "admin"})  # as it was
    await bob.delete(f"{path}/members/{carol.id}")
    await bob.post(f"{path}/invite/regenerate")
    await bob.delete(f"{path}/members/{bob.id}")
    await alice.delete(path)

    assert [one for one, _ in await kinds_of(alice)] == ["role_changed", "family_deleted"]
    assert [one for one, _ in await kinds_of(bob)] == [
        *("family_joined", "role_given", "member_removed"),
        *("invite_regenerated", "family_left"),
    ]
    assert [one for one, _ in await kinds_of(carol)] == ["family_joined", "removed_from_family"]
    removed, *_ = await activity_of(carol)
    assert (removed["other_user_id"], removed["family_id"]) == (bob.id, family["id"])
    # Where the other one was is not hers to know.
    assert {removed["address"], removed["user_agent"], removed["session_id"]} == {None}
    changed = next(one for one in await activity_of(alice) if one["kind"] == "role_changed")
    assert (changed["other_user_id"], changed["detail"]) == (bob.id, "admin")
    assert changed["address"] == "127.0.0.1"


async def test_a_refused_change_of_a_family_leaves_no_trace(alice, kitchen, db):
    bob = await kitchen.person("Bob")
    family = await kitchen.family(alice, bob)
    before = await rows(db)

    path = f"/families/{family['id']}/members/{alice.id}"
    assert (await bob.patch(f"{path}/role", {"role": "member"})).status_code == 403
    assert (await bob.delete(path)).status_code == 403

    assert await rows(db) == before


async def test_the_list_comes_in_pages_the_newest_first(alice, client):
    for _ in range(4):
        given = {"email": alice.user["email"], "password": WRONG}
        await client.post("/auth/login", json=given)
    whole = await activity_of(alice)

    first = await alice.read("/users/me/activity", limit=3)
    given = {"email": alice.user["email"], "password": WRONG}
    await client.post("/auth/login", json=given)  # moves nothing on the next page
    second = await alice.read("/users/me/activity", limit=3, cursor=first["next_cursor"])

    assert [one["id"] for one in whole] == sorted((one["id"] for one in whole), reverse=True)
    assert first["items"] + second["items"] == whole
    assert second["next_cursor"] is None
    assert (await alice.get("/users/me/activity", params={"kind": "x"})).status_code == 422


FORGED = ["x", ["x"], [True], [1, 2], [{"at": "2030-01-01T00:00:00"}], [{"number": "1"}], [2**31]]
BAD_TEXTS = ["\0", "\ud800"]


@pytest.mark.parametrize("cursor", FORGED, ids=str)
async def test_a_cursor_that_the_list_did_not_give_out_is_refused(alice, cursor):
    forged = urlsafe_b64encode(json.dumps(cursor).encode()).decode()

    for path in ("/users/me/activity", "/auth/sessions"):
        refused = await alice.get(path, params={"cursor": forged})
        assert (refused.status_code, refused.json()["code"]) == (422, "bad_cursor")


@pytest.mark.parametrize("text", BAD_TEXTS, ids=repr)
async def test_nor_is_a_text_that_no_row_has(alice, text):
    for path, cursor in (("/ingredients", [text, 1]), ("/auth/sessions", [text])):
        forged = urlsafe_b64encode(json.dumps(cursor).encode()).decode()
        refused = await alice.get(path, params={"cursor": forged})
        assert (refused.status_code, refused.json()["code"]) == (422, "bad_cursor")


CHANGES = [
    update(Activity).values(outcome="done"),
    update(Activity).values(user_id=None),
    update(Activity).values(other_user_id=None),
    delete(Activity),
    text("DELETE FROM activities"),
    text("UPDATE activities SET detail = 'x'"),
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
async def test_the_database_itself_refuses_to_change_or_lose_a_row(alice, kitchen, db, change):
    bob = await kitchen.person("Bob")
    family = await kitchen.family(alice, bob)
    await alice.patch(f"/families/{family['id']}/members/{bob.id}/role", {"role": "admin"})
    before = await activity_of(alice)

    with pytest.raises(DBAPIError, match="activities are kept as they are"):
        async with db.write() as session:
            await session.execute(change.execution_options(synchronize_session=False))

    assert await activity_of(alice) == before


async def test_what_is_older_than_a_year_is_dropped(alice, db):
    async with db.write() as session:
        for days in (KEPT_FOR.days - 1, KEPT_FOR.days + 1):
            facts = {"user_id": alice.id, "kind": "sign_out", "outcome": "done"}
            at = datetime.now(UTC) - timedelta(days=days)
            old = {**facts, "created_at": at, "correlation_id": f"{days} days"}
            await session.execute(insert(Activity).values(old))

    async with db.write() as session:
        assert not await purge(session)

    kept = [one["correlation_id"] for one in await activity_of(alice)]
    assert f"{KEPT_FOR.days - 1} days" in kept
    assert len(kept) == 2


async def test_who_guesses_codes_for_a_new_password_is_seen(alice, client, db):
    for address in (alice.user["email"], "nobody@example.com"):
        await client.post("/auth/forgot-password", json={"email": address})
        before = await rows(db)
        guess = {"email": address, "code": "000000"}
        guessed = await client.post("/auth/forgot-password/verify", json=guess)
        assert guessed.status_code == 400
        assert await rows(db) - before == (1 if address == alice.user["email"] else 0)

    assert await kinds_of(alice) == [("password_reset", "refused")]
