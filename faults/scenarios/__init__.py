"""What is tried. A scenario is a function that plays on a stage and says what it found."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from faults.report import Report

Run = Callable[[Report], Awaitable[None]]


class CannotRun(Exception):
    """Says what is missing on this machine, or in this release."""


@dataclass(frozen=True)
class Scenario:
    name: str
    tried: str
    run: Run
    short: bool  # a part of CI's short form


SCENARIOS: dict[str, Scenario] = {}


def scenario(tried: str, *, short: bool = False) -> Callable[[Run], Run]:
    """Lists a function by its name."""

    def listed(run: Run) -> Run:
        name = run.__name__.replace("_", "-")
        SCENARIOS[name] = Scenario(name, tried, run, short)
        return run

    return listed
