"""People who cook while things break: each writes, and is told later whether it was kept.

Everybody has a kept connection and takes turns: keep a meal, change how much there is of a food,
look at the pantry, look at the family. The meals' names are all different, so that one that was
acknowledged and is missing, or is there twice, is seen; a look at the pantry must show what the
same person was last told to be so.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from time import monotonic

from bench.load import Connection, connect, request
from tests.support.api import MEAL, Kitchen

PATIENCE = 20.0  # seconds, longer than any answer is promised to take
LOST_CONNECTION = 0  # in place of a status
SERVER_ERRORS = 500
UNAVAILABLE = 503
OK = 200


@dataclass(frozen=True, slots=True)
class Sample:
    """One request: when it was sent, how long it took, and what came of it."""

    sent: float
    seconds: float
    status: int
    what: str
    retry_after: bool = False

    @property
    def ended(self) -> float:
        return self.sent + self.seconds

    @property
    def failed(self) -> bool:
        return self.status == LOST_CONNECTION or self.status >= SERVER_ERRORS


class Client:
    """One person's kept connection; whatever breaks is made anew, and counted."""

    def __init__(self, port: int, samples: list[Sample], patience: float = PATIENCE) -> None:
        self.port = port
        self.samples = samples
        self.patience = patience
        self._connection: Connection | None = None

    async def ask(self, what: str, wanted: bytes) -> tuple[int, bytes]:
        sent, status, head, body = monotonic(), LOST_CONNECTION, b"", b""
        try:
            async with asyncio.timeout(self.patience):
                if self._connection is None or self._connection.is_lost:
                    self._connection = await connect(self.port)
                status = await self._connection.send(wanted)
            head, body = self._connection.head.lower(), self._connection.body
        except (OSError, TimeoutError):
            self.hang_up()
        if b"connection: close" in head:
            self.hang_up()
        retry = b"\nretry-after: " in head
        self.samples.append(Sample(sent, monotonic() - sent, status, what, retry))
        return status, body

    def hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass
class User:
    """Somebody with a food in the pantry, and what they may expect to find."""

    name: str
    token: str
    item: int
    amounts: set[int] = field(default_factory=lambda: {1})  # of the food; one, unless in doubt
    kept: set[str] = field(default_factory=set)  # names of meals that were acknowledged
    stale: int = 0
    number: Callable[[], int] = field(default_factory=lambda: count(2).__next__)

    def __post_init__(self) -> None:
        self.turns: Sequence[Callable[[Client], Awaitable[None]]] = (
            self.keep_a_meal,
            self.use_some,
            self.look_into_the_pantry,
            self.look_at_the_family,
        )

    async def keep_a_meal(self, client: Client) -> None:
        name = f"{self.name}, meal {self.number()}"
        body = json.dumps({**MEAL, "name": name}).encode()
        status, _ = await client.ask("write", request("POST", "/meals/me", self.token, body))
        if status // 100 == OK // 100:
            self.kept.add(name)

    async def use_some(self, client: Client) -> None:
        amount = self.number()
        body = json.dumps({"quantity": amount}).encode()
        path = f"/pantry-items/{self.item}"
        self.amounts.add(amount)
        status, _ = await client.ask("write", request("PATCH", path, self.token, body))
        if status == OK:
            self.amounts = {amount}

    async def look_into_the_pantry(self, client: Client) -> None:
        status, body = await client.ask("read", request("GET", "/pantry-items/me", self.token))
        if status == OK:
            found = {item["id"]: float(item["quantity"]) for item in json.loads(body)}
            self.stale += found.get(self.item) not in self.amounts

    async def look_at_the_family(self, client: Client) -> None:
        await client.ask("read", request("GET", "/families", self.token))


@dataclass
class Load:
    users: Sequence[User]
    rate: float  # requests per second, of all together
    samples: list[Sample] = field(default_factory=list)

    @asynccontextmanager
    async def on(self, port: int) -> AsyncIterator[None]:
        """Meanwhile they cook; afterwards each has had the answer to the last thing asked."""
        over = asyncio.Event()
        cooking = [
            asyncio.create_task(self._cook(user, place, port, over))
            for place, user in enumerate(self.users)
        ]
        try:
            yield
        finally:
            over.set()
            await asyncio.gather(*cooking)

    async def _cook(self, user: User, place: int, port: int, over: asyncio.Event) -> None:
        """By the clock, however long an answer takes, so that what waits is not left out."""
        client = Client(port, self.samples)
        each = len(self.users) / self.rate
        due = monotonic() + each * place / len(self.users)
        turns = count(place)
        while not over.is_set():
            try:
                async with asyncio.timeout(max(0.0, due - monotonic())):
                    await over.wait()
            except TimeoutError:
                await user.turns[next(turns) % len(user.turns)](client)
                due = max(due + each, monotonic() - each)
        client.hang_up()

    async def losses(self, port: int) -> tuple[int, int]:
        """How many acknowledged writes are lost, and how many were done twice."""
        lost = twice = 0
        for user in self.users:
            client = Client(port, [], patience=3 * PATIENCE)
            for amounts_or_meals in ("/meals/me", "/pantry-items/me"):
                wanted = request("GET", amounts_or_meals, user.token)
                status, body = await client.ask("count", wanted)
                assert status == OK, (status, body)
                rows = json.loads(body)
                if amounts_or_meals == "/meals/me":
                    names = Counter(row["name"] for row in rows)
                    lost += sum(name not in names for name in user.kept)
                    twice += sum(number > 1 for number in names.values())
                else:
                    found = {row["id"]: float(row["quantity"]) for row in rows}
                    lost += found.get(user.item) not in user.amounts
            client.hang_up()
        return lost, twice

    @property
    def stale(self) -> int:
        return sum(user.stale for user in self.users)

    @property
    def acknowledged(self) -> int:
        return sum(len(user.kept) for user in self.users)


async def seated(kitchen: Kitchen, number: int) -> list[User]:
    """So many people, each with a family, a food, and an address of their own to sign in from."""
    users = []
    for place in range(number):
        kitchen.client.headers["X-Forwarded-For"] = f"10.0.0.{place + 1}"
        person = await kitchen.person(f"Cook{place}", email=f"cook{place}@example.com")
        await kitchen.family(person)
        item = await kitchen.stock(person, "test flour", 1, "g")
        users.append(User(f"Cook{place}", str(person.tokens["access_token"]), item["id"]))
    return users
