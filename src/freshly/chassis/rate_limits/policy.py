"""How often who may call what: fixed windows of the UTC clock, counted over all processes.

A window begins and ends with the clock (a minute at :00, a day at midnight UTC), so every process
knows by itself when the next one begins, and a refused call prolongs nothing.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import time
from typing import Literal

from freshly.chassis.errors import AppError
from freshly.chassis.observability.metrics import refusals
from freshly.chassis.rate_limits.counters import Counters
from freshly.chassis.rate_limits.windows import Window, _key, windows
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

    def __init__(self, verdict: RateLimitResult) -> None:
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

    async def hit(self, name: str, tier: str, subjects: Sequence[str]) -> RateLimitResult:
        """Counts a call. What a shorter window refuses is not counted in a longer one."""
        limits, policy = self._parsed(name, self.groups[name].of_tier(tier))
        now = self.clock()
        tightest: RateLimitResult | None = None
        for window in limits:
            expiry = math.ceil(window.ends_in(now)) + 1
            for subject in subjects:
                count = await self.counts.increment(_key(name, subject, window, now), expiry)
                left = window.amount - count
                if tightest is None or left < tightest.remaining:
                    tightest = RateLimitResult(
                        name, tier, policy, window, max(left, 0), window.ends_in(now)
                    )
                if left < 0:
                    return await self._refused(tightest, limits, subjects, now)
        assert tightest is not None
        return tightest

    async def _refused(
        self,
        verdict: RateLimitResult,
        limits: Sequence[Window],
        subjects: Sequence[str],
        now: float,
    ) -> RateLimitResult:
        """Waiting must help: until the last of the windows ends that would refuse the call."""
        refusals.labels(verdict.group).inc()
        worst = verdict.window
        for window in limits:
            for subject in subjects:
                used = await self.counts.get(_key(verdict.group, subject, window, now))
                if used >= window.amount and window.ends_in(now) > worst.ends_in(now):
                    worst = window
        return RateLimitResult(
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
