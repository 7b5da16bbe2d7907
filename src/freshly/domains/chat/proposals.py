"""The dish in an answer: taken out of the text, also while the text is still coming."""

import json
from typing import Any

from pydantic import ValidationError

from freshly.chassis.observability.logging import get_logger
from freshly.domains.chat.schemas import ProposedMeal
from freshly.domains.meals.schemas import MealCreate

logger = get_logger(__name__)

OPENING, CLOSING = "```meal", "```"
DEFAULTS: dict[str, Any] = {
    "image": "",
    "calories": 0,
    "prepTime": 0,
    "cookTime": 0,
    "totalTime": 0,
    "mealType": "Dinner",
    "cuisine": "",
    "tags": [],
    "macros": {"protein": 0, "fats": 0, "carbs": 0},
    "difficulty": "Easy",
    "servings": 1,
    "dietCompatibility": [],
    "goalFit": [],
    "ingredients": [],
    "instructions": [],
    "cookingTools": [],
}


class Splitter:
    """Fed with pieces of an answer, it gives back the text that people read.

    What may be the beginning of a block is held back until it is clear; white space is held back
    too, so that none is left in front of a block or at the end.
    """

    def __init__(self) -> None:
        self._waiting = ""
        self._block: str | None = None
        self.meal: ProposedMeal | None = None
        self._said_something = False

    def feed(self, piece: str) -> str:
        self._waiting += piece
        said = ""
        while self._waiting:
            if self._block is None:
                said += self._text()
                if self._block is None:
                    break
            elif not self._rest_of_block():
                break
        return self._noted(said)

    def finish(self) -> str:
        """What was held back after all. A block that was never closed is a dish if it reads."""
        rest = ""
        if self._block is not None:
            self._keep(self._block + self._waiting)
        else:
            rest = self._waiting.rstrip()
        self._waiting, self._block = "", None
        if not rest and not self._said_something and self.meal:
            rest = f"How about {self.meal.name}?"
        return self._noted(rest)

    def _text(self) -> str:
        before, found, after = self._waiting.partition(OPENING)
        if found:
            self._block, self._waiting = "", after
            return before.rstrip()
        keep = next((n for n in range(len(OPENING) - 1, 0, -1) if before.endswith(OPENING[:n])), 0)
        clear = before[: len(before) - keep].rstrip()
        self._waiting = before[len(clear) :]
        return clear

    def _rest_of_block(self) -> bool:
        block, found, after = ((self._block or "") + self._waiting).partition(CLOSING)
        if not found:
            self._block, self._waiting = block, ""
            return False
        self._keep(block)
        self._block, self._waiting = None, after
        return True

    def _keep(self, block: str) -> None:
        if self.meal is None:
            self.meal = proposed(block)

    def _noted(self, said: str) -> str:
        if not self._said_something:
            said = said.lstrip()
        self._said_something = self._said_something or bool(said)
        return said


def proposed(block: str) -> ProposedMeal | None:
    """The dish, with what was left out filled in; None where it cannot be read."""
    try:
        given = json.loads(block)
        if not isinstance(given, dict):
            return None
        told = {name: value for name, value in given.items() if value is not None}
        dish = MealCreate.model_validate({**DEFAULTS, **told, "familyId": None})
    except (ValueError, ValidationError, RecursionError) as error:
        logger.info("proposed dish unreadable", reason=str(error)[:300])
        return None
    if not dish.name.strip():
        return None
    return ProposedMeal.model_validate(dish.model_dump())
