"""Administrators manage accounts by the API, and operators by `freshly admin`."""

import asyncio
import json
from datetime import timedelta

import pytest
from anyio import to_thread
from sqlalchemy import select, update

from freshly import cli
from freshly.commands import accounts
from freshly.domains.administration.jobs import PurgeAdministration
from freshly.domains.administration.models import AdministratorAct
from freshly.domains.auth.models import AuthSession
from freshly.domains.users.models import User
from tests.support.api import PASSWORD
from tests.support.role_world import make_administrator

OLD = timedelta(minutes=16)


@pytest.fixture
async def anton(kitchen, db):
    person = await kitchen.person("Anton")
    await make_administrator(db, person.id)
    return person


@pytest.fixture
def admin(settings, monkeypatch, capsys):
    """Return a function that runs `freshly admin`, and returns status, output and errors."""
    monkeypatch.setattr(cli, "load", lambda **_: settings)

    async def run(*arguments):
        status = await to_thread.run_sync(cli.main, ["admin", *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


async def test_an_administrator_finds_accounts_by_address_name_status_and_tier(anton, kitchen):
    for number, name in enumerate(("Zoë", "Zora", "Ben_%")):
        await kitchen.person(name, email=f"user{number}@example.com")
    zora = (await anton.read("/admin/accounts", search="ZORA"))["items"][0]
    await anton.post_ok(f"/admin/accounts/{zora['id']}/tier", {"tier": "pro"}, status=200)

    async def names(**filters):
        return [one["name"] for one in (await anton.read("/admin/accounts", **filters))["items"]]

    assert await names() == ["Ben_%", "Zora", "Zoë", "Anton"]
    assert await names(search="ZOË") == ["Zoë"]
    assert await names(search="_%") == ["Ben_%"]
    assert await names(search="@example.com", tier="pro") == ["Zora"]
    assert await names(status="suspended") == []
    assert await names(administrators=True) == ["Anton"]
    first = await anton.read("/admin/accounts", limit=3)
    second = await anton.read("/admin/accounts", limit=3, cursor=first["next_cursor"])
    assert [len(first["items"]), len(second["items"]), second["next_cursor"]] == [3, 1, None]
    assert set(zora) == {
        *("id", "email", "name", "status", "tier", "is_verified", "is_administrator"),
        *("created_at", "delete_after", "last_seen_at"),
    }
    assert zora["last_seen_at"] is not None
    assert (await anton.get("/admin/accounts/999999")).json()["code"] == "account_not_found"


async def test_acts_need_proof_and_are_recorded_with_the_administrator(anton, kitchen, client, db):
    alice = await kitchen.person("Alice")
    path = f"/admin/accounts/{alice.id}"
    async with db.write() as session:
        at = (await session.scalars(select(AuthSession.created_at).limit(1))).one()
        await session.execute(
            update(AuthSession).where(AuthSession.user_id == anton.id).values(created_at=at - OLD)
        )
    acts = [
        (f"{path}/suspend", None),
        (f"{path}/restore", None),
        (f"{path}/tier", {"tier": "pro"}),
        (f"{path}/sign-out", None),
        ("/admin/invitations", {}),
    ]

    refused = [await anton.post(where, body) for where, body in acts]
    refused.append(await anton.delete(f"/admin/invitations/{'0' * 32}"))
    assert {one.json()["code"] for one in refused} == {"reauthentication_required"}
    assert (await anton.read("/admin/acts"))["items"] == []
    assert (await alice.get("/users/me")).status_code == 200

    proof = await anton.post_ok("/auth/reauthenticate", {"password": PASSWORD}, status=200)
    proved = {"X-Reauth": proof["reauth_token"]}
    statuses = []
    for where, body in acts[:3]:
        assert (await anton.post(where, body, headers=proved)).status_code == 200
        statuses.append((await alice.get("/users/me")).status_code)
    assert statuses == [401, 401, 401], "restoring opens no session that has ended"
    alice.headers["Authorization"] = (
        f"Bearer {(await kitchen.sign_in(alice.user['email']))['access_token']}"
    )
    assert (await alice.read("/users/me"))["tier"] == "pro"
    assert (await anton.post(*acts[3], headers=proved)).status_code == 200
    assert (await alice.get("/users/me")).status_code == 401
    unknown = await anton.post(f"{path}/tier", {"tier": "gold"}, headers=proved)
    assert (unknown.status_code, unknown.json()["code"]) == (400, "unknown_tier")
    assert "free, pro" in unknown.json()["detail"]

    recorded = (await anton.read("/admin/acts", account_id=alice.id))["items"]
    assert [(one["kind"], one["detail"]) for one in recorded] == [
        ("sign_out", None), ("set_tier", "pro"), ("restore", None), ("suspend", None)]  # fmt: skip
    assert {(one["administrator_id"], one["by_command"]) for one in recorded} == {(anton.id, False)}
    assert {one["address"] for one in recorded} == {"127.0.0.1"}
    first = await anton.read("/admin/acts", limit=3)
    assert len((await anton.read("/admin/acts", cursor=first["next_cursor"]))["items"]) == 1
    tokens = await kitchen.sign_in(alice.user["email"])
    alice.headers["Authorization"] = f"Bearer {tokens['access_token']}"
    own = (await alice.read("/users/me/activity"))["items"]
    by_administrator = [one for one in own if one["kind"] in ("suspended", "tier_changed")]
    assert [one["address"] for one in by_administrator] == [None, None]
    del client


async def test_the_last_active_administrator_cannot_be_locked_out(anton, kitchen, db, admin):
    alone = await anton.post(f"/admin/accounts/{anton.id}/suspend")
    assert (alone.status_code, alone.json()["code"]) == (409, "last_administrator")
    assert (await admin("suspend", anton.user["email"]))[0] == 1
    assert "the only active administrator" in (await admin("revoke", anton.user["email"]))[2]
    assert (await anton.read("/admin/acts"))["items"] == []

    berta = await kitchen.person("Berta")
    await make_administrator(db, berta.id)
    answers = await asyncio.gather(
        anton.post(f"/admin/accounts/{berta.id}/suspend"),
        berta.post(f"/admin/accounts/{anton.id}/suspend"),
    )
    async with db.read() as session:
        active = await session.scalars(select(User.id).where(User.status == "active"))
        assert len(active.all()) == 1, [one.text for one in answers]


async def test_a_revoked_administrator_has_no_right_at_the_next_request(
    anton, kitchen, admin, jobs
):
    berta = await kitchen.person("Berta")
    assert (await berta.get("/admin/acts")).json()["code"] == "not_an_administrator"
    assert (await admin("create", berta.user["email"]))[0] == 0
    await jobs.run_due()  # in the server, which has cached the caller
    assert (await berta.get("/admin/acts")).status_code == 200
    assert (await admin("revoke", berta.user["email"]))[0] == 0
    await jobs.run_due()

    assert (await berta.get("/admin/acts")).status_code == 403
    recorded = (await anton.read("/admin/acts"))["items"]
    assert [(one["kind"], one["by_command"], one["administrator_id"]) for one in recorded] == [
        ("remove_administrator", True, None), ("make_administrator", True, None)]  # fmt: skip


async def test_the_operator_manages_accounts_by_command(kitchen, client, admin, jobs):
    alice = await kitchen.person("Alice", email="alice.with.a.rather.long.address@example.com")
    address = alice.user["email"]

    assert await admin("set-tier", "pro", address.upper()) == (0, f"{address}: pro\n", "")
    status, _, reason = await admin("set-tier", "gold", address)
    assert (status, "There is no such tier" in reason) == (1, True)
    assert await admin("suspend", address, "nobody@example.com") == (
        1, f"{address}: suspended\n", "freshly: no account has the address nobody@example.com\n"
    )  # fmt: skip
    _, listed, _ = await admin("list", "--status", "suspended")
    assert [line.split()[:5] for line in listed.splitlines()] == [
        ["id", "email", "name", "status", "tier"],
        [str(alice.id), address, "Alice", "suspended", "pro"],
    ]
    _, as_json, _ = await admin("list", "--search", "ALICE", "--json")
    assert [one["email"] for one in json.loads(as_json)] == [address]
    assert await admin("restore", address) == (0, f"{address}: active\n", "")
    assert await admin("sign-out", address) == (0, f"{address}: signed out\n", "")
    await jobs.run_due()
    assert (await alice.get("/users/me")).status_code == 401
    kinds = [one["kind"] for one in json.loads((await admin("acts", "--json"))[1])]
    assert kinds == ["sign_out", "restore", "suspend", "set_tier"]

    status, link, _ = await admin("create", "boss@example.com")
    assert status == 0
    token = link.strip().partition("?token=")[2]
    wrong = {"email": "thief@example.com", "password": PASSWORD, "invitation": token}
    assert (await client.post("/auth/register", json=wrong)).status_code == 403
    right = {**wrong, "email": "boss@example.com"}
    assert (await client.post("/auth/register", json=right)).status_code == 200
    _, listed, _ = await admin("list", "--administrators", "--json")
    assert [one["email"] for one in json.loads(listed)] == ["boss@example.com"]
    status, link, _ = await admin("invite", "--days", "2")
    assert (status, "/auth/sign-up?token=" in link) == (0, True)
    for wrong in (("create", "no address"), ("invite", "--email", "no address")):
        assert await admin(*wrong) == (1, "", "freshly: no address is not an email address\n")


async def test_acts_are_deleted_after_a_year_and_outlive_their_accounts(anton, kitchen, db, jobs):
    alice = await kitchen.person("Alice")
    for act in ("suspend", "restore"):
        await anton.post_ok(f"/admin/accounts/{alice.id}/{act}", status=200)
    async with db.write() as session:
        acts = await session.scalars(select(AdministratorAct).order_by(AdministratorAct.id))
        first = acts.first()
        first.created_at -= timedelta(days=366)
        await session.delete(await session.get(User, alice.id))

    await jobs.enqueue(PurgeAdministration())
    await jobs.run_due()

    acts = (await anton.read("/admin/acts"))["items"]
    assert [(one["kind"], one["account_id"]) for one in acts] == [("restore", None)]


def test_an_address_without_an_account_is_told(settings, monkeypatch, capsys):
    monkeypatch.setattr(cli, "load", lambda **_: settings)

    assert cli.main(["admin", "suspend", "nobody@example.com"]) == 1
    assert "no account has the address" in capsys.readouterr().err
    assert accounts.change(settings, "sign-out", []) == 0
