"""The registry of scenarios. A scenario breaks something and adds rows to its report."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from faults.report import Report

ScenarioFunction = Callable[[Report], Awaitable[None]]


class CannotRun(Exception):
    """A scenario lacks something on this machine or in this release, named in the message."""


@dataclass(frozen=True)
class Scenario:
    name: str
    tried: str
    run: ScenarioFunction
    short: bool  # part of the short form, which CI runs


SCENARIOS: dict[str, Scenario] = {}


def scenario(tried: str, *, short: bool = False) -> Callable[[ScenarioFunction], ScenarioFunction]:
    """Register a function as a scenario under its own name."""

    def register(run: ScenarioFunction) -> ScenarioFunction:
        name = run.__name__.replace("_", "-")
        SCENARIOS[name] = Scenario(name, tried, run, short)
        return run

    return register
