"""Builds the JSON about the household for the assistant, within a budget of tokens."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from freshly.chassis.ports.llm import estimate_tokens

BUDGET = 1500  # tokens
STOCK_KEY = "pantry_soonest_to_expire_first"
LEFT_OUT_KEY = "left_out_for_brevity"
MAX_VALUE_LENGTH = 120  # characters of a text


@dataclass(frozen=True)
class Stocked:
    """A food in the pantry."""

    name: str
    amount: str
    expires_on: date | None


@dataclass(frozen=True)
class Household:
    """The data to send. `facts` are sorted by importance, `stock` by expiry."""

    facts: dict[str, Any] = field(default_factory=dict)
    stock: Sequence[Stocked] = ()


def described(household: Household, budget: int = BUDGET) -> str:
    """Return JSON of at most `budget` tokens, with the number of values that did not fit."""
    included: dict[str, Any] = {}
    left_out = 0
    for name, value in household.facts.items():
        if value in (None, [], ""):
            continue
        fitting, omitted = _fitting(included, name, _trimmed(value), budget)
        left_out += omitted
        if fitting is not None:
            included[name] = fitting
    stock = [
        {"food": item.name[:MAX_VALUE_LENGTH], "amount": item.amount}
        | ({"expires": item.expires_on.isoformat()} if item.expires_on else {})
        for item in household.stock
    ]
    fitting, omitted = _fitting(included, STOCK_KEY, stock, budget)
    if fitting:
        included[STOCK_KEY] = fitting
    if left_out + omitted:
        included[LEFT_OUT_KEY] = left_out + omitted
    return _json(included)


def _fitting(
    included: dict[str, Any], name: str, value: Any, budget: int
) -> tuple[Any | None, int]:
    """Return the value if it fits, with the number of values left out.

    Of a list, return as many elements as fit, found by binary search.
    """
    room = {LEFT_OUT_KEY: 10**9}  # space for the count of omitted values
    if estimate_tokens(_json({**included, name: value, **room})) <= budget:
        return value, 0
    if not isinstance(value, list):
        return None, 1
    fits, too_many = 0, len(value)
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if estimate_tokens(_json({**included, name: value[:middle], **room})) <= budget:
            fits = middle
        else:
            too_many = middle
    return value[:fits] or None, len(value) - fits


def _trimmed(value: Any) -> Any:
    if isinstance(value, str):
        return value[:MAX_VALUE_LENGTH]
    return [_trimmed(part) for part in value] if isinstance(value, list) else value


def _json(data: dict[str, Any]) -> str:
    """Return JSON without `<`, so that no data can end the prompt's <household> block."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")
