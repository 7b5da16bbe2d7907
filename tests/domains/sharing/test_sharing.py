"""Offers of a meal to another member of the family."""

import asyncio

import pytest

PATH = "/meal-share-requests"


@pytest.fixture
async def home(kitchen):
    """Alice and Bob are in one family, Mallory is not. Alice has a meal."""

    users = [await kitchen.person(name) for name in ("Alice", "Bob", "Mallory")]
    household = await kitchen.family(*users[:2])
    pancakes = await kitchen.meal(
        users[0], [("egg", "2")], familyId=household["id"], isFavorite=True, notes="Whisk well."
    )

    class Home:
        alice, bob, mallory = users
        family, meal = household, pancakes

        @classmethod
        async def offer(cls, **fields):
            body = {"mealId": cls.meal["id"], "recipientUserId": cls.bob.id, **fields}
            return await cls.alice.post_ok(PATH, body)

        @classmethod
        async def refusal(cls, person=None, **fields):
            body = {"mealId": cls.meal["id"], "recipientUserId": cls.bob.id, **fields}
            response = await (person or cls.alice).post(PATH, body)
            return response.status_code, response.json()["error"]

    return Home


async def notifications_of(person):
    return [
        (notification["type"], notification["title"], notification["message"])
        for notification in await person.read("/notifications")
    ]


async def test_an_offer_shows_meal_and_users_and_notifies_the_recipient(home):
    offer = await home.offer(message="You asked for it")

    assert offer["status"] == "pending"
    assert (offer["mealId"], offer["familyId"]) == (home.meal["id"], home.family["id"])
    assert (offer["mealName"], offer["message"]) == ("Pancakes", "You asked for it")
    assert offer["sender"] == {"id": home.alice.id, "name": "Alice"}
    assert offer["recipient"] == {"id": home.bob.id, "name": "Bob"}
    assert (offer["senderName"], offer["recipientName"]) == ("Alice", "Bob")
    assert (offer["senderUserId"], offer["recipientUserId"]) == (home.alice.id, home.bob.id)
    assert offer["mealDetail"] == {**home.meal, "isFavorite": False}
    assert (offer["acceptedMealId"], offer["acceptedMealDetail"]) == (None, None)
    assert offer["respondedAt"] is None
    (notification,) = await home.bob.read("/notifications")
    assert notification["title"] == "New Meal Share Request"
    assert notification["message"] == "Alice wants to share 'Pancakes' with you"
    assert notification["relatedMealId"] == home.meal["id"]
    assert notification["relatedUserId"] == home.alice.id
    assert notification["relatedShareRequestId"] == offer["id"]
    assert (notification["relatedMealName"], notification["relatedUserName"]) == (
        "Pancakes",
        "Alice",
    )


async def test_an_offer_is_checked_in_the_order_that_clients_know(home, kitchen):
    meal_of_bob = await kitchen.meal(home.bob)

    assert await home.refusal(mealId=99999) == (
        404,
        {"error": "Meal not found. It may have been deleted."},
    )
    status, error = await home.refusal(mealId=meal_of_bob["id"], recipientUserId=home.alice.id)
    assert (status, set(error)) == (403, {"error"})
    assert (await home.refusal(home.mallory))[0] == 403
    assert (await home.refusal(recipientUserId=home.alice.id))[0] == 400
    unknown = await home.refusal(recipientUserId=99999)
    assert unknown[0] == 404
    assert await home.refusal(recipientUserId=home.mallory.id) == unknown
    assert (await home.refusal(message="x" * 501))[0] == 422
    await home.offer()
    status, error = await home.refusal()
    assert (status, set(error)) == (409, {"error"})
    assert (await home.refusal(mealId=2**40))[0] == 404


async def test_an_offer_is_accepted_in_snake_case_too(home):
    body = {"meal_id": home.meal["id"], "recipient_user_id": home.bob.id}

    assert (await home.alice.post_ok(PATH, body))["mealId"] == home.meal["id"]


async def test_simultaneous_offers_of_a_meal_create_one_offer(home):
    body = {"mealId": home.meal["id"], "recipientUserId": home.bob.id}

    responses = await asyncio.gather(*(home.alice.post(PATH, body) for _ in range(6)))

    assert sorted(response.status_code for response in responses) == [201] + [409] * 5
    assert len(await home.bob.read(f"{PATH}/pending")) == 1


async def test_accepting_an_offer_creates_a_copy_for_the_recipient(home):
    offer = await home.offer()

    accepted = await home.bob.post_ok(
        f"{PATH}/{offer['id']}/respond", {"action": "accept"}, status=200
    )

    copy = accepted["acceptedMealDetail"]
    assert (accepted["status"], accepted["acceptedMealId"]) == ("accepted", copy["id"])
    assert accepted["respondedAt"] is not None
    differences = {
        "id": copy["id"],
        "createdByUserId": home.bob.id,
        "familyId": None,
        "isFavorite": False,
    }
    assert copy == {**home.meal, **differences}
    assert await home.bob.read(f"{PATH}/accepted-meals") == [copy]
    assert [meal["id"] for meal in await home.bob.read("/meals/me")] == [copy["id"]]
    assert await notifications_of(home.alice) == [
        (
            "meal_share_accepted",
            "Meal Share Accepted",
            "Bob accepted your meal 'Pancakes' and now has their own copy.",
        ),
        ("family_member_joined", "New Family Member", "Bob joined The Family"),
    ]
    # The copy can change and be deleted. The meal and the offer stay.
    await home.bob.patch(f"/meals/me/{copy['id']}", {"name": "Crêpes"})
    assert (await home.alice.read(f"/meals/{home.meal['id']}"))["name"] == "Pancakes"
    await home.bob.delete(f"/meals/me/{copy['id']}")
    (sent,) = await home.alice.read(f"{PATH}/sent")
    assert (sent["status"], sent["acceptedMealId"]) == ("accepted", None)
    assert await home.bob.read(f"{PATH}/accepted-meals") == []


async def test_declining_an_offer_notifies_the_sender_and_allows_a_new_offer(home):
    offer = await home.offer()

    declined = await home.bob.post_ok(
        f"{PATH}/{offer['id']}/respond", {"action": "decline"}, status=200
    )

    assert (declined["status"], declined["acceptedMealId"]) == ("declined", None)
    assert (await notifications_of(home.alice))[0][2] == "Bob declined your meal 'Pancakes'"
    assert (await home.offer())["id"] != offer["id"]


@pytest.mark.parametrize("action", ["accept", "decline"])
async def test_an_accepted_or_declined_offer_cannot_be_changed(home, action):
    offer = await home.offer()
    path = f"{PATH}/{offer['id']}"
    await home.bob.post_ok(f"{path}/respond", {"action": action}, status=200)

    again = await home.bob.post(f"{path}/respond", {"action": "accept"})
    participle = {"accept": "accepted", "decline": "declined"}[action]
    assert (again.status_code, again.json()["detail"]) == (
        400,
        f"Request has already been {participle}",
    )
    cancelled = await home.alice.delete(path)
    assert (cancelled.status_code, cancelled.json()["detail"]) == (
        400,
        "Can only cancel pending requests",
    )


async def test_simultaneous_acceptances_create_one_copy(home):
    offer = await home.offer()
    path = f"{PATH}/{offer['id']}/respond"

    responses = await asyncio.gather(*(home.bob.post(path, {"action": "accept"}) for _ in range(6)))

    assert sorted(response.status_code for response in responses) == [200] + [400] * 5
    assert len(await home.bob.read("/meals/me")) == 1
    assert len(await notifications_of(home.alice)) == 2


async def test_only_the_recipient_responds_and_only_the_sender_cancels(home):
    path = f"{PATH}/{(await home.offer())['id']}"

    for person in (home.alice, home.mallory):
        assert (await person.post(f"{path}/respond", {"action": "accept"})).status_code == 403
    for person in (home.bob, home.mallory):
        assert (await person.delete(path)).status_code == 403
    for missing in (f"{PATH}/99999", f"{PATH}/{2**40}"):
        assert (await home.bob.post(f"{missing}/respond", {"action": "accept"})).status_code == 404
        assert (await home.bob.delete(missing)).status_code == 404
    assert (await home.bob.post(f"{path}/respond", {"action": "eat"})).status_code == 422


async def test_a_cancelled_offer_and_its_notification_are_deleted(home):
    offer = await home.offer()

    assert (await home.alice.delete(f"{PATH}/{offer['id']}")).status_code == 204

    assert await notifications_of(home.bob) == []
    assert await home.bob.read(f"{PATH}/received") == []


async def test_offers_are_listed_newest_first_for_their_sender_and_recipient(home, kitchen):
    other_meals = [await kitchen.meal(home.alice, name=f"Meal {n}") for n in range(2)]
    offers = [await home.offer(mealId=meal["id"]) for meal in (home.meal, *other_meals)]
    ids = [offer["id"] for offer in reversed(offers)]
    await home.bob.post_ok(f"{PATH}/{ids[1]}/respond", {"action": "decline"}, status=200)

    async def listed(person, kind):
        return [offer["id"] for offer in await person.read(f"{PATH}/{kind}")]

    assert await listed(home.alice, "sent") == ids
    assert await listed(home.bob, "received") == ids
    assert await listed(home.bob, "pending") == [ids[0], ids[2]]
    assert await listed(home.alice, "received") == await listed(home.alice, "pending") == []
    assert await listed(home.mallory, "sent") == await listed(home.mallory, "received") == []


async def test_offers_are_listed_in_pages_if_the_client_asks_for_a_limit(home, kitchen):
    for _ in range(3):
        meal = await kitchen.meal(home.alice)
        offer = await home.offer(mealId=meal["id"])
        await home.bob.post_ok(f"{PATH}/{offer['id']}/respond", {"action": "accept"}, status=200)
    for person, path in (
        (home.alice, f"{PATH}/sent"),
        (home.bob, f"{PATH}/received"),
        (home.bob, f"{PATH}/accepted-meals"),
    ):
        whole = await person.read(path)
        assert len(whole) == 3
        paged, next_path = [], f"{path}?limit=2"
        while next_path:
            page = await person.get(next_path)
            paged += page.json()
            next_path = page.links.get("next", {}).get("url")
        assert paged == whole


async def test_a_user_without_a_name_is_shown_with_the_email_address(home, kitchen):
    carol = await kitchen.person(name="", email="carol@example.com")
    joined = {"invite_code": home.family["invite_code"]}
    await carol.post_ok("/families/join", joined, status=200)

    offer = await home.offer(recipientUserId=carol.id)

    assert offer["recipientName"] == offer["recipient"]["name"] == "carol@example.com"


async def test_the_recipient_reads_and_accepts_the_meal_as_it_was_offered(home):
    offer = await home.offer()
    later = {"name": "Secret", "notes": "Written after the offer", "isFavorite": False}
    await home.alice.patch(f"/meals/me/{home.meal['id']}", later)

    (received,) = await home.bob.read(f"{PATH}/received")
    accepted = await home.bob.post_ok(
        f"{PATH}/{offer['id']}/respond", {"action": "accept"}, status=200
    )

    for seen in (received, accepted, *await home.bob.read(f"{PATH}/received")):
        assert (seen["mealName"], seen["mealDetail"]) == ("Pancakes", offer["mealDetail"])
    assert accepted["acceptedMealDetail"]["name"] == "Pancakes"
    assert accepted["acceptedMealDetail"]["notes"] == "Whisk well."
    (notification,) = await home.bob.read("/notifications")
    assert notification["relatedMealName"] == "Pancakes"


async def test_the_sender_never_reads_the_recipients_copy(home):
    offer = await home.offer()
    path = f"{PATH}/{offer['id']}/respond"
    copy = (await home.bob.post_ok(path, {"action": "accept"}, status=200))["acceptedMealDetail"]
    await home.bob.patch(f"/meals/me/{copy['id']}", {"notes": "my private diary"})

    (sent,) = await home.alice.read(f"{PATH}/sent")
    (received,) = await home.bob.read(f"{PATH}/received")

    assert (sent["acceptedMealId"], sent["acceptedMealDetail"]) == (copy["id"], None)
    assert received["acceptedMealDetail"]["notes"] == "my private diary"


async def test_a_declined_offer_tells_the_recipient_only_the_name_of_the_meal(home):
    offer = await home.offer()

    declined = await home.bob.post_ok(
        f"{PATH}/{offer['id']}/respond", {"action": "decline"}, status=200
    )

    assert (declined["mealName"], declined["mealDetail"]) == ("Pancakes", None)
    (sent,) = await home.alice.read(f"{PATH}/sent")
    assert sent["mealDetail"] == offer["mealDetail"]


async def test_an_accepted_offer_outlives_the_family(home):
    path = f"{PATH}/{(await home.offer())['id']}/respond"
    copy = (await home.bob.post_ok(path, {"action": "accept"}, status=200))["acceptedMealDetail"]

    assert (await home.alice.delete(f"/families/{home.family['id']}")).status_code == 200

    assert await home.bob.read(f"{PATH}/accepted-meals") == [copy]
    (received,) = await home.bob.read(f"{PATH}/received")
    assert (received["familyId"], received["mealDetail"]["familyId"]) == (None, None)
