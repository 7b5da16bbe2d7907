"""Sign-up and sign-in with Supabase's tokens."""

import asyncio
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr

from freshly.adapters import supabase as supabase_adapter
from tests.conftest import client_of, running, settings_for
from tests.support.api import Kitchen
from tests.support.fake_services import key_server

SECRET = "the shared secret of the sign-in service, long enough"


class Supabase:
    """Signs tokens as Supabase does."""

    def __init__(self, url):
        self.url = url
        self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def jwks(self, kid="k1"):
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.private.public_key()))
        return {"keys": [{**public, "kid": kid, "alg": "RS256", "use": "sig"}]}

    def token(self, sub="abc", email="alice@example.com", provider="google", **changes):
        by_key = changes.pop("by_key", False)
        claims = {
            "sub": sub,
            "email": email,
            "aud": "authenticated",
            "iss": f"{self.url}/auth/v1",
            "exp": int(time.time()) + 600,
            "user_metadata": {"name": "Alice Cook"},
            "app_metadata": {"provider": provider},
            **changes,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        if by_key:
            return jwt.encode(claims, self.private, "RS256", headers={"kid": by_key})
        return jwt.encode(claims, SECRET, "HS256")


@pytest.fixture
async def oauth(database_url, tmp_path):
    keys = {}
    async with key_server(keys) as (url, key_requests):
        supabase = Supabase(url)
        keys.update(supabase.jwks())
        supabase.key_requests, supabase.keys = key_requests, keys
        settings = settings_for(
            database_url, tmp_path, supabase_url=url, supabase_jwt_secret=SecretStr(SECRET)
        )
        async with running(settings) as app, client_of(app) as client:
            yield supabase, client


async def post(client, path, token):
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return await client.post(f"/auth/{path}/oauth", headers=headers)


async def status_and_detail(client, path, token):
    response = await post(client, path, token)
    return response.status_code, response.json().get("detail")


@pytest.mark.parametrize("by_key", [False, "k1"], ids=["shared secret", "public key"])
async def test_a_user_signs_up_and_in_with_a_token_of_supabase(oauth, by_key):
    supabase, client = oauth
    token = supabase.token(by_key=by_key)

    signed_up = await post(client, "signup", token)
    signed_in = await post(client, "login", token)

    assert signed_up.status_code == signed_in.status_code == 200
    user = signed_up.json()["user"]
    assert user == {
        "id": user["id"],
        "email": "alice@example.com",
        "username": "Alice Cook",
        "auth_provider": "google",
    }
    assert signed_up.json()["token_type"] == "bearer"
    for issued in (signed_up, signed_in):
        claims = jwt.decode(issued.json()["access_token"], options={"verify_signature": False})
        assert claims["email"] == "alice@example.com"
    headers = {"Authorization": f"Bearer {signed_in.json()['access_token']}"}
    assert (await client.get("/users/me", headers=headers)).json()["name"] == "Alice Cook"
    assert (await client.get("/preferences/me", headers=headers)).json()["calorie_target"] == 2000
    refresh = {"refresh_token": signed_in.json()["refresh_token"]}
    assert (await client.post("/auth/refresh", json=refresh)).status_code == 200
    password = {"email": "alice@example.com", "password": "anything at all"}
    assert (await client.post("/auth/login", json=password)).status_code == 401


async def test_the_keys_are_fetched_once(oauth):
    supabase, client = oauth
    for n in range(3):
        token = supabase.token(f"s{n}", f"p{n}@example.com", by_key="k1")
        assert (await post(client, "signup", token)).status_code == 200

    assert len(supabase.key_requests) == 1


async def test_a_username_defaults_to_the_name_in_the_email_address(oauth):
    supabase, client = oauth

    response = await post(client, "signup", supabase.token(user_metadata=None))

    assert response.json()["user"]["username"] == "alice"


@pytest.mark.parametrize("path", ["signup", "login"])
async def test_invalid_and_expired_tokens_are_refused(oauth, path):
    supabase, client = oauth
    other_issuer = Supabase(supabase.url)
    invalid = [
        "garbage",
        "null",
        supabase.token(aud="someone else"),
        supabase.token(iss="https://elsewhere.example.com/auth/v1"),
        supabase.token(aud=None),
        supabase.token(sub=None),
        other_issuer.token(by_key="k1"),
        supabase.token(by_key="k2"),
        jwt.encode({"sub": "abc"}, "x" * 40, "HS256"),
        jwt.encode({"sub": "abc"}, None, "none"),
    ]

    for token in invalid:
        assert await status_and_detail(client, path, token) == (401, "Invalid token"), token
    expired = supabase.token(exp=int(time.time()) - 10)
    assert await status_and_detail(client, path, expired) == (401, "Token expired")
    assert await status_and_detail(client, path, None) == (401, "Invalid or expired token")


async def test_a_refused_sign_up_names_the_reason(oauth):
    supabase, client = oauth
    await Kitchen(client).person("Bob", email="bob@example.com")
    assert (await post(client, "signup", supabase.token())).status_code == 200

    async def refusal(*facts, **changes):
        return await status_and_detail(client, "signup", supabase.token(*facts, **changes))

    assert await refusal("new", None) == (400, "OAuth profile missing email")
    assert await refusal("new", "new@example.com", "github") == (
        400,
        "Unsupported OAuth provider",
    )
    assert (await refusal("abc", "new@example.com"))[0] == 409
    assert await refusal("new", "bob@example.com") == (409, "Email already registered")
    assert await refusal("new", "ALICE@example.com", "apple") == (
        409,
        "Email already registered with google",
    )


async def test_a_sign_in_with_the_wrong_provider_is_shown_to_the_user(oauth):
    supabase, client = oauth
    signed_up = (await post(client, "signup", supabase.token())).json()

    assert (await post(client, "login", supabase.token(provider="apple"))).status_code == 400

    headers = {"Authorization": f"Bearer {signed_up['access_token']}"}
    activities = (await client.get("/users/me/activity", headers=headers)).json()["items"]
    assert [
        (activity["kind"], activity["outcome"], activity["detail"]) for activity in activities
    ] == [
        ("sign_in", "refused", "apple"),
        ("sign_in", "done", "google"),
    ]


async def test_an_email_address_alone_gives_no_access_to_an_account(oauth):
    supabase, client = oauth
    await Kitchen(client).person("Bob", email="bob@example.com")
    assert (await post(client, "signup", supabase.token())).status_code == 200
    unknown = (404, "User not registered. Please sign up first.")
    mismatch = (400, "Authentication provider mismatch.")

    assert await status_and_detail(client, "login", supabase.token("other")) == unknown
    assert (
        await status_and_detail(client, "login", supabase.token("b", "bob@example.com")) == unknown
    )
    assert await status_and_detail(client, "login", supabase.token(provider="apple")) == mismatch
    assert (
        await status_and_detail(client, "login", supabase.token("other", provider="apple"))
        == mismatch
    )
    assert await status_and_detail(client, "login", supabase.token(provider="github")) == (
        400,
        "Unsupported OAuth provider",
    )
    assert await status_and_detail(client, "login", supabase.token(email=None)) == (
        401,
        "Invalid or expired token",
    )
    # The id at the provider counts. The address may have changed.
    moved = await post(client, "login", supabase.token(email="moved@example.com"))
    assert moved.status_code == 200


async def test_a_sign_in_is_503_when_the_keys_cannot_be_fetched(oauth):
    supabase, client = oauth
    supabase.keys.clear()

    status, detail = await status_and_detail(client, "login", supabase.token(by_key="k1"))

    assert (status, detail) == (
        503,
        "The sign-in service does not respond. Please try again in a moment.",
    )


async def test_without_configuration_the_response_names_the_missing_setting(client):
    response = await post(client, "login", "x.y.z")

    assert response.status_code == 503
    assert "SUPABASE_URL" in response.json()["detail"]


async def sign_up_all(client, tokens):
    started = time.monotonic()
    responses = await asyncio.gather(*(post(client, "signup", token) for token in tokens))
    return [response.status_code for response in responses], time.monotonic() - started


async def test_the_keys_are_fetched_once_for_all_who_wait(oauth):
    supabase, client = oauth
    tokens = [supabase.token(f"s{n}", f"p{n}@example.com", by_key="k1") for n in range(5)]

    statuses, _ = await sign_up_all(client, tokens)

    assert statuses == [200] * 5
    assert len(supabase.key_requests) == 1


async def test_a_sign_in_service_that_does_not_respond_holds_no_queue(
    database_url, tmp_path, monkeypatch
):
    monkeypatch.setattr(supabase_adapter, "TIMEOUT_SECONDS", 0.5)
    connections = []

    async def silent(_reader, writer):
        connections.append(writer)

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    settings = settings_for(database_url, tmp_path, supabase_url=url)
    tokens = [Supabase(url).token(by_key=f"k{n}") for n in range(5)]
    async with running(settings) as app, client_of(app) as client:
        statuses, _ = await sign_up_all(client, tokens)
        again, _ = await sign_up_all(client, tokens)
    server.close()
    for writer in connections:
        writer.close()

    assert statuses == again == [503] * 5
    assert len(connections) == 1  # the pause after a failure is not over


async def test_a_known_key_signs_in_while_the_service_fails(oauth, monkeypatch):
    supabase, client = oauth
    token = supabase.token(by_key="k1")
    assert (await post(client, "signup", token)).status_code == 200
    monkeypatch.setattr(supabase_adapter, "MAX_KEY_AGE_SECONDS", 0)
    monkeypatch.setattr(supabase_adapter, "MIN_FETCH_INTERVAL_SECONDS", 0)
    supabase.keys.clear()

    statuses = [(await post(client, "login", token)).status_code for _ in range(3)]

    assert statuses == [200] * 3
    assert len(supabase.key_requests) == 2


async def test_a_name_from_the_sign_in_service_is_one_line(oauth):
    supabase, client = oauth
    token = supabase.token(user_metadata={"name": "Alice\n\u202eCook \ud800"})

    response = await post(client, "signup", token)

    assert response.json()["user"]["username"] == "Alice Cook ?"
