"""Rules for new accounts: each `ALLOW_SIGNUP` with each way to sign up."""

import asyncio
import re
from datetime import timedelta

import pytest
from anyio import to_thread
from pydantic import SecretStr
from sqlalchemy import func, select, update

from freshly.chassis.data.functions import now
from freshly.commands import accounts
from freshly.domains.administration.jobs import PurgeAdministration
from freshly.domains.administration.models import SignUpInvitation
from freshly.domains.users.models import User
from tests.domains.auth.test_oauth import SECRET, Supabase
from tests.support.api import PASSWORD, Person
from tests.support.fake_services import key_server
from tests.support.role_world import make_administrator

NEW = {"email": "new@example.com", "password": PASSWORD, "name": "Nora"}


@pytest.fixture
def allow(app):
    """Return a function that sets `ALLOW_SIGNUP`."""

    def set_to(mode, **changes):
        changes = {"allow_signup": mode, **changes}
        app.replace(settings=app.resources.settings.model_copy(update=changes))

    return set_to


@pytest.fixture
async def administrator(kitchen, db):
    person = await kitchen.person("Anton")
    await make_administrator(db, person.id)
    return person


@pytest.fixture
async def count(db):
    async def users():
        async with db.read() as session:
            return await session.scalar(select(func.count()).select_from(User))

    return users


async def register(client, email=NEW["email"], **fields):
    answer = await client.post("/auth/register", json={**NEW, "email": email, **fields})
    return answer.status_code, answer.json()


def without_id(answer):
    status, body = answer
    return status, {name: value for name, value in body.items() if name != "correlation_id"}


async def test_without_an_invitation_no_address_gets_an_account_or_another_answer(
    kitchen, client, allow, count
):
    alice = await kitchen.person("Alice")
    known, before = alice.user["email"], await count()

    for mode, token, code in (
        ("invitation", None, "invitation_required"),
        ("invitation", "x" * 22, "invitation_invalid"),
        ("invitation", "0" * 64, "invitation_invalid"),
        ("open", "0" * 64, "invitation_invalid"),
        ("closed", None, "sign_up_closed"),
        ("closed", "0" * 64, "sign_up_closed"),
    ):
        allow(mode)
        free, taken = [
            without_id(await register(client, email, invitation=token))
            for email in (NEW["email"], known)
        ]
        assert (free[0], free[1]["code"]) == (403, code), (mode, token)
        assert free == taken

    assert await count() == before
    assert await kitchen.sign_in(known)


async def test_an_invitation_of_an_administrator_creates_one_account(
    administrator, client, allow, count
):
    allow("invitation")
    before = await count()
    invited = await administrator.post_ok("/admin/invitations", {})
    with_token = {"invitation": invited["token"]}

    taken = await register(client, administrator.user["email"], **with_token)
    answers = await asyncio.gather(
        *(register(client, f"new{n}@example.com", **with_token) for n in range(5))
    )
    again = await register(client, **with_token)

    assert (taken[0], taken[1]["code"]) == (400, "email_already_registered")
    assert sorted(status for status, _ in answers) == [200, 403, 403, 403, 403]
    assert (again[0], again[1]["code"]) == (403, "invitation_invalid")
    assert await count() == before + 1
    assert (await administrator.read("/admin/invitations"))["items"] == []
    created = await administrator.read("/admin/accounts", search="new")
    assert [one["is_administrator"] for one in created["items"]] == [False]


async def test_an_invitation_is_for_its_address_and_its_time_and_can_be_ended(
    administrator, client, allow, db
):
    allow("invitation")
    bound, ended, expired = [
        await administrator.post_ok("/admin/invitations", body)
        for body in ({"email": "New@example.com"}, {}, {"days": 1})
    ]
    await administrator.delete(f"/admin/invitations/{ended['id']}")
    async with db.write() as session:
        await session.execute(
            update(SignUpInvitation)
            .where(SignUpInvitation.id == expired["id"])
            .values(expires_at=now())
        )

    refused = [
        await register(client, "other@example.com", invitation=one["token"])
        for one in (bound, ended, expired)
    ]

    assert {(status, body["code"]) for status, body in refused} == {(403, "invitation_invalid")}
    listed = (await administrator.read("/admin/invitations"))["items"]
    assert [(one["id"], one["email"]) for one in listed] == [(bound["id"], "new@example.com")]
    assert (await register(client, invitation=bound["token"]))[0] == 200


async def test_the_link_of_a_family_creates_an_account_that_belongs_to_it(kitchen, client, allow):
    owner = await kitchen.person("Olga")
    family = await kitchen.family(owner)
    path = f"/families/{family['id']}/invitations"
    once, twice = [await owner.post_ok(path, {"uses": uses}) for uses in (1, 2)]
    allow("invitation")

    answers = [
        await register(client, f"new{n}@example.com", invitation=token)
        for n, token in enumerate((once["token"], once["token"], twice["token"], twice["token"]))
    ]

    assert [status for status, _ in answers] == [200, 403, 200, 200]
    user = answers[0][1]
    nora = Person(client, user, await kitchen.sign_in(user["email"]))
    assert [one["id"] for one in await nora.read("/families")] == [family["id"]]
    assert (await owner.read("/notifications"))[0]["type"] == "family_member_joined"
    for code in (family["invite_code"], once["code"]):  # short codes could be guessed
        assert (await register(client, invitation=code))[0] == 403


async def test_a_closed_server_takes_no_account_even_with_an_invitation(
    administrator, kitchen, client, allow
):
    family = await kitchen.family(administrator)
    invitations = [
        await administrator.post_ok(path, {})
        for path in ("/admin/invitations", f"/families/{family['id']}/invitations")
    ]
    allow("closed")

    for invitation in invitations:
        status, body = await register(client, invitation=invitation["token"])
        assert (status, body["code"]) == (403, "sign_up_closed")
    # Codes create no account either.
    assert (await client.post("/auth/send-code", json={"email": NEW["email"]})).status_code == 200
    wrong = await client.post("/auth/verify-code", json={"email": NEW["email"], "code": "123456"})
    assert wrong.status_code == 400


async def test_google_and_apple_create_accounts_by_the_same_rules(app, administrator, client):
    keys = {}
    async with key_server(keys) as (url, _):
        supabase = Supabase(url)
        keys.update(supabase.jwks())
        changes = {"supabase_url": url, "supabase_jwt_secret": SecretStr(SECRET)}
        settings = app.resources.settings.model_copy(update=changes)
        app.replace(settings=settings, oauth=type(app.resources.oauth)(settings))

        async def sign_up(mode, sub, email, invitation=None):
            settings = app.resources.settings.model_copy(update={"allow_signup": mode})
            app.replace(settings=settings)
            headers = {"Authorization": f"Bearer {supabase.token(sub=sub, email=email)}"}
            body = {"invitation": invitation} if invitation else None
            answer = await client.post("/auth/signup/oauth", json=body, headers=headers)
            return answer.status_code, answer.json().get("code")

        taken = administrator.user["email"]
        refused = [
            await sign_up(mode, "abc", email, token)
            for mode in ("invitation", "closed")
            for email in ("nora@example.com", taken)
            for token in (None, "0" * 64)
        ]
        invited = await administrator.post_ok("/admin/invitations", {})
        first = await sign_up("invitation", "abc", "nora@example.com", invited["token"])
        second = await sign_up("invitation", "def", "else@example.com", invited["token"])
        headers = {"Authorization": f"Bearer {supabase.token(sub='abc', email='nora@example.com')}"}
        app.replace(settings=settings.model_copy(update={"allow_signup": "closed"}))
        signed_in = await client.post("/auth/login/oauth", headers=headers)

    asked = [(403, "invitation_required"), (403, "invitation_invalid")]
    assert refused == [*asked, *asked, *[(403, "sign_up_closed")] * 4]
    assert (first, second) == ((200, None), (403, "invitation_invalid"))
    assert signed_in.status_code == 200


async def test_the_set_up_link_creates_the_first_administrator_once(
    settings, client, allow, kitchen, db, capsys
):
    allow("closed")

    async def link():
        return await to_thread.run_sync(asyncio.run, accounts.set_up_link(settings))

    first, again = await link(), await link()
    assert first == again, "restarts print the same link"
    path, token = first.removeprefix("http://localhost:8000").split("?token=")
    async with db.read() as session:
        stored = (await session.scalars(select(SignUpInvitation.id))).one()
    assert token != stored, "a copy of the database is no link"
    assert (await register(client, invitation=stored))[0] == 403

    page = await client.get(path, params={"token": token})
    assert re.search(r'<form method="post" action="/auth/sign-up">', page.text)
    assert "administer this server" in page.text
    form = {"token": token, "email": "Boss@example.com", "password": PASSWORD, "name": "Bo"}
    weak = await client.post(path, data={**form, "password": "short"})
    created = await client.post(path, data=form)
    twice = await client.post(path, data={**form, "email": "thief@example.com"})

    assert (weak.status_code, created.status_code, twice.status_code) == (422, 200, 403)
    assert created.headers["cache-control"] == "no-store"
    boss = Person(client, {"id": 0}, await kitchen.sign_in("boss@example.com"))
    assert [one["email"] for one in (await boss.read("/admin/accounts"))["items"]] == [
        "boss@example.com"
    ]
    assert await link() is None
    assert await to_thread.run_sync(accounts.print_set_up_link, settings) == 1
    assert "there is an administrator already" in capsys.readouterr().err


async def test_an_old_set_up_link_dies_with_the_first_administrator(settings, client, kitchen):
    async def link():
        return await to_thread.run_sync(asyncio.run, accounts.set_up_link(settings))

    token = (await link()).partition("?token=")[2]
    alice = await kitchen.person("Alice")
    assert await to_thread.run_sync(accounts.change, settings, "create", [alice.user["email"]]) == 0

    assert (await register(client, invitation=token))[0] == 403
    assert (await client.get("/auth/sign-up", params={"token": token})).status_code == 403


async def test_expired_invitations_are_deleted(administrator, jobs, db):
    for _ in range(2):
        await administrator.post_ok("/admin/invitations", {})
    async with db.write() as session:
        first = (await session.scalars(select(SignUpInvitation).limit(1))).one()
        first.expires_at -= timedelta(days=8)

    await jobs.enqueue(PurgeAdministration())
    await jobs.run_due()

    async with db.read() as session:
        assert len((await session.scalars(select(SignUpInvitation))).all()) == 1
