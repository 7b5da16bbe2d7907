"""Offering a meal to somebody of the family."""

import asyncio

import pytest

PATH = "/meal-share-requests"


@pytest.fixture
async def home(kitchen):
    """Alice and Bob of one family, Mallory next door, and a meal of Alice's."""

    people = [await kitchen.person(name) for name in ("Alice", "Bob", "Mallory")]
    household = await kitchen.family(*people[:2])
    pancakes = await kitchen.meal(
        people[0], [("egg", "2")], familyId=household["id"], isFavorite=True, notes="Whisk well."
    )

    class Home:
        alice, bob, mallory = people
        family, meal = household, pancakes

        @classmethod
        async def offer(cls, **fields):
            body = {"mealId": cls.meal["id"], "recipientUserId": cls.bob.id, **fields}
            return await cls.alice.post_ok(PATH, body)

        @classmethod
        async def refusal(cls, person=None, **fields):
            body = {"mealId": cls.meal["id"], "recipientUserId": cls.bob.id, **fields}
            answer = await (person or cls.alice).post(PATH, body)
            return answer.status_code, answer.json()["error"]

    return Home


async def told(person):
    return [(n["type"], n["title"], n["message"]) for n in await person.read("/notifications")]


async def test_an_offer_tells_everything_and_notifies_the_recipient(home):
    offer = await home.offer(message="You asked for it")

    assert offer["status"] == "pending"
    assert (offer["mealId"], offer["familyId"]) == (home.meal["id"], home.family["id"])
    assert (offer["mealName"], offer["message"]) == ("Pancakes", "You asked for it")
    assert offer["sender"] == {"id": home.alice.id, "name": "Alice"}
    assert offer["recipient"] == {"id": home.bob.id, "name": "Bob"}
    assert (offer["senderName"], offer["recipientName"]) == ("Alice", "Bob")
    assert (offer["senderUserId"], offer["recipientUserId"]) == (home.alice.id, home.bob.id)
    assert offer["mealDetail"] == home.meal
    assert (offer["acceptedMealId"], offer["acceptedMealDetail"]) == (None, None)
    assert offer["respondedAt"] is None
    (told_bob,) = await home.bob.read("/notifications")
    assert told_bob["title"] == "New Meal Share Request"
    assert told_bob["message"] == "Alice wants to share 'Pancakes' with you"
    assert told_bob["relatedMealId"] == home.meal["id"]
    assert told_bob["relatedUserId"] == home.alice.id
    assert told_bob["relatedShareRequestId"] == offer["id"]
    assert (told_bob["relatedMealName"], told_bob["relatedUserName"]) == ("Pancakes", "Alice")


async def test_refusals_come_in_the_order_that_clients_know(home, kitchen):
    bobs = await kitchen.meal(home.bob)

    assert await home.refusal(mealId=99999) == (
        404,
        {"error": "Meal not found. It may have been deleted."},
    )
    status, error = await home.refusal(mealId=bobs["id"], recipientUserId=home.alice.id)
    assert (status, set(error)) == (403, {"error"})
    assert (await home.refusal(home.mallory))[0] == 403
    assert (await home.refusal(recipientUserId=home.alice.id))[0] == 400
    assert (await home.refusal(recipientUserId=99999))[0] == 404
    assert (await home.refusal(recipientUserId=home.mallory.id))[0] == 403
    assert (await home.refusal(message="x" * 501))[0] == 422
    await home.offer()
    status, error = await home.refusal()
    assert (status, set(error)) == (409, {"error"})
    assert (await home.refusal(mealId=2**40))[0] == 404


async def test_both_spellings_are_taken(home):
    body = {"meal_id": home.meal["id"], "recipient_user_id": home.bob.id}

    assert (await home.alice.post_ok(PATH, body))["mealId"] == home.meal["id"]


async def test_offers_at_once_make_one(home):
    body = {"mealId": home.meal["id"], "recipientUserId": home.bob.id}

    answers = await asyncio.gather(*(home.alice.post(PATH, body) for _ in range(6)))

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 5
    assert len(await home.bob.read(f"{PATH}/pending")) == 1


async def test_accepting_makes_a_copy_of_ones_own(home):
    offer = await home.offer()

    accepted = await home.bob.post_ok(
        f"{PATH}/{offer['id']}/respond", {"action": "accept"}, status=200
    )

    copy = accepted["acceptedMealDetail"]
    assert (accepted["status"], accepted["acceptedMealId"]) == ("accepted", copy["id"])
    assert accepted["respondedAt"] is not None
    own = {"id": copy["id"], "createdByUserId": home.bob.id, "familyId": None, "isFavorite": False}
    assert copy == {**home.meal, **own}
    assert await home.bob.read(f"{PATH}/accepted-meals") == [copy]
    assert [meal["id"] for meal in await home.bob.read("/meals/me")] == [copy["id"]]
    assert await told(home.alice) == [
        (
            "meal_share_accepted",
            "Meal Share Accepted",
            "Bob accepted your meal 'Pancakes' and now has their own copy.",
        ),
        ("family_member_joined", "New Family Member", "Bob joined The Family"),
    ]
    # The copy goes its own way, and the request outlives it.
    await home.bob.patch(f"/meals/me/{copy['id']}", {"name": "Crêpes"})
    assert (await home.alice.read(f"/meals/{home.meal['id']}"))["name"] == "Pancakes"
    await home.bob.delete(f"/meals/me/{copy['id']}")
    (sent,) = await home.alice.read(f"{PATH}/sent")
    assert (sent["status"], sent["acceptedMealId"]) == ("accepted", None)
    assert await home.bob.read(f"{PATH}/accepted-meals") == []


async def test_declining_is_told_and_a_new_offer_is_possible(home):
    offer = await home.offer()

    declined = await home.bob.post_ok(
        f"{PATH}/{offer['id']}/respond", {"action": "decline"}, status=200
    )

    assert (declined["status"], declined["acceptedMealId"]) == ("declined", None)
    assert (await told(home.alice))[0][2] == "Bob declined your meal 'Pancakes'"
    assert (await home.offer())["id"] != offer["id"]


@pytest.mark.parametrize("action", ["accept", "decline"])
async def test_an_answer_is_final(home, action):
    offer = await home.offer()
    path = f"{PATH}/{offer['id']}"
    await home.bob.post_ok(f"{path}/respond", {"action": action}, status=200)

    again = await home.bob.post(f"{path}/respond", {"action": "accept"})
    word = {"accept": "accepted", "decline": "declined"}[action]
    assert (again.status_code, again.json()["detail"]) == (
        400,
        f"Request has already been {word}",
    )
    cancelled = await home.alice.delete(path)
    assert (cancelled.status_code, cancelled.json()["detail"]) == (
        400,
        "Can only cancel pending requests",
    )


async def test_answers_at_once_make_one_copy(home):
    offer = await home.offer()
    path = f"{PATH}/{offer['id']}/respond"

    answers = await asyncio.gather(*(home.bob.post(path, {"action": "accept"}) for _ in range(6)))

    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 5
    assert len(await home.bob.read("/meals/me")) == 1
    assert len(await told(home.alice)) == 2


async def test_only_the_recipient_answers_and_only_the_sender_cancels(home):
    path = f"{PATH}/{(await home.offer())['id']}"

    for person in (home.alice, home.mallory):
        assert (await person.post(f"{path}/respond", {"action": "accept"})).status_code == 403
    for person in (home.bob, home.mallory):
        assert (await person.delete(path)).status_code == 403
    for gone in (f"{PATH}/99999", f"{PATH}/{2**40}"):
        assert (await home.bob.post(f"{gone}/respond", {"action": "accept"})).status_code == 404
        assert (await home.bob.delete(gone)).status_code == 404
    assert (await home.bob.post(f"{path}/respond", {"action": "eat"})).status_code == 422


async def test_a_cancelled_offer_leaves_no_trace(home):
    offer = await home.offer()

    assert (await home.alice.delete(f"{PATH}/{offer['id']}")).status_code == 204

    assert await told(home.bob) == []
    assert await home.bob.read(f"{PATH}/received") == []


async def test_lists_are_newest_first_and_ones_own(home, kitchen):
    others = [await kitchen.meal(home.alice, name=f"Meal {n}") for n in range(2)]
    offers = [await home.offer(mealId=meal["id"]) for meal in (home.meal, *others)]
    ids = [offer["id"] for offer in reversed(offers)]
    await home.bob.post_ok(f"{PATH}/{ids[1]}/respond", {"action": "decline"}, status=200)

    async def listed(person, which):
        return [offer["id"] for offer in await person.read(f"{PATH}/{which}")]

    assert await listed(home.alice, "sent") == ids
    assert await listed(home.bob, "received") == ids
    assert await listed(home.bob, "pending") == [ids[0], ids[2]]
    assert await listed(home.alice, "received") == await listed(home.alice, "pending") == []
    assert await listed(home.mallory, "sent") == await listed(home.mallory, "received") == []


async def test_long_lists_come_in_pieces(home, kitchen):
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
        pieces, following = [], f"{path}?limit=2"
        while following:
            answer = await person.get(following)
            pieces += answer.json()
            following = answer.links.get("next", {}).get("url")
        assert pieces == whole


async def test_a_person_without_a_name_is_called_by_their_address(home, kitchen):
    carol = await kitchen.person(name="", email="carol@example.com")
    joined = {"invite_code": home.family["invite_code"]}
    await carol.post_ok("/families/join", joined, status=200)

    offer = await home.offer(recipientUserId=carol.id)

    assert offer["recipientName"] == offer["recipient"]["name"] == "carol@example.com"
