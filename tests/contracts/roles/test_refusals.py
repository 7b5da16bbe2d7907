"""Requests that no operation accepts: invalid tokens, and ids that no row can have."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest

from freshly.domains.auth.tokens import TokenSigner
from tests.contracts.roles.test_roles import operations
from tests.support.role_table import ROWS
from tests.support.role_world import World, make_administrator

# They take a token of Supabase.
NOT_OURS = {"/auth/signup/oauth", "/auth/login/oauth"}


def signed_in():
    found = [
        operation.split(" ")
        for operation, row in ROWS.items()
        if row.expected["anonymous"] == 401 and row.path not in NOT_OURS
    ]
    assert len(found) > 100
    return found


def tokens(settings, user):
    signer = TokenSigner(settings)
    long_ago = datetime.now(UTC) - timedelta(days=1)
    expired = signer.access(user.id, "0" * 32, long_ago)
    unknown = signer.access(user.id, "0" * 32, datetime.now(UTC))
    own = user.tokens["access_token"]
    return {
        "expired": (expired, "Token expired"),
        "refresh": (user.tokens["refresh_token"], "Invalid token"),
        "reset": (signer.reset(user.id, "x", datetime.now(UTC)), "Invalid token"),
        "of no session": (unknown, "Token has been revoked"),
        "garbage": ("garbage", "Invalid token"),
        "null": ("null", "Invalid token"),
        "forged": (own[:-4] + ("AAAA" if own[-4:] != "AAAA" else "BBBB"), "Invalid token"),
        "empty": ("", "Not authenticated"),
    }


async def test_a_bad_token_opens_nothing(settings, client, kitchen):
    alice = await kitchen.person("Alice")
    world = World(ids=defaultdict(lambda: 1))
    wrong = []

    for name, (token, detail) in tokens(settings, alice).items():
        headers = {"Authorization": f"Bearer {token}"}
        for method, path in signed_in():
            answer = await client.request(method, world.path(path), headers=headers)
            if (answer.status_code, answer.json()["detail"]) != (401, detail):
                wrong.append((name, method, path, answer.status_code))
            assert answer.headers["WWW-Authenticate"] == "Bearer"

    assert wrong == []


@pytest.mark.parametrize("huge", [2**31, 2**63, 10**30, -(2**40)], ids=str)
async def test_an_id_that_fits_no_column_is_404_everywhere(kitchen, db, tmp_path, huge):
    alice = await kitchen.person("Alice")
    await make_administrator(db, alice.id)
    fixed = {"day": 0, "slot": "dinner", "email": "a@example.com", "invite_code": "1"}
    world = World(ids=defaultdict(lambda: huge, fixed))
    wrong, seen = [], 0

    for operation in sorted(operations(tmp_path)):
        method, path = operation.split(" ")
        if "{" not in path or path.startswith(("/files", "/docs")):
            continue
        seen += 1
        options = world.request(method, path)
        answer = await alice.request(method, world.path(path), **options)
        if answer.status_code != 404:
            wrong.append((method, path, answer.status_code))

    assert seen > 60
    # The one path whose contract has a lower bound of its own.
    assert [one for one in wrong if "invite" not in one[1]] == []


async def test_an_id_that_is_no_number_is_refused(kitchen):
    alice = await kitchen.person("Alice")

    for path in ("/meals/one", "/pantry-items/1.5", "/families/%00/members", "/units/1e3"):
        assert (await alice.get(path)).status_code == 422
