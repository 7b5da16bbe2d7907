"""Rate limits: how often a user or an address may call each group of routes."""

import asyncio
import math

import pytest
from fastapi.routing import iter_route_contexts
from redis.asyncio.client import Pipeline

from freshly.app import create_app
from freshly.chassis.data.admission import Overloaded, route_group
from freshly.chassis.rate_limits.counters import MemoryCounters
from freshly.chassis.rate_limits.policy import Group, Limiter
from freshly.chassis.rate_limits.redis_counters import RedisCounters
from freshly.chassis.rate_limits.windows import windows
from freshly.chassis.redis.client import CALL_TIMEOUT, CommandBatcher, RedisClient
from freshly.settings import BadSettings
from freshly.wiring.rate_limits import GROUPS_BY_ROUTE, GROUPS_BY_SECTION, group_of, groups
from tests.conftest import client_of, running, settings_for
from tests.support.api import Kitchen


class Clock:
    now = 1_900_000_040.0  # 20 s into a minute

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def served(database_url, tmp_path, clock):
    """The app with rate limits on, and with a clock that a test can move."""
    settings = settings_for(database_url, tmp_path, rate_limit_enabled=True)
    async with running(settings) as app:
        limiter = app.resources.limiter
        limiter.clock, limiter.counts = clock, MemoryCounters(clock)
        yield app


@pytest.fixture
async def kitchen(served):
    async with client_of(served) as client:
        yield Kitchen(client)


async def test_the_limit_is_exact_and_ends_when_the_retry_after_has_passed(kitchen, clock):
    alice = await kitchen.person()

    responses = [await alice.get("/notifications/unread-count") for _ in range(23)]

    assert [response.status_code for response in responses] == [200] * 20 + [429] * 3
    assert [
        int(response.headers["RateLimit"].split(";")[1][2:]) for response in responses[:20]
    ] == [*range(19, -1, -1)]
    refused = responses[-1]
    assert refused.headers["Retry-After"] == "40"
    assert refused.headers["RateLimit-Policy"] == '"notifications-burst";q=20;w=60'
    assert refused.headers["RateLimit"] == '"notifications-burst";r=0;t=40'
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert "X-Correlation-ID" in refused.headers
    body = refused.json()
    assert body["detail"] == body["message"] == "Rate limit exceeded"
    assert body["error"] == {
        "error": "Rate limit exceeded",
        "route_group": "notifications",
        "tier": "free",
        "limit": 20,
        "window": 60,
        "policy_type": "burst",
        "retry_after": 40,
    }
    clock.now += 39.9
    assert (await alice.get("/notifications/unread-count")).status_code == 429
    clock.now += 0.1
    assert (await alice.get("/notifications/unread-count")).status_code == 200


async def test_each_user_has_a_separate_limit_for_each_group_of_routes(kitchen):
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")
    for _ in range(21):
        await alice.get("/notifications")

    assert (await alice.get("/notifications/unread-count")).status_code == 429
    assert (await alice.get("/pantry-items/me")).status_code == 200
    # The general limit counts this route.
    assert (await alice.get("/notifications/stats")).status_code == 200
    assert (await bob.get("/notifications")).status_code == 200


async def test_sign_ins_are_limited_by_client_address_for_all_accounts_together(kitchen):
    statuses = []
    for n in range(12):
        credentials = {"email": f"nobody{n}@example.com", "password": "wrong horse"}
        statuses.append((await kitchen.client.post("/auth/login", json=credentials)).status_code)
    assert statuses == [401] * 10 + [429] * 2


async def test_unreadable_requests_and_unknown_routes_count_too(kitchen):
    for body in (b"{", b'{"email": 1}', b"\xff"):
        for _ in range(2):
            as_json = {"Content-Type": "application/json"}
            response = await kitchen.client.post("/auth/register", content=body, headers=as_json)
            if response.status_code == 429:
                break
            assert response.status_code in (400, 422)
    assert response.status_code == 429  # the sixth request

    statuses = [(await kitchen.client.get(f"/nothing/{n}")).status_code for n in range(201)]
    assert statuses == [404] * 200 + [429]


async def test_attempts_of_codes_are_limited_by_account_over_all_client_addresses(served):
    async def verify_from(host):
        async def app_for_host(scope, receive, send):
            await served({**scope, "client": (host, 1)}, receive, send)

        async with client_of(app_for_host) as client:
            body = {"email": "alice@example.com", "code": "123456"}
            return await client.post("/auth/verify-code", json=body)

    responses = [await verify_from(f"198.51.100.{n}") for n in range(12)]
    assert [response.status_code for response in responses] == [400] * 10 + [429] * 2
    assert responses[-1].json()["error"]["route_group"] == "auth-attempts"
    assert responses[-1].headers["Retry-After"] == "40"


async def test_the_daily_limit_counts_accepted_calls_and_is_named_when_it_refuses(kitchen, clock):
    """A call that the limit per minute refuses does not count for the day."""
    accepted = 0
    for minute in range(6):
        for _ in range(12):
            credentials = {"email": f"nobody{minute}@example.com", "password": "wrong horse"}
            response = await kitchen.client.post("/auth/login", json=credentials)
            accepted += response.status_code == 401
        clock.now += 60

    assert accepted == 50
    error = response.json()["error"]
    assert (error["policy_type"], error["limit"]) == ("daily", 50)
    clock.now += int(response.headers["Retry-After"]) - 60
    assert clock.now % 86400 < 1
    assert (await kitchen.client.post("/auth/login", json=credentials)).status_code == 401


async def test_every_response_has_rate_limit_headers_except_those_of_system_routes(kitchen):
    alice = await kitchen.person()
    for response in (
        await alice.get("/families"),
        await alice.get("/meals/999"),
        await alice.post("/meals/me", {}),
        await kitchen.client.get("/families"),
        await kitchen.client.get("/nowhere"),
    ):
        assert {"RateLimit", "RateLimit-Policy"} <= {
            name.title().replace("Ratelimit", "RateLimit") for name in response.headers
        }, response.url
    for path in ("/health", "/ready"):
        assert "RateLimit" not in (await kitchen.client.get(path)).headers


async def test_users_do_not_count_as_anonymous_while_authentication_is_unavailable(
    served, kitchen, monkeypatch
):
    alice = await kitchen.person()

    async def fail(*_):
        raise Overloaded

    monkeypatch.setattr(served.resources.identity, "identify", fail)
    served.resources.db.cache.__post_init__()  # forgets her account

    responses = [await alice.get("/families") for _ in range(201)]

    assert {response.status_code for response in responses} == {503}
    assert (
        (await kitchen.client.get("/nowhere"))
        .headers["RateLimit"]
        .startswith('"anonymous-burst";r=199')
    )


FREE, PRO = ("free",), ("free", "pro")
POLICIES = [
    (PRO, "GET /recipes", ("user",), ["100/min", "100/min"]),
    (FREE, "POST /auth/login", ("address",), ["10/min 50/day"]),
    (FREE, "POST /auth/refresh", ("address",), ["60/min"]),
    (FREE, "POST /auth/register", ("address",), ["5/min 20/day"]),
    (FREE, "POST /auth/forgot-password", ("address",), ["3/min 10/day"]),
    (FREE, "POST /auth/forgot-password/verify", ("address",), ["3/min 10/day"]),
    (FREE, "POST /auth/reset-password", ("address",), ["3/min 10/day"]),
    (FREE, "POST /auth/login/oauth", ("address",), ["5/min 20/hour"]),
    (FREE, "POST /auth/send-code", ("address",), ["5/min 20/day"]),
    (PRO, "GET /auth/me", ("user",), ["100/min", "100/min"]),
    (PRO, "DELETE /auth/sessions/1", ("user",), ["100/min", "100/min"]),
    (FREE, "POST /auth/reauthenticate", ("user",), ["5/min 20/day"]),
    (PRO, "POST /chat", ("user",), ["10/min 50/day", "30/min 200/day"]),
    (PRO, "POST /chat/scan-grocery", ("user",), ["10/min 50/day", "30/min 200/day"]),
    (PRO, "POST /chat/generate-image", ("user",), ["2/min 10/day", "5/min 50/day"]),
    (FREE, "GET /pantry-items/me", ("user",), ["120/min"]),
    (FREE, "PATCH /pantry-items/1", ("user",), ["60/min"]),
    (FREE, "GET /grocery-lists/me", ("user",), ["120/min"]),
    (FREE, "POST /grocery-lists", ("user",), ["60/min"]),
    (FREE, "GET /families", ("user",), ["600/min"]),
    (FREE, "GET /chat/conversations/1", ("user",), ["600/min"]),
    (FREE, "POST /families/join", ("user", "address"), ["20/hour"]),
    (FREE, "GET /notifications", ("user",), ["20/min"]),
    (FREE, "POST /users/me/export", ("user",), ["5/day"]),
    (FREE, "GET /files/x", ("address",), ["1200/min"]),
]
NAMES = {60: "min", 3600: "hour", 86400: "day"}


@pytest.mark.parametrize(("tiers", "call", "per", "limits"), POLICIES, ids=[p[1] for p in POLICIES])
def test_every_group_has_its_documented_limits(tmp_path, tiers, call, per, limits):
    method, path = call.split()
    group = groups(settings_for("sqlite:///x", tmp_path))[group_of(method, path, route_group(path))]

    assert group.per == per
    assert [
        " ".join(
            f"{window.amount}/{NAMES[window.seconds]}" for window in windows(group.of_tier(tier))
        )
        for tier in tiers
    ] == limits


async def test_all_routes_for_a_forgotten_password_share_one_limit(kitchen):
    body = {"email": "nobody@example.com", "code": "123456", "new_password": "a new horse"}
    paths = ("forgot-password", "forgot-password/verify", "reset-password", "forgot-password")
    responses = [(await kitchen.client.post(f"/auth/{path}", json=body)) for path in paths]
    assert [response.status_code == 429 for response in responses] == [False] * 3 + [True]


async def test_joining_a_family_is_limited_by_user_and_by_client_address(kitchen):
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")
    guess = {"invite_code": "WRONG123"}
    statuses = [(await alice.post("/families/join", guess)).status_code for _ in range(20)]
    assert 429 not in statuses
    refused = await bob.post("/families/join", guess)
    assert (refused.status_code, refused.json()["error"]["route_group"]) == (429, "join")


async def test_a_tier_has_its_own_limits_and_an_unknown_tier_has_the_free_limits(clock):
    chat_group = {"chat": Group("chat", {"free": "2/minute", "pro": "3/minute"})}
    limiter = Limiter(chat_group, MemoryCounters(clock), clock)

    async def allowed(tier, subject):
        return sum([(await limiter.hit("chat", tier, {subject: 1})).allowed for _ in range(5)])

    assert [await allowed("free", "a"), await allowed("pro", "b"), await allowed("gold", "c")] == [
        2,
        3,
        2,
    ]


def test_an_override_changes_one_tier_and_leaves_the_others(tmp_path):
    settings = settings_for(
        "sqlite:///x", tmp_path, rate_limit_overrides={"chat": {"free": "1/minute"}}
    )
    assert groups(settings)["chat"].limits == {"free": "1/minute", "pro": "30/minute;200/day"}


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"chatt": {"free": "1/minute"}}, "there is no group chatt"),
        ({"chat": {"free": "often"}}, "'often' is not a limit such as 10/minute;50/day"),
    ],
)
def test_an_invalid_override_stops_the_start(tmp_path, overrides, reason):
    settings = settings_for("sqlite:///x", tmp_path, rate_limit_overrides=overrides)
    with pytest.raises(BadSettings, match=reason):
        create_app(settings)


def test_the_settings_of_the_contract_change_the_general_limits(tmp_path):
    settings = settings_for(
        "sqlite:///x", tmp_path, rate_limit_requests=7, rate_limit_window=30, auth_rate_limit=3
    )
    all_groups = groups(settings)
    assert windows(all_groups["api"].limits["default"])[0].amount == 7
    assert windows(all_groups["api"].limits["default"])[0].seconds == 30
    assert windows(all_groups["auth-login"].limits["default"])[0].amount == 3


def test_every_route_that_the_limits_name_exists(tmp_path):
    app = create_app(settings_for("sqlite:///x", tmp_path))
    known = {
        f"{method} {route.path}"
        for route in iter_route_contexts(app.routes)
        for method in route.methods or ()
    }
    assert GROUPS_BY_ROUTE.keys() <= known
    for part, reads in GROUPS_BY_SECTION:
        assert any(path.split(" /")[1].split("/")[0] == part for path in known), (part, reads)
    assert group_of("HEAD", "/pantry-items/me", "pantry-items") == "pantry-read"
    assert group_of("GET", "/recipes", "recipes") == "api"


async def test_the_counts_of_past_windows_are_deleted(clock):
    counts = MemoryCounters(clock)
    limiter = Limiter({"g": Group("g", {"default": "5/minute;9/day"})}, counts, clock)
    for user_id in range(1000):
        await limiter.hit("g", "free", {f"u{user_id}": 1})
    clock.now += 2 * 86400
    await limiter.hit("g", "free", {"u1": 1})
    assert len(counts) == 2


@pytest.mark.parametrize(
    ("limit", "first", "last"),
    [("9/hour", 0, 3599.9), ("9/day", 0, 86399.9), ("9/day", 23 * 3600 - 2, 23 * 3600 + 2)],
)
async def test_a_window_counts_from_its_first_moment_to_its_last(clock, limit, first, last):
    limiter = Limiter({"g": Group("g", {"default": limit})}, MemoryCounters(clock), clock)
    midnight = clock.now - clock.now % 86400

    clock.now = midnight + first
    assert (await limiter.hit("g", "free", {"u1": 1})).remaining == 8
    clock.now = midnight + last
    assert (await limiter.hit("g", "free", {"u1": 1})).remaining == 7


async def test_only_the_first_call_waits_for_a_redis_that_fails(redis_url, clock, monkeypatch):
    redis_client = RedisClient(redis_url)
    limiter = Limiter(
        {"g": Group("g", {"default": "3/minute"})},
        RedisCounters(CommandBatcher(redis_client), f"test{id(redis_client)}"),
        clock,
    )
    never = asyncio.Event()
    execute = Pipeline.execute

    async def hang(*_, **__):
        await never.wait()

    monkeypatch.setattr(Pipeline, "execute", hang)
    started = asyncio.get_running_loop().time()
    remaining = [(await limiter.hit("g", "free", {"u1": 1})).remaining for _ in range(3)]
    seconds = asyncio.get_running_loop().time() - started
    monkeypatch.setattr(Pipeline, "execute", execute)
    await redis_client.close()

    assert remaining == [2, 1, 0]  # counted by this process alone
    assert seconds < 2 * 2 * CALL_TIMEOUT


async def test_the_limit_is_exact_over_all_processes(redis_url, clock):
    redis_clients = [RedisClient(redis_url) for _ in range(4)]
    group = {"g": Group("g", {"default": "100/minute"})}
    prefix = f"test{id(redis_clients)}"
    limiters = [
        Limiter(group, RedisCounters(CommandBatcher(redis_client), prefix), clock)
        for redis_client in redis_clients
    ]

    results = await asyncio.gather(
        *(limiters[n % 4].hit("g", "free", {"u1": 1}) for n in range(240))
    )

    assert sum(result.allowed for result in results) == 100
    assert {result.retry_after for result in results if not result.allowed} == {
        math.ceil(60 - clock.now % 60)
    }
    for redis_client in redis_clients:
        await redis_client.close()
