"""Fixed windows of the UTC clock."""

from dataclasses import dataclass

from limits import RateLimitItem, parse_many

DAY, HOUR = 86400, 3600


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


def _key(group: str, subject: str, window: Window, at: float) -> str:
    return f"{group}/{subject}/{window.seconds}/{window.number(at)}"


def _window(key: str) -> tuple[int, int]:
    """Its length, and which of that length it is."""
    _, seconds, number = key.rsplit("/", 2)
    return int(seconds), int(number)


def _ends(key: str) -> float:
    seconds, number = _window(key)
    return seconds * (number + 1)
