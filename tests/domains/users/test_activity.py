"""Users read the activities of their account. No stored activity can be changed."""

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
    """Return kind and outcome of each activity after the first sign-in, oldest first."""
    kinds = [(activity["kind"], activity["outcome"]) for activity in await activity_of(person)]
    assert kinds.pop() == ("sign_in", "done")
    return kinds[::-1]


async def activity_count(db):
    async with db.read() as session:
        return await session.scalar(select(func.count()).select_from(Activity))


async def test_a_sign_in_is_recorded_with_its_time_address_and_device(alice, client):
    headers = {"User-Agent": "Freshly/2.0\t(phone)", "X-Correlation-ID": "of-this-call"}
    credentials = {"email": alice.user["email"], "password": PASSWORD}
    await client.post("/auth/login", json=credentials, headers=headers)

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


async def test_a_refused_sign_in_is_recorded_although_its_request_fails(alice, client):
    credentials = {"email": alice.user["email"], "password": WRONG}
    refused = await client.post("/auth/login", json=credentials)

    assert refused.status_code == 401
    latest = (await activity_of(alice))[0]
    assert (latest["kind"], latest["outcome"]) == ("sign_in", "refused")
    assert latest["correlation_id"] == refused.headers["X-Correlation-ID"]
    assert latest["session_id"] is None


async def test_a_sign_in_with_an_unknown_address_is_not_recorded(alice, client, db):
    before = await activity_count(db)

    for number in range(5):
        credentials = {"email": f"nobody{number}@example.com", "password": WRONG}
        assert (await client.post("/auth/login", json=credentials)).status_code == 401

    assert await activity_count(db) == before
    assert await kinds_of(alice) == []


async def test_a_failed_sign_in_runs_the_same_statements_for_known_and_unknown_addresses(
    alice, client, app
):
    statements = []

    @event.listens_for(app.resources.db.engine.sync_engine, "before_cursor_execute")
    def _record(_connection, _cursor, statement, *_rest):
        statements.append(statement.partition(" ")[0])

    recorded = []
    for address in (alice.user["email"], "nobody@example.com"):
        statements.clear()
        await client.post("/auth/login", json={"email": address, "password": WRONG})
        recorded.append(list(statements))

    known, unknown = recorded
    assert known == [*known[: known.index("SAVEPOINT")], "SAVEPOINT", "INSERT", "RELEASE"]
    assert unknown == [*known[:-1], "ROLLBACK"]


async def test_a_replayed_refresh_token_is_recorded(alice, client, db):
    token = {"refresh_token": alice.tokens["refresh_token"]}
    assert (await client.post("/auth/refresh", json=token)).status_code == 200
    async with db.write() as session:
        for row in await session.scalars(select(RefreshToken)):
            if row.used_at:
                row.used_at -= timedelta(seconds=11)

    assert (await client.post("/auth/refresh", json=token)).status_code == 401

    credentials = {"email": alice.user["email"], "password": PASSWORD}
    tokens = (await client.post("/auth/login", json=credentials)).json()
    alice.headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert await kinds_of(alice) == [("refresh", "refused"), ("sign_in", "done")]


async def test_sign_outs_revoked_sessions_and_new_addresses_are_recorded(alice, client, kitchen):
    other_token = (await kitchen.sign_in(alice.user["email"]))["access_token"]
    await client.post("/auth/logout", headers={"Authorization": f"Bearer {other_token}"})
    await kitchen.sign_in(alice.user["email"])
    revoked_session = next(
        session
        for session in (await alice.read("/auth/sessions"))["items"]
        if not session["current"]
    )
    await alice.delete(f"/auth/sessions/{revoked_session['id']}")
    latest = (await activity_of(alice))[0]
    await alice.patch("/users/me", {"email": "new@example.com"})
    await alice.patch("/users/me", {"email": "new@example.com", "name": "Al"})  # no change

    assert latest["detail"] == revoked_session["id"]
    assert await kinds_of(alice) == [
        ("sign_in", "done"),
        ("sign_out", "done"),
        ("sign_in", "done"),
        ("session_revoked", "done"),
        ("email_change", "asked"),
    ]


async def test_a_change_in_a_family_is_recorded_for_both_users(alice, kitchen):
    bob, carol = await kitchen.person("Bob"), await kitchen.person("Carol")
    family = await kitchen.family(alice, bob, carol)
    path = f"/families/{family['id']}"
    await alice.patch(f"{path}/members/{bob.id}/role", {"role": "admin"})
    await alice.patch(f"{path}/members/{bob.id}/role", {"role": "admin"})  # no change
    await bob.delete(f"{path}/members/{carol.id}")
    await bob.post(f"{path}/invite/regenerate")
    await bob.delete(f"{path}/members/{bob.id}")
    await alice.delete(path)

    assert [kind for kind, _ in await kinds_of(alice)] == ["role_changed", "family_deleted"]
    assert [kind for kind, _ in await kinds_of(bob)] == [
        *("family_joined", "role_given", "member_removed"),
        *("invite_regenerated", "family_left"),
    ]
    assert [kind for kind, _ in await kinds_of(carol)] == ["family_joined", "removed_from_family"]
    removed, *_ = await activity_of(carol)
    assert (removed["other_user_id"], removed["family_id"]) == (bob.id, family["id"])
    # Carol must not see Bob's address, device and session.
    assert {removed["address"], removed["user_agent"], removed["session_id"]} == {None}
    changed = next(
        activity for activity in await activity_of(alice) if activity["kind"] == "role_changed"
    )
    assert (changed["other_user_id"], changed["detail"]) == (bob.id, "admin")
    assert changed["address"] == "127.0.0.1"


async def test_a_refused_change_in_a_family_is_not_recorded(alice, kitchen, db):
    bob = await kitchen.person("Bob")
    family = await kitchen.family(alice, bob)
    before = await activity_count(db)

    path = f"/families/{family['id']}/members/{alice.id}"
    assert (await bob.patch(f"{path}/role", {"role": "member"})).status_code == 403
    assert (await bob.delete(path)).status_code == 403

    assert await activity_count(db) == before


async def test_activities_are_listed_newest_first_in_pages(alice, client):
    for _ in range(4):
        credentials = {"email": alice.user["email"], "password": WRONG}
        await client.post("/auth/login", json=credentials)
    whole = await activity_of(alice)

    first = await alice.read("/users/me/activity", limit=3)
    credentials = {"email": alice.user["email"], "password": WRONG}
    await client.post("/auth/login", json=credentials)  # does not shift the next page
    second = await alice.read("/users/me/activity", limit=3, cursor=first["next_cursor"])

    assert [activity["id"] for activity in whole] == sorted(
        (activity["id"] for activity in whole), reverse=True
    )
    assert first["items"] + second["items"] == whole
    assert second["next_cursor"] is None
    assert (await alice.get("/users/me/activity", params={"kind": "x"})).status_code == 422


FORGED = ["x", ["x"], [True], [1, 2], [{"at": "2030-01-01T00:00:00"}], [{"number": "1"}], [2**31]]
BAD_TEXTS = ["\0", "\ud800"]


@pytest.mark.parametrize("cursor", FORGED, ids=str)
async def test_a_forged_cursor_is_refused(alice, cursor):
    forged = urlsafe_b64encode(json.dumps(cursor).encode()).decode()

    for path in ("/users/me/activity", "/auth/sessions"):
        refused = await alice.get(path, params={"cursor": forged})
        assert (refused.status_code, refused.json()["code"]) == (422, "bad_cursor")


@pytest.mark.parametrize("text", BAD_TEXTS, ids=repr)
async def test_a_cursor_with_text_that_no_row_can_have_is_refused(alice, text):
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
async def test_the_database_refuses_to_change_or_delete_an_activity(alice, kitchen, db, change):
    bob = await kitchen.person("Bob")
    family = await kitchen.family(alice, bob)
    await alice.patch(f"/families/{family['id']}/members/{bob.id}/role", {"role": "admin"})
    before = await activity_of(alice)

    with pytest.raises(DBAPIError, match="activities are kept as they are"):
        async with db.write() as session:
            await session.execute(change.execution_options(synchronize_session=False))

    assert await activity_of(alice) == before


async def test_activities_older_than_a_year_are_deleted(alice, db):
    async with db.write() as session:
        for days in (KEPT_FOR.days - 1, KEPT_FOR.days + 1):
            facts = {"user_id": alice.id, "kind": "sign_out", "outcome": "done"}
            at = datetime.now(UTC) - timedelta(days=days)
            old = {**facts, "created_at": at, "correlation_id": f"{days} days"}
            await session.execute(insert(Activity).values(old))

    async with db.write() as session:
        assert not await purge(session)

    kept = [activity["correlation_id"] for activity in await activity_of(alice)]
    assert f"{KEPT_FOR.days - 1} days" in kept
    assert len(kept) == 2


async def test_a_wrong_code_for_a_password_reset_is_recorded(alice, client, db):
    for address in (alice.user["email"], "nobody@example.com"):
        await client.post("/auth/forgot-password", json={"email": address})
        before = await activity_count(db)
        guess = {"email": address, "code": "000000"}
        response = await client.post("/auth/forgot-password/verify", json=guess)
        assert response.status_code == 400
        assert await activity_count(db) - before == (1 if address == alice.user["email"] else 0)

    assert await kinds_of(alice) == [("password_reset", "refused")]
