"""The secret that signs tokens can be changed without signing anyone out."""

import jwt
import pytest
from pydantic import SecretStr

from freshly.settings import Settings
from tests.conftest import SECRET, client_of, running

NEW = SecretStr("the next secret, which is long enough to be one")


async def with_secrets(settings, tokens, current, previous):
    """Return statuses of the access and refresh token on a server with these secrets."""
    changes = {"jwt_secret": current, "jwt_secret_previous": previous}
    async with running(settings.model_copy(update=changes)) as app, client_of(app) as client:
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        read = await client.get("/users/me", headers=headers)
        body = {"refresh_token": tokens["refresh_token"]}
        refreshed = await client.post("/auth/refresh", json=body)
        return (read.status_code, refreshed.status_code), refreshed.json()


async def test_tokens_of_the_previous_secret_stay_valid_and_are_replaced(settings, kitchen):
    tokens = (await kitchen.person()).tokens

    both, renewed = await with_secrets(settings, tokens, NEW, SECRET)
    after, _ = await with_secrets(settings, renewed, NEW, SecretStr(""))
    old, _ = await with_secrets(settings, tokens, NEW, SecretStr(""))

    assert both == after == (200, 200)
    assert old == (401, 401)
    names = [jwt.get_unverified_header(one["access_token"])["kid"] for one in (tokens, renewed)]
    assert names[0] != names[1]


async def test_the_previous_secret_signs_only_tokens_that_name_it(settings, kitchen):
    tokens = (await kitchen.person()).tokens
    claims = jwt.decode(tokens["access_token"], options={"verify_signature": False})
    name = jwt.get_unverified_header(tokens["access_token"])["kid"]
    forged = jwt.encode(claims, "another secret that is long enough", headers={"kid": name})
    unknown = jwt.encode(claims, SECRET.get_secret_value(), headers={"kid": "unknown"})
    of_an_earlier_release = jwt.encode(claims, SECRET.get_secret_value())

    statuses = [
        (await with_secrets(settings, {**tokens, "access_token": token}, NEW, SECRET))[0][0]
        for token in (forged, unknown, of_an_earlier_release)
    ]

    assert statuses == [401, 401, 200]


def test_a_weak_previous_secret_is_refused_in_production():
    with pytest.raises(ValueError, match="JWT_SECRET_PREVIOUS: is too weak for production"):
        Settings(app_env="production", jwt_secret_previous=SecretStr("weak"))
