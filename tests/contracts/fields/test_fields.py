"""Each kind of data of a user reaches the readers that table.toml names, and no other reader."""

import tomllib
from pathlib import Path

from tests.support.role_table import ROWS
from tests.support.role_world import World, make_administrator

TABLE = tomllib.loads(Path(__file__).with_name("table.toml").read_text(encoding="utf-8"))
READERS = (
    *("tom", "member", "admin", "owner", "elsewhere", "ex-member", "stranger"),
    "administrator",
)
PROFILE = {
    "name": "Tom Canary",
    "email": "tom.canary@example.com",
    "avatar_path": "https://pictures.example.com/tom-canary.png",
    "phone_number": "+31 6 4711",
    "location": "Canary Street 1",
    "gender": "canary gender",
    "age": 1_234_567,
    "weight": 71.53125,
    "height": 181.28125,
    "calories": 2113.03125,
}
PREFERENCES = {
    "food_allergies": ["canary seed"],
    "calorie_target": 2_345_678,
    "age": 3_456_789,
    "height_cm": 182.40625,
    "weight_kg": 72.65625,
}
VALUES = {
    **{("profile", name): value for name, value in PROFILE.items()},
    **{("preferences", name): value for name, value in PREFERENCES.items()},
    ("preferences", "food_allergies"): "canary seed",
    **{("rows", name): f"canary {name}" for name in TABLE["rows"]},
}
# Reads that need no rows of Tom, or whose id is not in a row of the API.
SKIPPED = {"GET /files/{bucket}/{path:path}", "GET /metrics", "GET /invitations", "GET /ready"}
SKIPPED |= {"GET /auth/sign-up"}
READS = [(row.method, row.path) for name, row in ROWS.items() if row.method == "GET"]
READS = [(method, path) for method, path in READS if f"{method} {path}" not in SKIPPED]


def test_each_row_of_the_table_has_a_value_and_each_value_a_row():
    listed = {(section, name) for section, rows in TABLE.items() for name in rows}

    assert listed == VALUES.keys()
    assert len(set(VALUES.values())) == len(VALUES)


async def share(sender, recipient, meal):
    """Offer a meal and accept it. Return the id of the offer, and the copy."""
    offer = {"mealId": meal["id"], "recipientUserId": recipient.id}
    offer_id = (await sender.post_ok("/meal-share-requests", offer))["id"]
    path = f"/meal-share-requests/{offer_id}/respond"
    accepted = await recipient.post_ok(path, {"action": "accept"}, status=200)
    return offer_id, accepted["acceptedMealDetail"]


async def furnish(kitchen, tom, owner, family):
    """Give Tom one of everything. Return the ids that paths name."""

    def named(row):
        return VALUES["rows", row]

    private = await kitchen.meal(tom, name=named("private_meal"))
    planned = await kitchen.meal(tom, name=named("planned_meal"))
    await kitchen.planned(tom, await kitchen.plan(tom, family), 1, "dinner", planned)
    shared = await kitchen.meal(tom, name=named("family_meal"), familyId=family["id"])
    item = await kitchen.stock(tom, "Rice", 1, "kg", category=named("personal_pantry"))
    shared_item = {"category": named("family_pantry"), "family_id": family["id"]}
    await kitchen.stock(tom, "Rice", 1, "kg", **shared_item)
    plan = await kitchen.plan(tom, title=named("personal_plan"))
    shopping = {"scope": "personal", "title": named("personal_list")}
    personal_list = await tom.post_ok("/grocery-lists", shopping)
    rice = (await tom.read("/ingredients"))[0]
    line = await tom.post_ok(
        f"/grocery-lists/{personal_list['id']}/items", {"ingredient_id": rice["id"]}
    )
    shopping = {"scope": "family", "title": named("family_list"), "family_id": family["id"]}
    await tom.post_ok("/grocery-lists", shopping)
    conversation = await tom.post_ok(
        "/chat/conversations", {"title": named("conversation")}, status=200
    )
    offered = await kitchen.meal(tom, name=named("offered_meal"))
    offer, _ = await share(tom, owner, offered)
    await tom.patch(f"/meals/me/{offered['id']}", {"name": named("offered_meal_changed")})
    _, copy = await share(owner, tom, await kitchen.meal(owner))
    await tom.patch(f"/meals/me/{copy['id']}", {"name": named("accepted_copy_changed")})
    recipe = await owner.post_ok("/recipes", {"family_id": family["id"], "title": "Soup"})
    return {
        "families": family["id"],
        "user": tom.id,
        "accounts": tom.id,
        "meals": private["id"],
        "pantry-items": item["id"],
        "grocery-lists": personal_list["id"],
        "items": line["id"],
        "meal-plans": plan["id"],
        "conversations": conversation["id"],
        "ingredients": 1,
        "meal-share-requests": offer,
        "recipes": recipe["id"],
        "units": 1,
        "diet-tags": 1,
        "notifications": (await tom.read("/notifications"))[0]["id"],
        "jobs": "none",
        "all_meals": [meal["id"] for meal in (private, planned, shared, offered, copy)],
    }


async def build(kitchen, db):
    """Return the readers by name, and the world of Tom's rows."""
    tom = await kitchen.person(PROFILE["name"], email=PROFILE["email"])
    names = {name: await kitchen.person(name.replace(" ", "")) for name in READERS[1:]}
    people = {"tom": tom, **names}
    await make_administrator(db, people["administrator"].id)
    owner, admin = people["owner"], people["admin"]
    family = await kitchen.family(owner, admin, people["member"], tom, people["ex-member"])
    await kitchen.family(people["stranger"], people["elsewhere"], name="The Others")
    members = f"/families/{family['id']}/members"
    await owner.patch(f"{members}/{admin.id}/role", {"role": "admin"})
    for path, body in (("/users/me", PROFILE), ("/preferences/me", PREFERENCES)):
        changed = await tom.patch(path, {k: v for k, v in body.items() if k != "email"})
        assert changed.status_code == 200, changed.text
    world = World(ids=await furnish(kitchen, tom, owner, family))
    await people["ex-member"].delete(f"{members}/{people['ex-member'].id}")
    return people, world


def scalars(body):
    """Yield each text and number in JSON. Whole texts only, because notifications quote names."""
    if isinstance(body, dict):
        for value in body.values():
            yield from scalars(value)
    elif isinstance(body, list):
        for value in body:
            yield from scalars(value)
    else:
        yield body


async def seen_by(person, world):
    """Return the values that this person finds in all responses."""
    found = set()
    requests = [(world.path(path), world.request(method, path)) for method, path in READS]
    requests += [(f"/meals/{meal_id}", {}) for meal_id in world.ids["all_meals"]]
    for path, options in requests:
        response = await person.get(path, **options)
        if response.headers.get("content-type", "").endswith("json"):
            found.update(scalars(response.json()))
    return {row for row, value in VALUES.items() if value in found}


async def test_each_reader_sees_what_the_table_says(kitchen, db):
    people, world = await build(kitchen, db)

    for shares, visible in ((False, {"yes"}), (True, {"yes", "shared"})):
        await people["tom"].patch("/users/me", {"shares_profile": shares})
        for place, reader in enumerate(READERS):
            expected = {
                (section, name)
                for section, rows in TABLE.items()
                for name, columns in rows.items()
                if columns[place] in visible
            }
            assert await seen_by(people[reader], world) == expected, (reader, shares)
