"""Fixed windows of the UTC clock, and the keys of their counters.

A window begins and ends with the clock (a minute at :00, a day at midnight UTC). So each process
knows by itself when the next window begins, and a refused call prolongs nothing.
"""

from dataclasses import dataclass

from limits import RateLimitItem, parse_many

DAY, HOUR = 86400, 3600  # seconds


@dataclass(frozen=True)
class Window:
    """At most `amount` calls in `seconds`."""

    amount: int
    seconds: int

    @classmethod
    def of(cls, item: RateLimitItem) -> "Window":
        return cls(item.amount, item.get_expiry())

    @property
    def kind(self) -> str:
        """The name that the existing app reads."""
        if self.seconds >= DAY:
            return "daily"
        return "hourly" if self.seconds >= HOUR else "burst"

    def number(self, at: float) -> int:
        """Return how many windows of this length lie between the Unix epoch and `at`."""
        return int(at // self.seconds)

    def ends_in(self, at: float) -> float:
        """Return the seconds until the window ends."""
        return self.seconds - at % self.seconds


def windows(limits: str) -> tuple[Window, ...]:
    """Parse "10/minute;50/day", the shortest window first. Raises ValueError."""
    return tuple(sorted(map(Window.of, parse_many(limits)), key=lambda window: window.seconds))


def counter_key(group: str, subject: str, window: Window, at: float) -> str:
    return f"{group}/{subject}/{window.seconds}/{window.number(at)}"


def window_of(key: str) -> tuple[int, int]:
    """Return the length in seconds and the number of the window that a key counts."""
    _, seconds, number = key.rsplit("/", 2)
    return int(seconds), int(number)


def end_of(key: str) -> float:
    """Return when the window of a key ends (Unix time)."""
    seconds, number = window_of(key)
    return seconds * (number + 1)
