"""Create households of a realistic size through the API, and their daily traffic."""

import asyncio
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from httpx2 import AsyncClient

from bench.load import request
from freshly.chassis.data.pagination import MAX_LIST_ROWS
from tests.support.api import Kitchen, Person

ROWS = 50  # of each kind, for each user
LISTS = 5
MEMBERS = 2
HOT = ("/pantry-items/me", "/meals/me", "/grocery-lists/me", "/families")
PAGED = tuple(path for path in HOT if path != "/families")  # these accept ?limit=
SHARE_OF_READS = 0.9
# Shares of the writes. The rest adds new items to the pantry.
SHARE_OF_CHECKS, SHARE_OF_CHANGES = 0.5, 0.3


@dataclass
class Household:
    """Two users, each with a pantry, meals and lists of their own, and one pantry in common."""

    tokens: list[str]
    family: int
    token_of_many_families: str = ""  # a further user, who is a member of ROWS families
    list_items: list[list[int]] = field(default_factory=list)  # ids, one list per user
    pantry_items: list[list[int]] = field(default_factory=list)  # ids, one list per user


async def seed_households(port: int, number: int) -> list[Household]:
    """Create this many households on the server at this port."""
    async with AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        kitchen = Kitchen(client)
        return [await _seed_household(kitchen, place) for place in range(number)]


async def _seed_household(kitchen: Kitchen, number: int) -> Household:
    users = [
        await kitchen.person(f"Person{number}x{place}", email=f"p{number}x{place}@example.com")
        for place in range(MEMBERS)
    ]
    family = await kitchen.family(*users)
    tokens = [str(user.tokens["access_token"]) for user in users]
    home = Household(tokens, family["id"], await _seed_user_of_many_families(kitchen, number))
    for user in users:
        await _fill(kitchen, user, home)
    shared = {"family_id": family["id"], "expires_at": "2030-01-01"}
    await asyncio.gather(
        *(kitchen.stock(users[0], f"test food {n}", n + 1, "g", **shared) for n in range(ROWS))
    )
    return home


async def _seed_user_of_many_families(kitchen: Kitchen, number: int) -> str:
    user = await kitchen.person(f"Collector{number}", email=f"c{number}@example.com")
    for _ in range(ROWS):
        await kitchen.family(user)
    return str(user.tokens["access_token"])


async def seed_user(kitchen: Kitchen, *, many_families: bool) -> str:
    """Create a user with a full pantry, meals and lists, and return the access token."""
    user = await kitchen.person("Alice")
    family = await kitchen.family(user)
    for _ in range(ROWS - 1 if many_families else 0):
        await kitchen.family(user)
    await _fill(kitchen, user, Household([], family["id"]))
    return str(user.tokens["access_token"])


async def _fill(kitchen: Kitchen, user: Person, home: Household) -> None:
    """Create ROWS pantry items, meals and list items of this user, and note their ids."""
    pantry = await asyncio.gather(
        *(
            kitchen.stock(user, f"test food {n}", n + 1, "g", expires_at="2030-01-01")
            for n in range(ROWS)
        )
    )
    home.pantry_items.append([item["id"] for item in pantry])
    ingredients = [item["ingredient_id"] for item in pantry]
    for n in range(ROWS):
        dish = [(f"test food {(n + k) % ROWS}", "2 cups") for k in range(6)]
        await kitchen.meal(user, dish, name=f"Meal {n}")
    item_ids = []
    for n in range(LISTS):
        new_list = {"scope": "personal", "title": f"List {n}"}
        created = await user.post_ok("/grocery-lists", new_list)
        for ingredient in ingredients[n * ROWS // LISTS : (n + 1) * ROWS // LISTS]:
            new_item = {"ingredient_id": ingredient, "quantity": 2}
            item = await user.post_ok(f"/grocery-lists/{created['id']}/items", new_item)
            item_ids.append(item["id"])
    home.list_items.append(item_ids)


def tokens_for(path: str, households: list[Household]) -> list[str]:
    """Return the tokens of the users who have fifty rows at this path."""
    if path == "/families":
        return [home.token_of_many_families for home in households]
    return [token for home in households for token in home.tokens]


def cold_paths(path: str, households: list[Household]) -> Iterator[bytes]:
    """Yield requests for the same rows with limits that are new to the cache, so none is a hit."""
    for limit in range(ROWS + 1, MAX_LIST_ROWS + 1):
        for token in tokens_for(path, households):
            yield request("GET", f"{path}?limit={limit}", token)


def traffic(households: list[Household], seed: int = 1) -> Iterator[bytes]:
    """Yield a household's daily requests: mostly reads; checks, changes and new items."""
    chance = random.Random(seed)  # noqa: S311 - the same traffic in every run
    while True:
        home = chance.choice(households)
        member = chance.randrange(MEMBERS)
        token = home.tokens[member]
        if chance.random() < SHARE_OF_READS:
            paths = (*HOT, f"/pantry-items/family/{home.family}", "/families", "/families")
            yield request("GET", chance.choice(paths), token)
            continue
        kind = chance.random()
        if kind < SHARE_OF_CHECKS:
            path = f"/grocery-lists/items/{chance.choice(home.list_items[member])}/check"
            yield request("POST", path, token)
        elif kind < SHARE_OF_CHECKS + SHARE_OF_CHANGES:
            body = json.dumps({"quantity": chance.randint(1, 500)}).encode()
            path = f"/pantry-items/{chance.choice(home.pantry_items[member])}"
            yield request("PATCH", path, token, body)
        else:
            body = json.dumps(
                {"ingredient_name": "test food 1", "quantity": 2, "unit": "g"}
            ).encode()
            yield request("POST", "/pantry-items", token, body)
