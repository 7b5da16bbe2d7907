"""Takes the proposed meal out of an answer of the model, also while the answer is streamed."""

import json
from typing import Any

from freshly.chassis.observability.logging import get_logger
from freshly.domains.chat.schemas import ProposedMeal
from freshly.domains.meals.schemas import MealCreate

logger = get_logger(__name__)

# A picture at an address that the model makes up is none, or tells its host who looks at the dish.
NEVER_FROM_MODEL = {"image": "", "familyId": None}
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
    """Separates the text of an answer from the block with the meal, piece by piece.

    Text that may begin a block is held back until the next piece decides it. White space is held
    back, too, so that none remains before a block or at the end.
    """

    def __init__(self) -> None:
        self._pending = ""
        self._block: str | None = None
        self.meal: ProposedMeal | None = None
        self._has_text = False

    def feed(self, piece: str) -> str:
        """Return the text that a further piece completes. Set `meal` after its block."""
        self._pending += piece
        text = ""
        while self._pending:
            if self._block is None:
                text += self._text_before_block()
                if self._block is None:
                    break
            elif not self._rest_of_block():
                break
        return self._cleaned_start(text)

    def finish(self) -> str:
        """Return the text that was held back. Parse a block that was never closed.

        If the answer contains only a meal, return a sentence that names it.
        """
        rest = ""
        if self._block is not None:
            self._parse_block(self._block + self._pending)
        else:
            rest = self._pending.rstrip()
        self._pending, self._block = "", None
        if not rest and not self._has_text and self.meal:
            rest = f"How about {self.meal.name}?"
        return self._cleaned_start(rest)

    def _text_before_block(self) -> str:
        before, separator, after = self._pending.partition(OPENING)
        if separator:
            self._block, self._pending = "", after
            return before.rstrip()
        held_back = next(
            (n for n in range(len(OPENING) - 1, 0, -1) if before.endswith(OPENING[:n])), 0
        )
        text = before[: len(before) - held_back].rstrip()
        self._pending = before[len(text) :]
        return text

    def _rest_of_block(self) -> bool:
        block, separator, after = ((self._block or "") + self._pending).partition(CLOSING)
        if not separator:
            self._block, self._pending = block, ""
            return False
        self._parse_block(block)
        self._block, self._pending = None, after
        return True

    def _parse_block(self, block: str) -> None:
        if self.meal is None:
            self.meal = parse_meal(block)

    def _cleaned_start(self, text: str) -> str:
        if not self._has_text:
            text = text.lstrip()
        self._has_text = self._has_text or bool(text)
        return text


def parse_meal(block: str) -> ProposedMeal | None:
    """Return the meal, with defaults for missing fields, or None if the block cannot be read."""
    try:
        fields = json.loads(block)
        if not isinstance(fields, dict):
            return None
        given = {name: value for name, value in fields.items() if value is not None}
        meal = MealCreate.model_validate({**DEFAULTS, **given, **NEVER_FROM_MODEL})
    except (ValueError, RecursionError) as error:
        # The text of the error repeats what the model said about a household.
        logger.info("proposed dish unreadable", reason=type(error).__name__)
        return None
    if not meal.name.strip():
        return None
    return ProposedMeal.model_validate(meal.model_dump())
