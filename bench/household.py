"""Households of a realistic size, made through the API, and what they do all day."""

import asyncio
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from httpx2 import AsyncClient

from bench.load import request
from freshly.chassis.data.pagination import LONGEST_LIST
from tests.support.api import Kitchen, Person

ROWS = 50
LISTS = 5
HOT = ("/pantry-items/me", "/meals/me", "/grocery-lists/me", "/families")
PAGED = tuple(path for path in HOT if path != "/families")  # those that know a limit
READS = 0.9  # of the traffic; of the rest
TICKS, CHANGES = 0.5, 0.3


@dataclass
class Household:
    """Two people, each with a pantry, meals and lists of their own, and a pantry in common."""

    tokens: list[str]
    family: int
    collector: str = ""  # the token of somebody who is in as many families as there are rows
    items: list[list[int]] = field(default_factory=list)  # of lists, for each person
    shelf: list[list[int]] = field(default_factory=list)  # of the pantry, for each person


async def seeded(port: int, households: int, told: Any) -> list[Household]:
    found = []
    async with AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        kitchen = Kitchen(client)
        for number in range(households):
            found.append(await _household(kitchen, number))
            told(number + 1)
    return found


async def _household(kitchen: Kitchen, number: int) -> Household:
    people = [
        await kitchen.person(f"Person{number}x{place}", email=f"p{number}x{place}@example.com")
        for place in range(2)
    ]
    family = await kitchen.family(*people)
    tokens = [str(person.tokens["access_token"]) for person in people]
    home = Household(tokens, family["id"], await _collector(kitchen, number))
    for person in people:
        await _fill(kitchen, person, home)
    shared = {"family_id": family["id"], "expires_at": "2030-01-01"}
    await asyncio.gather(
        *(kitchen.stock(people[0], f"test food {n}", n + 1, "g", **shared) for n in range(ROWS))
    )
    return home


async def _collector(kitchen: Kitchen, number: int) -> str:
    person = await kitchen.person(f"Collector{number}", email=f"c{number}@example.com")
    for _ in range(ROWS):
        await kitchen.family(person)
    return str(person.tokens["access_token"])


async def seed_person(kitchen: Kitchen, *, families: bool) -> str:
    """Somebody with everything a household has, and with many families or one; the token."""
    person = await kitchen.person("Alice")
    family = await kitchen.family(person)
    for _ in range(ROWS - 1 if families else 0):
        await kitchen.family(person)
    await _fill(kitchen, person, Household([], family["id"]))
    return str(person.tokens["access_token"])


async def _fill(kitchen: Kitchen, person: Person, home: Household) -> None:
    shelf = await asyncio.gather(
        *(
            kitchen.stock(person, f"test food {n}", n + 1, "g", expires_at="2030-01-01")
            for n in range(ROWS)
        )
    )
    home.shelf.append([item["id"] for item in shelf])
    foods = [item["ingredient_id"] for item in shelf]
    for n in range(ROWS):
        dish = [(f"test food {(n + k) % ROWS}", "2 cups") for k in range(6)]
        await kitchen.meal(person, dish, name=f"Meal {n}")
    items = []
    for n in range(LISTS):
        made = await person.post_ok("/grocery-lists", {"scope": "personal", "title": f"List {n}"})
        for food in foods[n * ROWS // LISTS : (n + 1) * ROWS // LISTS]:
            line = {"ingredient_id": food, "quantity": 2}
            items.append((await person.post_ok(f"/grocery-lists/{made['id']}/items", line))["id"])
    home.items.append(items)


def asking(path: str, households: list[Household]) -> list[str]:
    """The tokens of those who have fifty of what is there."""
    if path == "/families":
        return [home.collector for home in households]
    return [token for home in households for token in home.tokens]


def cold_paths(path: str, households: list[Household]) -> Iterator[bytes]:
    """The same rows each time, by a query that nobody has asked before: nothing is kept of it."""
    for limit in range(ROWS + 1, LONGEST_LIST + 1):
        for token in asking(path, households):
            yield request("GET", f"{path}?limit={limit}", token)


def traffic(households: list[Household], seed: int = 1) -> Iterator[bytes]:
    """What people do: mostly look, at what they looked at before; tick off, use up, buy."""
    chance = random.Random(seed)  # noqa: S311 - the same traffic in every run
    while True:
        home = chance.choice(households)
        who = chance.randrange(2)
        token = home.tokens[who]
        if chance.random() < READS:
            looked_at = (*HOT, f"/pantry-items/family/{home.family}", "/families", "/families")
            yield request("GET", chance.choice(looked_at), token)
            continue
        change = chance.random()
        if change < TICKS:
            yield request(
                "POST", f"/grocery-lists/items/{chance.choice(home.items[who])}/check", token
            )
        elif change < TICKS + CHANGES:
            body = json.dumps({"quantity": chance.randint(1, 500)}).encode()
            path = f"/pantry-items/{chance.choice(home.shelf[who])}"
            yield request("PATCH", path, token, body)
        else:
            body = json.dumps(
                {"ingredient_name": "test food 1", "quantity": 2, "unit": "g"}
            ).encode()
            yield request("POST", "/pantry-items", token, body)
