"""Rate limits: how many calls each group of routes allows, counted over all processes."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import time
from typing import Literal

from freshly.chassis.errors import AppError
from freshly.chassis.observability.metrics import rate_limited
from freshly.chassis.rate_limits.counters import Counters
from freshly.chassis.rate_limits.windows import Window, counter_key, windows
from freshly.settings import BadSettings

Per = Literal["user", "address"]
DEFAULT, FREE = "default", "free"


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
class RateLimitResult:
    """The result of counting a call, for its tightest window or for the one that refused it."""

    group: str
    tier: str
    policy: str
    window: Window
    remaining: int
    resets_in: float  # seconds
    allowed: bool = True

    @property
    def retry_after(self) -> int:
        """Whole seconds after which a refused call succeeds."""
        return math.ceil(self.resets_in)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers of draft-ietf-httpapi-ratelimit-headers."""
        name = f'"{self.group}-{self.window.kind}"'
        return [
            (b"ratelimit-policy", self.policy.encode()),
            (b"ratelimit", f"{name};r={self.remaining};t={self.retry_after}".encode()),
        ]

    def refusal(self) -> dict[str, object]:
        """Return the object that the existing app reads from a 429."""
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

    def __init__(self, result: RateLimitResult) -> None:
        super().__init__()
        self.headers = {"Retry-After": str(result.retry_after)}
        self.members = {"error": result.refusal()}


@dataclass
class Limiter:
    groups: Mapping[str, Group]
    counts: Counters
    clock: Callable[[], float] = time

    def __post_init__(self) -> None:
        for name in self.groups:  # a counter that begins at its first refusal hides it
            rate_limited.labels(name)
        self._parsed: dict[tuple[str, str], tuple[tuple[Window, ...], str]] = {}

    async def hit(self, name: str, tier: str, subjects: Mapping[str, int]) -> RateLimitResult:
        """Count a call, from the shortest window to the longest.

        `subjects` are counted each by itself. A subject may use so many times the limit.
        A call that a window refuses is not counted in the longer windows.
        """
        limits, policy = self._parse(name, self.groups[name].of_tier(tier))
        now = self.clock()
        tightest: RateLimitResult | None = None
        for window in limits:
            expiry = math.ceil(window.ends_in(now)) + 1
            for subject, share in subjects.items():
                key = counter_key(name, subject, window, now)
                left = window.amount * share - await self.counts.increment(key, expiry)
                if tightest is None or left < tightest.remaining:
                    tightest = RateLimitResult(
                        name, tier, policy, window, max(left, 0), window.ends_in(now)
                    )
                if left < 0:
                    return await self._refused(tightest, limits, subjects, now)
        assert tightest is not None
        return tightest

    async def give_back(self, name: str, tier: str, subjects: Sequence[str]) -> None:
        """Take back a call that was counted, for limits that count only failures."""
        limits, _ = self._parse(name, self.groups[name].of_tier(tier))
        now = self.clock()
        for window in limits:
            for subject in subjects:
                key = counter_key(name, subject, window, now)
                await self.counts.increment(key, math.ceil(window.ends_in(now)) + 1, -1)

    async def _refused(
        self,
        result: RateLimitResult,
        limits: Sequence[Window],
        subjects: Mapping[str, int],
        now: float,
    ) -> RateLimitResult:
        """Return the refusal with the time after which a call succeeds.

        That is the end of the last window that would refuse it.
        """
        rate_limited.labels(result.group).inc()
        last = result.window
        for window in limits:
            for subject, share in subjects.items():
                used = await self.counts.get(counter_key(result.group, subject, window, now))
                if used >= window.amount * share and window.ends_in(now) > last.ends_in(now):
                    last = window
        return RateLimitResult(
            result.group, result.tier, result.policy, last, 0, last.ends_in(now), allowed=False
        )

    def _parse(self, name: str, limits: str) -> tuple[tuple[Window, ...], str]:
        known = self._parsed.get((name, limits))
        if known is None:
            parsed = windows(limits)
            policy = ", ".join(
                f'"{name}-{window.kind}";q={window.amount};w={window.seconds}' for window in parsed
            )
            known = self._parsed[name, limits] = parsed, policy
        return known


def with_overrides(
    groups: Sequence[Group], overrides: Mapping[str, Mapping[str, str]]
) -> dict[str, Group]:
    """Return the groups by name, with overrides. Raises BadSettings for what cannot be read."""
    by_name = {group.name: group for group in groups}
    for name, limits in overrides.items():
        if name not in by_name:
            known = ", ".join(sorted(by_name))
            raise BadSettings(f"RATE_LIMIT_OVERRIDES: there is no group {name}. Groups: {known}")
        group = by_name[name]
        by_name[name] = Group(name, {**group.limits, **limits}, group.per)
    for group in by_name.values():
        for tier, text in group.limits.items():
            try:
                windows(text)
            except ValueError as error:
                raise BadSettings(
                    f"RATE_LIMIT_OVERRIDES: {group.name}, {tier}: {text!r} is not a limit such as"
                    " 10/minute;50/day"
                ) from error
    return by_name
