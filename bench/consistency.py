"""Is anybody ever told what is not so any more? Many people at once, at random processes.

Everybody is of a family of two, and changes a thing of their own in the family's kitchen and one in
their own. Each change writes the next number, so of every answer it can be said whether it is too
old: own changes are to be seen at once, the other's within a second, strangers' never.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from bench.household import Household
from bench.load import Connection, connect, request
from tests.support.api import Kitchen

SEEN_WITHIN = 1.0  # seconds, of others' changes
CHANGES = 0.1  # of the operations
LARGEST = 9_000_000  # of the numbers that are written


@dataclass
class Thing:
    """A thing in a kitchen, of which one person alone changes the quantity."""

    id: int
    sent: int = 0
    seen: int = 0  # answered for
    # When each number was answered for, the newest last; only what the last second may show.
    past: list[tuple[float, int]] = field(default_factory=list)

    def settle(self, at: float) -> None:
        self.seen = self.sent
        self.past.append((at, self.sent))
        while len(self.past) > 1 and self.past[1][0] < at - SEEN_WITHIN:
            self.past.pop(0)

    def must_be(self, at: float) -> int:
        """What somebody else must at least be told who asked then."""
        return max((number for when, number in self.past if when < at - SEEN_WITHIN), default=0)


@dataclass
class Person:
    token: str
    family: int
    own: Thing
    shared: Thing
    other: "Person | None" = None


@dataclass
class Verdict:
    operations: int = 0
    seconds: float = 0.0
    wrong: Counter[str] = field(default_factory=Counter)  # by what was wrong
    examples: list[str] = field(default_factory=list)

    def blame(self, what: str, said: object) -> None:
        self.wrong[what] += 1
        if len(self.examples) < 5:  # noqa: PLR2004
            self.examples.append(f"{what}: {said}")


async def neighbours(kitchen: Kitchen, number: int) -> list[Household]:
    """So many families of two, with empty kitchens."""
    found = []
    for place in range(number):
        people = [await kitchen.person(f"Neighbour{place}x{one}") for one in range(2)]
        family = await kitchen.family(*people)
        found.append(Household([one.tokens["access_token"] for one in people], family["id"]))
    return found


async def check_consistency(
    ports: Sequence[int], households: Sequence[Household], *, operations: int, seed: int = 1
) -> Verdict:
    """Plays that many operations; each process is one of the ports."""
    people = [person for home in households for person in await _settled(ports[0], home)]
    verdict = Verdict()
    each = operations // len(people)
    started = perf_counter()
    await asyncio.gather(
        *(_live(ports, one, each, random.Random(seed + n), verdict) for n, one in enumerate(people))  # noqa: S311
    )
    verdict.seconds = perf_counter() - started
    return verdict


async def _settled(port: int, home: Household) -> tuple[Person, Person]:
    connection = await connect(port)
    people = []
    for token in home.tokens:
        things = []
        for scope in ({}, {"family_id": home.family}):
            body = {"ingredient_name": "test food 1", "quantity": 0, "unit": "g", **scope}
            made = await _asked(connection, "POST", "/pantry-items", token, body)
            things.append(Thing(made["id"]))
        people.append(Person(token, home.family, *things))
    connection.close()
    first, second = people
    first.other, second.other = second, first
    return first, second


async def _live(
    ports: Sequence[int], person: Person, operations: int, chance: random.Random, verdict: Verdict
) -> None:
    connections = [await connect(port) for port in ports]
    for _ in range(operations):
        connection = chance.choice(connections)
        if chance.random() < CHANGES:
            thing = chance.choice((person.own, person.shared))
            thing.sent += 1
            body = {"quantity": thing.sent % LARGEST}
            await _asked(connection, "PATCH", f"/pantry-items/{thing.id}", person.token, body)
            thing.settle(perf_counter())
        elif chance.random() < 0.5:  # noqa: PLR2004
            await _look_at_own(connection, person, verdict)
        else:
            await _look_at_shared(connection, person, verdict)
        verdict.operations += 1
    for connection in connections:
        connection.close()


async def _look_at_own(connection: Connection, person: Person, verdict: Verdict) -> None:
    found = _quantities(await _asked(connection, "GET", "/pantry-items/me", person.token))
    if found.get(person.own.id) != person.own.seen:
        verdict.blame("own change not seen", (found.get(person.own.id), person.own.seen))
    if person.shared.id in found:
        verdict.blame("not of this list", person.shared.id)


async def _look_at_shared(connection: Connection, person: Person, verdict: Verdict) -> None:
    assert person.other is not None
    theirs = person.other.shared
    least = theirs.must_be(perf_counter())
    path = f"/pantry-items/family/{person.family}"
    items = await _asked(connection, "GET", path, person.token)
    most = theirs.sent
    if any(item["family_id"] != person.family for item in items):
        verdict.blame("of another family", person.family)
    found = _quantities(items)
    if found.get(person.shared.id) != person.shared.seen:
        verdict.blame("own change not seen", (found.get(person.shared.id), person.shared.seen))
    if not least <= found.get(theirs.id, -1) <= most:
        verdict.blame("other's change not seen", (found.get(theirs.id), least, most))


def _quantities(items: list[dict[str, Any]]) -> dict[int, int]:
    return {item["id"]: int(float(item["quantity"])) for item in items}


async def _asked(
    connection: Connection, method: str, path: str, token: str, body: Any = None
) -> Any:
    sent = json.dumps(body).encode() if body is not None else b""
    status = await connection.send(request(method, path, token, sent))
    assert status // 100 == 2, (method, path, status, connection.body)  # noqa: PLR2004
    return json.loads(connection.body)
