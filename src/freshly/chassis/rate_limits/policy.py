"""How often who may call what: fixed windows of the UTC clock, counted over all processes.

A window begins and ends with the clock (a minute at :00, a day at midnight UTC), so every process
knows by itself when the next one begins, and a refused call prolongs nothing.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from time import time
from typing import Literal, Protocol

from fastapi import Request
from limits import RateLimitItem, parse_many
from starlette.types import ASGIApp, Receive, Scope, Send

from freshly.chassis.data.admission import lane, route_group, waited
from freshly.chassis.errors import AppError, Unavailable, answer
from freshly.chassis.observability.metrics import refusals
from freshly.chassis.security.caller import Caller, authenticate
from freshly.settings import BadSettings, Settings

Per = Literal["user", "address"]
DAY, HOUR = 86400, 3600
DEFAULT, FREE = "default", "free"
UNCOUNTED = {"/health", "/ready", "/metrics"}


@dataclass(frozen=True)
class Group:
    """Routes that are counted together, for each user, each client address, or both.

    `limits` are by tier, in the notation of the `limits` library: "10/minute;50/day".
    """

    name: str
    limits: Mapping[str, str]
    per: tuple[Per, ...] = ("user",)

    def of_tier(self, tier: str) -> str:
        return self.limits.get(tier) or self.limits.get(DEFAULT) or self.limits[FREE]


@dataclass(frozen=True)
class Window:
    """So many calls in so many seconds."""

    amount: int
    seconds: int

    @classmethod
    def of(cls, item: RateLimitItem) -> "Window":
        return cls(item.amount, item.get_expiry())

    @property
    def kind(self) -> str:
        """As the existing app names it."""
        if self.seconds >= DAY:
            return "daily"
        return "hourly" if self.seconds >= HOUR else "burst"

    def number(self, at: float) -> int:
        return int(at // self.seconds)

    def ends_in(self, at: float) -> float:
        return self.seconds - at % self.seconds


def windows(limits: str) -> tuple[Window, ...]:
    """The shortest first. Raises ValueError."""
    return tuple(sorted(map(Window.of, parse_many(limits)), key=lambda one: one.seconds))


class Counters(Protocol):
    """Where calls are counted."""

    async def increment(self, key: str, expiry: int) -> int:
        """One more; gives how many there are now. The key may be forgotten after `expiry` s."""

    async def get(self, key: str) -> int: ...


class MemoryCounters:
    """Of one process. The library's own goes through all of its keys at every call."""

    def __init__(self, clock: Callable[[], float] = time) -> None:
        self._clock = clock
        self._short: Counter[str] = Counter()  # of windows that last an hour at most
        self._long: Counter[str] = Counter()
        self._swept = clock()

    async def increment(self, key: str, expiry: int) -> int:
        del expiry  # the key names its window
        self._sweep()
        counts = self._of(key)
        counts[key] += 1
        return counts[key]

    async def get(self, key: str) -> int:
        return self._of(key)[key]

    def __len__(self) -> int:
        return len(self._short) + len(self._long)

    def _of(self, key: str) -> Counter[str]:
        seconds, _ = _window(key)
        return self._short if seconds <= HOUR else self._long

    def _sweep(self) -> None:
        """Keys name their window, so none is read after it: they are only in the way."""
        now = self._clock()
        if int(now // HOUR) != int(self._swept // HOUR):
            self._short = Counter({k: n for k, n in self._short.items() if _ends(k) > now})
        if int(now // DAY) != int(self._swept // DAY):
            self._long = Counter({k: n for k, n in self._long.items() if _ends(k) > now})
        self._swept = now


def _key(group: str, subject: str, window: Window, at: float) -> str:
    return f"{group}/{subject}/{window.seconds}/{window.number(at)}"


def _window(key: str) -> tuple[int, int]:
    """Its length, and which of that length it is."""
    _, seconds, number = key.rsplit("/", 2)
    return int(seconds), int(number)


def _ends(key: str) -> float:
    seconds, number = _window(key)
    return seconds * (number + 1)


@dataclass(frozen=True)
class Verdict:
    """What a call met: its tightest window, or the one that refused it."""

    group: str
    tier: str
    policy: str
    window: Window
    remaining: int
    resets_in: float
    allowed: bool = True

    @property
    def retry_after(self) -> int:
        return math.ceil(self.resets_in)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Of draft-ietf-httpapi-ratelimit-headers."""
        name = f'"{self.group}-{self.window.kind}"'
        return [
            (b"ratelimit-policy", self.policy.encode()),
            (b"ratelimit", f"{name};r={self.remaining};t={self.retry_after}".encode()),
        ]

    def refusal(self) -> dict[str, object]:
        return {
            "error": "Rate limit exceeded",
            "route_group": self.group,
            "tier": self.tier,
            "limit": self.window.amount,
            "window": self.window.seconds,
            "policy_type": self.window.kind,
            "retry_after": self.retry_after,
        }


class RateLimited(AppError):
    status, code, detail = 429, "rate_limit_exceeded", "Rate limit exceeded"

    def __init__(self, verdict: Verdict) -> None:
        super().__init__()
        self.headers = {"Retry-After": str(verdict.retry_after)}
        self.members = {"error": verdict.refusal()}


@dataclass
class Limiter:
    groups: Mapping[str, Group]
    counts: Counters
    clock: Callable[[], float] = time

    def __post_init__(self) -> None:
        self._windows: dict[tuple[str, str], tuple[tuple[Window, ...], str]] = {}

    async def hit(self, name: str, tier: str, subjects: Sequence[str]) -> Verdict:
        """Counts a call. What a shorter window refuses is not counted in a longer one."""
        limits, policy = self._parsed(name, self.groups[name].of_tier(tier))
        now = self.clock()
        tightest: Verdict | None = None
        for window in limits:
            expiry = math.ceil(window.ends_in(now)) + 1
            for subject in subjects:
                count = await self.counts.increment(_key(name, subject, window, now), expiry)
                left = window.amount - count
                if tightest is None or left < tightest.remaining:
                    tightest = Verdict(
                        name, tier, policy, window, max(left, 0), window.ends_in(now)
                    )
                if left < 0:
                    return await self._refused(tightest, limits, subjects, now)
        assert tightest is not None
        return tightest

    async def _refused(
        self, verdict: Verdict, limits: Sequence[Window], subjects: Sequence[str], now: float
    ) -> Verdict:
        """Waiting must help: until the last of the windows ends that would refuse the call."""
        refusals.labels(verdict.group).inc()
        worst = verdict.window
        for window in limits:
            for subject in subjects:
                used = await self.counts.get(_key(verdict.group, subject, window, now))
                if used >= window.amount and window.ends_in(now) > worst.ends_in(now):
                    worst = window
        return Verdict(
            verdict.group, verdict.tier, verdict.policy, worst, 0, worst.ends_in(now), allowed=False
        )

    def _parsed(self, name: str, limits: str) -> tuple[tuple[Window, ...], str]:
        known = self._windows.get((name, limits))
        if known is None:
            parsed = windows(limits)
            policy = ", ".join(
                f'"{name}-{one.kind}";q={one.amount};w={one.seconds}' for one in parsed
            )
            known = self._windows[name, limits] = parsed, policy
        return known


def with_overrides(
    groups: Sequence[Group], overrides: Mapping[str, Mapping[str, str]]
) -> dict[str, Group]:
    """By name. Raises BadSettings for a group or a limit that means nothing."""
    named = {group.name: group for group in groups}
    for name, limits in overrides.items():
        if name not in named:
            known = ", ".join(sorted(named))
            raise BadSettings(f"RATE_LIMIT_OVERRIDES: there is no group {name}: give {known}")
        group = named[name]
        named[name] = Group(name, {**group.limits, **limits}, group.per)
    for group in named.values():
        for tier, text in group.limits.items():
            try:
                windows(text)
            except ValueError as error:
                raise BadSettings(
                    f"RATE_LIMIT_OVERRIDES: {group.name}, {tier}: {text!r} is not a limit such as"
                    " 10/minute;50/day"
                ) from error
    return named


class AtTheDoor:
    """Finds out who is calling, and whether not too often, ahead of everything else.

    So a body that cannot be read counts too, and so does a path that does not exist.
    """

    def __init__(self, app: ASGIApp, *, group_of: Callable[[str, str], str], enabled: bool) -> None:
        self.app = app
        self.group_of = group_of
        self.enabled = enabled

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state, path = scope["state"], scope["path"]
        lane.set(route_group(path))
        waited.set(0.0)
        caller = state["caller"] = await _caller(scope)
        if isinstance(caller, Caller):
            state["user_id"] = caller.user_id
        if self.enabled and path not in UNCOUNTED:
            verdict = await self._count(scope, caller, state["limiter"])
            if verdict is not None:
                state["headers"] = verdict.headers()
                if not verdict.allowed:
                    await answer(RateLimited(verdict))(scope, receive, send)
                    return
        try:
            await self.app(scope, receive, send)
        finally:
            if (route := scope.get("route")) is not None:
                state["route"] = route.path

    async def _count(
        self, scope: Scope, caller: Caller | Exception | None, limiter: Limiter
    ) -> Verdict | None:
        """None while nobody can tell who is calling, which the endpoint will say."""
        name = self.group_of(scope["method"], scope["path"])
        group = limiter.groups[name]
        if "user" in group.per and not isinstance(caller, Caller):
            if not isinstance(caller, AppError | None) or isinstance(caller, Unavailable):
                return None
            name, group = "anonymous", limiter.groups["anonymous"]
        subjects = [
            f"u{caller.user_id}" if per == "user" and isinstance(caller, Caller) else address(scope)
            for per in group.per
        ]
        return await limiter.hit(
            name, caller.tier if isinstance(caller, Caller) else FREE, subjects
        )


@dataclass
class CallLimits:
    """For what is counted by something in the body, such as an e-mail address."""

    request: Request

    async def count(self, group: str, subject: str) -> None:
        """Raises RateLimited."""
        settings: Settings = self.request.state.settings
        if settings.rate_limit_enabled:
            limiter: Limiter = self.request.state.limiter
            verdict = await limiter.hit(group, FREE, [subject])
            if not verdict.allowed:
                raise RateLimited(verdict)


async def _caller(scope: Scope) -> Caller | Exception | None:
    """Why nobody was found is for the endpoint to say, if it asks for somebody at all."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            try:
                state, text = scope["state"], value.decode("latin-1")
                return await authenticate(state["identity"], state["db"], text)
            except Exception as error:  # noqa: BLE001 - raised where somebody is asked for
                return error
    return None


def address(scope: Scope) -> str:
    """The client's, behind trusted proxies as they tell it (the server sees to that).

    Of IPv6 the network: a household is given 2^64 addresses.
    """
    host = (scope.get("client") or ("-",))[0]
    try:
        known = ip_address(host)
    except ValueError:
        return str(host)
    if isinstance(known, IPv6Address):
        if known.ipv4_mapped is not None:
            return str(known.ipv4_mapped)
        return f"{IPv6Address(int(known) >> 64 << 64)}/64"
    return host if isinstance(host, str) else "-"
