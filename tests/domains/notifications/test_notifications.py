"""The notifications of a user."""

import pytest

PATH = "/notifications"


@pytest.fixture
async def alice(kitchen):
    """Alice has three notifications: two users joined her family, and Bob offered a meal."""
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")
    family = await kitchen.family(alice, bob, await kitchen.person("Carol"))
    meal = await kitchen.meal(bob)
    body = {"mealId": meal["id"], "recipientUserId": alice.id}
    await bob.post_ok("/meal-share-requests", body)
    alice.family = family
    return alice


async def notification_ids(person, **query):
    return [notification["id"] for notification in await person.read(PATH, **query)]


async def unread_count(person):
    return (await person.read(f"{PATH}/unread-count"))["count"]


async def test_notifications_are_listed_newest_first_with_the_names_they_refer_to(alice):
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


async def test_notifications_can_be_filtered_and_read_in_pages(alice):
    all_three = await notification_ids(alice)
    await alice.patch(f"{PATH}/{all_three[1]}/read")

    assert await notification_ids(alice, unreadOnly="true") == [all_three[0], all_three[2]]
    assert await notification_ids(alice, type="family_member_joined") == all_three[1:]
    assert await notification_ids(alice, skip=1, limit=1) == [all_three[1]]
    for invalid in ({"limit": 0}, {"limit": 101}, {"skip": -1}, {"type": "gossip"}):
        assert (await alice.get(PATH, params=invalid)).status_code == 422


async def test_an_unchanged_list_is_304_without_a_body(alice):
    first = await alice.get(PATH)
    tag = first.headers["ETag"]
    assert first.headers["Cache-Control"] == "private, max-age=30, must-revalidate"
    assert len(tag) == 32

    again = await alice.get(PATH, headers={"If-None-Match": f'"{tag}"'})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    await alice.post(f"{PATH}/mark-all-read")
    changed = await alice.get(PATH, headers={"If-None-Match": tag})
    assert changed.status_code == 200


async def test_marking_a_notification_as_read_or_unread_changes_the_counts_at_once(alice):
    first, *_ = await notification_ids(alice)
    assert await unread_count(alice) == 3

    read = (await alice.patch(f"{PATH}/{first}/read")).json()
    assert read["isRead"] is True
    assert read["readAt"] is not None
    assert (await alice.patch(f"{PATH}/{first}/read")).json() == read
    assert await unread_count(alice) == 2
    assert await alice.read(f"{PATH}/stats") == {
        "total": 3,
        "unread": 2,
        "unreadByType": {"family_member_joined": 2},
    }

    unread = (await alice.patch(f"{PATH}/{first}/unread")).json()
    assert (unread["isRead"], unread["readAt"]) == (False, None)
    assert await unread_count(alice) == 3


async def test_all_notifications_can_be_marked_as_read_and_deleted_together(alice):
    first, *_ = await notification_ids(alice)
    await alice.patch(f"{PATH}/{first}/read")

    deleted = (await alice.delete(f"{PATH}/read/all")).json()
    assert (deleted["count"], len(await notification_ids(alice))) == (1, 2)
    marked = (await alice.post(f"{PATH}/mark-all-read")).json()
    assert (marked["count"], await unread_count(alice)) == (2, 0)
    assert all(notification["readAt"] for notification in await alice.read(PATH))
    deleted_all = await alice.delete(f"{PATH}/all")
    assert (deleted_all.status_code, deleted_all.json()["count"]) == (200, 2)
    assert set(deleted_all.json()) == {"message", "count"}
    assert await notification_ids(alice) == []


async def test_a_notification_can_be_deleted(alice):
    first, *_ = await notification_ids(alice)

    assert (await alice.delete(f"{PATH}/{first}")).status_code == 204
    assert (await alice.get(f"{PATH}/{first}")).status_code == 404


async def test_a_user_cannot_read_or_delete_notifications_of_other_users(alice, kitchen):
    first, *_ = await notification_ids(alice)
    mallory = await kitchen.person("Mallory")

    for notification_id, status in ((first, 403), (99999, 404)):
        responses = [
            await mallory.get(f"{PATH}/{notification_id}"),
            await mallory.patch(f"{PATH}/{notification_id}/read"),
            await mallory.patch(f"{PATH}/{notification_id}/unread"),
            await mallory.delete(f"{PATH}/{notification_id}"),
        ]
        assert [response.status_code for response in responses] == [status] * 4
    for path in (f"{PATH}/all", f"{PATH}/read/all"):
        assert (await mallory.delete(path)).json()["count"] == 0
    assert await unread_count(alice) == 3
