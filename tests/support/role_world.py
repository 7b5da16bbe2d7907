"""A world for requests: two families with one of everything."""

import json
from dataclasses import dataclass, field

from tests.support.api import MEAL, PASSWORD, Kitchen
from tests.support.pictures import in_base64, picture
from tests.support.role_table import ROLES, ROWS


@dataclass
class World:
    headers: dict = field(default_factory=dict)  # by role
    ids: dict = field(default_factory=dict)  # and other values that paths and rows name

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
                "{id}": before if before in ("items", "conversations", "sessions") else parts[0],
            }
            key = named.get(part)
            if part == "{id}" and before == "me":
                key = f"{parts[0]}/me"
            filled.append(str(self.ids[key]) if key else part)
        return "/" + "/".join(filled)

    def request(self, method, template):
        """Return what the operation's row sends besides the path, as options of the client."""
        row = ROWS[f"{method} {template}"]
        options = {"json": self._filled(row.json), "params": self._filled(row.params)}
        if row.upload:
            options["files"] = {row.upload: ("me.png", picture())}
        return {name: value for name, value in options.items() if value is not None}

    def _filled(self, value):
        """Return the value with the world's own for each `$name`."""
        if isinstance(value, dict):
            return {key: self._filled(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._filled(inner) for inner in value]
        if isinstance(value, str) and value.startswith("$"):
            return self.ids[value.removeprefix("$")]
        return value


async def build(client):
    """Create the family of Olga, Adam, Mia and Tom, which Eve has left, and that of Sam."""
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
    users = (None, stranger, ex_member, member, admin, owner)
    world.headers = {
        role: user.headers if user else {} for role, user in zip(ROLES, users, strict=True)
    }
    return world


async def furnish(kitchen, owner, family, offered_by=None):
    """Create one of everything for a family, as its owner. Return ids by collection."""
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
        "units": (await owner.read("/units"))[0]["id"],
        "diet-tags": (await owner.read("/diet-tags"))[0]["id"],
    }
    if offered_by:
        offered = await kitchen.meal(offered_by)
        body = {"mealId": offered["id"], "recipientUserId": owner.id}
        ids["meal-share-requests"] = (await offered_by.post_ok("/meal-share-requests", body))["id"]
        ids["notifications"] = (await owner.read("/notifications"))[0]["id"]
    return ids
