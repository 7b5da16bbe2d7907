"""Four processes with one database and one Redis never serve stale or foreign rows.

Random writes and reads of two households go to random processes, and each response is compared with
a model. A user's own writes are visible at once, other users' writes too (a second would be
allowed), and rows of another household never.
"""

import asyncio
import json
import os
import signal
from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from urllib.parse import urlsplit

import pytest
from httpx2 import AsyncClient
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from pydantic import SecretStr
from redis.asyncio import Redis

from bench.consistency import check_consistency, create_families
from bench.servers import LIMITS, freshly
from faults.proxy import proxy
from freshly.chassis.cache.redis_versions import CHANGING
from freshly.chassis.redis.client import RETRY_INTERVAL
from tests.conftest import client_of, running, settings_for
from tests.support.api import Kitchen, Person
from tests.support.servers import redis_alone

PROCESSES = 4
USERS = st.sampled_from(["alice", "bob", "mallory"])
PROCESS = st.integers(0, PROCESSES - 1)
STEPS = int(os.environ.get("CONSISTENCY_STEPS", "40"))
OPERATIONS = 1000
# The window is so long that it does not end during a test.
FEW_CALLS = {"notifications": {"default": "100/10 year"}}
EXAMPLES = int(os.environ.get("CONSISTENCY_EXAMPLES", "5"))


class Replicas:
    """Apps in this process that share only PostgreSQL and Redis, as processes do."""

    def __init__(self, settings):
        self.settings = settings
        self.stack = AsyncExitStack()
        self.clients, self.ports = [], []

    async def start(self):
        for _ in range(PROCESSES):
            app = await self.stack.enter_async_context(running(self.settings))
            self.clients.append(await self.stack.enter_async_context(client_of(app)))
        self.kitchen = Kitchen(self.clients[0])

    async def users(self):
        """Create Alice and Bob in one family, and Mallory in another.

        Returns the users by name, the ids of their families by name, and the family of Alice.
        """
        kitchen = self.kitchen
        names = ("Alice", "Bob", "Mallory")
        users = {name.lower(): await kitchen.person(name) for name in names}
        home = await kitchen.family(users["alice"], users["bob"])
        other = await kitchen.family(users["mallory"])
        return users, {"alice": home["id"], "bob": home["id"], "mallory": other["id"]}, home


class Processes(Replicas):
    """Servers in processes of their own."""

    async def start(self):
        shared = {
            "DATABASE_URL": self.settings.database_url.get_secret_value(),
            "REDIS_URL": self.settings.redis_url.get_secret_value(),
            "RATE_LIMIT_OVERRIDES": json.dumps({**json.loads(LIMITS), **FEW_CALLS}),
        }
        for number in range(PROCESSES):
            folder = self.settings.data_dir / f"process{number}"
            server = self.stack.enter_context(freshly(folder, 1, shared))
            client = AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=30)
            self.clients.append(await self.stack.enter_async_context(client))
            self.ports.append(server.port)
        self.kitchen = Kitchen(self.clients[0])


class Households(RuleBasedStateMachine):
    """Two households that write and read at random, with a model of what each may see."""

    loop: asyncio.AbstractEventLoop
    replicas: Replicas
    numbers = iter(range(1, 10**6))

    @initialize()
    def begin(self):
        self.users, self.homes, self.family = self.run(self.replicas.users())
        self.pantries = {self.homes["alice"]: {}, self.homes["mallory"]: {}}
        self.meals = {name: {} for name in self.users}
        self.bob_is_member = True

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    def at(self, process, name) -> Person:
        """Return a user who sends requests to this process."""
        user = self.users[name]
        return Person(self.replicas.clients[process], user.user, user.tokens)

    def is_member(self, name):
        return name != "bob" or self.bob_is_member

    @rule(name=USERS, process=PROCESS, quantity=st.integers(1, 9))
    def add_item(self, name, process, quantity):
        home = self.homes[name]
        item = {"ingredient_name": "test rice", "quantity": quantity, "family_id": home}
        response = self.run(self.at(process, name).post("/pantry-items", item))
        assert response.status_code == (201 if self.is_member(name) else 403)
        if response.status_code == 201:
            self.pantries[home][response.json()["id"]] = quantity

    @rule(name=USERS, process=PROCESS, quantity=st.integers(1, 9), data=st.data())
    def change_item(self, name, process, quantity, data):
        home = self.homes[name]
        if not self.pantries[home]:
            return
        item = data.draw(st.sampled_from(sorted(self.pantries[home])))
        request = self.at(process, name).patch(f"/pantry-items/{item}", {"quantity": quantity})
        response = self.run(request)
        assert response.status_code == (200 if self.is_member(name) else 403)
        if response.status_code == 200:
            self.pantries[home][item] = quantity

    @rule(name=USERS, process=PROCESS, data=st.data())
    def delete_item(self, name, process, data):
        home = self.homes[name]
        if not self.pantries[home]:
            return
        item = data.draw(st.sampled_from(sorted(self.pantries[home])))
        response = self.run(self.at(process, name).delete(f"/pantry-items/{item}"))
        assert response.status_code == (204 if self.is_member(name) else 403)
        if response.status_code == 204:
            del self.pantries[home][item]

    @rule(name=USERS, process=PROCESS)
    def create_meal(self, name, process):
        kitchen = Kitchen(self.replicas.clients[process])
        title = f"Meal {next(self.numbers)}"
        meal = self.run(kitchen.meal(self.at(process, name), name=title))
        self.meals[name][meal["id"]] = title

    @rule(process=PROCESS)
    def bob_leaves_or_joins(self, process):
        if self.bob_is_member:
            path = f"/families/{self.family['id']}/members/{self.users['bob'].id}"
            response = self.run(self.at(process, "alice").delete(path))
        else:
            # The code is another one each time that a member was removed.
            family = self.run(self.at(process, "alice").read(f"/families/{self.family['id']}"))
            code = {"invite_code": family["invite_code"]}
            response = self.run(self.at(process, "bob").post("/families/join", code))
        assert response.status_code == 200
        self.bob_is_member = not self.bob_is_member

    @rule(name=USERS, processes=st.lists(PROCESS, min_size=1, max_size=4))
    def read(self, name, processes):
        """Read at several processes at once, which is when caches go wrong."""
        home = self.homes[name]

        async def read_at_once():
            users = [self.at(process, name) for process in processes]
            return await asyncio.gather(
                *(user.get(f"/pantry-items/family/{home}") for user in users),
                *(user.get("/meals/me") for user in users),
                *(user.get("/families") for user in users),
            )

        responses = self.run(read_at_once())
        number = len(processes)
        for response in responses[:number]:
            if not self.is_member(name):
                assert response.status_code == 403
                continue
            quantities = {item["id"]: float(item["quantity"]) for item in response.json()}
            assert quantities == self.pantries[home]
        for response in responses[number : 2 * number]:
            assert {meal["id"]: meal["name"] for meal in response.json()} == self.meals[name]
        for response in responses[2 * number :]:
            expected = {home: 1 if name == "mallory" else 1 + self.bob_is_member}
            counts = {family["id"]: family["count"] for family in response.json()}
            assert counts == (expected if self.is_member(name) else {})

    @invariant()
    def no_other_household_is_visible(self):
        mallory = self.at(0, "mallory")
        response = self.run(mallory.get(f"/pantry-items/family/{self.family['id']}"))
        assert response.status_code == 403


@pytest.fixture
def database_kind():
    return "postgresql"


@pytest.fixture
def shared(database_url, redis_url, tmp_path):
    return settings_for(database_url, tmp_path, cache="auto", redis_url=SecretStr(redis_url))


@pytest.fixture
def own_redis():
    with redis_alone() as (url, pid):
        yield partial(os.kill, pid, signal.SIGSTOP), partial(os.kill, pid, signal.SIGCONT), url


def test_four_processes_never_serve_stale_or_foreign_rows(shared):
    loop = asyncio.new_event_loop()
    replicas = Processes(shared)
    loop.run_until_complete(replicas.start())
    Households.loop, Households.replicas = loop, replicas
    try:
        Households.TestCase.settings = settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            suppress_health_check=list(HealthCheck),
        )
        Households.TestCase().runTest()
        result = loop.run_until_complete(_check_with_more_users(replicas))
        assert (result.operations, dict(result.wrong)) == (OPERATIONS, {}), result.examples
        assert loop.run_until_complete(_call_all_processes(replicas)) == {200: 100, 429: 140}
    finally:
        loop.run_until_complete(replicas.stack.aclose())
        loop.close()


async def _check_with_more_users(replicas):
    """Check with eight users at once. `./run bench` runs a hundred times as many operations."""
    households = await create_families(replicas.kitchen, 4)
    return await check_consistency(replicas.ports, households, operations=OPERATIONS)


async def _call_all_processes(replicas):
    """Send more requests of a user than the limit allows, to all processes at once."""
    alice = await replicas.kitchen.person("Caller")
    there = [Person(client, alice.user, alice.tokens) for client in replicas.clients]
    calls = (there[n % PROCESSES].get("/notifications/unread-count") for n in range(240))
    return Counter(response.status_code for response in await asyncio.gather(*calls))


async def test_processes_connect_to_a_redis_that_starts_after_them(shared, own_redis):
    stop, resume, url = own_redis
    stop()
    settings = shared.model_copy(update={"redis_url": SecretStr(url), "rate_limit_enabled": True})
    replicas = Replicas(settings)
    await replicas.start()
    async with replicas.stack:
        users, _, _ = await replicas.users()
        for client in replicas.clients:
            alice = Person(client, users["alice"].user, users["alice"].tokens)
            assert (await alice.get("/families")).status_code == 200
        resume()
        await asyncio.sleep(3 * RETRY_INTERVAL)
        for client in replicas.clients:
            alice = Person(client, users["alice"].user, users["alice"].tokens)
            assert (await alice.get("/families")).status_code == 200
            assert (await client.get("/ready")).json()["redis"] == "connected"


async def test_without_redis_everything_works_and_nothing_stale_is_served(shared, own_redis):
    """Redis is stopped while it holds entries, and resumes with them."""
    stop, resume, url = own_redis
    settings = shared.model_copy(update={"redis_url": SecretStr(url), "rate_limit_enabled": True})
    replicas = Replicas(settings)
    await replicas.start()
    async with replicas.stack:
        users, _, _ = await replicas.users()
        alice = [
            Person(client, users["alice"].user, users["alice"].tokens)
            for client in replicas.clients
        ]
        item = await alice[0].post_ok(
            "/pantry-items", {"ingredient_name": "test rice", "quantity": 1}
        )
        path, expected = "/pantry-items/me", 1
        for person in alice:
            assert float((await person.read(path))[0]["quantity"]) == 1

        stop()
        for process, quantity in enumerate((2, 3, 4, 5)):
            changed = await alice[process].patch(
                f"/pantry-items/{item['id']}", {"quantity": quantity}
            )
            assert changed.status_code == 200
            expected = quantity
            for person in alice:
                assert float((await person.read(path))[0]["quantity"]) == expected
        signed_out = Kitchen(replicas.clients[0])
        tokens = await signed_out.sign_in(users["bob"].user["email"])
        bob = Person(replicas.clients[0], users["bob"].user, tokens)
        assert (await bob.post("/auth/logout")).status_code == 200
        for client in replicas.clients:
            again = await Person(client, bob.user, tokens).get("/families")
            assert again.status_code == 401

        resume()
        await asyncio.sleep(3 * RETRY_INTERVAL)
        for person in alice:
            assert float((await person.read(path))[0]["quantity"]) == expected
        ready = [(await client.get("/ready")).json()["redis"] for client in replicas.clients]
        assert ready == ["connected"] * PROCESSES
        for client in replicas.clients:
            assert (await Person(client, bob.user, tokens).get("/families")).status_code == 401


GARBAGE = (b"garbage", b'{"versions": ["a"], "etag": "", "next": null}\nx', b"[" * 10_000)


async def test_garbage_in_redis_is_neither_served_nor_an_error(shared, redis_url):
    """The same garbage is written under the same keys repeatedly, so that it could look current."""
    settings = shared.model_copy(
        update={
            "rate_limit_enabled": True,
            "rate_limit_overrides": {"families-read": {"default": "1/day"}},
        }
    )
    replicas = Replicas(settings)
    await replicas.start()
    async with replicas.stack, Redis.from_url(redis_url) as redis:
        users, _, _ = await replicas.users()
        alice = Person(replicas.clients[0], users["alice"].user, users["alice"].tokens)
        new_item = {"ingredient_name": "test rice", "quantity": 1}
        item = await alice.post_ok("/pantry-items", new_item)
        keys = set()
        for quantity in range(2, 14):
            for client in replicas.clients:
                user = Person(client, alice.user, alice.tokens)
                assert float((await user.read("/pantry-items/me"))[0]["quantity"]) == quantity - 1
                assert (await user.get("/families")).status_code in (200, 429)
            keys |= {key async for key in redis.scan_iter("freshly:*")}
            changed = await alice.patch(f"/pantry-items/{item['id']}", {"quantity": quantity})
            assert changed.status_code == 200
            for key in keys:
                if quantity % 4 == 3:
                    await redis.delete(key)
                    await redis.rpush(key, "a list")
                else:
                    await redis.set(key, GARBAGE[quantity % 3])
        assert len(keys) > 5


async def test_a_writer_retries_commands_that_redis_did_not_receive(shared, redis_url):
    """Only the writer's connection is broken. The other app can still read its entries."""
    async with AsyncExitStack() as stack:
        redis_proxy = await stack.enter_async_context(proxy(urlsplit(redis_url).port))
        through_proxy = shared.model_copy(
            update={"redis_url": SecretStr(f"redis://127.0.0.1:{redis_proxy.port}/0")}
        )
        clients = []
        for settings in (through_proxy, shared):
            app = await stack.enter_async_context(running(settings))
            clients.append(await stack.enter_async_context(client_of(app)))
        alice = await Kitchen(clients[1]).person("Alice")
        writer = Person(clients[0], alice.user, alice.tokens)
        item = await writer.post_ok(
            "/pantry-items", {"ingredient_name": "test rice", "quantity": 1}
        )
        assert float((await alice.read("/pantry-items/me"))[0]["quantity"]) == 1

        # The begin and the commit of the change: the first command of each kind is lost.
        lost = {CHANGING, b"DEL"}

        def lose(up, data):
            for command in [command for command in lost if up and command in data]:
                lost.remove(command)
                raise ConnectionResetError

        redis_proxy.listener = lose
        changed = await writer.patch(f"/pantry-items/{item['id']}", {"quantity": 2})

        assert (changed.status_code, lost) == (200, set())
        assert float((await alice.read("/pantry-items/me"))[0]["quantity"]) == 2
