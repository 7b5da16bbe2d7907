"""What the assistant is told of the kitchen: data, the most important first, within a budget."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from freshly.chassis.ports.llm import tokens_in

BUDGET = 1500  # tokens
WIDEST_VALUE = 120  # characters of any one text


@dataclass(frozen=True)
class Stocked:
    name: str
    amount: str
    expires_on: date | None


@dataclass(frozen=True)
class Household:
    """`facts` are in the order of their importance; stock is the soonest to expire first."""

    facts: dict[str, Any] = field(default_factory=dict)
    stock: Sequence[Stocked] = ()


def described(household: Household, budget: int = BUDGET) -> str:
    """JSON that takes at most so many tokens; what did not fit is counted."""
    told: dict[str, Any] = {}
    left_out = 0
    for name, value in household.facts.items():
        if value in (None, [], ""):
            continue
        kept, cut = _fitting(told, name, _trimmed(value), budget)
        left_out += cut
        if kept is not None:
            told[name] = kept
    stock = [
        {"food": one.name[:WIDEST_VALUE], "amount": one.amount}
        | ({"expires": one.expires_on.isoformat()} if one.expires_on else {})
        for one in household.stock
    ]
    kept, cut = _fitting(told, "pantry_soonest_to_expire_first", stock, budget)
    if kept:
        told["pantry_soonest_to_expire_first"] = kept
    if left_out + cut:
        told["left_out_for_brevity"] = left_out + cut
    return _written(told)


def _fitting(told: dict[str, Any], name: str, value: Any, budget: int) -> tuple[Any | None, int]:
    """As much of a list as fits, by halving; all of anything else, or nothing."""
    room = {"left_out_for_brevity": 10**9}
    if tokens_in(_written({**told, name: value, **room})) <= budget:
        return value, 0
    if not isinstance(value, list):
        return None, 1
    fits, too_many = 0, len(value)
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if tokens_in(_written({**told, name: value[:middle], **room})) <= budget:
            fits = middle
        else:
            too_many = middle
    return value[:fits] or None, len(value) - fits


def _trimmed(value: Any) -> Any:
    if isinstance(value, str):
        return value[:WIDEST_VALUE]
    return [_trimmed(part) for part in value] if isinstance(value, list) else value


def _written(told: dict[str, Any]) -> str:
    """No `<` inside, so that no data can end the block that it stands in."""
    text = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")
