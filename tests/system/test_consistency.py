"""Four processes with one database and one Redis: whoever reads is told what is so.

Random writes and reads of two households go to random processes, and every answer is compared
with a model: own writes are seen at once, others' too (a second would be allowed), and nobody is
ever told anything of another household.
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

from bench.consistency import check_consistency, neighbours
from bench.servers import LIMITS, freshly
from faults.proxy import proxy
from freshly.chassis.cache.redis_versions import CHANGING
from freshly.chassis.redis.client import RETRY_INTERVAL
from tests.conftest import client_of, running, settings_for
from tests.support.api import Kitchen, Person
from tests.support.servers import redis_alone

PROCESSES = 4
PEOPLE = st.sampled_from(["alice", "bob", "mallory"])
PROCESS = st.integers(0, PROCESSES - 1)
STEPS = int(os.environ.get("CONSISTENCY_STEPS", "40"))
OPERATIONS = 1000
FEW = {"notifications": {"default": "100/10 year"}}  # a window that ends during no test
EXAMPLES = int(os.environ.get("CONSISTENCY_EXAMPLES", "5"))


class Replicas:
    """Apps that share nothing but PostgreSQL and Redis, as processes do."""

    def __init__(self, settings):
        self.settings = settings
        self.stack = AsyncExitStack()
        self.clients, self.ports = [], []

    async def start(self):
        for _ in range(PROCESSES):
            app = await self.stack.enter_async_context(running(self.settings))
            self.clients.append(await self.stack.enter_async_context(client_of(app)))
        self.kitchen = Kitchen(self.clients[0])

    async def people(self):
        """Alice and Bob of one family, and Mallory next door with one of her own."""
        kitchen = self.kitchen
        names = ("Alice", "Bob", "Mallory")
        made = {name.lower(): await kitchen.person(name) for name in names}
        home = await kitchen.family(made["alice"], made["bob"])
        next_door = await kitchen.family(made["mallory"])
        return made, {"alice": home["id"], "bob": home["id"], "mallory": next_door["id"]}, home


class Processes(Replicas):
    """Servers of their own."""

    async def start(self):
        shared = {
            "DATABASE_URL": self.settings.database_url.get_secret_value(),
            "REDIS_URL": self.settings.redis_url.get_secret_value(),
            "RATE_LIMIT_OVERRIDES": json.dumps({**json.loads(LIMITS), **FEW}),
        }
        for number in range(PROCESSES):
            folder = self.settings.data_dir / f"process{number}"
            server = self.stack.enter_context(freshly(folder, 1, shared))
            client = AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=30)
            self.clients.append(await self.stack.enter_async_context(client))
            self.ports.append(server.port)
        self.kitchen = Kitchen(self.clients[0])


class Households(RuleBasedStateMachine):
    loop: asyncio.AbstractEventLoop
    replicas: Replicas
    numbers = iter(range(1, 10**6))

    @initialize()
    def begin(self):
        self.post_ok, self.homes, self.family = self.run(self.replicas.people())
        self.shelves = {self.homes["alice"]: {}, self.homes["mallory"]: {}}
        self.meals = {name: {} for name in self.post_ok}
        self.bob_is_in = True

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    def at(self, process, who) -> Person:
        """That person, calling that process."""
        person = self.post_ok[who]
        return Person(self.replicas.clients[process], person.user, person.tokens)

    def is_in(self, who):
        return who != "bob" or self.bob_is_in

    @rule(who=PEOPLE, process=PROCESS, quantity=st.integers(1, 9))
    def stock(self, who, process, quantity):
        home = self.homes[who]
        item = {"ingredient_name": "test rice", "quantity": quantity, "family_id": home}
        answer = self.run(self.at(process, who).post("/pantry-items", item))
        assert answer.status_code == (201 if self.is_in(who) else 403)
        if answer.status_code == 201:
            self.shelves[home][answer.json()["id"]] = quantity

    @rule(who=PEOPLE, process=PROCESS, quantity=st.integers(1, 9), data=st.data())
    def change(self, who, process, quantity, data):
        home = self.homes[who]
        if not self.shelves[home]:
            return
        item = data.draw(st.sampled_from(sorted(self.shelves[home])))
        sent = self.at(process, who).patch(f"/pantry-items/{item}", {"quantity": quantity})
        answer = self.run(sent)
        assert answer.status_code == (200 if self.is_in(who) else 403)
        if answer.status_code == 200:
            self.shelves[home][item] = quantity

    @rule(who=PEOPLE, process=PROCESS, data=st.data())
    def use_up(self, who, process, data):
        home = self.homes[who]
        if not self.shelves[home]:
            return
        item = data.draw(st.sampled_from(sorted(self.shelves[home])))
        answer = self.run(self.at(process, who).delete(f"/pantry-items/{item}"))
        assert answer.status_code == (204 if self.is_in(who) else 403)
        if answer.status_code == 204:
            del self.shelves[home][item]

    @rule(who=PEOPLE, process=PROCESS)
    def keep_a_meal(self, who, process):
        kitchen = Kitchen(self.replicas.clients[process])
        name = f"Meal {next(self.numbers)}"
        meal = self.run(kitchen.meal(self.at(process, who), name=name))
        self.meals[who][meal["id"]] = name

    @rule(process=PROCESS)
    def bob_goes_or_comes(self, process):
        if self.bob_is_in:
            path = f"/families/{self.family['id']}/members/{self.post_ok['bob'].id}"
            answer = self.run(self.at(process, "alice").delete(path))
        else:
            code = {"invite_code": self.family["invite_code"]}
            answer = self.run(self.at(process, "bob").post("/families/join", code))
        assert answer.status_code == 200
        self.bob_is_in = not self.bob_is_in

    @rule(who=PEOPLE, processes=st.lists(PROCESS, min_size=1, max_size=4))
    def look(self, who, processes):
        """Several at once, which is when caches go wrong."""
        home = self.homes[who]

        async def read():
            people = [self.at(process, who) for process in processes]
            return await asyncio.gather(
                *(one.get(f"/pantry-items/family/{home}") for one in people),
                *(one.get("/meals/me") for one in people),
                *(one.get("/families") for one in people),
            )

        answers = self.run(read())
        number = len(processes)
        for answer in answers[:number]:
            if not self.is_in(who):
                assert answer.status_code == 403
                continue
            found = {item["id"]: float(item["quantity"]) for item in answer.json()}
            assert found == self.shelves[home]
        for answer in answers[number : 2 * number]:
            assert {meal["id"]: meal["name"] for meal in answer.json()} == self.meals[who]
        for answer in answers[2 * number :]:
            expected = {home: 1 if who == "mallory" else 1 + self.bob_is_in}
            told = {family["id"]: family["count"] for family in answer.json()}
            assert told == (expected if self.is_in(who) else {})

    @invariant()
    def nobody_knows_of_the_neighbours(self):
        mallory = self.at(0, "mallory")
        answer = self.run(mallory.get(f"/pantry-items/family/{self.family['id']}"))
        assert answer.status_code == 403


@pytest.fixture
def database_kind():
    return "postgresql"


@pytest.fixture
def shared(database_url, redis_url, tmp_path):
    return settings_for(database_url, tmp_path, cache="auto", redis_url=SecretStr(redis_url))


@pytest.fixture
def redis_of_ones_own():
    with redis_alone() as (url, pid):
        yield partial(os.kill, pid, signal.SIGSTOP), partial(os.kill, pid, signal.SIGCONT), url


def test_four_processes_never_tell_what_is_not_so(shared):
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
        verdict = loop.run_until_complete(_crowd_watches(replicas))
        assert (verdict.operations, dict(verdict.wrong)) == (OPERATIONS, {}), verdict.examples
        assert loop.run_until_complete(_all_call(replicas)) == {200: 100, 429: 140}
    finally:
        loop.run_until_complete(replicas.stack.aclose())
        loop.close()


async def _crowd_watches(replicas):
    """Eight people at once; `./run bench` lets more do a hundred times as much."""
    households = await neighbours(replicas.kitchen, 4)
    return await check_consistency(replicas.ports, households, operations=OPERATIONS)


async def _all_call(replicas):
    """One person, at all processes at once."""
    alice = await replicas.kitchen.person("Caller")
    there = [Person(client, alice.user, alice.tokens) for client in replicas.clients]
    calls = (there[n % PROCESSES].get("/notifications/unread-count") for n in range(240))
    return Counter(answer.status_code for answer in await asyncio.gather(*calls))


async def test_redis_may_come_after_the_start(shared, redis_of_ones_own):
    stop, go_on, url = redis_of_ones_own
    stop()
    settings = shared.model_copy(update={"redis_url": SecretStr(url), "rate_limit_enabled": True})
    replicas = Replicas(settings)
    await replicas.start()
    async with replicas.stack:
        made, _, _ = await replicas.people()
        for client in replicas.clients:
            alice = Person(client, made["alice"].user, made["alice"].tokens)
            assert (await alice.get("/families")).status_code == 200
        go_on()
        await asyncio.sleep(3 * RETRY_INTERVAL)
        for client in replicas.clients:
            alice = Person(client, made["alice"].user, made["alice"].tokens)
            assert (await alice.get("/families")).status_code == 200
            assert (await client.get("/ready")).json()["redis"] == "connected"


async def test_without_redis_everything_works_and_nothing_old_is_told(shared, redis_of_ones_own):
    """Redis is stopped while it holds answers, and comes back with them."""
    stop, go_on, url = redis_of_ones_own
    settings = shared.model_copy(update={"redis_url": SecretStr(url), "rate_limit_enabled": True})
    replicas = Replicas(settings)
    await replicas.start()
    async with replicas.stack:
        made, _, _ = await replicas.people()
        alice = [
            Person(client, made["alice"].user, made["alice"].tokens) for client in replicas.clients
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
        tokens = await signed_out.sign_in(made["bob"].user["email"])
        bob = Person(replicas.clients[0], made["bob"].user, tokens)
        assert (await bob.post("/auth/logout")).status_code == 200
        for client in replicas.clients:
            again = await Person(client, bob.user, tokens).get("/families")
            assert again.status_code == 401

        go_on()
        await asyncio.sleep(3 * RETRY_INTERVAL)
        for person in alice:
            assert float((await person.read(path))[0]["quantity"]) == expected
        ready = [(await client.get("/ready")).json()["redis"] for client in replicas.clients]
        assert ready == ["connected"] * PROCESSES
        for client in replicas.clients:
            assert (await Person(client, bob.user, tokens).get("/families")).status_code == 401


GARBAGE = (b"garbage", b'{"versions": ["a"], "etag": "", "next": null}\nx', b"[" * 10_000)


async def test_what_others_write_into_redis_is_neither_told_nor_an_error(shared, redis_url):
    """The same garbage under the same keys again and again: it must not be taken for a version."""
    settings = shared.model_copy(
        update={
            "rate_limit_enabled": True,
            "rate_limit_overrides": {"families-read": {"default": "1/day"}},
        }
    )
    replicas = Replicas(settings)
    await replicas.start()
    async with replicas.stack, Redis.from_url(redis_url) as redis:
        made, _, _ = await replicas.people()
        alice = Person(replicas.clients[0], made["alice"].user, made["alice"].tokens)
        shelf = {"ingredient_name": "test rice", "quantity": 1}
        item = await alice.post_ok("/pantry-items", shelf)
        keys = set()
        for quantity in range(2, 14):
            for client in replicas.clients:
                one = Person(client, alice.user, alice.tokens)
                assert float((await one.read("/pantry-items/me"))[0]["quantity"]) == quantity - 1
                assert (await one.get("/families")).status_code in (200, 429)
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


async def test_a_writer_whose_words_to_redis_are_lost_says_them_again(shared, redis_url):
    """Only the writer's way there is broken: others go on serving what they have."""
    async with AsyncExitStack() as stack:
        between = await stack.enter_async_context(proxy(urlsplit(redis_url).port))
        far = shared.model_copy(
            update={"redis_url": SecretStr(f"redis://127.0.0.1:{between.port}/0")}
        )
        clients = []
        for settings in (far, shared):
            app = await stack.enter_async_context(running(settings))
            clients.append(await stack.enter_async_context(client_of(app)))
        alice = await Kitchen(clients[1]).person("Alice")
        writer = Person(clients[0], alice.user, alice.tokens)
        item = await writer.post_ok(
            "/pantry-items", {"ingredient_name": "test rice", "quantity": 1}
        )
        assert float((await alice.read("/pantry-items/me"))[0]["quantity"]) == 1

        lost = {CHANGING, b"DEL"}  # that it will change, and that it has: each on its first way

        def lose(up, data):
            for word in [word for word in lost if up and word in data]:
                lost.remove(word)
                raise ConnectionResetError

        between.listener = lose
        changed = await writer.patch(f"/pantry-items/{item['id']}", {"quantity": 2})

        assert (changed.status_code, lost) == (200, set())
        assert float((await alice.read("/pantry-items/me"))[0]["quantity"]) == 2
