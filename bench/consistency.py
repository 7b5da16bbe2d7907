"""Check that no response is stale, with many users who call random processes at once.

Each user belongs to a family of two, owns one item in the family's pantry and one in their own, and
is the only writer of both. Each change writes the next number, so every response can be judged by
the numbers in it: a user's own change must be visible at once, the other member's within a second,
and another family's never.
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

VISIBLE_WITHIN = 1.0  # seconds until the other member must see a change
SHARE_OF_CHANGES = 0.1
MAX_QUANTITY = 9_000_000
MAX_EXAMPLES = 5
FAMILY_SIZE = 2
SUCCESS = 2  # hundred


@dataclass
class TrackedItem:
    """A pantry item whose quantity only one user changes."""

    id: int
    sent: int = 0
    confirmed: int = 0
    # The confirmed numbers with their times, oldest first. Numbers older than VISIBLE_WITHIN are
    # dropped, except the newest of them, which is the least that every user must see.
    history: list[tuple[float, int]] = field(default_factory=list)

    def confirm(self, now: float) -> None:
        """Record that the server has confirmed the number that was sent last."""
        self.confirmed = self.sent
        self.history.append((now, self.sent))
        while len(self.history) > 1 and self.history[1][0] < now - VISIBLE_WITHIN:
            self.history.pop(0)

    def least_visible(self, now: float) -> int:
        """Return the smallest number that another user may still see now."""
        confirmed = (number for at, number in self.history if at < now - VISIBLE_WITHIN)
        return max(confirmed, default=0)


@dataclass
class FamilyMember:
    """A user with the two items that only this user changes."""

    token: str
    family: int
    own: TrackedItem
    shared: TrackedItem
    other: "FamilyMember | None" = None


@dataclass
class ConsistencyResult:
    """The number of operations, and the responses that were wrong, by kind of error."""

    operations: int = 0
    seconds: float = 0.0
    wrong: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add_error(self, kind: str, detail: object) -> None:
        self.wrong[kind] += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(f"{kind}: {detail}")


async def create_families(kitchen: Kitchen, number: int) -> list[Household]:
    """Create this many families of two users, with empty pantries."""
    households = []
    for place in range(number):
        users = [await kitchen.person(f"Member{place}x{member}") for member in range(FAMILY_SIZE)]
        family = await kitchen.family(*users)
        tokens = [user.tokens["access_token"] for user in users]
        households.append(Household(tokens, family["id"]))
    return households


async def check_consistency(
    ports: Sequence[int], households: Sequence[Household], *, operations: int, seed: int = 1
) -> ConsistencyResult:
    """Run this many operations and judge each response. Each port belongs to one process."""
    members = [member for home in households for member in await _create_items(ports[0], home)]
    result = ConsistencyResult()
    operations_each = operations // len(members)
    started = perf_counter()
    runs = (
        _run_member(ports, member, operations_each, random.Random(seed + place), result)  # noqa: S311
        for place, member in enumerate(members)
    )
    await asyncio.gather(*runs)
    result.seconds = perf_counter() - started
    return result


async def _create_items(port: int, home: Household) -> tuple[FamilyMember, FamilyMember]:
    connection = await connect(port)
    members = []
    for token in home.tokens:
        items = []
        for scope in ({}, {"family_id": home.family}):
            body = {"ingredient_name": "test food 1", "quantity": 0, "unit": "g", **scope}
            created = await _call(connection, "POST", "/pantry-items", token, body)
            items.append(TrackedItem(created["id"]))
        own, shared = items
        members.append(FamilyMember(token, home.family, own, shared))
    connection.close()
    first, second = members
    first.other, second.other = second, first
    return first, second


async def _run_member(
    ports: Sequence[int],
    member: FamilyMember,
    operations: int,
    chance: random.Random,
    result: ConsistencyResult,
) -> None:
    connections = [await connect(port) for port in ports]
    for _ in range(operations):
        connection = chance.choice(connections)
        if chance.random() < SHARE_OF_CHANGES:
            item = chance.choice((member.own, member.shared))
            item.sent += 1
            body = {"quantity": item.sent % MAX_QUANTITY}
            await _call(connection, "PATCH", f"/pantry-items/{item.id}", member.token, body)
            item.confirm(perf_counter())
        elif chance.random() < 0.5:  # noqa: PLR2004
            await _read_own_pantry(connection, member, result)
        else:
            await _read_family_pantry(connection, member, result)
        result.operations += 1
    for connection in connections:
        connection.close()


async def _read_own_pantry(
    connection: Connection, member: FamilyMember, result: ConsistencyResult
) -> None:
    shown = _quantities(await _call(connection, "GET", "/pantry-items/me", member.token))
    if shown.get(member.own.id) != member.own.confirmed:
        result.add_error("own change not seen", (shown.get(member.own.id), member.own.confirmed))
    if member.shared.id in shown:
        result.add_error("not of this list", member.shared.id)


async def _read_family_pantry(
    connection: Connection, member: FamilyMember, result: ConsistencyResult
) -> None:
    assert member.other is not None
    theirs = member.other.shared
    least = theirs.least_visible(perf_counter())
    path = f"/pantry-items/family/{member.family}"
    items = await _call(connection, "GET", path, member.token)
    most = theirs.sent
    if any(item["family_id"] != member.family for item in items):
        result.add_error("of another family", member.family)
    shown = _quantities(items)
    if shown.get(member.shared.id) != member.shared.confirmed:
        detail = (shown.get(member.shared.id), member.shared.confirmed)
        result.add_error("own change not seen", detail)
    if not least <= shown.get(theirs.id, -1) <= most:
        result.add_error("other's change not seen", (shown.get(theirs.id), least, most))


def _quantities(items: list[dict[str, Any]]) -> dict[int, int]:
    return {item["id"]: int(float(item["quantity"])) for item in items}


async def _call(
    connection: Connection, method: str, path: str, token: str, body: Any = None
) -> Any:
    """Send one request, which must succeed, and return the JSON of its response."""
    content = json.dumps(body).encode() if body is not None else b""
    status = await connection.send(request(method, path, token, content))
    assert status // 100 == SUCCESS, (method, path, status, connection.body)
    return json.loads(connection.body)
