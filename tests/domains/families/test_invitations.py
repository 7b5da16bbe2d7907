"""Invitations by link, by letters and by six digits: who can join with what, and until when."""

import asyncio
import re
from datetime import UTC, datetime, timedelta

import pytest
from httpx2 import ASGITransport, AsyncClient
from sqlalchemy import select, text, update

from freshly.domains.families.jobs import RenewInviteCodes
from freshly.domains.families.models import Family, Invitation
from tests.conftest import running, settings_for
from tests.support.api import Kitchen

PAST = datetime.now(UTC) - timedelta(minutes=1)


@pytest.fixture
async def home(kitchen):
    class Home:
        pass

    for name in ("owner", "member", "guest", "other"):
        setattr(Home, name, await kitchen.person(name))
    Home.family = await kitchen.family(Home.owner, Home.member)
    Home.path = f"/families/{Home.family['id']}/invitations"

    async def invite(**fields):
        return await Home.owner.post_ok(Home.path, fields)

    async def join(person, code):
        response = await person.post("/families/join", {"invite_code": code})
        return response.status_code if response.status_code != 200 else response.json()["role"]

    Home.invite, Home.join = staticmethod(invite), staticmethod(join)
    return Home


async def set_columns(db, model, **values):
    async with db.write() as session:
        await session.execute(update(model).values(**values))


async def test_a_link_is_shown_to_anyone_and_lets_one_user_join_in_its_role(home, client):
    invitation = await home.invite(role="admin")

    assert invitation["link"] == f"http://test/invitations?token={invitation['token']}"
    assert len(invitation["token"]) == 22  # 128 bits in base64
    preview = await client.get(invitation["link"])
    assert preview.json() == {
        "family_name": "The Family",
        "role": "admin",
        "expires_at": invitation["expires_at"],
    }
    assert await home.join(home.guest, invitation["token"]) == "admin"
    assert await home.join(home.other, invitation["token"]) == 404
    assert (await client.get(invitation["link"])).status_code == 404


async def test_the_database_and_later_responses_hold_no_secret_of_an_invitation(home, db):
    invitation = await home.invite()

    listed = (await home.owner.read(home.path))["items"]

    assert [row["id"] for row in listed] == [invitation["id"]]
    assert listed[0].keys() == invitation.keys() - {"link", "token", "code"}
    async with db.read() as session:
        (row,) = (await session.execute(select(Invitation.__table__))).mappings().all()
    stored = str(dict(row))
    for secret in (invitation["token"], invitation["code"], invitation["code"].replace("-", "")):
        assert secret not in stored


async def test_eight_letters_in_any_spelling_are_valid_for_an_hour(home, db):
    invitation = await home.invite(uses=3)
    code = invitation["code"]
    assert re.fullmatch(r"[A-Z]{4}-[A-Z]{4}", code)
    lifetime = datetime.fromisoformat(invitation["code_expires_at"]) - datetime.fromisoformat(
        invitation["created_at"]
    )
    assert timedelta(minutes=59) < lifetime < timedelta(minutes=61)

    assert await home.join(home.guest, f" {code.lower().replace('-', ' ')} ") == "member"
    await set_columns(db, Invitation, code_expires_at=PAST)

    assert await home.join(home.other, code) == 404
    assert await home.join(home.other, invitation["token"]) == "member"


async def test_an_invitation_is_used_as_often_as_it_says_also_at_once(home, kitchen):
    invitation = await home.invite(uses=2)
    people = [home.guest, home.other, await kitchen.person("third")]

    assert await home.join(home.member, invitation["token"]) == "member"  # costs no use
    joined = await asyncio.gather(*(home.join(p, invitation["token"]) for p in people))

    assert sorted(map(str, joined)) == ["404", "member", "member"]
    assert (await home.owner.read(home.path))["items"] == []


async def test_an_expired_invitation_is_dead_and_is_deleted(home, client, db, jobs):
    invitation = await home.invite(days=1)
    await set_columns(db, Invitation, expires_at=PAST)

    for code in (invitation["token"], invitation["code"]):
        assert await home.join(home.guest, code) == 404
    assert (await client.get(invitation["link"])).status_code == 404
    assert (await home.owner.read(home.path))["items"] == []
    await run_renewal(jobs)
    async with db.read() as session:
        assert (await session.scalars(select(Invitation))).all() == []


async def test_only_admins_and_owners_invite_and_end_invitations(home):
    invitation = await home.invite()
    path = f"{home.path}/{invitation['id']}"

    for person in (home.member, home.guest):
        assert (await person.post(home.path, {})).status_code == 403
        assert (await person.get(home.path)).status_code == 403
        assert (await person.delete(path)).status_code == 403
    assert (await home.owner.post(home.path, {"role": "owner"})).status_code == 422
    assert (await home.owner.post(home.path, {"uses": 0})).status_code == 422
    assert (await home.owner.delete(path)).status_code == 204
    assert (await home.owner.delete(path)).status_code == 404
    assert await home.join(home.guest, invitation["token"]) == 404


async def test_a_family_has_at_most_fifty_open_invitations(home):
    for _ in range(50):
        await home.invite()

    refused = await home.owner.post(home.path, {})

    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_invitations")
    assert "50 open invitations" in refused.json()["detail"]


@pytest.mark.parametrize("way", ["removed", "left", "removed by membership", "account deleted"])
async def test_a_former_member_comes_back_with_no_code_or_link_that_was_open(home, way):
    invitation = await home.invite(uses=5)
    codes = (home.family["invite_code"], invitation["token"], invitation["code"])
    members = f"/families/{home.family['id']}/members"
    by_user = {one["user_id"]: one["id"] for one in await home.owner.read(members)}
    person = home.member

    gone = {
        "removed": lambda: home.owner.delete(f"{members}/{person.id}"),
        "left": lambda: person.delete(f"{members}/{person.id}"),
        "removed by membership": lambda: home.owner.delete(f"/memberships/{by_user[person.id]}"),
        "account deleted": lambda: person.delete("/users/me"),
    }
    assert (await gone[way]()).status_code in (200, 204)

    for code in codes:
        assert await home.join(home.guest, code) == 404
    (family,) = await home.owner.read("/families")
    assert family["invite_code"] != codes[0]
    assert await home.join(home.guest, family["invite_code"]) == "member"


async def run_renewal(jobs):
    await jobs.enqueue(RenewInviteCodes())
    await jobs.run_due()


@pytest.mark.parametrize("expires_at", [PAST, None], ids=["expired", "of an older release"])
async def test_six_digits_expire_and_are_renewed(home, db, jobs, expires_at):
    old = home.family["invite_code"]
    lifetime = datetime.fromisoformat(home.family["invite_code_expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=23) < lifetime <= timedelta(hours=24, seconds=5)
    await set_columns(db, Family, invite_code_expires_at=expires_at)

    assert await home.join(home.guest, old) == 404
    await run_renewal(jobs)

    (family,) = await home.owner.read("/families")
    assert re.fullmatch(r"[0-9]{6}", family["invite_code"])
    assert family["invite_code"] != old
    assert await home.join(home.guest, family["invite_code"]) == "member"


async def test_a_code_that_still_holds_is_not_renewed(home, jobs):
    await run_renewal(jobs)

    assert await home.owner.read("/families") == [{**home.family, "count": 2}]


@pytest.fixture
async def limited(database_url, tmp_path):
    settings = settings_for(database_url, tmp_path, rate_limit_enabled=True)
    async with running(settings) as app:
        yield app


def from_network(app, address):
    transport = ASGITransport(app, raise_app_exceptions=False, client=(address, 1))
    return AsyncClient(transport=transport, base_url="http://test")


async def tries(person, codes):
    return [
        (await person.post("/families/join", {"invite_code": code})).status_code for code in codes
    ]


def wrong_codes(right, count):
    return [code for n in range(count + 1) if (code := f"{n:06d}") != right][:count]


async def test_wrong_codes_are_counted_by_network_and_right_ones_are_not(limited):
    async with (
        from_network(limited, "192.0.2.1") as here,
        from_network(limited, "192.0.2.2") as far,
    ):
        owner = await Kitchen(here).person("owner")
        family = await Kitchen(here).family(owner)
        right = family["invite_code"]
        first, second = await Kitchen(far).person("first"), await Kitchen(far).person("second")
        assert await tries(first, [right] * 12) == [200] * 12
        thief = await Kitchen(here).person("thief")

        assert await tries(thief, wrong_codes(right, 10)) == [404] * 10
        refused = await thief.post("/families/join", {"invite_code": right})

        assert refused.status_code == 429
        assert refused.json()["error"]["route_group"] == "invite-code"
        assert int(refused.headers["Retry-After"]) > 0
        assert await tries(second, [right]) == [200]


async def test_wrong_digits_are_counted_over_all_networks_and_letters_are_not(limited):
    async with from_network(limited, "192.0.2.1") as here:
        owner = await Kitchen(here).person("owner")
        family = await Kitchen(here).family(owner)
        invitation = await owner.post_ok(f"/families/{family['id']}/invitations", {"uses": 9})
    for n in range(5):
        async with from_network(limited, f"198.51.100.{n}") as network:
            thief = await Kitchen(network).person(f"thief{n}")
            assert await tries(thief, wrong_codes(family["invite_code"], 10)) == [404] * 10

    async with from_network(limited, "203.0.113.1") as network:
        guest = await Kitchen(network).person("guest")
        # What all networks have used up is not counted for this one.
        assert await tries(guest, [family["invite_code"]] * 11) == [429] * 11
        assert await tries(guest, [invitation["code"]]) == [200]


async def test_wrong_codes_are_counted_by_the_larger_networks_of_an_ipv6_address(limited):
    for n in range(5):
        async with from_network(limited, f"2001:db8:0:{n}::1") as network:
            thief = await Kitchen(network).person(f"thief{n}")
            statuses = await tries(thief, [f"{n:06d}" for n in range(10)])
            assert statuses == ([404] if n < 4 else [429]) * 10


async def test_simultaneous_wrong_codes_pass_no_limit(limited):
    async with from_network(limited, "192.0.2.1") as here:
        thief = await Kitchen(here).person("thief")
        responses = await asyncio.gather(
            *(thief.post("/families/join", {"invite_code": f"{n:06d}"}) for n in range(20))
        )

    statuses = [response.status_code for response in responses]
    assert (statuses.count(404), statuses.count(429)) == (10, 10)


# PostgreSQL takes ten seconds for a million rows, and the code is the same.
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_a_family_can_be_founded_when_all_short_codes_are_taken(kitchen, db):
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")
    async with db.write() as session:
        await session.execute(
            text(
                "WITH RECURSIVE c(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM c WHERE n < 999999)"
                " INSERT INTO families (display_name, invite_code)"
                " SELECT 'x', printf('%06d', n) FROM c"
            )
        )

    family = await kitchen.family(alice, bob)

    assert re.fullmatch(r"[0-9]{9}", family["invite_code"])


async def test_invitations_end_with_the_role_that_made_them(home, client):
    """Otherwise an admin who is a member again could go on making admins."""
    role = f"/families/{home.family['id']}/members/{home.member.id}/role"
    await home.owner.patch(role, {"role": "admin"})
    his = await home.member.post_ok(home.path, {"role": "admin", "uses": 5})
    other = await home.invite(role="admin", uses=5)

    assert (await home.owner.patch(role, {"role": "member"})).status_code == 200

    assert await home.join(home.guest, his["token"]) == 404
    assert await home.join(home.guest, his["code"]) == 404
    assert (await client.get(his["link"])).status_code == 404
    assert await home.join(home.other, other["token"]) == "admin"
