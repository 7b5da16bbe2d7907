"""Which network counts as one client, and what no limit refuses."""

import pytest

from freshly.chassis.rate_limits.counters import MemoryCounters
from freshly.chassis.rate_limits.policy import Limiter
from freshly.chassis.web.rate_limiting import client_networks
from tests.conftest import client_of, running, settings_for
from tests.support.api import Kitchen


@pytest.fixture
async def served(database_url, tmp_path):
    """The app with rate limits on, at a time that stands still."""
    settings = settings_for(database_url, tmp_path, rate_limit_enabled=True)
    async with running(settings) as app:
        groups, clock = app.resources.limiter.groups, lambda: 1_900_000_040.0
        app.replace(limiter=Limiter(groups, MemoryCounters(clock), clock))
        yield app


@pytest.fixture
async def kitchen(served):
    async with client_of(served) as client:
        yield Kitchen(client)


@pytest.mark.parametrize(
    ("client", "subject"),
    [
        (("203.0.113.7", 1), "203.0.113.7"),
        (("::ffff:203.0.113.7", 1), "203.0.113.7"),
        (("2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::/64"),
        (("2001:db8:1:2::9", 1), "2001:db8:1:2::/64"),
        (None, "-"),
    ],
)
def test_all_ipv6_addresses_of_one_network_count_as_one_client(client, subject):
    assert next(iter(client_networks({"client": client}))) == subject


def test_larger_ipv6_networks_are_counted_too_with_larger_limits():
    networks = client_networks({"client": ("2001:db8:1:abcd:3:4:5:6", 1)})

    assert networks == {"2001:db8:1:abcd::/64": 1, "2001:db8:1:ab00::/56": 4, "2001:db8:1::/48": 16}


async def test_a_customer_with_many_ipv6_networks_is_limited_too(served):
    async def sign_in_from(host):
        async def app_for_host(scope, receive, send):
            await served({**scope, "client": (host, 1)}, receive, send)

        async with client_of(app_for_host) as client:
            body = {"email": f"{host}@example.com".replace(":", "-"), "password": "wrong horse"}
            return (await client.post("/auth/login", json=body)).status_code

    statuses = [await sign_in_from(f"2001:db8:1:{n:x}::1") for n in range(41)]

    assert statuses == [401] * 40 + [429]


async def test_a_signed_in_user_is_never_refused_the_sign_out(kitchen):
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")
    for _ in range(101):
        response = await alice.get("/auth/me")

    assert response.status_code == 429
    assert (await bob.get("/auth/me")).status_code == 200
    assert (await alice.post("/auth/logout")).status_code == 200
    statuses = [(await alice.post("/auth/logout")).status_code for _ in range(201)]
    assert statuses == [401] * 200 + [429]
