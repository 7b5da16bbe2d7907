"""Results of checks, and how they are shown."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

Level = Literal["ok", "unwise", "bad"]
STYLES = {"ok": "green", "unwise": "yellow", "bad": "bold red"}


class CheckFailed(Exception):
    """A problem that the operator must fix. The text says how."""


class Unwise(Exception):
    """Something that works, but may hurt later. The text says what to do."""


@dataclass(frozen=True)
class Result:
    subject: str
    level: Level
    text: str


def worst(results: Sequence[Result]) -> Level:
    levels = {result.level for result in results}
    return "bad" if "bad" in levels else "unwise" if "unwise" in levels else "ok"


def as_json(results: Sequence[Result]) -> str:
    checks = [{"check": one.subject, "level": one.level, "text": one.text} for one in results]
    return json.dumps({"status": worst(results), "checks": checks}, indent=2)


def show(results: Sequence[Result], app_env: str) -> None:
    table = Table("", "check", "result", title=f"Freshly, {app_env}", expand=False)
    for result in results:
        mark = result.level.upper() if result.level == "bad" else result.level
        table.add_row(Text(mark, STYLES[result.level]), result.subject, Text(result.text))
    Console().print(table)
