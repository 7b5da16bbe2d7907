"""Log lines for a terminal: short, coloured, with the local time."""

import os
import re
from collections.abc import Mapping, MutableMapping
from datetime import datetime
from typing import Any

import structlog

# Control characters, and marks of direction, with which a text could rewrite the terminal.
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
DIM, RESET, RED, GREEN, YELLOW, CYAN = (f"\x1b[{code}m" for code in (2, 0, 31, 32, 33, 36))
STATUS_COLORS = {2: GREEN, 3: CYAN, 4: YELLOW, 5: RED}
EVENT_WIDTH = 30
SHOWN_FACTS = ("user_id", "family_id", "sql", "cache")


def wants_colors() -> bool:
    return not os.environ.get("NO_COLOR")


class ConsoleLines:
    """Renders events of structlog for a terminal. The correlation id is shown with problems."""

    def __init__(self) -> None:
        self._render = structlog.dev.ConsoleRenderer(
            colors=wants_colors(), pad_event_to=EVENT_WIDTH, timestamp_key="time"
        )

    def __call__(self, logger: object, method: str, event: MutableMapping[str, Any]) -> str:
        calm = event.get("level") in ("debug", "info")
        hidden = {"timestamp", "logger", *(("correlation_id",) if calm else ())}
        shown = {
            name: value if name == "exception" else escaped(value)
            for name, value in event.items()
            if name not in hidden and not (name == "correlation_id" and value == "-")
        }
        shown["time"] = f"{datetime.now():%H:%M:%S}"  # noqa: DTZ005 - the operator's own clock
        return str(self._render(logger, method, shown))


def escaped(value: object) -> object:
    """Return a text without characters that a terminal obeys."""
    if not isinstance(value, str):
        return value
    return UNSAFE.sub(lambda found: repr(found[0])[1:-1], value)


def request_text(facts: Mapping[str, Any]) -> str:
    """Return the line of a request: time, status, method, path, duration, and what it took."""
    status = facts["status"]
    color = STATUS_COLORS.get(status // 100, "") if isinstance(status, int) else YELLOW
    extra = [f"{name} {facts[name]}" for name in SHOWN_FACTS if name in facts]
    dim, reset = (DIM, RESET) if wants_colors() else ("", "")
    painted = f"{color if dim else ''}{status}{reset}"
    rest = f"{facts['ms']:.1f} ms {' '.join(extra)}".rstrip()
    time = f"{datetime.now():%H:%M:%S}"  # noqa: DTZ005 - the operator's own clock
    return f"{dim}{time}{reset} {painted} {facts['method']} {facts['path']} {dim}{rest}{reset}"
