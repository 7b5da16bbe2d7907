"""Users who send requests while things break, and note which writes were confirmed.

Each user has one kept connection and sends four kinds of requests in turn: create a meal, change
the quantity of a pantry item, read the pantry, read the families. Each meal has a name of its own,
so a confirmed meal that is missing, or exists twice, is found afterwards. A read of the pantry must
show the quantity that was confirmed to the same user last.
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

RESPONSE_TIMEOUT = 20.0  # seconds; longer than any promised response time
LOST_CONNECTION = 0  # instead of a status
SERVER_ERRORS = 500
UNAVAILABLE = 503
OK = 200


@dataclass(frozen=True, slots=True)
class Sample:
    """A request: when it was sent, how long it took, and the status of its response."""

    sent: float  # by the monotonic clock
    seconds: float
    status: int
    kind: str
    retry_after: bool = False

    @property
    def ended(self) -> float:
        return self.sent + self.seconds

    @property
    def failed(self) -> bool:
        return self.status == LOST_CONNECTION or self.status >= SERVER_ERRORS


class Client:
    """A kept connection. A broken connection counts as a sample, and is opened again."""

    def __init__(self, port: int, samples: list[Sample], timeout: float = RESPONSE_TIMEOUT) -> None:
        self.port = port
        self.samples = samples
        self.timeout = timeout
        self._connection: Connection | None = None

    async def send(self, kind: str, content: bytes) -> tuple[int, bytes]:
        """Send a request, and return the status and the body of its response."""
        sent, status, head, body = monotonic(), LOST_CONNECTION, b"", b""
        try:
            async with asyncio.timeout(self.timeout):
                if self._connection is None or self._connection.is_lost:
                    self._connection = await connect(self.port)
                status = await self._connection.send(content)
            head, body = self._connection.head.lower(), self._connection.body
        except (OSError, TimeoutError):
            self.close()
        if b"connection: close" in head:
            self.close()
        retry_after = b"\nretry-after: " in head
        self.samples.append(Sample(sent, monotonic() - sent, status, kind, retry_after))
        return status, body

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass
class User:
    """A user with one pantry item, and the writes that were confirmed to this user."""

    name: str
    token: str
    item: int
    # The quantities that the item may have: one, or more while the outcome of a write is unknown.
    quantities: set[int] = field(default_factory=lambda: {1})
    meals: set[str] = field(default_factory=set)  # names of the confirmed meals
    stale: int = 0  # reads that showed another quantity
    next_number: Callable[[], int] = field(default_factory=lambda: count(2).__next__)

    def __post_init__(self) -> None:
        self.turns: Sequence[Callable[[Client], Awaitable[None]]] = (
            self.create_meal,
            self.change_quantity,
            self.read_pantry,
            self.read_families,
        )

    async def create_meal(self, client: Client) -> None:
        name = f"{self.name}, meal {self.next_number()}"
        body = json.dumps({**MEAL, "name": name}).encode()
        status, _ = await client.send("write", request("POST", "/meals/me", self.token, body))
        if status // 100 == OK // 100:
            self.meals.add(name)

    async def change_quantity(self, client: Client) -> None:
        quantity = self.next_number()
        body = json.dumps({"quantity": quantity}).encode()
        path = f"/pantry-items/{self.item}"
        self.quantities.add(quantity)
        status, _ = await client.send("write", request("PATCH", path, self.token, body))
        if status == OK:
            self.quantities = {quantity}

    async def read_pantry(self, client: Client) -> None:
        status, body = await client.send("read", request("GET", "/pantry-items/me", self.token))
        if status == OK:
            shown = {item["id"]: float(item["quantity"]) for item in json.loads(body)}
            self.stale += shown.get(self.item) not in self.quantities

    async def read_families(self, client: Client) -> None:
        await client.send("read", request("GET", "/families", self.token))


@dataclass
class Load:
    """The requests of all users, at a fixed rate."""

    users: Sequence[User]
    rate: float  # requests per second, of all users together
    samples: list[Sample] = field(default_factory=list)

    @asynccontextmanager
    async def on(self, port: int) -> AsyncIterator[None]:
        """Send requests meanwhile. Leaving waits for the last response of each user."""
        stopped = asyncio.Event()
        sending = [
            asyncio.create_task(self._send_requests(user, place, port, stopped))
            for place, user in enumerate(self.users)
        ]
        try:
            yield
        finally:
            stopped.set()
            await asyncio.gather(*sending)

    async def _send_requests(
        self, user: User, place: int, port: int, stopped: asyncio.Event
    ) -> None:
        """Send on schedule, however long a response takes, so that slow times are not left out."""
        client = Client(port, self.samples)
        interval = len(self.users) / self.rate
        due = monotonic() + interval * place / len(self.users)
        turns = count(place)
        while not stopped.is_set():
            try:
                async with asyncio.timeout(max(0.0, due - monotonic())):
                    await stopped.wait()
            except TimeoutError:
                await user.turns[next(turns) % len(user.turns)](client)
                due = max(due + interval, monotonic() - interval)
        client.close()

    async def count_lost_writes(self, port: int) -> tuple[int, int]:
        """Return how many confirmed writes are lost, and how many were done twice."""
        lost = twice = 0
        for user in self.users:
            client = Client(port, [], timeout=3 * RESPONSE_TIMEOUT)
            for path in ("/meals/me", "/pantry-items/me"):
                status, body = await client.send("count", request("GET", path, user.token))
                assert status == OK, (status, body)
                rows = json.loads(body)
                if path == "/meals/me":
                    names = Counter(row["name"] for row in rows)
                    lost += sum(name not in names for name in user.meals)
                    twice += sum(number > 1 for number in names.values())
                else:
                    shown = {row["id"]: float(row["quantity"]) for row in rows}
                    lost += shown.get(user.item) not in user.quantities
            client.close()
        return lost, twice

    @property
    def stale(self) -> int:
        return sum(user.stale for user in self.users)

    @property
    def confirmed(self) -> int:
        return sum(len(user.meals) for user in self.users)


async def create_users(kitchen: Kitchen, number: int) -> list[User]:
    """Create users, each with a family, a pantry item and a client address.

    The addresses differ because sign-ins are limited per address.
    """
    users = []
    for place in range(number):
        kitchen.client.headers["X-Forwarded-For"] = f"10.0.0.{place + 1}"
        person = await kitchen.person(f"User{place}", email=f"cook{place}@example.com")
        await kitchen.family(person)
        item = await kitchen.stock(person, "test flour", 1, "g")
        users.append(User(f"User{place}", str(person.tokens["access_token"]), item["id"]))
    return users
