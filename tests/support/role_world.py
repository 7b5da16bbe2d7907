"""Two families with one of everything, and how each operation is called there."""

import json
import shutil
from dataclasses import dataclass, field

from tests.support.api import MEAL, PASSWORD, Kitchen
from tests.support.pictures import in_base64, picture

ROLES = ("anonymous", "stranger", "ex-member", "member", "admin", "owner")
FILE = {"files": {"file": ("me.png", picture())}}
NOBODYS = {"email": "nobody@example.com"}


@dataclass
class World:
    headers: dict = field(default_factory=dict)
    ids: dict = field(default_factory=dict)
    refresh_token: str = ""

    def save(self, path):
        path.write_text(json.dumps(vars(self)))

    @classmethod
    def load(cls, path):
        return cls(**json.loads(path.read_text()))

    def path(self, template):
        """The template filled with what belongs to the owner, or to their family."""
        parts = template.strip("/").split("/")
        filled = []
        for place, part in enumerate(parts):
            before = parts[place - 1] if place else ""
            named = {
                "{family_id}": "families",
                "{user_id}": "user",
                "{plan_id}": "meal-plans",
                "{bucket}": "bucket",
                "{path:path}": "path",
                "{day}": "day",
                "{slot}": "slot",
                "{id}": before if before in ("items", "conversations", "sessions") else parts[0],
            }
            key = named.get(part)
            if part == "{id}" and before == "me":
                key = f"{parts[0]}/me"
            filled.append(str(self.ids[key]) if key else part)
        return "/" + "/".join(filled)

    def request(self, method, template):
        """What the operation is called with, besides its path."""
        ids = self.ids
        calls = {
            "POST /auth/register": {"json": {"email": "new@example.com", "password": PASSWORD}},
            "POST /auth/login": {"json": {"email": ids["email"], "password": PASSWORD}},
            "POST /auth/refresh": {"json": {"refresh_token": self.refresh_token}},
            "POST /auth/send-code": {"json": NOBODYS},
            "POST /auth/verify-code": {"json": {**NOBODYS, "code": "123456"}},
            "POST /auth/forgot-password": {"json": NOBODYS},
            "POST /auth/forgot-password/verify": {"json": {**NOBODYS, "code": "123456"}},
            "POST /auth/reset-password": {"json": {"reset_token": "x", "new_password": PASSWORD}},
            "PATCH /users/me": {"json": {"name": "New"}},
            "POST /preferences/me": {"json": {"goal": "balanced"}},
            "PATCH /notifications/choices": {"json": {"digest": "none"}},
            "PATCH /preferences/me": {"json": {"calorie_target": 2100}},
            "POST /families": {"json": {"display_name": "New"}},
            "POST /families/join": {"json": {"invite_code": ids["invite_code"]}},
            "PATCH /families/{family_id}/members/{user_id}/role": {"json": {"role": "admin"}},
            "PATCH /memberships/{id}/role": {"json": {"role": "admin"}},
            "POST /ingredients": {"json": {"name": "Dragon fruit jam"}},
            "PATCH /ingredients/{id}": {"json": {"category": "Fruit"}},
            "POST /storage/avatar/proxy": FILE,
            "POST /pantry-items": {
                "json": {"ingredient_name": "Rice", "family_id": ids["families"]}
            },
            "POST /pantry-items/me": {"json": {"ingredient_name": "Rice"}},
            "PATCH /pantry-items/{id}": {"json": {"quantity": 3}},
            "POST /recipes": {"json": {"family_id": ids["families"], "title": "Soup"}},
            "PATCH /recipes/{id}": {"json": {"title": "Broth"}},
            "GET /recipes": {"params": {"family_id": ids["families"]}},
            "POST /meals/me": {"json": {**MEAL, "familyId": ids["families"]}},
            "PATCH /meals/me/{id}": {"json": {"name": "New"}},
            "PUT /meals/{id}": {"json": {"name": "New"}},
            "POST /meals/{id}/attach-family": {"json": {"familyId": ids["families"]}},
            "POST /meal-plans": {
                "json": {"family_id": ids["families"], "week_start": "2030-01-07"}
            },
            "POST /meal-plans/me": {"json": {"week_start": "2030-01-07"}},
            "PATCH /meal-plans/me/{id}": {"json": {"title": "New"}},
            "PATCH /meal-plans/{id}": {"json": {"title": "New"}},
            "PUT /meal-plans/{id}/slots/{day}/{slot}": {
                "json": {"meals": [{"meal_id": ids["meals"]}]}
            },
            "POST /grocery-lists": {"json": {"scope": "family", "family_id": ids["families"]}},
            "POST /grocery-lists/add-from-recipe": {
                "json": {"meal_id": ids["meals"], "list_id": ids["grocery-lists"]}
            },
            "PATCH /grocery-lists/{id}": {"json": {"title": "New"}},
            "POST /grocery-lists/{id}/items": {"json": {"ingredient_id": ids["ingredients"]}},
            "PATCH /grocery-lists/items/{id}": {"json": {"note": "New"}},
            "POST /grocery-lists/{id}/remove-item": {"json": {"item_id": ids["items"]}},
            "DELETE /grocery-lists/{id}/remove-item": {"json": {"item_id": ids["items"]}},
            "POST /grocery-lists/{id}/rebuild-from-meal-plan": {
                "json": {"meal_plan_id": ids["meal-plans"]}
            },
            "POST /grocery-lists/ingredients/normalize": {"json": {"raw_text": "2 eggs"}},
            "POST /meal-share-requests": {
                "json": {"mealId": ids["meals"], "recipientUserId": ids["user"]}
            },
            "POST /meal-share-requests/{id}/respond": {"json": {"action": "accept"}},
            "POST /chat": {"json": {"message": "Hi", "conversation_id": ids["conversations"]}},
            "POST /chat/stream": {
                "json": {"message": "Hi", "conversation_id": ids["conversations"]}
            },
            "POST /chat/conversations": {"json": {"title": "New"}},
            "PUT /chat/conversations/{id}/title": {"params": {"title": "New"}},
            "POST /chat/legacy": {"json": {"prompt": "Hi"}},
            "POST /chat/generate-image": {"json": {"prompt": "Soup"}},
            "POST /chat/scan-grocery": {"json": {"image_data": in_base64(picture())}},
            "POST /chat/scan-grocery-proxy": FILE,
        }
        return calls.get(f"{method} {template}", {})


async def build(client):
    """Olga's family with Adam, Mia and Tom, whom Eve has left; and Sam's own."""
    kitchen = Kitchen(client)
    owner, admin, member, tom, ex_member, stranger = [
        await kitchen.person(name) for name in ("Olga", "Adam", "Mia", "Tom", "Eve", "Sam")
    ]
    family = await kitchen.family(owner, admin, member, tom, ex_member)
    members = f"/families/{family['id']}/members"
    await owner.patch(f"{members}/{admin.id}/role", {"role": "admin"})
    await ex_member.delete(f"{members}/{ex_member.id}")
    ids = await furnish(kitchen, owner, family, offered_by=member)
    await furnish(kitchen, stranger, await kitchen.family(stranger, name="The Others"))
    memberships = {one["user_id"]: one["id"] for one in await owner.read(members)}
    world = World(refresh_token=owner.tokens["refresh_token"])
    world.ids = ids | {
        "families": family["id"],
        "invite_code": family["invite_code"],
        "memberships": memberships[tom.id],
        "user": tom.id,
        "owner": owner.id,
        "email": owner.user["email"],
        "sessions": (await owner.read("/auth/sessions"))["items"][0]["id"],
        "day": 0,
        "slot": "dinner",
        "bucket": "users",
        "path": "0/nothing.png",
    }
    people = (None, stranger, ex_member, member, admin, owner)
    world.headers = {
        role: person.headers if person else {} for role, person in zip(ROLES, people, strict=True)
    }
    return world


async def furnish(kitchen, owner, family, offered_by=None):
    """One of everything for a family, made by its owner; ids by the name of the collection."""
    own = await kitchen.ingredient(owner, f"Jam of {family['display_name']}")
    meal = await kitchen.meal(owner, [("egg", "2")], familyId=family["id"])
    plan = await kitchen.plan(owner, family)
    await kitchen.planned(owner, plan, 0, "dinner", meal)
    item = await kitchen.stock(owner, "Rice", 1, "kg", family_id=family["id"])
    path = f"/grocery-lists/rebuild-from-meal-plan/{plan['id']}"
    shopping = (await owner.post_ok(path, status=200))["grocery_list"]
    recipe = await owner.post_ok("/recipes", {"family_id": family["id"], "title": "Pea soup"})
    conversation = await owner.post_ok("/chat/conversations", {"title": "Secret"}, status=200)
    ids = {
        "ingredients": own["id"],
        "meals": meal["id"],
        "meals/me": meal["id"],
        "meal-plans": plan["id"],
        "meal-plans/me": (await kitchen.plan(owner))["id"],
        "pantry-items": item["id"],
        "grocery-lists": shopping["id"],
        "items": shopping["items"][0]["id"],
        "recipes": recipe["id"],
        "conversations": conversation["id"],
        "db": (await owner.read("/units"))[0]["id"],
        "diet-tags": (await owner.read("/diet-tags"))[0]["id"],
    }
    if offered_by:
        offered = await kitchen.meal(offered_by)
        body = {"mealId": offered["id"], "recipientUserId": owner.id}
        ids["meal-share-requests"] = (await offered_by.post_ok("/meal-share-requests", body))["id"]
        ids["notifications"] = (await owner.read("/notifications"))[0]["id"]
    return ids


def copy(template, target):
    shutil.copy(template, target)
    return target
