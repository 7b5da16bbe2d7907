"""Which passwords are refused, and how a signed-in user changes the password."""

from datetime import timedelta
from importlib.resources import files

import pytest
from sqlalchemy import select, update

from freshly.chassis.data.functions import now
from freshly.domains.auth.models import AuthSession
from tests.support.api import PASSWORD

NEW_PASSWORD = "another good password"


@pytest.fixture
async def alice(kitchen):
    return await kitchen.person("Alice")


def test_the_list_has_3000_common_passwords_of_at_least_eight_characters():
    text = files("freshly.domains.auth").joinpath("common_passwords.txt").read_text("utf-8")
    passwords = [line for line in text.splitlines() if not line.startswith("#")]

    assert len(passwords) == len(set(passwords)) == 3000
    assert all(8 <= len(password) <= 72 for password in passwords)
    assert all(password == password.casefold() for password in passwords)


@pytest.mark.parametrize(
    "password",
    [
        *("password", "12345678", "        ", "aaaaaaaa", "abababab", "PASSWORD", "Password1!"),
        *("qwertyuiop", "iloveyou", "Summer2024", "!!Welcome1", "michael99", "ababababab"),
        *("passwordpassword", "PasswordPassword1!", "1234567812345678", "michaelmichael"),
        *(
            "ｐａｓｓｗｏｒｄ",
            "Ｐａｓｓｗｏｒｄ１",
            "      password      ",
            "\u3000\u3000\u3000password\u3000\u3000",
        ),
    ],
)
async def test_a_common_password_is_refused_at_sign_up(client, password):
    account = {"email": "zora@example.com", "password": password, "name": "Zora"}

    refused = await client.post("/auth/register", json=account)

    assert (refused.status_code, refused.json()["code"]) == (400, "password_too_common")


@pytest.mark.parametrize(
    "password",
    [
        *(
            "zora.unmistakable@example.net",
            "zora.unmistakable",
            "ZoraUnmistakable",
            "Unmistakable1",
        ),
        *("Zoraida Quince", "quince2024", "Zoraida!", "example.net", "Zoraida99"),
    ],
)
async def test_the_name_and_the_address_are_refused_as_a_password(client, password):
    account = {"email": "zora.unmistakable@example.net", "name": "Zoraida Quince"}

    refused = await client.post("/auth/register", json={**account, "password": password})

    assert (refused.status_code, refused.json()["code"]) == (400, "password_is_personal")


@pytest.mark.parametrize(
    "password",
    ["correct horse battery", "Zoraida likes quinces", "x7!kQ2-pW", "alle meine entchen"],
)
async def test_a_good_password_is_taken(client, password):
    account = {"email": "zora@example.com", "name": "Zoraida Quince", "password": password}

    assert (await client.post("/auth/register", json=account)).status_code == 200


async def test_a_password_is_changed_with_the_current_one(alice, kitchen, client, jobs, emails):
    elsewhere = await kitchen.sign_in(alice.user["email"])
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}

    changed = await alice.post("/auth/change-password", body)

    assert changed.status_code == 200
    assert (await alice.get("/users/me")).status_code == 200
    headers = {"Authorization": f"Bearer {elsewhere['access_token']}"}
    assert (await client.get("/users/me", headers=headers)).status_code == 401
    await kitchen.sign_in(alice.user["email"], NEW_PASSWORD)
    await jobs.run_due()
    assert emails[-1].subject == "Your Freshly password was changed"
    activities = (await alice.read("/users/me/activity"))["items"]
    assert "password_change" in {activity["kind"] for activity in activities}


async def test_a_password_is_not_changed_by_an_access_token_alone(alice, db, kitchen):
    async with db.write() as session:
        at = (await session.execute(select(now()))).scalar_one()
        await session.execute(update(AuthSession).values(created_at=at - timedelta(minutes=16)))
    new = {"new_password": NEW_PASSWORD}

    without = await alice.post("/auth/change-password", new)
    wrong = await alice.post("/auth/change-password", {**new, "current_password": "x" * 8})

    assert (without.status_code, without.json()["code"]) == (403, "reauthentication_required")
    assert (wrong.status_code, wrong.json()["code"]) == (400, "wrong_password")
    await kitchen.sign_in(alice.user["email"])
    proof = await alice.post_ok("/auth/reauthenticate", {"password": PASSWORD}, status=200)
    headers = {"X-Reauth": proof["reauth_token"]}
    assert (await alice.post("/auth/change-password", new, headers=headers)).status_code == 200


@pytest.mark.parametrize("password", ["password", "alice1234", "short"])
async def test_a_password_is_not_changed_to_a_weak_one(alice, password, kitchen):
    body = {"current_password": PASSWORD, "new_password": password}

    assert (await alice.post("/auth/change-password", body)).status_code in (400, 422)
    await kitchen.sign_in(alice.user["email"])
