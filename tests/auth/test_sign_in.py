import pytest

from tests.kitchen import PASSWORD


async def test_signs_up_and_in_whatever_the_case_of_the_address(kitchen, client):
    alice = await kitchen.person("Alice", email="Alice@Example.com")

    again = await kitchen.sign_in("aLICE@example.COM")

    assert alice.user["email"] == "alice@example.com"
    me = await client.get("/auth/me", headers={"Authorization": f"Bearer {again['access_token']}"})
    assert me.json() == alice.user


@pytest.mark.parametrize("password", ["wrong password", "", "x" * 500])
async def test_a_wrong_password_and_an_unknown_address_answer_alike(kitchen, client, password):
    alice = await kitchen.person()

    known = await client.post(
        "/auth/login", json={"email": alice.user["email"], "password": password}
    )
    unknown = await client.post(
        "/auth/login", json={"email": "nobody@example.com", "password": PASSWORD}
    )

    assert known.status_code == unknown.status_code == 401
    assert known.json()["detail"] == unknown.json()["detail"] == "Invalid credentials"
