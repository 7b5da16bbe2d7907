"""Guesses for an account are limited over all networks, and no stranger locks its user out."""

import re

import pytest

from freshly.chassis.rate_limits.counters import MemoryCounters
from freshly.chassis.rate_limits.policy import Limiter
from tests.conftest import client_of, running, settings_for
from tests.support.api import PASSWORD, Kitchen


class Clock:
    now = 1_900_022_400.0  # the start of a day

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def app(database_url, tmp_path, clock):
    settings = settings_for(database_url, tmp_path, rate_limit_enabled=True)
    async with running(settings) as app:
        app.replace(limiter=Limiter(app.resources.limiter.groups, MemoryCounters(clock), clock))
        yield app


@pytest.fixture
def at(app):
    """Return a function that opens a client at an address."""

    def client(host):
        async def app_for_host(scope, receive, send):
            await app({**scope, "client": (host, 1)}, receive, send)

        return client_of(app_for_host)

    return client


@pytest.fixture
async def alice(at):
    async with at("192.0.2.1") as home:
        return await Kitchen(home).person("Alice")


def login(email, password):
    return {"json": {"email": email, "password": password}}


async def guess(at, clock, email, times):
    """Guess from another network each time, in as many minutes. Return the statuses."""
    statuses = []
    for n in range(times):
        async with at(f"198.51.100.{n}") as client:
            statuses.append(
                (await client.post("/auth/login", **login(email, "wrong horse"))).status_code
            )
        clock.now += 900
    return statuses


async def test_an_account_allows_twenty_wrong_passwords_a_day_over_all_networks(at, alice, clock):
    statuses = await guess(at, clock, alice.user["email"], 40)

    assert statuses == [401] * 20 + [429] * 20
    unknown = await guess(at, clock, "nobody@example.com", 40)
    assert unknown == statuses


async def test_the_user_signs_in_at_home_while_a_stranger_guesses(at, alice, clock):
    email = alice.user["email"]
    await guess(at, clock, email, 25)

    async with at("192.0.2.1") as home, at("203.0.113.9") as stranger:
        at_home = await home.post("/auth/login", **login(email, PASSWORD))
        elsewhere = await stranger.post("/auth/login", **login(email, PASSWORD))

    assert (at_home.status_code, elsewhere.status_code) == (200, 429)
    assert elsewhere.json()["error"]["route_group"] == "auth-attempts"


async def test_right_passwords_do_not_count(at, alice, clock):
    async with at("192.0.2.1") as home:
        for _ in range(25):
            response = await home.post("/auth/login", **login(alice.user["email"], PASSWORD))
            assert response.status_code == 200
            clock.now += 60


async def test_the_link_in_an_email_works_while_a_stranger_guesses(at, alice, clock, jobs, emails):
    email = alice.user["email"]
    async with at("203.0.113.9") as stranger:
        for _ in range(9):
            await stranger.post("/auth/forgot-password", json={"email": email})
            clock.now += 60
    await jobs.run_due()
    await guess(at, clock, email, 25)
    token = re.search(r"token=([0-9a-f]{64})", emails[0].text)[1]

    async with at("203.0.113.77") as holiday:
        form = {"token": token, "new_password": "another good password"}
        reset = await holiday.post("/auth/link", data=form)
        signed_in = await holiday.post("/auth/login", **login(email, "another good password"))

    assert (reset.status_code, signed_in.status_code) == (200, 200)


async def test_a_stranger_who_asks_for_one_kind_of_code_does_not_stop_the_other(
    at, alice, jobs, emails
):
    body = {"json": {"email": alice.user["email"]}}
    async with at("203.0.113.9") as stranger, at("203.0.113.77") as holiday:
        await stranger.post("/auth/send-code", **body)
        await holiday.post("/auth/forgot-password", **body)
    await jobs.run_due()

    assert sorted("password" in email.subject for email in emails) == [False, True]


async def test_a_stranger_who_guesses_and_asks_again_leaves_the_users_code(
    at, alice, clock, jobs, emails
):
    email = alice.user["email"]
    async with at("192.0.2.1") as home, at("203.0.113.9") as stranger:
        await home.post("/auth/forgot-password", json={"email": email})
        await jobs.run_due()
        code = re.search(r"\b\d{6}\b", emails[-1].text)[0]
        for _ in range(5):
            clock.now += 60
            wrong = {"email": email, "code": "000000"}
            await stranger.post("/auth/forgot-password/verify", json=wrong)
        clock.now += 60
        await stranger.post("/auth/forgot-password", json={"email": email})
        await jobs.run_due()
        right = {"email": email, "code": code}
        allowed = await home.post("/auth/forgot-password/verify", json=right)

    assert allowed.status_code == 200


async def test_a_stranger_cannot_use_up_the_attempts_of_the_users_code(
    at, alice, clock, jobs, emails
):
    email = alice.user["email"]
    async with at("192.0.2.1") as home, at("203.0.113.9") as stranger:
        await home.post("/auth/forgot-password", json={"email": email})
        await jobs.run_due()
        clock.now += 60
        wrong = {"json": {"email": email, "code": "000000"}}
        statuses = []
        for _ in range(6):
            guessed = await stranger.post("/auth/forgot-password/verify", **wrong)
            statuses.append(guessed.status_code)
            clock.now += 60
        right = {"email": email, "code": re.search(r"\b\d{6}\b", emails[-1].text)[0]}
        allowed = await home.post("/auth/forgot-password/verify", json=right)

    assert statuses == [400] * 5 + [429]
    assert allowed.status_code == 200


@pytest.mark.parametrize("path", ["/auth/send-code", "/auth/forgot-password"])
async def test_an_account_gets_one_email_a_minute_and_five_a_day_from_strangers(
    at, alice, clock, jobs, emails, path
):
    body = {"json": {"email": alice.user["email"]}}
    statuses = []
    for n in range(20):
        async with at(f"198.51.100.{n}") as stranger:
            statuses.append((await stranger.post(path, **body)).status_code)
        clock.now += 30
    await jobs.run_due()

    assert statuses == [200] * 20
    assert len(emails) == 5
    async with at("192.0.2.1") as home:
        assert (await home.post(path, **body)).status_code == 200
    await jobs.run_due()
    assert len(emails) == 6
