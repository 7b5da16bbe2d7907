"""A new email address counts once its code comes back together with proof."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import insert, select, update

from freshly.chassis.data.functions import now
from freshly.domains.auth.models import AuthSession, OAuthAccount
from freshly.domains.users.models import User
from tests.support.api import PASSWORD

NEW = "new@example.com"


def code_in(email):
    return re.search(r"\b\d{6}\b", email.text)[0]


def token_in(email):
    return re.search(r"token=([0-9a-f]{64})\b", email.text)[1]


@pytest.fixture
async def alice(kitchen):
    return await kitchen.person("Alice")


@pytest.fixture
def sent_to(jobs, emails):
    """Return a function that runs the jobs and returns the newest email to an address."""

    async def newest(address):
        await jobs.run_due()
        return [email for email in emails if email.to == address][-1]

    return newest


@pytest.fixture
def age_sign_ins(db):
    """Return a function that makes all sign-ins 16 minutes old, which proves nothing."""

    async def age():
        async with db.write() as session:
            at = (await session.execute(select(now()))).scalar_one()
            await session.execute(update(AuthSession).values(created_at=at - timedelta(minutes=16)))

    return age


async def test_a_new_address_is_pending_and_the_old_one_is_told(alice, kitchen, sent_to):
    changed = await alice.patch("/users/me", {"email": "New@Example.com", "name": "Al"})

    assert changed.status_code == 200
    body = changed.json()
    assert (body["email"], body["pending_email"]) == (alice.user["email"], NEW)
    assert body["name"] == "Al"
    assert code_in(await sent_to(NEW))
    assert token_in(await sent_to(alice.user["email"]))
    await kitchen.sign_in(alice.user["email"])


async def test_a_stolen_access_token_does_not_move_the_address(
    alice, client, sent_to, age_sign_ins, jobs, emails
):
    await alice.patch("/users/me", {"email": NEW})
    code = code_in(await sent_to(NEW))
    await age_sign_ins()

    refused = await alice.post("/auth/confirm-email", {"code": code})
    emails.clear()
    await client.post("/auth/forgot-password", json={"email": NEW})
    await jobs.run_due()

    assert (refused.status_code, refused.json()["code"]) == (403, "reauthentication_required")
    assert emails == []
    assert (await alice.read("/users/me"))["email"] == alice.user["email"]


async def test_the_code_with_a_recent_sign_in_changes_the_address(
    alice, kitchen, client, sent_to, db
):
    elsewhere = await kitchen.sign_in(alice.user["email"])
    await alice.patch("/users/me", {"email": NEW})
    code = code_in(await sent_to(NEW))

    changed = await alice.post("/auth/confirm-email", {"code": code})

    assert (changed.status_code, changed.json()["email"]) == (200, NEW)
    assert changed.json()["pending_email"] is None
    headers = {"Authorization": f"Bearer {elsewhere['access_token']}"}
    assert (await client.get("/users/me", headers=headers)).status_code == 401
    assert (await alice.get("/users/me")).status_code == 200
    assert "This is now" in (await sent_to(NEW)).subject
    async with db.read() as session:
        assert await session.scalar(select(User.is_verified)) is True
    again = await alice.post("/auth/confirm-email", {"code": code})
    assert (again.status_code, again.json()["code"]) == (400, "no_active_code")


async def test_the_password_proves_that_it_is_the_user(alice, sent_to, age_sign_ins):
    await alice.patch("/users/me", {"email": NEW})
    code = code_in(await sent_to(NEW))
    await age_sign_ins()

    wrong = await alice.post("/auth/reauthenticate", {"password": "a wrong one"})
    nothing = await alice.post("/auth/reauthenticate", {})
    proof = await alice.post_ok("/auth/reauthenticate", {"password": PASSWORD}, status=200)
    headers = {"X-Reauth": proof["reauth_token"]}
    changed = await alice.post("/auth/confirm-email", {"code": code}, headers=headers)

    assert (wrong.status_code, wrong.json()["code"]) == (400, "wrong_password")
    assert (nothing.status_code, nothing.json()["code"]) == (422, "proof_missing")
    assert proof["expires_in"] == 300
    assert changed.status_code == 200


async def test_a_code_by_email_proves_that_it_is_the_user(alice, sent_to, age_sign_ins):
    await alice.patch("/users/me", {"email": NEW})
    new_code = code_in(await sent_to(NEW))
    await age_sign_ins()
    await alice.post_ok("/auth/reauthenticate/send-code", status=200)
    code = code_in(await sent_to(alice.user["email"]))

    proof = await alice.post_ok("/auth/reauthenticate", {"code": code}, status=200)
    headers = {"X-Reauth": proof["reauth_token"]}
    changed = await alice.post("/auth/confirm-email", {"code": new_code}, headers=headers)
    again = await alice.post("/auth/reauthenticate", {"code": code})

    assert changed.status_code == 200
    assert again.status_code == 400


async def test_proof_is_for_one_session_and_is_no_access_token(
    alice, kitchen, client, sent_to, age_sign_ins
):
    tokens = await kitchen.sign_in(alice.user["email"])
    elsewhere = {"Authorization": f"Bearer {tokens['access_token']}"}
    await alice.patch("/users/me", {"email": NEW})
    code = code_in(await sent_to(NEW))
    await age_sign_ins()
    proof = await alice.post_ok("/auth/reauthenticate", {"password": PASSWORD}, status=200)

    for forged in (proof["reauth_token"], alice.tokens["access_token"], "x"):
        headers = {**elsewhere, "X-Reauth": forged}
        refused = await client.post("/auth/confirm-email", json={"code": code}, headers=headers)
        assert refused.status_code == 403
    bearer = {"Authorization": f"Bearer {proof['reauth_token']}"}
    assert (await client.get("/users/me", headers=bearer)).status_code == 401


async def test_a_code_for_an_earlier_address_does_not_confirm_a_later_one(alice, sent_to):
    await alice.patch("/users/me", {"email": "mine@example.com"})
    code = code_in(await sent_to("mine@example.com"))
    await alice.patch("/users/me", {"email": "victim@example.com"})

    refused = await alice.post("/auth/confirm-email", {"code": code})

    assert refused.status_code == 400
    assert (await alice.read("/users/me"))["email"] == alice.user["email"]


async def test_the_code_can_be_sent_again_and_the_change_can_be_dropped(alice, sent_to, emails):
    await alice.patch("/users/me", {"email": NEW})
    first = code_in(await sent_to(NEW))
    emails.clear()
    await alice.post_ok("/auth/confirm-email/send-code", status=200)
    assert code_in(await sent_to(NEW)) == first

    dropped = await alice.patch("/users/me", {"email": alice.user["email"]})

    assert dropped.json()["pending_email"] is None
    assert (await alice.post("/auth/confirm-email", {"code": first})).status_code == 400


async def test_the_link_in_the_old_mailbox_cancels_a_pending_change(alice, client, sent_to, db):
    await alice.patch("/users/me", {"email": NEW})
    token = token_in(await sent_to(alice.user["email"]))

    page = await client.get("/auth/link", params={"token": token})
    undone = await client.post("/auth/link", data={"token": token})

    assert (page.status_code, undone.status_code) == (200, 200)
    assert (await alice.get("/users/me")).status_code == 401
    async with db.read() as session:
        user = (await session.scalars(select(User))).one()
    assert (user.email, user.pending_email) == (alice.user["email"], None)
    assert (await client.post("/auth/link", data={"token": token})).status_code == 400


@pytest.mark.parametrize("is_verified", [True, False])
async def test_the_link_in_the_old_mailbox_undoes_a_change_in_effect(
    alice, client, sent_to, db, is_verified
):
    """An owner who never confirmed the address must not lose the account to a thief.

    The mailbox may be a stranger's, if the user mistyped the address. The letter about the change
    says that it can be undone from there.
    """
    async with db.write() as session:
        await session.execute(update(User).values(is_verified=is_verified))
    await alice.patch("/users/me", {"email": NEW})
    token = token_in(await sent_to(alice.user["email"]))
    await alice.post_ok("/auth/confirm-email", {"code": code_in(await sent_to(NEW))}, status=200)

    undone = await client.post("/auth/link", data={"token": token})

    assert undone.status_code == 200
    assert "can undo the change" in (await sent_to(NEW)).text
    assert (await alice.get("/users/me")).status_code == 401
    async with db.read() as session:
        assert await session.scalar(select(User.email)) == alice.user["email"]


@pytest.fixture
async def moved_twice(alice, sent_to, db):
    """Return the tokens that undo the first and the second change of a thief."""
    async with db.write() as session:
        await session.execute(update(User).values(is_verified=True))
    tokens = []
    for old, new in ((alice.user["email"], "thief@example.com"), ("thief@example.com", NEW)):
        await alice.patch("/users/me", {"email": new})
        tokens.append(token_in(await sent_to(old)))
        code = code_in(await sent_to(new))
        await alice.post_ok("/auth/confirm-email", {"code": code}, status=200)
    return tokens


async def test_undoing_a_later_change_leaves_the_link_of_an_earlier_one(
    alice, client, moved_twice, db
):
    first, second = moved_twice

    by_thief = await client.post("/auth/link", data={"token": second})
    by_owner = await client.post("/auth/link", data={"token": first})

    assert (by_thief.status_code, by_owner.status_code) == (200, 200)
    async with db.read() as session:
        assert await session.scalar(select(User.email)) == alice.user["email"]


async def test_undoing_an_earlier_change_ends_the_links_of_later_ones(
    alice, client, moved_twice, db
):
    first, second = moved_twice

    by_owner = await client.post("/auth/link", data={"token": first})
    by_thief = await client.post("/auth/link", data={"token": second})

    assert (by_owner.status_code, by_thief.status_code) == (200, 400)
    assert (await alice.get("/users/me")).status_code == 401
    async with db.read() as session:
        assert await session.scalar(select(User.email)) == alice.user["email"]


async def test_the_old_mailbox_resets_the_password_no_more(alice, client, sent_to):
    old = alice.user["email"]
    await client.post("/auth/forgot-password", json={"email": old})
    reset_email = await sent_to(old)
    code = {"email": old, "code": code_in(reset_email)}
    allowed = (await client.post("/auth/forgot-password/verify", json=code)).json()
    await alice.patch("/users/me", {"email": NEW})
    await alice.post_ok("/auth/confirm-email", {"code": code_in(await sent_to(NEW))}, status=200)

    by_link = {"token": token_in(reset_email), "new_password": "another good password"}
    by_token = {"reset_token": allowed["reset_token"], "new_password": "another good password"}

    assert (await client.post("/auth/link", data=by_link)).status_code == 400
    assert (await client.post("/auth/reset-password", json=by_token)).status_code == 400


async def test_an_address_that_was_registered_meanwhile_is_refused(alice, kitchen, sent_to):
    await alice.patch("/users/me", {"email": NEW})
    code = code_in(await sent_to(NEW))
    await kitchen.person("Nora", email=NEW)

    refused = await alice.post("/auth/confirm-email", {"code": code})

    assert (refused.status_code, refused.json()["code"]) == (409, "email_taken")


@pytest.mark.parametrize("way", ["confirmed address", "password reset"])
async def test_proof_by_email_unlinks_google_and_apple(alice, client, sent_to, db, way):
    """An attacker may have signed up with Google and moved the account to another's address."""
    async with db.write() as session:
        account = {"email": "attacker@example.com", "username": "A", "provider": "google"}
        await session.execute(
            insert(OAuthAccount).values(user_id=alice.id, supabase_user_id="abc", **account)
        )
    if way == "confirmed address":
        await alice.patch("/users/me", {"email": NEW})
        body = {"code": code_in(await sent_to(NEW))}
        assert (await alice.post("/auth/confirm-email", body)).status_code == 200
    else:
        await client.post("/auth/forgot-password", json={"email": alice.user["email"]})
        token = token_in(await sent_to(alice.user["email"]))
        form = {"token": token, "new_password": "another good password"}
        assert (await client.post("/auth/link", data=form)).status_code == 200

    async with db.read() as session:
        assert (await session.scalars(select(OAuthAccount))).all() == []
    address = NEW if way == "confirmed address" else alice.user["email"]
    assert "Google" in (await sent_to(address)).text
