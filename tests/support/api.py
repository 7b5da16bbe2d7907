"""Create the users, families, meals and other rows of a test through the API, as a client would."""

import itertools
from dataclasses import dataclass

from httpx2 import AsyncClient

PASSWORD = "correct horse battery"
MEAL = {
    "name": "Pancakes",
    "image": "",
    "calories": 500,
    "prepTime": 10,
    "cookTime": 20,
    "totalTime": 30,
    "mealType": "Dinner",
    "cuisine": "French",
    "tags": [],
    "macros": {"protein": 10, "fats": 10, "carbs": 60},
    "difficulty": "Easy",
    "servings": 1,
    "dietCompatibility": [],
    "goalFit": [],
    "ingredients": [],
    "instructions": ["Mix.", "Fry."],
    "cookingTools": ["pan"],
}


class Person:
    """A signed-in user who sends requests."""

    def __init__(self, client: AsyncClient, user, tokens):
        self.client, self.id, self.user, self.tokens = client, user["id"], user, tokens
        self.headers = {"Authorization": f"Bearer {tokens['access_token']}"}

    async def request(self, method, path, **options):
        headers = {**self.headers, **options.pop("headers", {})}
        return await self.client.request(method, path, headers=headers, **options)

    async def get(self, path, **options):
        return await self.request("GET", path, **options)

    async def post(self, path, json=None, **options):
        return await self.request("POST", path, json=json, **options)

    async def put(self, path, json=None, **options):
        return await self.request("PUT", path, json=json, **options)

    async def patch(self, path, json=None, **options):
        return await self.request("PATCH", path, json=json, **options)

    async def delete(self, path, **options):
        return await self.request("DELETE", path, **options)

    async def post_ok(self, path, json=None, status=201):
        """Send a POST that must succeed, and return the JSON of its response."""
        response = await self.post(path, json=json)
        assert response.status_code == status, response.text
        return response.json()

    async def read(self, path, **params):
        """Send a GET that must succeed, and return the JSON of its response."""
        response = await self.get(path, params=params)
        assert response.status_code == 200, response.text
        return response.json()


@dataclass
class Kitchen:
    """Creates users and their rows through the API."""

    client: AsyncClient

    def __post_init__(self):
        self._numbers = itertools.count(1)

    async def person(self, name="Alice", **fields) -> Person:
        email = fields.pop("email", f"{name.lower()}{next(self._numbers)}@example.com")
        account = {"email": email, "password": PASSWORD, "name": name, **fields}
        registered = await self.client.post("/auth/register", json=account)
        assert registered.status_code == 200, registered.text
        return Person(self.client, registered.json(), await self.sign_in(email))

    async def sign_in(self, email, password=PASSWORD):
        signed_in = await self.client.post(
            "/auth/login", json={"email": email, "password": password}
        )
        assert signed_in.status_code == 200, signed_in.text
        return signed_in.json()

    async def family(self, owner: Person, *members: Person, name="The Family"):
        family = await owner.post_ok("/families", {"display_name": name}, status=200)
        for member in members:
            joined = {"invite_code": family["invite_code"]}
            await member.post_ok("/families/join", joined, status=200)
        return family

    async def ingredient(self, person: Person, name, **facts):
        return await person.post_ok("/ingredients", {"name": name, **facts})

    async def stock(self, person: Person, name, quantity=None, unit=None, **fields):
        item = {"ingredient_name": name, "quantity": quantity, "unit": unit, **fields}
        return await person.post_ok("/pantry-items", item)

    async def meal(self, person: Person, ingredients=(), **fields):
        """Create a meal. `ingredients` are pairs of name and amount, or objects of the API."""
        listed = [
            item if isinstance(item, dict) else {"name": item[0], "amount": item[1]}
            for item in ingredients
        ]
        return await person.post_ok("/meals/me", {**MEAL, "ingredients": listed, **fields})

    async def plan(self, person: Person, family=None, week_start="2030-01-07", **fields):
        plan = {"week_start": week_start, **fields}
        if family is None:
            return await person.post_ok("/meal-plans/me", plan)
        return await person.post_ok("/meal-plans", {**plan, "family_id": family["id"]})

    async def planned(self, person: Person, plan, day, slot, *meals, **fields):
        body = {"meals": [{"meal_id": meal["id"]} for meal in meals], **fields}
        response = await person.put(f"/meal-plans/{plan['id']}/slots/{day}/{slot}", body)
        assert response.status_code == 200, response.text
        return response.json()

    async def unit_ids(self, person: Person):
        return {unit["code"]: unit["id"] for unit in await person.read("/units")}
