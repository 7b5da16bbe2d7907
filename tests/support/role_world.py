"""A world for requests: two families with one of everything."""

import json
from dataclasses import dataclass, field

from sqlalchemy import update

from freshly.domains.users.models import User
from tests.support.api import MEAL, PASSWORD, Kitchen
from tests.support.pictures import in_base64, picture
from tests.support.role_table import OLD_CODE, ROLES, ROWS


@dataclass
class World:
    headers: dict = field(default_factory=dict)  # by role
    ids: dict = field(default_factory=dict)  # and other values that paths and rows name
    old_codes: dict = field(default_factory=dict)  # what an ex-member sends instead

    def save(self, path):
        path.write_text(json.dumps(vars(self)))

    @classmethod
    def load(cls, path):
        return cls(**json.loads(path.read_text()))

    def path(self, template):
        """Return the path with the ids of what belongs to the owner, or to the owner's family."""
        parts = template.strip("/").split("/")
        filled = []
        for place, part in enumerate(parts):
            before = parts[place - 1] if place else ""
            named = {
                "{family_id}": "families",
                "{user_id}": "user",
                "{plan_id}": "meal-plans",
                "{item_id}": "items",
                "{invitation_id}": "invitations",
                "{bucket}": "bucket",
                "{path:path}": "path",
                "{day}": "day",
                "{slot}": "slot",
                "{id}": before
                if before in ("items", "conversations", "sessions") or parts[0] == "admin"
                else parts[0],
            }
            key = named.get(part)
            if part == "{id}" and before in ("me", "invitations"):
                key = f"{parts[0]}/{before}"
            filled.append(str(self.ids[key]) if key else part)
        return "/" + "/".join(filled)

    def request(self, method, template, role=None):
        """Return what the operation's row sends besides the path, as options of the client."""
        row = ROWS[f"{method} {template}"]
        values = {**self.ids, **self.old_codes} if role == OLD_CODE else self.ids
        options = {"json": _filled(row.json, values), "params": _filled(row.params, values)}
        if row.upload:
            options["files"] = {row.upload: ("me.png", picture())}
        return {name: value for name, value in options.items() if value is not None}


def _filled(value, values):
    """Return the value with the world's own for each `$name`."""
    if isinstance(value, dict):
        return {key: _filled(inner, values) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, values) for inner in value]
    if isinstance(value, str) and value.startswith("$"):
        return values[value.removeprefix("$")]
    return value


async def build(client):
    """Create the family of Olga, Adam, Mia and Tom, and that of Sam and Nia.

    Eve and Ivo have left Olga's family. Ivo still has its codes of that time. Anton has no family;
    the tests make Anton the administrator of the server.
    """
    kitchen = Kitchen(client)
    owner, admin, member, tom, ex_member, with_old_code, stranger, elsewhere, anton = [
        await kitchen.person(name)
        for name in ("Olga", "Adam", "Mia", "Tom", "Eve", "Ivo", "Sam", "Nia", "Anton")
    ]
    family = await kitchen.family(owner, admin, member, tom, ex_member, with_old_code)
    old_invitation = await owner.post_ok(f"/families/{family['id']}/invitations", {})
    members = f"/families/{family['id']}/members"
    await owner.patch(f"{members}/{admin.id}/role", {"role": "admin"})
    for leaving in (ex_member, with_old_code):
        await leaving.delete(f"{members}/{leaving.id}")
    ids = await furnish(kitchen, owner, family, offered_by=member)
    others = await kitchen.family(stranger, elsewhere, name="The Others")
    await furnish(kitchen, stranger, others)
    invitation = await owner.post_ok(f"/families/{family['id']}/invitations", {})
    memberships = {one["user_id"]: one["id"] for one in await owner.read(members)}
    world = World()
    world.ids = ids | {
        "families": family["id"],
        "invite_code": (await owner.read("/families"))[0]["invite_code"],
        "invitations": invitation["id"],
        "invitation_token": invitation["token"],
        "memberships": memberships[tom.id],
        "user": tom.id,
        "owner": owner.id,
        "administrator": anton.id,
        "accounts": tom.id,
        "admin/invitations": "0" * 32,
        "sign_up_token": "0" * 64,
        "email": owner.user["email"],
        "password": PASSWORD,
        "refresh_token": owner.tokens["refresh_token"],
        "meal": {**MEAL, "familyId": family["id"]},
        "picture": in_base64(picture()),
        "sessions": (await owner.read("/auth/sessions"))["items"][0]["id"],
        "day": 0,
        "slot": "dinner",
        "bucket": "users",
        "path": "0/nothing.png",
    }
    world.old_codes = {
        "invite_code": family["invite_code"],
        "invitation_token": old_invitation["token"],
    }
    users = (None, anton, stranger, elsewhere, ex_member, with_old_code, member, admin, owner)
    world.headers = {
        role: user.headers if user else {} for role, user in zip(ROLES, users, strict=True)
    }
    return world


async def furnish(kitchen, owner, family, offered_by=None):
    """Create one of everything for a family, as its owner. Return ids by collection."""
    name = f"Jam of {family['display_name']}"
    own = await kitchen.ingredient(owner, name, family_id=family["id"])
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
        "catalogue": (await owner.read("/ingredients"))[-1]["id"],
        "meals": meal["id"],
        "meals/me": meal["id"],
        "meal-plans": plan["id"],
        "meal-plans/me": (await kitchen.plan(owner))["id"],
        "pantry-items": item["id"],
        "grocery-lists": shopping["id"],
        "items": shopping["items"][0]["id"],
        "recipes": recipe["id"],
        "conversations": conversation["id"],
        "units": (await owner.read("/units"))[0]["id"],
        "diet-tags": (await owner.read("/diet-tags"))[0]["id"],
    }
    if offered_by:
        offered = await kitchen.meal(offered_by)
        body = {"mealId": offered["id"], "recipientUserId": owner.id}
        ids["meal-share-requests"] = (await offered_by.post_ok("/meal-share-requests", body))["id"]
        ids["notifications"] = (await owner.read("/notifications"))[0]["id"]
    return ids


async def make_administrator(db, user_id):
    """Give the right as `freshly admin create` does."""
    async with db.write() as session:
        await session.execute(update(User).where(User.id == user_id).values(is_administrator=True))
