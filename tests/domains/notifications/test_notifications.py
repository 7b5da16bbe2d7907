"""What people are told."""

import pytest

PATH = "/notifications"


@pytest.fixture
async def alice(kitchen):
    """Alice, who was told of two people who joined, and of a meal that was offered."""
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")
    family = await kitchen.family(alice, bob, await kitchen.person("Carol"))
    meal = await kitchen.meal(bob)
    body = {"mealId": meal["id"], "recipientUserId": alice.id}
    await bob.post_ok("/meal-share-requests", body)
    alice.family = family
    return alice


async def ids(person, **query):
    return [one["id"] for one in await person.read(PATH, **query)]


async def counted(person):
    return (await person.read(f"{PATH}/unread-count"))["count"]


async def test_the_newest_comes_first_with_the_names_of_what_it_is_about(alice):
    offered, carol, bob = await alice.read(PATH)

    assert (offered["type"], offered["relatedMealName"]) == ("meal_share_request", "Pancakes")
    assert (carol["type"], carol["relatedUserName"]) == ("family_member_joined", "Carol")
    assert bob["relatedFamilyName"] == "The Family"
    assert bob["relatedFamilyId"] == alice.family["id"]
    assert (bob["isRead"], bob["readAt"], bob["userId"]) == (False, None, alice.id)
    assert set(bob) == {
        *("id", "userId", "type", "title", "message", "relatedMealId", "relatedUserId"),
        *("relatedFamilyId", "relatedShareRequestId", "isRead", "createdAt", "readAt"),
        *("relatedUserName", "relatedMealName", "relatedFamilyName"),
    }
    assert await alice.read(f"{PATH}/{bob['id']}") == bob


async def test_the_list_is_filtered_and_paged(alice):
    all_three = await ids(alice)
    await alice.patch(f"{PATH}/{all_three[1]}/read")

    assert await ids(alice, unreadOnly="true") == [all_three[0], all_three[2]]
    assert await ids(alice, type="family_member_joined") == all_three[1:]
    assert await ids(alice, skip=1, limit=1) == [all_three[1]]
    for wrong in ({"limit": 0}, {"limit": 101}, {"skip": -1}, {"type": "gossip"}):
        assert (await alice.get(PATH, params=wrong)).status_code == 422


async def test_an_unchanged_list_costs_no_body(alice):
    first = await alice.get(PATH)
    tag = first.headers["ETag"]
    assert first.headers["Cache-Control"] == "private, max-age=30, must-revalidate"
    assert len(tag) == 32

    again = await alice.get(PATH, headers={"If-None-Match": f'"{tag}"'})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    await alice.post(f"{PATH}/mark-all-read")
    changed = await alice.get(PATH, headers={"If-None-Match": tag})
    assert changed.status_code == 200


async def test_reading_and_unreading_is_counted_at_once(alice):
    first, *_ = await ids(alice)
    assert await counted(alice) == 3

    read = (await alice.patch(f"{PATH}/{first}/read")).json()
    assert read["isRead"] is True
    assert read["readAt"] is not None
    assert (await alice.patch(f"{PATH}/{first}/read")).json() == read
    assert await counted(alice) == 2
    assert await alice.read(f"{PATH}/stats") == {
        "total": 3,
        "unread": 2,
        "unreadByType": {"family_member_joined": 2},
    }

    unread = (await alice.patch(f"{PATH}/{first}/unread")).json()
    assert (unread["isRead"], unread["readAt"]) == (False, None)
    assert await counted(alice) == 3


async def test_all_are_read_and_deleted_at_once(alice):
    first, *_ = await ids(alice)
    await alice.patch(f"{PATH}/{first}/read")

    deleted = (await alice.delete(f"{PATH}/read/all")).json()
    assert (deleted["count"], len(await ids(alice))) == (1, 2)
    marked = (await alice.post(f"{PATH}/mark-all-read")).json()
    assert (marked["count"], await counted(alice)) == (2, 0)
    assert all(one["readAt"] for one in await alice.read(PATH))
    everything = await alice.delete(f"{PATH}/all")
    assert (everything.status_code, everything.json()["count"]) == (200, 2)
    assert set(everything.json()) == {"message", "count"}
    assert await ids(alice) == []


async def test_one_is_deleted(alice):
    first, *_ = await ids(alice)

    assert (await alice.delete(f"{PATH}/{first}")).status_code == 204
    assert (await alice.get(f"{PATH}/{first}")).status_code == 404


async def test_nobody_reads_or_deletes_what_others_were_told(alice, kitchen):
    first, *_ = await ids(alice)
    mallory = await kitchen.person("Mallory")

    for which, status in ((first, 403), (99999, 404)):
        answers = [
            await mallory.get(f"{PATH}/{which}"),
            await mallory.patch(f"{PATH}/{which}/read"),
            await mallory.patch(f"{PATH}/{which}/unread"),
            await mallory.delete(f"{PATH}/{which}"),
        ]
        assert [answer.status_code for answer in answers] == [status] * 4
    for path in (f"{PATH}/all", f"{PATH}/read/all"):
        assert (await mallory.delete(path)).json()["count"] == 0
    assert await counted(alice) == 3
